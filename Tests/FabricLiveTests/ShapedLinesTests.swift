import FabricCore
import FabricLinux
import FabricScenario
import Glibc
import Testing

@testable import FabricLive

@Suite struct ShapedLinesTests {
    static let sender = IPAddress("10.1.0.2")!
    static let start = Instant(nanoseconds: 1_000_000_000_000)

    func lines(_ link: String, seed: UInt64 = 1) throws -> ShapedLines {
        ShapedLines(
            try scenario(world: "  link: { \(link) }\n"), random: SeededRandom(seed: seed, stream: "links"))
    }

    /// So many packets of 1000 bytes, one a millisecond, from north to south.
    func send(_ count: Int, _ lines: inout ShapedLines, every: Duration = .milliseconds(1)) -> [ShapedLines.Passage] {
        (0..<count).map { index in
            lines.pass(
                from: 0, to: 1, sender: Self.sender, bytes: 1000,
                now: Self.start + .nanoseconds(every.nanoseconds * Int64(index)))
        }
    }

    @Test func `packets take the delay and no more than the jitter on top`() throws {
        var lines = try lines("delay: 20ms, jitter: 5ms")
        var spread: Set<Int64> = []
        for (index, passage) in send(500, &lines).enumerated() {
            let delay = try #require(passage.arrival) - (Self.start + .milliseconds(Int64(index)))
            #expect(delay >= .milliseconds(20) && delay < .milliseconds(25))
            #expect(passage.duplicate == nil)
            spread.insert(delay.nanoseconds / 1_000_000)
        }
        #expect(spread == [20, 21, 22, 23, 24])
        #expect(lines.counters == .init(passed: 500))
    }

    @Test func `shares of packets are lost, doubled and held back`() throws {
        var lines = try lines("delay: 1ms, jitter: 0ms, loss: 20%, duplicate: 10%, reorder: 10%")
        let passages = send(10_000, &lines)
        let counters = lines.counters
        #expect(abs(Int(counters.lost) - 2_000) < 200)
        #expect(abs(Int(counters.duplicated) - 800) < 120 && abs(Int(counters.reordered) - 800) < 120)
        #expect(passages.count { $0.arrival == nil } == Int(counters.lost))
        #expect(passages.count { $0.duplicate != nil } == Int(counters.duplicated))
    }

    @Test func `bursts take their share of the time, and come in runs`() throws {
        var lines = try lines("delay: 1ms, jitter: 0ms, bursts: { share: 20%, mean: 50ms, loss: 100% }")
        let lost = send(50_000, &lines).map { $0.arrival == nil }
        #expect(abs(lost.count { $0 } - 10_000) < 2_500)
        #expect(lines.counters.burstLost == UInt64(lost.count { $0 }) && lines.counters.lost == 0)
        let changes = zip(lost, lost.dropFirst()).count { $0 != $1 }
        #expect((200...800).contains(changes))
    }

    @Test func `a jitter has its shape`() throws {
        func delays(_ shape: String) throws -> [Int64] {
            var lines = try lines("delay: 0ms, jitter: 10ms, shape: \(shape)")
            return send(4_000, &lines).enumerated().map { index, passage in
                (passage.arrival! - (Self.start + .milliseconds(Int64(index)))).nanoseconds / 1_000
            }.sorted()
        }
        let bell = try delays("bell")
        #expect(bell.last! < 10_000 && abs(bell[2_000] - 5_000) < 200 && bell[200] > 2_000)
        let tail = try delays("tail")
        #expect(abs(tail[2_000] - 4_142) < 500 && tail[3_960] > 60_000 && tail.last! <= 1_000_000)
    }

    @Test func `what a black hole does not let through vanishes, and what is held back is so by what the file says`()
        throws
    {
        var lines = try lines("delay: 1ms, jitter: 0ms, black-hole: 1200B, reorder: 100%, reorder-by: 70ms")
        let passes = lines.pass(from: 0, to: 1, sender: Self.sender, bytes: 1200, now: Self.start)
        #expect(passes.arrival == Self.start + .milliseconds(71))
        let vanishes = lines.pass(from: 0, to: 1, sender: Self.sender, bytes: 1201, now: Self.start)
        #expect(vanishes == .dropped && lines.counters.blackHoleDropped == 1)
    }

    @Test func `a rate spaces packets out, and its queue drops what it can't hold`() throws {
        // 1000 bytes are 8 ms on the line, and four of them fit the queue.
        var lines = try lines("delay: 1ms, jitter: 0ms, rate: 1Mbit/s, queue: 4kB")
        let arrivals = send(10, &lines, every: .zero).map { $0.arrival.map { $0 - Self.start } }
        #expect(arrivals.prefix(4) == [.milliseconds(9), .milliseconds(17), .milliseconds(25), .milliseconds(33)])
        #expect(arrivals.dropFirst(4).allSatisfy { $0 == nil } && lines.counters.queueDropped == 6)
        // The way back is a line of its own.
        let back = lines.pass(from: 1, to: 0, sender: Self.sender, bytes: 1000, now: Self.start)
        #expect(back.arrival == Self.start + .milliseconds(9))
    }

    @Test func `what is larger than the MTU vanishes, and a change is in force at once`() throws {
        let plan = try scenario(
            world: "  link: { delay: 1ms, jitter: 0ms, mtu: 1280B }\n",
            timeline: "  - { at: 1s, link: { between: [north, south], delay: 70ms, mtu: 576B } }")
        var lines = ShapedLines(plan, random: SeededRandom(seed: 1, stream: "links"))
        func arrives(_ bytes: Int, _ from: Int, _ to: Int) -> Duration? {
            lines.pass(from: from, to: to, sender: Self.sender, bytes: bytes, now: Self.start).arrival.map {
                $0 - Self.start
            }
        }
        #expect(arrives(1280, 0, 1) == .milliseconds(1) && arrives(1281, 0, 1) == nil)
        for case .setLinks(let links) in plan.steps.map(\.action) { lines.set(links, now: Self.start) }
        #expect(arrives(576, 0, 1) == .milliseconds(70) && arrives(577, 0, 1) == nil)
        #expect(arrives(576, 1, 0) == .milliseconds(70) && arrives(1280, 1, 1) != nil)
    }

