import CFabricAllocations
import FabricCore
import FabricTunnel
import Testing

@testable import FabricNode

@Suite struct AllocationTests {
    static let count = 300

    /// Passes packets from one agent to the other as a host does. Returns how many were for the interface, and what that
    /// allocated.
    private func pass(_ bench: NodeBench, _ a: NodeHost, _ b: NodeHost) -> (delivered: Int, allocations: UInt64) {
        let packet = Packets.udp(from: a, to: b, [UInt8](repeating: 7, count: 100))
        var buffer = PacketBuffer(packetCapacity: 2048)
        let (from, to) = (bench.time(of: a), bench.time(of: b))
        var delivered = 0
        let before = fabric_allocations()
        for _ in 0..<Self.count {
            if buffer.assign(packet), case .transmit = a.agent.send(&buffer, domain: .fabric, now: from),
                case .deliver = b.agent.receive(&buffer, from: a.endpoint, now: to)
            {
                delivered += 1
            }
            while a.agent.nextTransmit(into: &buffer, now: from) != nil {}
            while b.agent.nextTransmit(into: &buffer, now: to) != nil {}
            _ = a.agent.nextDeadline()
            _ = b.agent.nextDeadline()
        }
        return (delivered, fabric_allocations() - before)
    }

    @Test func `a packet from one agent's interface to the other's allocates nothing`() throws {
        let bench = try NodeBench()
        let (a, b) = try bench.joinPair(domains: [.fabric, RoutingDomainID("a-domain-with-a-long-name")!])
        _ = pass(bench, a, b)
        let (delivered, allocations) = pass(bench, a, b)
        #expect(delivered == Self.count)
        #expect(allocations == 0)
    }

    @Test func `a packet to a static peer and its answer allocate nothing`() throws {
        let bench = try NodeBench()
        let stock = try StockPeer(bench)
        let host = bench.addHost(
            "a", token: try bench.makeToken().token,
            staticPeers: [
                try .file("[Interface]\nAddress = 10.78.0.1/24\n" + stock.section(allowedIPs: "10.78.0.2/32"))
            ])
        bench.start(host)
        try #require(bench.run { host.agent.phase == .active && host.agent.tunnelsReady })
        try stock.learn(host, allowedIPs: ["10.78.0.1/32"])
        let there = Packets.udp4(from: "10.78.0.1", to: "10.78.0.2", [1, 2, 3])
        let back = Packets.udp4(from: "10.78.0.2", to: "10.78.0.1", [4, 5])
        bench.inject(there, host)
        bench.run(.seconds(1))
        var buffer = PacketBuffer(packetCapacity: 2048)
        let (now, their) = (bench.time(of: host), bench.now)
        let domain = try #require(stock.tunnels.domain(StockPeer.domain))
        var (arrived, allocations) = (0, UInt64(0))
        for round in 0..<2 {
            arrived = 0
            let before = fabric_allocations()
            for _ in 0..<Self.count {
                if buffer.assign(there), case .transmit = host.agent.send(&buffer, domain: .fabric, now: now),
                    case .packet = stock.tunnels.receive(&buffer, from: host.endpoint, now: their)
                {
                    arrived += 1
                }
                if buffer.assign(back), case .transmit = stock.tunnels.send(domain: domain, &buffer, now: their),
                    case .deliver = host.agent.receive(&buffer, from: stock.endpoint, now: now)
                {
                    arrived += 1
                }
            }
            if round == 1 { allocations = fabric_allocations() - before }
        }
        #expect(arrived == 2 * Self.count)
        #expect(allocations == 0)
    }

    @Test func `what an agent drops allocates nothing`() throws {
        let bench = try NodeBench()
        let (a, b) = try bench.joinPair()
        let nobody = Packets.udp(
            from: a.agent.overlayAddress(in: .fabric)!, to: IPAddress("fd00::1")!, [1])
        let sent = try #require(a.sent.last { $0.first == 4 })
        let blue = RoutingDomainID("blue")!
        var buffer = PacketBuffer(packetCapacity: 2048)
        let (from, to) = (bench.time(of: a), bench.time(of: b))
        var (dropped, allocations) = (0, UInt64(0))
        for round in 0..<2 {
            dropped = 0
            let before = fabric_allocations()
            for _ in 0..<Self.count {
                if buffer.assign(nobody), a.agent.send(&buffer, domain: .fabric, now: from) == .done { dropped += 1 }
                if buffer.assign(nobody), a.agent.send(&buffer, domain: blue, now: from) == .done { dropped += 1 }
                if buffer.assign(sent), b.agent.receive(&buffer, from: a.endpoint, now: to) == .done { dropped += 1 }
            }
            if round == 1 { allocations = fabric_allocations() - before }
        }
        #expect(dropped == 3 * Self.count)
        #expect(allocations == 0)
    }
}
