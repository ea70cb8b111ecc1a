import FabricCore
import FabricWire
import Testing

@testable import FabricNode

/// ECN marks through agents.
@Suite struct MarkTests {
    private func marked(_ packet: [UInt8], _ ecn: ECN) -> [UInt8] {
        var packet = packet
        if packet[0] >> 4 == 4 { packet[1] |= ecn.rawValue } else { packet[1] |= ecn.rawValue << 4 }
        return packet
    }

    @Test func `between nodes a datagram has its packet's mark, and the packet gets the path's`() throws {
        let bench = try NodeBench()
        let (a, b) = try bench.joinPair()
        let plain = Packets.udp(from: a, to: b, [1, 2, 3])
        bench.inject(marked(plain, .ect0), a)
        #expect(a.marks.last == .ect0)
        bench.run(.milliseconds(100))
        b.pathMark = { _ in .ce }
        bench.inject(marked(plain, .ect0), a)
        bench.inject(plain, a)
        bench.run(.milliseconds(100))
        #expect(b.delivered.map(\.packet) == [marked(plain, .ect0), marked(plain, .ce)])
        #expect(b.agent.drops.contains(NodeStatus.Drop(reason: "congestion", count: 1)))
    }

    @Test func `the agent's own messages are not marked`() throws {
        let bench = try NodeBench()
        let (a, b) = try bench.joinPair()
        bench.run(.seconds(30))
        #expect(a.sent.count > 5 && b.sent.count > 5)
        #expect((a.marks + b.marks).allSatisfy { $0 == .notECT })
    }

    @Test func `an answer to a probe that came marked is not marked`() throws {
        let bench = try NodeBench()
        let (a, b) = try bench.joinPair()
        // Somebody on the path sets a mark that nobody asked for.
        a.pathMark = { _ in .ect0 }
        b.pathMark = { _ in .ect0 }
        let answered = a.agent.counters.probesAnswered + b.agent.counters.probesAnswered
        b.losesDatagrams = true
        bench.run(.seconds(10))
        b.losesDatagrams = false
        bench.run(.seconds(10))
        #expect(a.agent.counters.probesAnswered + b.agent.counters.probesAnswered > answered)
        #expect((a.marks + b.marks).allSatisfy { $0 == .notECT })
    }

    @Test func `a static peer, of which nobody knows whether it keeps a mark, gets none`() throws {
        let bench = try NodeBench()
        let stock = try StockPeer(bench)
        let host = bench.addHost(
            "a", token: try bench.makeToken().token,
            staticPeers: [
                try .file("[Interface]\nAddress = 10.78.0.1/24\n" + stock.section(allowedIPs: "10.78.0.2/32"))
            ])
        bench.start(host)
        try #require(bench.run { host.agent.phase == .active && host.agent.tunnelsReady })
        try stock.learn(host, knowsEndpoint: false, allowedIPs: ["10.78.0.1/32"])
        let packet = marked(Packets.udp4(from: "10.78.0.1", to: "10.78.0.2", [1]), .ect0)
        bench.inject(packet, host)
        bench.run(.milliseconds(100))
        bench.inject(packet, host)
        bench.run(.milliseconds(100))
        #expect(stock.received == [packet, packet])
        #expect(host.marks.allSatisfy { $0 == .notECT })
    }
}
