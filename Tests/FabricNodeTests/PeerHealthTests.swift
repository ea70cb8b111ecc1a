import FabricCore
import FabricMesh
import FabricWire
import Testing

@Suite struct PeerHealthTests {
    let start = Instant(nanoseconds: 10_000_000_000)
    func fresh() -> PeerHealth {
        PeerHealth(probeInterval: .seconds(2), firstProbe: start, origin: start, clockOffset: 0)
    }

    func probe(_ sentAt: Int64, echo: Instant?, held: Duration = .zero, asks: Bool = false) -> EchoMessage.Probe {
        EchoMessage.Probe(sentAt: sentAt, echo: echo?.nanoseconds, held: held.nanoseconds, wantsAnswer: asks)
    }

    /// A path whose first probe, at the start, was answered 30 ms later.
    func proved() -> PeerHealth {
        var health = fresh()
        _ = health.probeSent(now: start, isAnswer: false)
        health.probeReceived(probe(1, echo: start), now: start + .milliseconds(30))
        return health
    }

    @Test func `a path is up from its first echo until three intervals after the last probe arrived`() {
        var health = fresh()
        #expect(!health.isUp(at: start) && health.probeDue == start)
        #expect(health.probeSent(now: start, isAnswer: false).wantsAnswer, "nothing has come back yet")
        #expect(!health.isUp(at: start))
        let echo = start + .milliseconds(30)
        health.probeReceived(probe(1, echo: start), now: echo)
        #expect(health.roundTrip == .milliseconds(30))
        #expect(health.isUp(at: echo + .seconds(6)))
        #expect(!health.isUp(at: echo + .seconds(6) + .nanoseconds(1)))
        // The peer had the next one for a second and a half.
        _ = health.probeSent(now: start + .seconds(2), isAnswer: false)
        let late = start + .milliseconds(3_530)
        health.probeReceived(probe(2, echo: start + .seconds(2), held: .milliseconds(1_500)), now: late)
        #expect(health.roundTrip == .milliseconds(30))
        #expect(health.isUp(at: late + .milliseconds(4_500)))
        #expect(!health.isUp(at: late + .milliseconds(4_500) + .nanoseconds(1)))
    }

    /// Two ends and what is under way between them.
    struct Pair {
        var ends: [PeerHealth]
        let delay: Duration
        var now: Instant
        var sent = [0, 0]
        var asked = 0
        var tries = [0, 0]
        var downs = [0, 0]
        /// Whether a packet is lost, by its number.
        var loses: (Int) -> Bool = { _ in false }
        private var packets = 0
        private var arrivals: [(at: Instant, to: Int, probe: EchoMessage.Probe)] = []

        init(_ ends: [PeerHealth], delay: Duration, now: Instant) {
            self.ends = ends
            self.delay = delay
            self.now = now
        }

        private mutating func send(_ probe: EchoMessage.Probe, to end: Int) {
            packets += 1
            if !loses(packets) { arrivals.append((now + delay, end, probe)) }
        }

        mutating func run(_ duration: Duration) {
            let until = now + duration
            while now < until {
                for end in 0...1 where ends[end].probeDue <= now { act(end) }
                while let first = arrivals.first, first.at <= now {
                    arrivals.removeFirst()
                    ends[first.to].probeReceived(first.probe, now: now)
                    guard first.probe.wantsAnswer else { continue }
                    send(ends[first.to].probeSent(now: now, isAnswer: true), to: 1 - first.to)
                }
                let next = min(ends[0].probeDue, ends[1].probeDue, arrivals.first?.at ?? until, until)
                now = max(next, now + .nanoseconds(1))
                // Between two events a path may go down, and does not come up.
                for end in 0...1 where !ends[end].isUp(at: now + .nanoseconds(-1)) { downs[end] += 1 }
            }
        }

