import FabricCore
import FabricTunnel
import FabricWire
import Testing

@testable import FabricNode

/// Paths that take less than the interface.
@Suite struct PathMTUTests {
    private func large(_ a: NodeHost, _ b: NodeHost, _ length: Int = 1400) -> [UInt8] {
        var packet = Packets.udp(from: a, to: b, [])
        packet += [UInt8](repeating: 7, count: length - packet.count)
        (packet[4], packet[5]) = (UInt8((length - 40) >> 8), UInt8((length - 40) & 255))
        return packet
    }

    /// Two members; the path from the first takes so much.
    private func join(_ mtu: Int) throws -> (NodeBench, NodeHost, NodeHost) {
        let bench = try NodeBench()
        let a = try bench.join("a")
        a.pathMTU = { _ in mtu }
        let b = try bench.join("b")
        try #require(bench.run { bench.isUp(a) && bench.isUp(b) })
        return (bench, a, b)
    }

    @Test func `a sender learns from the node's own address what the path takes, and smaller packets pass`() throws {
        let (bench, a, b) = try join(1400)
        bench.inject(large(a, b, 1341), a)
        let message = try #require(a.delivered.last)
        #expect(message.domain == .fabric && message.packet.count == 1280)
        #expect(message.packet[6] == 58 && message.packet[40] == 2)
        #expect(message.packet[8..<24].elementsEqual(a.agent.overlayAddress(in: .fabric)!.bytes))
        #expect(message.packet[24..<40].elementsEqual(a.agent.overlayAddress(in: .fabric)!.bytes))
        #expect(message.packet[44..<48] == [0, 0, 0x05, 0x3C])
        #expect(a.agent.counters.tooBigTold == 1)
        #expect(a.agent.drops.contains(NodeStatus.Drop(reason: "too_big", count: 1)))
        bench.inject(large(a, b, 1340), a)
        bench.run(.milliseconds(100))
        #expect(b.delivered.map(\.packet) == [large(a, b, 1340)])
    }

    @Test func `messages come in a burst, then at a rate, and what is not answered is dropped all the same`() throws {
        let (bench, a, b) = try join(1400)
        for _ in 0..<80 { bench.inject(large(a, b), a) }
        #expect(a.agent.counters.tooBigTold == 50 && a.delivered.count == 50)
        #expect(a.agent.tunnelCounters[.tooBig] == 80)
        bench.run(.milliseconds(3))
        for _ in 0..<80 { bench.inject(large(a, b), a) }
        #expect(a.agent.counters.tooBigTold == 53)
    }

    @Test func `an ICMP error that is too large is dropped in silence`() throws {
        let (bench, a, b) = try join(1400)
        var packet = large(a, b)
        (packet[6], packet[40]) = (58, 1)
        bench.inject(packet, a)
        #expect(a.delivered.isEmpty && a.agent.counters.tooBigTold == 0)
        #expect(a.agent.tunnelCounters[.tooBig] == 1)
    }

    @Test func `paths are asked for by session, and when a peer is found elsewhere`() throws {
        let (bench, a, b) = try join(1500)
        let first = a.questions.count
        #expect((1...3).contains(first) && a.questions.allSatisfy { $0.endpoint == b.endpoint })
        for _ in 0..<125 {
            bench.inject(large(a, b, 100), a)
            bench.run(.seconds(1))
        }
        #expect((first + 1...first + 3).contains(a.questions.count))
        let moved = Endpoint("192.0.2.200:51820")!
        b.sourceEndpoint = moved
        bench.run(.seconds(10))
        #expect(a.questions.last?.endpoint == moved)
    }

    @Test func `a refused run asks again at once, and refusals that go on once a second`() throws {
        let (bench, a, b) = try join(1500)
        bench.run(.seconds(5))
        let before = a.questions.count
        for _ in 0..<100 { a.agent.datagramsTooLarge(for: b.endpoint, now: bench.time(of: a)) }
        #expect(a.agent.nextPathQuestion()?.endpoint == b.endpoint && a.agent.nextPathQuestion() == nil)
        a.pathMTU = { _ in 1300 }
        bench.run(.seconds(1))
        a.agent.datagramsTooLarge(for: b.endpoint, now: bench.time(of: a))
        bench.inject(large(a, b), a)
        #expect(a.questions.count == before + 1)
        bench.inject(large(a, b), a)
        #expect(a.agent.counters.tooBigTold == 1)
        // Nobody is there.
        bench.run(.seconds(1))
        a.agent.datagramsTooLarge(for: Endpoint("203.0.113.1:1")!, now: bench.time(of: a))
        #expect(a.agent.nextPathQuestion() == nil)
    }

    /// A packet that opens a TCP connection, with a segment size of 1,460; its checksum is not computed.
    private func syn(_ a: NodeHost, _ b: NodeHost) -> [UInt8] {
        var packet = Packets.udp(from: a, to: b, [])
        packet.removeLast(8)
        packet += [0, 80, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 0x02, 2, 0, 0, 0, 0, 0, 2, 4, 0x05, 0xB4]
        (packet[5], packet[6]) = (24, 6)
        return packet
    }

    @Test(arguments: [false, true]) func `where it was asked for, connections are told what the path takes, both ways`(
        clamps: Bool
    ) throws {
        let bench = try NodeBench()
        let token = try bench.makeToken().token
        let a = bench.addHost("a", token: token, change: { $0.clampsSegments = clamps })
        bench.start(a)
        try #require(bench.run { a.agent.phase == .active && a.agent.durableSnapshotVersion > 0 })
        a.pathMTU = { _ in 1400 }
        let b = try bench.join("b")
        try #require(bench.run { bench.isUp(a) && bench.isUp(b) })
        bench.inject(syn(a, b), a)
        bench.inject(syn(b, a), b)
        bench.run(.milliseconds(100))
        // 1,400 less 60 around the packet, and 60 of IPv6 and TCP.
        let size: [UInt8] = clamps ? [0x05, 0x00] : [0x05, 0xB4]
        #expect(b.delivered.last?.packet.suffix(2).elementsEqual(size) == true)
        #expect(a.delivered.last?.packet.suffix(2).elementsEqual(size) == true)
    }

    @Test func `another MTU of the interface is asked for, and is the limit of padding and segments`() throws {
        let bench = try NodeBench()
        let a = bench.addHost(
            "a", token: try bench.makeToken().token,
            change: {
                $0.interfaceMTU = 1300
                $0.clampsSegments = true
            })
        bench.start(a)
        try #require(bench.run { a.agent.phase == .active && a.agent.durableSnapshotVersion > 0 })
        let b = try bench.join("b")
        try #require(bench.run { bench.isUp(a) && bench.isUp(b) })
        #expect(a.interfaces.allSatisfy { $0.mtu == 1300 } && b.interfaces.allSatisfy { $0.mtu == 1412 })
        bench.inject(large(a, b, 1299), a)
        #expect(a.sent.last?.count == 1332)
        bench.inject(syn(a, b), a)
        bench.run(.milliseconds(100))
        #expect(b.delivered.last?.packet.suffix(2).elementsEqual([0x04, 0xD8]) == true)
    }
}
