import FabricCore
import Testing

@testable import Simulator

/// A change of a line's rate, while packets wait for it.
@Suite struct LinkRateTests {
    private func line(_ rate: Int64?, queue: Int = 256 << 10) -> LinkProfile {
        LinkProfile(delay: DelayDistribution(.milliseconds(1)), bandwidth: rate, queueBytes: queue)
    }

    /// Packets of 1000 bytes with their headers until the queue takes no more; how many it took.
    private func fill(_ pair: Pair) -> Int {
        var taken = 0
        while pair.world.network.counters.queueDropped == 0 {
            pair.send([UInt8](repeating: 0, count: 972))
            taken += 1
        }
        return taken - 1
    }

    @Test func `a line whose rate fault is over takes packets at once`() {
        let pair = Pair(line(20_000_000))
        func change(_ profile: LinkProfile) {
            pair.world.network.setLink(between: pair.places[0], and: pair.places[1], profile)
        }
        pair.run(.seconds(1))
        change(line(64_000))
        #expect(fill(pair) == 262)
        pair.run(.seconds(1))
        let queued = pair.world.network.queuedBytes(from: pair.places[0], to: pair.places[1])
        #expect((253_990...254_000).contains(queued), "\(queued)")
        change(line(20_000_000))
        // The bytes are still there, and take the time of the new rate: a tenth of a second.
        let rest = pair.world.network.queuedBytes(from: pair.places[0], to: pair.places[1])
        #expect((253_900...254_000).contains(rest), "\(rest)")
        pair.run(.milliseconds(102))
        pair.hosts[1].seen = []
        let dropped = pair.world.network.counters.queueDropped
        pair.send([7])
        pair.run(.milliseconds(5))
        #expect(pair.world.network.counters.queueDropped == dropped)
        #expect(pair.hosts[1].datagrams.contains([7]))
    }

    @Test func `what does not fit the new queue is not waited for, and a line without a rate has none`() {
        let pair = Pair(line(1_000_000))
        func change(_ profile: LinkProfile) {
            pair.world.network.setLink(between: pair.places[0], and: pair.places[1], profile)
        }
        func queued() -> Int64 { pair.world.network.queuedBytes(from: pair.places[0], to: pair.places[1]) }
        pair.run(.seconds(1))
        _ = fill(pair)
        change(line(1_000_000, queue: 10_000))
        #expect(queued() == 10_000)
        change(line(500_000, queue: 10_000))
        #expect((9_990...10_000).contains(queued()))
        change(line(nil))
        #expect(queued() == 0)
        change(line(500_000))
        #expect(queued() == 0)
    }

    @Test func `within a place each sender's own line follows`() {
        let world = World(seed: 1, epoch: WallTime(seconds: 1_800_000_000))
        let place = world.network.addPlace("a", inner: line(64_000), outer: .wide)
        let hosts = [ScriptedHost(), ScriptedHost()]
        let ids = [
            world.addHost(hosts[0], name: "one", place: place), world.addHost(hosts[1], name: "two", place: place),
        ]
        for id in ids { world.start(id, at: .zero) }
        _ = world.run(until: .zero)
        let ends = ids.map { Endpoint(address: world.network.address(of: $0), port: 7000) }
        for _ in 0..<200 {
            world.send(from: ids[0], source: ends[0], destination: ends[1], [UInt8](repeating: 0, count: 972))
        }
        world.network.setLink(from: place, to: place, line(100_000_000))
        _ = world.run(until: world.now + .milliseconds(20))
        hosts[1].seen = []
        world.send(from: ids[0], source: ends[0], destination: ends[1], [7])
        _ = world.run(until: world.now + .milliseconds(5))
        #expect(hosts[1].datagrams.contains([7]))
    }

    @Test func `a full queue of a slow line is told in bytes also when the line becomes fast`() {
        let pair = Pair(line(16_000, queue: LinkProfile.maximumQueueBytes))
        pair.run(.seconds(1))
        for _ in 0..<2_000 { pair.send([UInt8](repeating: 0, count: 1_472)) }
        func queued() -> Int64 { pair.world.network.queuedBytes(from: pair.places[0], to: pair.places[1]) }
        #expect(queued() == 3_000_000)
        pair.world.network.setLink(
            between: pair.places[0], and: pair.places[1],
            line(1_000_000_000_000, queue: LinkProfile.maximumQueueBytes))
        #expect((2_999_000...3_000_000).contains(queued()))
        #expect(LinkState.scaled(.max, by: .max, over: 1) == .max)
        #expect(LinkState.scaled(.max, by: 8, over: 8) == .max)
    }
}
