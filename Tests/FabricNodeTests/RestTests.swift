import FabricCore
import FabricMesh
import FabricTunnel
import FabricWire
import Testing

@testable import FabricNode

/// Peers that are away for long are tried now and then, and at once when something speaks for them.
@Suite struct RestTests {
    /// B hears nothing and is not heard, for that long.
    func apart(_ duration: Duration = .seconds(3_600)) throws -> (NodeBench, NodeHost, NodeHost) {
        let bench = try NodeBench()
        let (a, b) = try bench.joinPair()
        (a.losesDatagrams, b.losesDatagrams) = (true, true)
        bench.run(duration)
        #expect(!bench.isUp(a) && !bench.isUp(b))
        return (bench, a, b)
    }

    func initiations(_ host: NodeHost) -> Int { host.sent.count { $0.first == 1 && $0.count == 148 } }

    /// Sent by A, and no other packets, while that happens.
    func sent(_ bench: NodeBench, _ a: NodeHost, during duration: Duration, _ happens: () throws -> Void) rethrows
        -> Int
    {
        let (before, all) = (initiations(a), a.sent.count)
        try happens()
        bench.run(duration)
        #expect(a.sent.count - all == initiations(a) - before)
        return initiations(a) - before
    }

    @Test func `a peer that is away costs a handshake every half a minute`() throws {
        let (bench, a, _) = try apart()
        let count = sent(bench, a, during: .seconds(3_600)) {}
        #expect((100...125).contains(count), "\(count)")
        // What is kept of a try does not grow.
        #expect(a.agent.tunnelCounters.handshakesGivenUp <= 2)
    }

    @Test func `a peer that is back is found within half a minute`() throws {
        let (bench, a, b) = try apart()
        (a.losesDatagrams, b.losesDatagrams) = (false, false)
        #expect(bench.run(until: { bench.isUp(a) && bench.isUp(b) }, limit: .seconds(33)))
    }

    @Test func `somebody's packet is tried for at once, and goes through when the peer is back`() throws {
        let (bench, a, b) = try apart()
        let packet = Packets.udp(from: a, to: b, [1, 2, 3])
        let count = sent(bench, a, during: .seconds(60)) { bench.inject(packet, a) }
        #expect((10...13).contains(count), "every five seconds: \(count)")
        (a.losesDatagrams, b.losesDatagrams) = (false, false)
        #expect(bench.run(until: { !b.delivered.isEmpty }, limit: .seconds(6)))
    }

    @Test(arguments: 0..<3) func `what speaks for a peer has it tried every five seconds`(what: Int) throws {
        let (bench, a, b) = try apart()
        if what == 2 {
            a.course = { _ in .fail(.unreachable) }
            bench.run(.seconds(180))
        }
        let count = sent(bench, a, during: .seconds(62)) {
            switch what {
            case 0: bench.tell(a, .endpointsChanged([a.endpoint, Endpoint("203.0.113.9:51820")!]))
            case 1: bench.tell(b, .endpointsChanged([b.endpoint, Endpoint("203.0.113.8:51820")!]))
            default: a.course = { _ in .pass }
            }
        }
        #expect((8...14).contains(count), "\(count)")
    }

    @Test func `one heartbeat that fails speaks for nobody`() throws {
        let (bench, a, _) = try apart()
        var failures = 1
        a.course = { request in
            guard request.path == "/v1/node/heartbeat", failures > 0 else { return .pass }
            failures -= 1
            return .fail(.unreachable)
        }
        let count = sent(bench, a, during: .seconds(62)) {}
        #expect(failures == 0 && count <= 3, "\(count)")
    }

    @Test func `a host that slept looks where the peer was too, though no record lists it`() throws {
        let bench = try NodeBench()
        let (a, b) = try bench.joinPair()
        // B is behind a translator: its record names addresses that nobody reaches.
        let mapped = Endpoint("198.51.100.7:40000")!
        bench.tell(b, .endpointsChanged([Endpoint("10.0.0.7:51820")!, Endpoint("10.0.0.8:51820")!]))
        b.sourceEndpoint = mapped
        bench.strangers[mapped] = { datagram, source in bench.receive(datagram, b, from: source) }
        bench.run(.seconds(20))
        #expect(a.agent.tunnels.endpoint(of: a.agent.peers[0].handle) == mapped && bench.isUp(a))
        // B can't reach A by itself.
        b.losesDatagrams = true
        bench.skip(to: bench.now.wall + .seconds(600))
        bench.run(.seconds(2))
        let before = a.steps.count
        bench.run(.seconds(60))
        let tried = a.steps.dropFirst(before).count { $0 == .datagram(mapped) }
        #expect(tried >= 2, "\(tried)")
    }
}
