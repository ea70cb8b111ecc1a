import FabricCore
import Simulator
import Testing

@Suite struct WorldTests {
    @Test func `events come in the order of time, then of their making`() {
        let world = World(seed: 1, epoch: WallTime(seconds: 0))
        var order: [Int] = []
        let random = SeededRandom(seed: 7, stream: "test")
        var expected: [(time: UInt64, number: Int)] = []
        for number in 0..<5000 {
            let time = random.below(50)
            expected.append((time, number))
            world.schedule(at: Instant(nanoseconds: Int64(time)), "step") { _ in order.append(number) }
        }
        #expect(world.run(until: Instant(nanoseconds: 100)) == .reached)
        #expect(order == expected.sorted { ($0.time, $0.number) < ($1.time, $1.number) }.map(\.number))
        #expect(world.now == Instant(nanoseconds: 100))
        #expect(world.eventCount == 5000)
    }

    @Test func `the world's clock stands at the event that is handled`() {
        let world = World(seed: 1, epoch: WallTime(seconds: 0))
        var times: [Instant] = []
        for time in [30, 10, 20] {
            world.schedule(at: Instant(nanoseconds: Int64(time)), "step") { times.append($0.now) }
        }
        _ = world.run(until: Instant(nanoseconds: 20))
        #expect(times == [Instant(nanoseconds: 10), Instant(nanoseconds: 20)])
    }

    @Test func `a replaced deadline wakes the host once, at the newest`() {
        let pair = Pair()
        let start = pair.world.now(of: pair.ids[0]).monotonic
        for offset in [50, 20, 80, 30] {
            pair.world.setDeadline(pair.ids[0], start + .milliseconds(offset))
        }
        pair.run(.seconds(1))
        #expect(pair.hosts[0].what == [.boot, .wake])
        #expect(pair.hosts[0].seen[1].now.monotonic == start + .milliseconds(30))
    }

    @Test func `a withdrawn deadline does not wake, one in the past wakes at once`() {
        let pair = Pair()
        pair.world.setDeadline(pair.ids[0], pair.world.now(of: pair.ids[0]).monotonic + .seconds(1))
        pair.world.setDeadline(pair.ids[0], nil)
        pair.run(.seconds(5))
        #expect(pair.hosts[0].what == [.boot])
        pair.world.setDeadline(pair.ids[0], .zero)
        pair.run(.zero)
        #expect(pair.hosts[0].what == [.boot, .wake])
    }

    @Test func `a crash drops deadline and timers, and the next boot has its own`() {
        let pair = Pair()
        let host = pair.ids[0]
        pair.world.setDeadline(host, pair.world.now(of: host).monotonic + .seconds(1))
        pair.world.setTimer(host, after: .seconds(1), token: 5)
        pair.world.crash(host, .process)
        pair.world.start(host, at: pair.world.now)
        pair.run(.seconds(3))
        #expect(pair.hosts[0].what == [.boot, .crashed, .boot])
        pair.world.setTimer(host, after: .seconds(1), token: 6)
        pair.run(.seconds(3))
        #expect(pair.hosts[0].what.last == .timer(6))
    }

    @Test func `a host that never lets time pass is found`() {
        let pair = Pair()
        pair.hosts[1].onEvent = { what, now in
            if what == .wake { pair.world.setDeadline(pair.ids[1], now.monotonic) }
        }
        pair.world.setDeadline(pair.ids[1], .zero)
        #expect(pair.world.run(until: Instant(nanoseconds: 1)) == .stuck(pair.ids[1]))
    }

    @Test func `the random streams of two boots, hosts and subsystems differ`() {
        let pair = Pair()
        let host = pair.ids[0]
        let first = pair.world.random(of: host, "tunnel").bytes(32)
        #expect(pair.world.random(of: host, "tunnel").bytes(32) == first)
        #expect(pair.world.random(of: host, "agent").bytes(32) != first)
        #expect(pair.world.random(of: pair.ids[1], "tunnel").bytes(32) != first)
        pair.world.crash(host, .process)
        pair.world.start(host, at: pair.world.now)
        pair.run(.zero)
        #expect(pair.world.random(of: host, "tunnel").bytes(32) != first)
    }

    @Test func `stop ends the run after the event`() {
        let world = World(seed: 1, epoch: WallTime(seconds: 0))
        var steps = 0
        for _ in 0..<3 {
            world.schedule(at: .zero, "step") {
                steps += 1
                $0.stop()
            }
        }
        #expect(world.run(until: .zero) == .stopped)
        #expect(steps == 1)
        #expect(world.run(until: .zero) == .stopped)
        #expect(steps == 2)
    }
}

