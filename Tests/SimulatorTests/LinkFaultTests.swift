import FabricCore
import Simulator
import Testing

@Suite struct LinkFaultTests {
    // MARK: Bursts

    /// Which of the packets that are sent at even distances arrive.
    private func arrivals(_ count: Int, every pause: Duration, seed: UInt64 = 1, _ link: LinkProfile) -> [Bool] {
        let pair = Pair(seed: seed, link)
        for number in 0..<count {
            pair.send([UInt8(number & 0xFF), UInt8(number >> 8 & 0xFF), UInt8(number >> 16)])
            pair.run(pause)
        }
        pair.run(.seconds(1))
        var arrived = [Bool](repeating: false, count: count)
        for bytes in pair.hosts[1].datagrams {
            arrived[Int(bytes[0]) | Int(bytes[1]) << 8 | Int(bytes[2]) << 16] = true
        }
        return arrived
    }

    private func runs(of value: Bool, _ list: [Bool]) -> [Int] {
        list.split(separator: !value).map(\.count)
    }

    @Test(arguments: [(10 as UInt32, 100 as Int64), (30, 50), (2, 20)])
    func `bursts take their share of the time and last as long as said`(percent: UInt32, milliseconds mean: Int64) {
        var link = milliseconds(1)
        link.bursts = LossBursts(share: .percent(percent), mean: .milliseconds(mean))
        let list = arrivals(100_000, every: .milliseconds(5), seed: 7, link)
        let lost = list.count { !$0 }
        let expected = 1000 * Int(percent)
        #expect((expected * 8 / 10...expected * 12 / 10).contains(lost), "\(lost)")
        let bursts = runs(of: false, list)
        // Bursts that fall between two packets are not seen; those that are seen look longer by as much.
        let length = Double(lost) / Double(bursts.count) * 5
        #expect((Double(mean) * 0.85...Double(mean) * 1.2 + 5).contains(length), "\(length)")
    }

    @Test func `a burst hits all who use the line, and one more packet changes nothing for the others`() {
        var link = milliseconds(1)
        link.bursts = LossBursts(share: .percent(20), mean: .milliseconds(300))
        let sparse = arrivals(1000, every: .milliseconds(100), link)
        let dense = arrivals(10_000, every: .milliseconds(10), link)
        #expect(sparse == stride(from: 0, to: 10_000, by: 10).map { dense[$0] })
        #expect(sparse.contains(false))
        #expect(sparse != arrivals(1000, every: .milliseconds(100), seed: 2, link))
    }

    @Test func `a burst that loses a part loses that part`() {
        var link = milliseconds(1)
        link.bursts = LossBursts(share: .percent(50), mean: .seconds(1), lossInside: .percent(40))
        let lost = arrivals(100_000, every: .milliseconds(5), link).count { !$0 }
        #expect((17_000...23_000).contains(lost), "\(lost)")
    }

    @Test func `bursts are counted apart, and end when the link says none`() {
        var link = milliseconds(1)
        link.bursts = LossBursts(share: .percent(99), mean: .seconds(600))
        let pair = Pair(seed: 3, link)
        for _ in 0..<100 { pair.send([1]) }
        pair.run(.seconds(1))
        #expect(pair.world.network.counters.burstLost == 100 && pair.world.network.counters.lost == 0)
        link.bursts = nil
        pair.world.network.setLink(between: pair.places[0], and: pair.places[1], link)
        pair.send([1])
        pair.run(.seconds(1))
        #expect(pair.hosts[1].datagrams.count == 1)
    }

    @Test func `a change of another property leaves the bursts where they are`() {
        func lost(_ changes: Bool) -> [Int] {
            var link = milliseconds(1)
            link.bursts = LossBursts(share: .percent(30), mean: .milliseconds(200))
            let pair = Pair(link)
            return (0..<200).map { _ in
                link.queueBytes += changes ? 1 : 0
                if changes { pair.world.network.setLink(between: pair.places[0], and: pair.places[1], link) }
                pair.send([1])
                pair.run(.milliseconds(50))
                return pair.hosts[1].datagrams.count
            }
        }
        #expect(lost(true) == lost(false))
    }

    // MARK: The long tail

    @Test func `a long tail has its mean, its median and its seldom long delays`() {
        let pair = Pair(
            seed: 5, LinkProfile(delay: DelayDistribution(.milliseconds(10), jitter: .milliseconds(1), shape: .tail)))
        var excess: [Int64] = []
        for _ in 0..<40_000 {
            let sent = pair.world.now(of: pair.ids[1]).monotonic
            pair.send([1])
            pair.run(.milliseconds(120))
            excess.append((pair.hosts[1].seen.last!.now.monotonic - sent).nanoseconds - 10_000_000)
        }
        excess.sort()
        #expect(excess.first! >= 0 && excess.last! <= 100_000_000)
        let mean = excess.reduce(0, +) / 40_000
        #expect((900_000...1_100_000).contains(mean), "\(mean)")
        #expect((400_000...430_000).contains(excess[20_000]))
        #expect((8_000_000...10_000_000).contains(excess[39_600]))
        #expect((20_000_000...50_000_000).contains(excess[39_960]))
    }

    // MARK: Black holes

    @Test func `a black hole swallows what is larger, and a smaller MTU is another thing`() {
        var link = milliseconds(1)
        link.blackHole = 1000
        let pair = Pair(link)
        for size in [100, 972, 973, 1472, 1473] { pair.send([UInt8](repeating: 1, count: size)) }
        pair.run(.seconds(1))
        #expect(pair.hosts[1].datagrams.map(\.count) == [100, 972])
        #expect(pair.world.network.counters.blackHoleDropped == 2)
        #expect(pair.world.network.counters.mtuDropped == 1)
    }

    @Test func `a stream gets small messages through a black hole and hangs on a large one, but not at a small MTU`() {
        func received(_ change: (inout LinkProfile) -> Void) -> [Int] {
            var link = milliseconds(5)
            change(&link)
            let pair = Pair(milliseconds(5))
            let world = pair.world
            world.streams.listen(
                pair.ids[1], port: 443,
                StreamListener(
                    identity: StreamIdentity(chain: [[1]]), clientCertificate: .none, verify: { _, _ in nil }))
            let stream = world.streams.connect(
                pair.ids[0], to: Endpoint(address: pair.ends[1].address, port: 443),
                StreamOptions(identity: nil) { _, _ in nil })
            pair.run(.seconds(1))
            world.network.setLink(between: pair.places[0], and: pair.places[1], link)
            _ = world.streams.send(stream, [UInt8](repeating: 1, count: 500))
            _ = world.streams.send(stream, [UInt8](repeating: 2, count: 5000))
            pair.run(.seconds(30))
            return pair.hosts[1].messages.map(\.count)
        }
        #expect(received { _ in } == [500, 5000])
        #expect(received { $0.mtu = 800 } == [500, 5000])
        #expect(received { $0.blackHole = 800 } == [500])
    }

    // MARK: Addresses

    @Test func `a network never runs out of addresses by giving new ones`() {
        let pair = Pair(milliseconds(1))
        var seen: Set<IPAddress> = []
        for _ in 0..<VirtualNetwork.addressesOfPlace + 10 {
            let address = pair.world.network.move(pair.ids[0], to: pair.places[1])
            #expect(address != pair.ends[1].address)
            seen.insert(address)
        }
        #expect(seen.count == VirtualNetwork.addressesOfPlace - 1)
        #expect(pair.world.network.owner(of: pair.ends[1].address) == pair.ids[1])
    }
}
