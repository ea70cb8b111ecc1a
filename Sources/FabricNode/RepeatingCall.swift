internal import FabricCore

/// One kind of request that an agent makes again and again: at most one is under way, and failures back off.
struct RepeatingCall {
    /// Doubles with each failure up to `longestBackoff`; the whole of it is jittered, so that a fleet does not return at once.
    static let firstBackoff = Duration.seconds(1)
    static let longestBackoff = Duration.seconds(20)

    private(set) var outstanding: RequestNumber?
    private(set) var due: Instant?
    private var sentAt = Instant.zero
    private var failures = 0
    /// The first of the failures.
    private var failingSince: Instant?

    mutating func schedule(at instant: Instant) {
        if outstanding == nil { due = instant }
    }

    mutating func cancel() {
        outstanding = nil
        due = nil
    }

    /// What is under way is given up and made again then; its outcome, when it comes, belongs to no call.
    mutating func restart(at instant: Instant) {
        guard outstanding != nil else { return }
        outstanding = nil
        due = instant
    }

    /// A call that waits because it failed is made then.
    mutating func hasten(to instant: Instant) {
        if outstanding == nil, failures > 0, due != nil { due = instant }
    }

    /// There was no way to the other side for a while.
    func hasFailed(for duration: Duration, _ now: Instant) -> Bool {
        failingSince.map { now - $0 >= duration } ?? false
    }

    func isDue(_ now: Instant) -> Bool { due.map { $0 <= now } ?? false }

    mutating func sent(_ number: RequestNumber, _ now: Instant) {
        outstanding = number
        sentAt = now
        due = nil
    }

    /// A request has been under way for longer than this.
    func isOlder(than age: Duration, _ now: Instant) -> Bool { outstanding != nil && now - sentAt > age }

    mutating func succeeded(nextAt: Instant?) {
        outstanding = nil
        failures = 0
        failingSince = nil
        due = nextAt
    }

    mutating func failed(now: Instant, random: any RandomSource) {
        outstanding = nil
        let ceiling = min(Self.longestBackoff, Self.firstBackoff * (1 << min(failures, 10)))
        failures += 1
        failingSince = failingSince ?? now
        if planted(.retriesAtOnce) {
            due = now + .milliseconds(1)
            return
        }
        due = now + ceiling / 2 + random.jitter(ceiling / 2)
    }
}
