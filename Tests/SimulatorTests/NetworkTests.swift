import FabricCore
import Simulator
import Testing

@Suite struct NetworkTests {
    @Test func `a datagram arrives whole after the link's delay`() {
        let pair = Pair(milliseconds(30))
        pair.send([1, 2, 3])
        pair.run(.milliseconds(29))
        #expect(pair.hosts[1].datagrams.isEmpty)
        pair.run(.milliseconds(1))
        #expect(pair.hosts[1].what.last == .datagram(pair.ends[0], [1, 2, 3]))
        #expect(pair.world.network.counters.delivered == 1)
    }

    @Test func `sizes of every class arrive, also empty ones`() {
        var link = milliseconds(1)
        link.mtu = 65_535
        let pair = Pair(link)
        for size in [0, 1, 256, 257, 2048, 2049, 65_507, 65_508] {
            pair.send([UInt8](repeating: 9, count: size))
            pair.run(.milliseconds(2))
        }
        #expect(pair.hosts[1].datagrams.map(\.count) == [0, 1, 256, 257, 2048, 2049, 65_507])
        #expect(pair.world.network.counters.mtuDropped == 1)
    }

    @Test func `a packet larger than the MTU is dropped and counted`() {
        var link = milliseconds(1)
        link.mtu = 1280
        let pair = Pair(link)
        pair.send([UInt8](repeating: 0, count: 1252))
        pair.send([UInt8](repeating: 0, count: 1253))
        pair.run(.seconds(1))
        #expect(pair.hosts[1].datagrams.map(\.count) == [1252])
        #expect(pair.world.network.counters.mtuDropped == 1)
    }

    @Test func `loss, duplication, corruption and reordering come at their rates`() {
        var link = milliseconds(5)
        link.loss = .percent(10)
        link.duplication = .percent(5)
        link.corruption = .percent(2)
        link.reordering = .percent(3)
        let pair = Pair(seed: 42, link)
        let payload: [UInt8] = Array(repeating: 0x55, count: 100)
        for _ in 0..<20_000 {
            pair.send(payload)
            pair.run(.microseconds(100))
        }
        pair.run(.seconds(1))
        let counters = pair.world.network.counters
        #expect(counters.sent == 20_000)
        #expect((1850...2150).contains(counters.lost))
        #expect((800...1000).contains(counters.duplicated))
        #expect((300...420).contains(counters.corrupted))
        #expect((450...630).contains(counters.reordered))
        #expect(counters.delivered == counters.sent - counters.lost + counters.duplicated)
        let damaged = pair.hosts[1].datagrams.filter { $0 != payload }
        #expect(UInt64(damaged.count) == counters.corrupted)
        for bytes in damaged {
            let flipped = zip(bytes, payload).reduce(0) { $0 + ($1.0 ^ $1.1).nonzeroBitCount }
            #expect((1...3).contains(flipped))
        }
    }

