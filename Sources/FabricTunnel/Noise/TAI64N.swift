public import FabricCore

/// A TAI64N label (<https://cr.yp.to/libtai/tai64.html>): 8 bytes of seconds from 2^62, 4 of nanoseconds, big-endian.
///
/// An initiation carries one, and a responder takes only greater ones from a peer: an old initiation can't be replayed.
public struct TAI64N: Hashable, Comparable, Sendable {
    /// Wall time is rounded down to this, so that initiations don't tell the clock's exact state; it allows some 50
    /// initiations per second.
    static let grain: UInt32 = 1 << 24

    let seconds: UInt64
    let nanoseconds: UInt32

    init(seconds: UInt64, nanoseconds: UInt32) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }

    /// The label of `wall`, rounded down to the grain. Leap seconds are not counted, as in WireGuard: the offset is 10
    /// s.
    public init(_ wall: WallTime) {
        let remainder = UInt32(truncatingIfNeeded: wall.nanoseconds &- wall.seconds &* 1_000_000_000)
        seconds = UInt64(bitPattern: (1 << 62) &+ 10 &+ wall.seconds)
        nanoseconds = remainder & ~(TAI64N.grain - 1)
    }

    /// Nil unless there are 12 bytes.
    public init?(bytes: [UInt8]) {
        guard bytes.count == 12 else { return nil }
        seconds = bytes[..<8].reduce(0) { $0 << 8 | UInt64($1) }
        nanoseconds = bytes[8...].reduce(0) { $0 << 8 | UInt32($1) }
    }

    public var bytes: [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: seconds >> (56 - 8 * UInt64($0))) }
            + (0..<4).map { UInt8(truncatingIfNeeded: nanoseconds >> (24 - 8 * UInt32($0))) }
    }

    /// The wall time that it stands for.
    var wall: WallTime {
        WallTime(seconds: Int64(bitPattern: seconds &- (1 << 62) &- 10)) + .nanoseconds(Int64(nanoseconds))
    }

    /// The next label of the grain.
    var successor: TAI64N {
        let (next, overflow) = nanoseconds.addingReportingOverflow(TAI64N.grain)
        return overflow || next >= 1_000_000_000
            ? TAI64N(seconds: seconds &+ 1, nanoseconds: 0) : TAI64N(seconds: seconds, nanoseconds: next)
    }

    public static func < (a: TAI64N, b: TAI64N) -> Bool {
        a.seconds != b.seconds ? a.seconds < b.seconds : a.nanoseconds < b.nanoseconds
    }
}
