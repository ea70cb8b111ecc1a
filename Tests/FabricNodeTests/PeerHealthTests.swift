import FabricCore
import FabricMesh
import Testing

@Suite struct PeerHealthTests {
    /// `#expect` can't call what mutates.
    func hear(_ health: inout PeerHealth, _ sequence: UInt64, sentAt: Int64, _ now: Instant) -> Bool {
        health.echoReceived(sequence: sequence, sentAt: sentAt, now: now)
    }

    let start = Instant(nanoseconds: 10_000_000_000)
    func fresh() -> PeerHealth { PeerHealth(probeInterval: .seconds(2), firstProbe: start) }

    @Test func `a path is up from its first echo until two and a half intervals after its last`() {
        var health = fresh()
        #expect(!health.isUp(at: start) && health.probeDue == start)
        let sequence = health.probeSent(now: start)
        #expect(!health.isUp(at: start))
        let echo = start + .milliseconds(30)
        #expect(hear(&health, sequence, sentAt: start.nanoseconds, echo))
        #expect(health.roundTrip == .milliseconds(30))
        #expect(health.isUp(at: echo + .seconds(5)))
        #expect(!health.isUp(at: echo + .seconds(5) + .nanoseconds(1)))
    }

    @Test func `an unanswered probe is repeated soon, an answered one after the interval`() {
        var health = fresh()
        let sequence = health.probeSent(now: start)
        #expect(health.probeDue == start + .milliseconds(400))
        #expect(hear(&health, sequence, sentAt: start.nanoseconds, start + .milliseconds(1)))
        #expect(health.probeDue == start + .seconds(2))
    }

    @Test func `echoes of nothing, from the future and from long ago are not counted`() {
        var health = fresh()
        let sequence = health.probeSent(now: start)
        let now = start + .seconds(1)
        #expect(!hear(&health, 0, sentAt: start.nanoseconds, now))
        #expect(!hear(&health, sequence + 1, sentAt: start.nanoseconds, now))
        #expect(!hear(&health, .max, sentAt: start.nanoseconds, now))
        #expect(!hear(&health, sequence, sentAt: now.nanoseconds + 1, now))
        #expect(!hear(&health, sequence, sentAt: -1, now))
        #expect(!hear(&health, sequence, sentAt: .min, now))
        #expect(!hear(&health, sequence, sentAt: .max, now))
        #expect(!hear(&health, sequence, sentAt: start.nanoseconds, start + .seconds(6)))
        #expect(health.echoesReceived == 0 && !health.isUp(at: now))
    }
}