    @Test("delays stay in their range and centre on it", arguments: [DelayDistribution.Shape.uniform, .bell])
    func jitter(shape: DelayDistribution.Shape) {
        let pair = Pair(
            LinkProfile(delay: DelayDistribution(.milliseconds(10), jitter: .milliseconds(8), shape: shape)))
        var delays: [Int64] = []
        for _ in 0..<4000 {
            let sent = pair.world.now(of: pair.ids[1]).monotonic
            pair.send([1])
            pair.run(.milliseconds(20))
            delays.append((pair.hosts[1].seen[pair.hosts[1].seen.count - 1].now.monotonic - sent).nanoseconds)
        }
        #expect(delays.allSatisfy { (10_000_000..<18_000_000).contains($0) })
        let mean = delays.reduce(0, +) / 4000
        #expect((13_800_000...14_200_000).contains(mean))
        let central = delays.filter { (12_000_000..<16_000_000).contains($0) }.count
        if shape == .bell { #expect(central > 3200) } else { #expect((1850...2150).contains(central)) }
    }

    @Test func `without jitter packets stay in order`() {
        let pair = Pair(LinkProfile(delay: DelayDistribution(.milliseconds(3)), bandwidth: 10_000_000))
        for number in 0..<100 { pair.send([UInt8(number)]) }
        pair.run(.seconds(1))
        #expect(pair.hosts[1].datagrams == (0..<100).map { [UInt8($0)] })
    }

    @Test func `bandwidth spaces packets and a full queue drops the newest`() {
        // 972 + 28 bytes at 8 Mbit/s take one millisecond each; the queue holds ten of them.
        let pair = Pair(
            LinkProfile(delay: DelayDistribution(.milliseconds(5)), bandwidth: 8_000_000, queueBytes: 10_000))
        let start = pair.world.now(of: pair.ids[1]).monotonic
        for number in 0..<30 { pair.send([UInt8(number)] + [UInt8](repeating: 0, count: 971)) }
        pair.run(.seconds(1))
        let arrivals = pair.hosts[1].seen.dropFirst()
        #expect(pair.hosts[1].datagrams.map { $0[0] } == Array(0..<10))
        #expect(arrivals.map { $0.now.monotonic - start } == (1...10).map { .milliseconds($0 + 5) })
        #expect(pair.world.network.counters.queueDropped == 20)
    }

    @Test func `the directions of a link have lines of their own`() {
        let pair = Pair(LinkProfile(delay: DelayDistribution(.zero), bandwidth: 8_000_000))
        let start = pair.world.now
        pair.send([UInt8](repeating: 0, count: 972))
        pair.send([UInt8](repeating: 0, count: 972), back: true)
        pair.run(.milliseconds(1))
        #expect(pair.world.now - start == .milliseconds(1))
        #expect(pair.hosts.map(\.datagrams.count) == [1, 1])
    }

    @Test func `a cut place reaches itself and nothing else, and heals`() {
        let pair = Pair(milliseconds(1))
        let third = ScriptedHost()
        let thirdID = pair.world.addHost(third, name: "three", place: pair.places[0])
        pair.world.start(thirdID, at: pair.world.now)
        let cut = pair.world.network.cut(.isolate(pair.places[0]))
        let inside = Endpoint(address: pair.world.network.address(of: thirdID), port: 1)
        func round(_ tag: UInt8) {
            pair.send([tag])
            pair.send([tag], back: true)
            pair.world.send(from: pair.ids[0], source: pair.ends[0], destination: inside, [tag])
            pair.run(.seconds(1))
        }
        round(1)
        #expect(pair.hosts.map(\.datagrams.count) == [0, 0])
        #expect(third.datagrams == [[1]])
        #expect(pair.world.network.counters.partitionDropped == 2)
        pair.world.network.heal(cut)
        pair.world.network.heal(cut)
        round(2)
        #expect(pair.hosts.map(\.datagrams) == [[[2]], [[2]]])
    }

    @Test func `a one-way cut drops one direction`() {
        let pair = Pair(milliseconds(1))
        let cut = pair.world.network.cut(
            Partition(from: .place(pair.places[0]), to: .place(pair.places[1]), oneWay: true))
        pair.send([1])
        pair.send([2], back: true)
        pair.run(.seconds(1))
        #expect(pair.hosts.map(\.datagrams) == [[[2]], []])
        #expect(pair.world.network.isCut(from: pair.ids[0], to: pair.ids[1]))
        #expect(!pair.world.network.isCut(from: pair.ids[1], to: pair.ids[0]))
        pair.world.network.heal(cut)
        #expect(!pair.world.network.isCut(from: pair.ids[0], to: pair.ids[1]))
    }

    @Test func `overlapping cuts heal independently`() {
        let pair = Pair(milliseconds(1))
        let network = pair.world.network!
        let cuts: [Partition] = [
            .isolate(pair.ids[0]), .isolate(pair.places[1]),
            Partition(from: .host(pair.ids[1]), to: .host(pair.ids[0])),
            Partition(from: .host(pair.ids[0]), to: .place(pair.places[1])),
            Partition(from: .everything, to: .everything),
        ]
        let ids = cuts.map { network.cut($0) }
        for id in ids {
            #expect(network.isCut(from: pair.ids[0], to: pair.ids[1]))
            #expect(network.isCut(from: pair.ids[1], to: pair.ids[0]))
            network.heal(id)
        }
        #expect(!network.isCut(from: pair.ids[0], to: pair.ids[1]))
        #expect(!network.isCut(from: pair.ids[1], to: pair.ids[0]))
    }

    @Test func `a cut takes what is under way`() {
        let pair = Pair(milliseconds(50))
        pair.send([1])
        pair.run(.milliseconds(20))
        _ = pair.world.network.cut(.isolate(pair.ids[1]))
        pair.run(.seconds(1))
        #expect(pair.hosts[1].datagrams.isEmpty)
        #expect(pair.world.network.counters.partitionDropped == 1)
    }

    @Test func `foreign and unowned addresses lead nowhere`() {
        let pair = Pair(milliseconds(1))
        pair.world.send(from: pair.ids[0], source: pair.ends[1], destination: pair.ends[1], [1])
        pair.world.send(from: pair.ids[0], source: pair.ends[0], destination: Endpoint("192.0.2.1:1")!, [1])
        pair.run(.seconds(1))
        #expect(pair.world.network.counters.unroutable == 2)
        #expect(pair.hosts[1].datagrams.isEmpty)
    }

    @Test func `a host that moves is reached at its new address only`() {
        let pair = Pair(milliseconds(10))
        pair.send([1], back: true)
        let moved = pair.world.network.move(pair.ids[0], to: pair.places[1])
        pair.send([2], back: true)
        pair.world.send(
            from: pair.ids[1], source: pair.ends[1], destination: Endpoint(address: moved, port: 7000), [3])
        pair.run(.seconds(1))
        #expect(pair.hosts[0].datagrams == [[3]])
        #expect(pair.world.network.place(of: pair.ids[0]) == pair.places[1])
        #expect(pair.world.network.counters.unroutable == 2)
    }

    @Test func `a host that is down receives nothing and sends nothing`() {
        let pair = Pair(milliseconds(1))
        pair.world.crash(pair.ids[1], .power)
        pair.send([1])
        pair.send([2], back: true)
        pair.run(.seconds(1))
        #expect(pair.world.network.counters.hostDown == 1)
        #expect(pair.hosts[0].datagrams.isEmpty)
    }
}