@Suite struct VirtualClockTests {
    static let drifts: [Int64] = [0, 1, -1, 37_000, -37_000, 999_999, 100_000_000, -100_000_000]

    @Test("the world time of a deadline is the first at which the clock shows it", arguments: drifts)
    func inverse(drift: Int64) {
        var clock = VirtualClock(
            at: Instant(nanoseconds: 5_000_000_123), monotonic: Instant(nanoseconds: 777), wall: WallTime(seconds: 100))
        clock.setDrift(partsPerBillion: drift, at: Instant(nanoseconds: 6_000_000_000))
        let random = SeededRandom(seed: 3, stream: "clock")
        var wrong: [Instant] = []
        for round in 0..<2000 {
            let span = UInt64(1) << UInt64(round % 55 + 1)
            let deadline = Instant(nanoseconds: 1_000_000_000 + Int64(random.below(span)))
            let world = clock.worldTime(of: deadline)
            let before = max(Instant(nanoseconds: world.nanoseconds - 1), Instant(nanoseconds: 6_000_000_000))
            if clock.now(at: world).monotonic < deadline { wrong.append(deadline) }
            if before < world, clock.now(at: before).monotonic >= deadline { wrong.append(deadline) }
        }
        #expect(wrong.isEmpty)
    }

    @Test("the monotonic clock never goes back", arguments: drifts)
    func monotonic(drift: Int64) {
        var clock = VirtualClock(at: .zero, monotonic: .zero, wall: WallTime(seconds: 0))
        clock.setDrift(partsPerBillion: drift, at: .zero)
        var last = Instant(nanoseconds: -1)
        var backwards = 0
        for time in Int64(999_999_000)..<1_000_001_000 {
            let shown = clock.now(at: Instant(nanoseconds: time)).monotonic
            if shown < last { backwards += 1 }
            last = shown
        }
        #expect(backwards == 0)
    }

    @Test func `a drift of 100 ppm gains 8.64 seconds a day, on both clocks`() {
        var clock = VirtualClock(at: .zero, monotonic: .zero, wall: WallTime(seconds: 0))
        clock.setDrift(partsPerBillion: 100_000, at: .zero)
        let now = clock.now(at: .zero + .hours(24))
        #expect(now.monotonic == .zero + .hours(24) + .milliseconds(8640))
        #expect(now.wall == WallTime(seconds: 0) + .hours(24) + .milliseconds(8640))
    }

    @Test func `far deadlines are never, deadlines before the origin are now`() {
        var clock = VirtualClock(at: Instant(nanoseconds: 50), monotonic: .zero, wall: WallTime(seconds: 0))
        for drift in [0, 5000, -5000] as [Int64] {
            clock.setDrift(partsPerBillion: drift, at: Instant(nanoseconds: 50))
            #expect(clock.worldTime(of: .distantFuture) == .distantFuture)
            #expect(clock.worldTime(of: Instant(nanoseconds: .min)) == Instant(nanoseconds: 50))
        }
    }

    @Test func `a jump moves the wall clock alone, a reboot the monotonic clock alone`() {
        let pair = Pair()
        let host = pair.ids[0]
        let before = pair.world.now(of: host)
        pair.world.jumpWallClock(host, by: .minutes(-10))
        let jumped = pair.world.now(of: host)
        #expect(jumped.wall - before.wall == .minutes(-10))
        #expect(jumped.monotonic == before.monotonic)
        pair.run(.hours(2))
        pair.world.crash(host, .power)
        pair.world.start(host, at: pair.world.now)
        pair.run(.zero)
        let rebooted = pair.world.now(of: host)
        #expect(rebooted.wall == jumped.wall + .hours(2))
        #expect(rebooted.monotonic < Instant.zero + .minutes(2))
    }

    @Test func `a restarted process keeps the machine's monotonic clock`() {
        let pair = Pair()
        let host = pair.ids[0]
        let before = pair.world.now(of: host).monotonic
        pair.world.crash(host, .process)
        pair.run(.seconds(10))
        pair.world.start(host, at: pair.world.now)
        pair.run(.zero)
        #expect(pair.world.now(of: host).monotonic == before + .seconds(10))
    }

    @Test func `a deadline follows a change of drift`() {
        let pair = Pair()
        let host = pair.ids[0]
        let deadline = pair.world.now(of: host).monotonic + .seconds(100)
        pair.world.setDeadline(host, deadline)
        pair.world.setClockDrift(host, partsPerBillion: 100_000_000)
        pair.run(.seconds(91))
        #expect(pair.hosts[0].what == [.boot, .wake])
        // A fast clock skips nanoseconds.
        #expect((0...1).contains((pair.hosts[0].seen[1].now.monotonic - deadline).nanoseconds))
    }
}
