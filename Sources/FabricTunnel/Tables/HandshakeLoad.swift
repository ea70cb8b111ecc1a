internal import FabricCore

/// Tells whether the endpoint is under load and asks for cookies: from the handshakes of the last second, and from what it
/// is told of those that wait.
struct LoadEstimator {
    /// Load is presumed to last as long after the limit was passed.
    static let persistence = Duration.seconds(1)

    let handshakesPerSecond: Int
    private var windowStart = Instant.zero
    private var count = 0
    private var loadedUntil = Instant.zero

    init(handshakesPerSecond: Int) { self.handshakesPerSecond = handshakesPerSecond }

    /// Counts a handshake message that knows our key. True when the endpoint is under load.
    mutating func noteHandshake(_ now: Instant) -> Bool {
        if now - windowStart >= .seconds(1) {
            windowStart = now
            count = 0
        }
        count += 1
        if count > handshakesPerSecond { loadedUntil = now + LoadEstimator.persistence }
        return now < loadedUntil
    }

    /// Too many handshakes wait.
    mutating func presume(_ now: Instant) { loadedUntil = now + LoadEstimator.persistence }
}

/// Under load, even senders with a valid cookie get only 20 handshakes a second each, 5 at once (the kernel's numbers).
/// A source is an IPv4 address or an IPv6 /64.
struct SourceRateLimiter {
    static let interval = Duration.milliseconds(50)
    static let burst: Int64 = 5

    let maximumSources: Int
    /// Per source: when its bucket will be full again.
    private var fullAt: [IPAddress: Instant] = [:]
    private var sweptAt = Instant.zero

    init(maximumSources: Int) { self.maximumSources = maximumSources }

    /// False when the source has had its share, or the table is full of busy sources.
    mutating func admits(_ source: IPAddress, _ now: Instant) -> Bool {
        let key = source.family == .v4 ? source : IPAddress(v6High: source.high, low: 0)
        let empty = now + .nanoseconds(SourceRateLimiter.interval.nanoseconds * SourceRateLimiter.burst)
        let next = max(fullAt[key] ?? now, now) + SourceRateLimiter.interval
        guard next <= empty else { return false }
        if fullAt[key] == nil, fullAt.count >= maximumSources {
            guard now - sweptAt >= .seconds(1) else { return false }
            sweptAt = now
            // Which ones go does not depend on the order in which they are visited.
            fullAt = fullAt.filter { $0.value > now }
            guard fullAt.count < maximumSources else { return false }
        }
        fullAt[key] = next
        return true
    }
}