        private mutating func act(_ end: Int) {
            guard !ends[end].isResting(at: now) else {
                tries[end] += 1
                ends[end].tried(endpoints: 1, now: now)
                // A handshake, there and back.
                if !loses(packets) { for end in 0...1 { ends[end].encourage(atOnce: true, now: now) } }
                return
            }
            let probe = ends[end].probeSent(now: now, isAnswer: false)
            sent[end] += 1
            asked += probe.wantsAnswer ? 1 : 0
            send(probe, to: 1 - end)
        }
    }

    func pair(
        _ intervals: (Duration, Duration) = (.seconds(2), .seconds(2)), phase: Duration, delay: Duration
    ) -> Pair {
        Pair(
            [
                PeerHealth(probeInterval: intervals.0, firstProbe: start, origin: start, clockOffset: 0),
                PeerHealth(
                    probeInterval: intervals.1, firstProbe: start + phase, origin: start + phase, clockOffset: .max),
            ], delay: delay, now: start)
    }

    @Test func `two ends that hear each other send one probe an interval each, and ask for nothing`() {
        var pair = pair(phase: .milliseconds(700), delay: .milliseconds(20))
        pair.run(.seconds(40))
        #expect(pair.sent.allSatisfy { (20...22).contains($0) } && pair.asked <= 2, "\(pair.sent), \(pair.asked)")
        #expect(pair.ends.allSatisfy { $0.isUp(at: pair.now) && $0.roundTrip == .milliseconds(40) })
    }

    @Test(arguments: [0, 1, 100, 700, 1_000, 1_900, 1_999], [0, 10, 150, 300, 1_000, 1_500, 2_000, 2_400])
    func `a path that works is up and stays so, whatever its delay and the ends' phases`(phase: Int, delay: Int) {
        var pair = pair(phase: .milliseconds(phase), delay: .milliseconds(delay))
        pair.run(.seconds(15))
        pair.downs = [0, 0]
        let (packets, asked) = (pair.sent, pair.asked)
        pair.run(.seconds(60))
        #expect(pair.downs == [0, 0])
        // One in each interval, and no asking.
        #expect(zip(pair.sent, packets).allSatisfy { $0 - $1 <= 33 }, "\(pair.sent) after \(packets)")
        #expect(pair.asked == asked)
    }

    @Test(arguments: [200, 500, 2_000, 10_000]) func `ends that probe at different intervals both see the path`(
        other: Int
    ) {
        var pair = pair((.seconds(2), .milliseconds(other)), phase: .milliseconds(30), delay: .milliseconds(20))
        pair.run(.seconds(30))
        pair.downs = [0, 0]
        pair.run(.seconds(60))
        #expect(pair.downs == [0, 0])
    }

    @Test(arguments: 3..<9) func `one packet in a few lost is no lost path`(each: Int) {
        var pair = pair(phase: .milliseconds(1_990), delay: .milliseconds(20))
        pair.loses = { $0 % each == 0 }
        pair.run(.seconds(10))
        pair.downs = [0, 0]
        pair.run(.seconds(120))
        #expect(pair.downs == [0, 0])
    }

    @Test func `a path that is cut is down within three intervals, and up within half a one when it is back`() {
        var pair = pair(phase: .milliseconds(700), delay: .milliseconds(20))
        pair.run(.seconds(10))
        pair.loses = { _ in true }
        pair.run(.milliseconds(6_020))
        #expect(pair.ends.allSatisfy { !$0.isUp(at: pair.now) })
        pair.run(.seconds(10))
        pair.loses = { _ in false }
        pair.run(.seconds(1))
        #expect(pair.ends.allSatisfy { $0.isUp(at: pair.now) })
    }

