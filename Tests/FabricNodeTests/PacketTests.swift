import FabricCore
import FabricMesh
import FabricTestSupport
import FabricTunnel
import FabricWire
import Testing

@testable import FabricNode

/// Two agents wired back to back.
@Suite struct PacketTests {
    static let blue = RoutingDomainID("blue")!

    @Test func `packets pass both ways, whole`() throws {
        let bench = try NodeBench()
        let (a, b) = try bench.joinPair()
        let there = (0..<20).map { Packets.udp(from: a, to: b, [UInt8](repeating: $0, count: Int($0) * 5)) }
        let back = (0..<20).map { Packets.udp(from: b, to: a, [UInt8](repeating: $0, count: Int($0) * 5)) }
        for (one, other) in zip(there, back) {
            bench.inject(one, a)
            bench.inject(other, b)
        }
        bench.run(.seconds(1))
        #expect(b.delivered.map(\.packet) == there)
        #expect(a.delivered.map(\.packet) == back)
        #expect(b.delivered.allSatisfy { $0.domain == .fabric })
        #expect(a.agent.counters.packetsSent == 20 && a.agent.counters.packetsDelivered == 20)
    }

    @Test func `a path is up while echoes come back, and down when they don't`() throws {
        let bench = try NodeBench()
        let (a, b) = try bench.joinPair()
        bench.run(.seconds(10))
        #expect(a.agent.peers[0].health.echoesReceived >= 4 && b.agent.peers[0].health.echoesReceived >= 4)
        let peer = try #require(a.agent.status(now: bench.time(of: a)).peers.first)
        #expect(peer.up && peer.hasSession && peer.name == "b" && peer.endpoint == b.endpoint)
        #expect(peer.roundTripMicroseconds == 10_000)
        #expect(a.reports.contains(.peerUp(b.agent.nodeID!, .fabric)))
        b.losesDatagrams = true
        bench.run(.seconds(10))
        #expect(!bench.isUp(a) && !bench.isUp(b))
        #expect(a.reports.contains(.peerDown(b.agent.nodeID!, .fabric)))
        b.losesDatagrams = false
        #expect(bench.run(until: { bench.isUp(a) && bench.isUp(b) }, limit: .seconds(20)))
    }

    @Test func `what is for nobody, or for a domain that is not ours, is dropped`() throws {
        let bench = try NodeBench()
        let (a, b) = try bench.joinPair()
        let sent = a.sent.count
        let nobody = Packets.udp(from: a.agent.overlayAddress(in: .fabric)!, to: IPAddress("fd00::1")!, [1])
        bench.inject(nobody, a)
        bench.inject(Packets.udp(from: a, to: b, [1]), a, domain: Self.blue)
        bench.inject([], a)
        bench.inject([0x60], a)
        bench.inject([0x45, 0, 0, 20] + [UInt8](repeating: 0, count: 16), a)
        #expect(a.sent.count == sent)
        #expect(a.agent.counters.dropsNoDomain == 1)
        bench.run(.seconds(1))
        #expect(b.delivered.isEmpty)
    }

    @Test func `packets stay in their routing domain`() throws {
        let bench = try NodeBench()
        let (a, b) = try bench.joinPair(domains: [.fabric, Self.blue])
        #expect(a.agent.peers.count == 2)
        #expect(Set(a.interfaces.map(\.domain)) == [.fabric, Self.blue])
        let packet = Packets.udp(from: a, to: b, domain: Self.blue, [7])
        bench.inject(packet, a, domain: Self.blue)
        bench.inject(packet, a, domain: .fabric)
        bench.run(.seconds(1))
        #expect(b.delivered.map(\.domain) == [Self.blue])
        #expect(b.delivered.map(\.packet) == [packet])
    }

    @Test func `fabric messages go to the agent, and packets to an address that is not the host's are dropped`() throws
    {
        let bench = try NodeBench()
        let (a, b) = try bench.joinPair()
        let peer = b.agent.domains[0].overlay
        let own = a.agent.domains[0].overlay
        let answered = b.agent.counters.probesAnswered
        // Not an echo, to the agent's address.
        bench.inject(Packets.udp(from: own.overlayAgent, to: peer.overlayAgent, [1, 2, 3]), a)
        // An echo in another's name: from the host's address.
        var forged = [UInt8](repeating: 0, count: EchoMessage.packetBytes)
        let probe = EchoMessage.Probe(sentAt: 0, echo: nil, held: 0, wantsAnswer: true)
        let echo = EchoMessage(source: own.overlayHost, destination: peer.overlayAgent, probe: probe)
        forged.withUnsafeMutableBytes { echo.write(to: $0) }
        bench.inject(forged, a)
        bench.run(.milliseconds(100))
        #expect(b.agent.counters.dropsMalformedFabricMessage == 2)
        #expect(b.agent.counters.probesAnswered == answered && b.delivered.isEmpty)
    }

    @Test func `nothing is sent or taken before the agent is a member`() throws {
        let bench = try NodeBench()
        let (a, _) = try bench.joinPair()
        let stranger = bench.addHost("c", token: nil)
        bench.receive(try #require(a.sent.first), stranger, from: a.endpoint)
        bench.start(stranger)
        bench.receive(try #require(a.sent.first), stranger, from: a.endpoint)
        bench.inject([0x60] + [UInt8](repeating: 0, count: 60), stranger)
        #expect(stranger.sent.isEmpty && stranger.delivered.isEmpty)
    }

    @Test func `mutated datagrams never trap, and only whole packets are delivered`() throws {
        let bench = try NodeBench()
        let (a, b) = try bench.joinPair()
        let packet = Packets.udp(from: a, to: b, [1, 2, 3, 4])
        for _ in 0..<4 { bench.inject(packet, a) }
        bench.run(.milliseconds(100))
        let corpus = Array(a.sent.suffix(8)) + Array(b.sent.prefix(4))
        let strangers = Endpoint("198.51.100.9:7")!
        try Fuzz.run(corpus: corpus, seed: 71, iterations: 1_500) { bytes in
            bench.receive(bytes, b, from: bytes.count % 2 == 0 ? a.endpoint : strangers)
        }
        #expect(b.delivered.allSatisfy { $0.packet == packet })
        #expect(b.delivered.count == 4)
        bench.run(.seconds(30))
        #expect(bench.isUp(a) && bench.isUp(b))
    }

    @Test func `mutated packets from the interface never trap`() throws {
        let bench = try NodeBench()
        let (a, b) = try bench.joinPair()
        a.losesDatagrams = true
        try Fuzz.run(corpus: [Packets.udp(from: a, to: b, [1, 2, 3, 4])], seed: 72, iterations: 1_500) { bytes in
            guard bytes.count <= 2048 else { return }
            bench.inject(bytes, a)
        }
    }
}