    @Test func `when a line's rate changes, what waits are bytes`() throws {
        let plan = try scenario(
            world: "  link: { delay: 1ms, jitter: 0ms, rate: 64kbit/s }\n",
            timeline: "  - { at: 1s, link: { between: [north, south], rate: 20Mbit/s } }")
        var lines = ShapedLines(plan, random: SeededRandom(seed: 1, stream: "links"))
        #expect(send(300, &lines, every: .zero).count { $0.arrival != nil } == 262)
        for case .setLinks(let links) in plan.steps.map(\.action) { lines.set(links, now: Self.start) }
        let passage = lines.pass(
            from: 0, to: 1, sender: Self.sender, bytes: 125, now: Self.start + .milliseconds(100))
        // 262,000 bytes at the new rate are 104.8 ms.
        #expect(passage.arrival == Self.start + .microseconds(104_800 + 50 + 1_000))
    }

    @Test func `packets arrive in the order of their times, whatever the order they left in`() {
        let random = SeededRandom(seed: 5, stream: "test")
        var underWay = PacketsUnderWay()
        var times: [Int64] = []
        for index in 0..<2_000 {
            let time = Int64(random.below(500))
            times.append(time)
            let fits = underWay.insert([UInt8(index & 0xFF), UInt8(index >> 8)], at: Instant(nanoseconds: time))
            #expect(fits)
        }
        // Equal times keep their order.
        let expected = times.indices.sorted { (times[$0], $0) < (times[$1], $1) }
        var order: [Int] = []
        for limit: Int64 in [100, 499] {
            while let packet = underWay.take(until: Instant(nanoseconds: limit)) {
                order.append(Int(packet[0]) | Int(packet[1]) << 8)
            }
            #expect(underWay.nextArrival.map { $0.nanoseconds > limit } ?? true)
        }
        #expect(order == expected && underWay.count == 0)
    }

    @Test func `no more packets are kept than the limit`() {
        var underWay = PacketsUnderWay()
        func insert() -> Bool { underWay.insert([], at: .zero) }
        var taken = 0
        while taken <= PacketsUnderWay.limit, insert() { taken += 1 }
        #expect(taken == PacketsUnderWay.limit && underWay.count == taken)
        _ = underWay.take(until: .zero)
        let fits = insert()
        #expect(fits)
    }
}

/// In the suite of the networks, whose namespaces have the same names: one at a time.
extension LiveNetworkTests {
    @Test func `real packets between places take the link's delay, and all are seen on both nodes' links`() throws {
        let work = try WorkFolder()
        defer { try? work.remove() }
        let plan = try scenario(
            world: "  link: { delay: 60ms, jitter: 0ms }\n",
            timeline: "  - { at: 1s, link: { between: [north, south], delay: 5ms } }")
        let network = try LiveNetwork(plan)
        defer { _ = network.tearDown() }
        try network.build(plan, captures: work.captures)
        func minimum(_ from: TestBed.Node, _ to: TestBed.Node) throws -> Double {
            let said = try from.namespace.command(["ping", "-n", "-q", "-c", "5", "-i", "0.05", "\(to.address)"])
            #expect(said.contains(" 0% packet loss"))
            // rtt min/avg/max/mdev = 120.4/…
            return try #require(said.split(separator: "= ").last?.split(separator: "/").first.flatMap { Double($0) })
        }
        #expect(try minimum(network.nodes[0], network.nodes[1]) >= 120)
        #expect(try minimum(network.nodes[1], network.nodes[2]) >= 0.2)
        for case .setLinks(let links) in plan.steps.map(\.action) { try network.setLinks(links) }
        #expect(try minimum(network.nodes[0], network.nodes[1]) >= 10)
        #expect(network.stopLinks().isEmpty)
        let recorded = try network.stopCaptures()
        #expect(recorded.allSatisfy { $0.dropped == 0 })
    }

    @Test func `a cut holds for what is under way`() throws {
        let work = try WorkFolder()
        defer { try? work.remove() }
        let plan = try scenario(
            world: "  link: { delay: 500ms, jitter: 0ms }\n",
            timeline: "  - { at: 1s, partition: { between: [north, south], for: 1s } }")
        let network = try LiveNetwork(plan)
        defer { _ = network.tearDown() }
        try network.build(plan, captures: work.captures)
        func open(_ node: TestBed.Node) throws -> UDPSocket {
            try node.namespace.withThread { try UDPSocket(bind: Endpoint(address: node.address, port: 7000)) }
        }
        let (sender, receiver) = (try open(network.nodes[0]), try open(network.nodes[1]))
        func arrives() -> Bool {
            var descriptor = pollfd(fd: receiver.descriptor, events: Int16(POLLIN), revents: 0)
            return poll(&descriptor, 1, 1500) == 1
        }
        _ = try [1].withUnsafeBytes { try sender.send($0, to: receiver.localEndpoint) }
        for case .cut(let cut) in plan.steps.map(\.action) { try network.cut(cut) }
        #expect(!arrives())
        try network.heal([0])
        _ = try [1].withUnsafeBytes { try sender.send($0, to: receiver.localEndpoint) }
        #expect(arrives())
    }
}
