/// A point on a host's monotonic clock (CLOCK_BOOTTIME on Linux, the virtual clock in the simulator), in nanoseconds.
/// Sums stop at the ends of the range (±292 years), so that `distantFuture` stays the latest.
public struct Instant: Hashable, Comparable, Sendable, CustomStringConvertible {
    public var nanoseconds: Int64

    @inlinable public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    @inlinable public static func < (a: Instant, b: Instant) -> Bool { a.nanoseconds < b.nanoseconds }
    @inlinable public static func + (a: Instant, d: Duration) -> Instant {
        Instant(nanoseconds: a.nanoseconds.clampedAdding(d.nanoseconds))
    }
    @inlinable public static func - (a: Instant, d: Duration) -> Instant {
        Instant(nanoseconds: a.nanoseconds.clampedSubtracting(d.nanoseconds))
    }
    @inlinable public static func - (a: Instant, b: Instant) -> Duration {
        .nanoseconds(a.nanoseconds.clampedSubtracting(b.nanoseconds))
    }

    public static let zero = Instant(nanoseconds: 0)
    public static let distantFuture = Instant(nanoseconds: .max)

    public var description: String { "\(nanoseconds)ns" }
}

/// A point on a host's wall clock, in nanoseconds since the Unix epoch. Wall clocks jump and disagree between hosts.
/// The range is 1677 to 2262; seconds and sums beyond it stop at its ends, also when they come from outside.
public struct WallTime: Hashable, Comparable, Sendable, CustomStringConvertible {
    public var nanoseconds: Int64

    @inlinable public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }
    @inlinable public init(seconds: Int64) {
        let (product, overflows) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        self.nanoseconds = overflows ? (seconds < 0 ? .min : .max) : product
    }

    /// Whole seconds since the Unix epoch, rounded down.
    @inlinable public var seconds: Int64 {
        nanoseconds / 1_000_000_000 - (nanoseconds % 1_000_000_000 < 0 ? 1 : 0)
    }

    @inlinable public static func < (a: WallTime, b: WallTime) -> Bool { a.nanoseconds < b.nanoseconds }
    @inlinable public static func + (a: WallTime, d: Duration) -> WallTime {
        WallTime(nanoseconds: a.nanoseconds.clampedAdding(d.nanoseconds))
    }
    @inlinable public static func - (a: WallTime, d: Duration) -> WallTime {
        WallTime(nanoseconds: a.nanoseconds.clampedSubtracting(d.nanoseconds))
    }
    @inlinable public static func - (a: WallTime, b: WallTime) -> Duration {
        .nanoseconds(a.nanoseconds.clampedSubtracting(b.nanoseconds))
    }

    public var description: String { rfc3339 }

    /// RFC 3339 in UTC with whole seconds, e.g. `2026-11-21T07:00:00Z`.
    public var rfc3339: String {
        let days = (seconds >= 0 ? seconds : seconds - 86_399) / 86_400
        let secondOfDay = seconds - days * 86_400
        // Civil-from-days, after Howard Hinnant's "chrono-compatible low-level date algorithms".
        let z = days + 719_468
        let era = (z >= 0 ? z : z - 146_096) / 146_097
        let dayOfEra = z - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * shifted + 2) / 5 + 1
        let month = shifted < 10 ? shifted + 3 : shifted - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        func two(_ n: Int64) -> String { n < 10 ? "0\(n)" : "\(n)" }
        let time = "\(two(secondOfDay / 3600)):\(two(secondOfDay / 60 % 60)):\(two(secondOfDay % 60))"
        return "\(year)-\(two(month))-\(two(day))T\(time)Z"
    }
}

/// What a host tells a component about time, always both clocks from one reading. Deciding code has no other source.
public struct Now: Hashable, Sendable {
    public var monotonic: Instant
    public var wall: WallTime

    @inlinable public init(monotonic: Instant, wall: WallTime) {
        self.monotonic = monotonic
        self.wall = wall
    }
}

extension Int64 {
    @inlinable func clampedAdding(_ other: Int64) -> Int64 {
        let (sum, overflows) = addingReportingOverflow(other)
        return overflows ? (other < 0 ? .min : .max) : sum
    }

    @inlinable func clampedSubtracting(_ other: Int64) -> Int64 {
        let (difference, overflows) = subtractingReportingOverflow(other)
        return overflows ? (other < 0 ? .max : .min) : difference
    }
}

extension Duration {
    /// Whole nanoseconds, truncated towards zero; traps outside ±292 years.
    @inlinable public var nanoseconds: Int64 {
        let attoseconds = attoseconds
        // Nearly always: `components` divides 128 bits twice, and this is asked for with every packet.
        if let short = Int64(exactly: attoseconds) { return short / 1_000_000_000 }
        return Int64(attoseconds / 1_000_000_000)
    }

    public static func minutes(_ n: Int64) -> Duration { .seconds(n * 60) }
    public static func hours(_ n: Int64) -> Duration { .seconds(n * 3600) }
}
