import FabricCore
import FabricMesh
import FabricTunnel
import FabricWire
import Testing

@testable import FabricNode

/// Two nodes share a tenant's domain, and are no neighbours in the fabric: there is no tunnel between them but that one.
@Suite struct SparseDomainTests {
    /// Six nodes, whose ring in the fabric gives each two peers; every pair shares a domain of its own. The pair returned is one
    /// of no neighbours. `endpoints` are what its second node announces, beside where it is.
    private func makePair(announcing endpoints: [Endpoint] = []) throws -> (bench: NodeBench, a: NodeHost, b: NodeHost)
    {
        let bench = try NodeBench(peerDegree: 2)
        var pairs: [(NodeHost, NodeHost)] = []
        for index in 0..<3 {
            let domains = [RoutingDomainID.fabric, RoutingDomainID("tenant-\(index)")!]
            let a = try bench.join("a\(index)", domains: domains)
            let b = bench.addHost("b\(index)", token: try bench.makeToken(domains: domains).token, domains: domains)
            // Found by its record alone, not by what it sends.
            b.losesDatagrams = true
            bench.tell(b, .started(files: [], endpoints: endpoints + [b.endpoint]))
            pairs.append((a, b))
        }
        try #require(bench.run { pairs.allSatisfy { shared($0.0, $0.1) != nil && shared($0.1, $0.0) != nil } })
        let (a, b) = try #require(
            pairs.first { a, b in !a.agent.peers.contains { $0.node == b.agent.nodeID && $0.domain == .fabric } })
        return (bench, a, b)
    }

    /// The tunnel of `a` to `b` in their own domain.
    private func shared(_ a: NodeHost, _ b: NodeHost) -> NodePeer? {
        a.agent.peers.first { $0.node == b.agent.nodeID && $0.domain != .fabric }
    }

    private func isUp(_ a: NodeHost, _ b: NodeHost, _ bench: NodeBench) -> Bool {
        shared(a, b)!.health.isUp(at: bench.time(of: a).monotonic)
    }

    @Test func `a peer in a tenant's domain alone is sought at each endpoint of its record`() throws {
        let nobody = Endpoint("203.0.113.1:1")!
        let (bench, a, b) = try makePair(announcing: [nobody])
        func endpoint() -> Endpoint? { a.agent.tunnelStatus(shared(a, b)!.handle)?.endpoint }
        #expect(bench.run(until: { endpoint() == nobody }, limit: .seconds(15)))
        #expect(bench.run(until: { endpoint() == b.endpoint }, limit: .seconds(25)))
        b.losesDatagrams = false
        #expect(bench.run(until: { isUp(a, b, bench) && isUp(b, a, bench) }, limit: .seconds(40)))
        bench.run(.seconds(5))
        let peer = a.agent.status(now: bench.time(of: a)).peers.first { $0.node == b.agent.nodeID }
        #expect(peer?.up == true && peer?.roundTripMicroseconds == 10_000)
        #expect(a.reports.contains(.peerUp(b.agent.nodeID!, shared(a, b)!.domain)))
    }

    @Test func `a record does not move a tunnel that works in a tenant's domain`() throws {
        let (bench, a, b) = try makePair()
        b.losesDatagrams = false
        try #require(bench.run { isUp(a, b, bench) && isUp(b, a, bench) })
        bench.isControlPlaneAway = true
        let elsewhere = Endpoint("203.0.113.9:9")!
        _ = try RecordTests().tell(["\(elsewhere)"], of: b, to: a, bench)
        bench.run(.seconds(30))
        #expect(a.agent.tunnelStatus(shared(a, b)!.handle)?.endpoint == b.endpoint && isUp(a, b, bench))
        // What comes from the peer would bring the endpoint back: nothing may have gone elsewhere.
        #expect(!a.steps.contains(.datagram(elsewhere)))
    }

    @Test func `what is sent to the agent's address of a tenant's domain comes out at no interface`() throws {
        let (bench, a, b) = try makePair()
        b.losesDatagrams = false
        try #require(bench.run { isUp(a, b, bench) })
        bench.run(.seconds(20))
        #expect(a.delivered.isEmpty && b.delivered.isEmpty)
        #expect(b.agent.counters.dropsMalformedFabricMessage == 0)
    }
}