    @Test(arguments: [1, 10, 60]) func `a path that is away for long rests, and is soon up when it is back`(
        minutes: Int
    ) {
        var pair = pair(phase: .milliseconds(700), delay: .milliseconds(20))
        pair.run(.seconds(10))
        pair.loses = { _ in true }
        pair.run(.seconds(130))
        #expect(pair.tries.allSatisfy { $0 <= 3 }, "full effort for two minutes")
        pair.tries = [0, 0]
        pair.sent = [0, 0]
        pair.run(.seconds(60 * minutes))
        #expect(pair.sent == [0, 0], "a resting path is not probed")
        // A 24th of the time that it has been away, at most half a minute.
        let most = minutes == 1 ? 13 : minutes == 10 ? 50 : 150
        #expect(pair.tries.allSatisfy { (5...most).contains($0) }, "\(pair.tries)")
        pair.loses = { _ in false }
        pair.run(.seconds(33))
        #expect(pair.ends.allSatisfy { $0.isUp(at: pair.now) })
    }

    @Test(arguments: [(1, 30), (2, 15), (3, 10), (5, 10)])
    func `the more endpoints, the shorter the rest, within bounds`(
        endpoints: Int, seconds: Int
    ) {
        var health = proved()
        let late = start + .milliseconds(3_600_500)
        #expect(health.isResting(at: late))
        health.tried(endpoints: endpoints, now: late)
        // With the peers of its turn.
        #expect((0...2).contains((health.probeDue - late - .seconds(seconds)).components.seconds))
        #expect((health.probeDue - start).nanoseconds % 2_000_000_000 == 0)
        // At first it is what WireGuard takes between two attempts.
        let early = start + .seconds(127)
        health.tried(endpoints: endpoints, now: early)
        #expect((5...7).contains((health.probeDue - early).components.seconds))
    }

    @Test func `a host that slept has full effort for its paths when it wakes`() {
        var health = proved()
        let late = start + .seconds(3_600)
        health.noticedDown(now: late)
        #expect(!health.isResting(at: late))
        #expect(health.isResting(at: late + PeerHealth.patience))
    }

    @Test func `what speaks for a path ends its rest`() {
        let late = start + .seconds(3_600)
        var health = proved()
        health.encourage(atOnce: true, now: start + .seconds(100))
        #expect(!health.isResting(at: start + .seconds(219)) && health.isResting(at: start + .seconds(220)))
        health.tried(endpoints: 1, now: late + .seconds(-1))
        health.encourage(atOnce: true, now: late)
        #expect(!health.isResting(at: late) && health.probeDue == late)
        #expect(health.probeSent(now: late, isAnswer: false).wantsAnswer)
        #expect(health.probeDue == late + .milliseconds(400))
        #expect(health.isResting(at: late + PeerHealth.patience))

        health = proved()
        health.tried(endpoints: 1, now: late)
        health.encourage(atOnce: false, now: late + .milliseconds(300))
        #expect(health.probeDue == late + .seconds(2), "in its turn")

        // A turn that comes later than the next try puts nothing off.
        health = PeerHealth(probeInterval: .seconds(60), firstProbe: start, origin: start, clockOffset: 0)
        health.tried(endpoints: 1, now: late + .seconds(1))
        let due = health.probeDue
        health.encourage(atOnce: false, now: late + .seconds(2))
        #expect(due < late + .seconds(60) && health.probeDue == due)

        health = proved()
        health.probeReceived(probe(9, echo: nil), now: late)
        #expect(!health.isResting(at: late) && health.probeDue <= late)
    }

    @Test func `an unanswered probe is repeated soon, an answered one at its time`() {
        var health = fresh()
        _ = health.probeSent(now: start, isAnswer: false)
        #expect(health.probeDue == start + .milliseconds(400))
        health.probeReceived(probe(1, echo: start), now: start + .milliseconds(1))
        #expect(health.probeDue == start + .seconds(2))
    }

    @Test func `an answer moves no probe from its time`() {
        var health = proved()
        #expect(!health.probeSent(now: start + .milliseconds(1_500), isAnswer: true).wantsAnswer)
        #expect(health.probeDue == start + .seconds(2))
    }

    @Test func `a peer of which nothing comes is asked after six fifths of an interval`() {
        var health = proved()
        _ = health.probeSent(now: start + .seconds(2), isAnswer: false)
        let heard = start + .milliseconds(30)
        #expect(health.probeDue == heard + .milliseconds(2_400))
        #expect(health.probeSent(now: health.probeDue, isAnswer: false).wantsAnswer)
        #expect(health.probeDue == heard + .milliseconds(2_800))
    }

    @Test func `a probe that shows that ours was lost makes this end ask`() {
        var health = proved()
        let second = start + .seconds(2)
        #expect(!health.probeSent(now: second, isAnswer: false).wantsAnswer)
        // It may still be under way.
        health.probeReceived(probe(2, echo: start, held: .seconds(2)), now: second + .milliseconds(400))
        #expect(health.probeDue > second + .milliseconds(500))
        health.probeReceived(probe(3, echo: start, held: .seconds(2)), now: second + .milliseconds(500))
        #expect(health.probeDue <= second + .milliseconds(500))
        #expect(health.probeSent(now: second + .milliseconds(500), isAnswer: false).wantsAnswer)
    }

    @Test func `what was lost before the newest is seen too`() {
        var health = proved()
        _ = health.probeSent(now: start + .seconds(2), isAnswer: false)
        _ = health.probeSent(now: start + .seconds(4), isAnswer: false)
        let now = start + .milliseconds(4_100)
        health.probeReceived(probe(2, echo: start, held: .seconds(4)), now: now)
        #expect(health.probeDue <= start + .milliseconds(4_400))
        #expect(health.probeSent(now: health.probeDue, isAnswer: false).wantsAnswer)
    }

    @Test func `echoes of nothing, from the future, from long ago and for the second time are not counted`() {
        var health = fresh()
        _ = health.probeSent(now: start, isAnswer: false)
        let now = start + .seconds(1)
        for echo in [0, -1, .min, .max, start.nanoseconds - 1, now.nanoseconds + 1] {
            health.probeReceived(probe(1, echo: Instant(nanoseconds: echo)), now: now)
        }
        health.probeReceived(probe(1, echo: nil), now: now)
        health.probeReceived(probe(1, echo: start), now: start + .seconds(7))
        #expect(health.echoesReceived == 0 && !health.isUp(at: now))
        health.probeReceived(probe(1, echo: start), now: now)
        health.probeReceived(probe(1, echo: start), now: now + .seconds(1))
        #expect(health.echoesReceived == 1 && health.lastEcho == now)
    }

    @Test func `what is left from before a restart is no echo`() {
        var before = PeerHealth(probeInterval: .seconds(2), firstProbe: start, origin: start, clockOffset: 1 << 40)
        let old = before.probeSent(now: start, isAnswer: false)
        var after = PeerHealth(probeInterval: .seconds(2), firstProbe: start, origin: start, clockOffset: 1 << 50)
        _ = after.probeSent(now: start, isAnswer: false)
        let probe = EchoMessage.Probe(sentAt: 1, echo: old.sentAt, held: 0, wantsAnswer: false)
        after.probeReceived(probe, now: start + .seconds(1))
        #expect(after.echoesReceived == 0)
        before.probeReceived(probe, now: start + .seconds(1))
        #expect(before.echoesReceived == 1)
    }

    @Test func `whatever a peer says it held, the round trip is none below zero`() {
        for held in [Int64.min, -1, .max] {
            var health = fresh()
            _ = health.probeSent(now: start, isAnswer: false)
            health.probeReceived(
                EchoMessage.Probe(sentAt: .min, echo: start.nanoseconds, held: held, wantsAnswer: true),
                now: start + .milliseconds(10))
            #expect(health.roundTrip == (held > 0 ? .zero : .milliseconds(10)))
            #expect(health.isUp(at: start + .seconds(1)))
        }
    }
}
