public import FabricCore

/// One host's clocks, as functions of the world's time: both advance by `1 + drift` per unit of true time.
///
/// The monotonic clock models CLOCK_BOOTTIME: it runs while a process is down and has a new origin after each boot of the
/// machine. The wall clock is the truth plus an offset, and may jump.
public struct VirtualClock: Sendable {
    /// The fastest drift that is accepted, in parts per billion either way: ten per cent.
    public static let maximumDrift: Int64 = 100_000_000

    private var anchorWorld: Int64
    private var anchorMonotonic: Int64
    private var anchorWall: Int64
    public private(set) var driftPartsPerBillion: Int64

    /// A clock that shows `monotonic` and `wall` at world time `at`, without drift.
    public init(at world: Instant, monotonic: Instant, wall: WallTime) {
        anchorWorld = world.nanoseconds
        anchorMonotonic = monotonic.nanoseconds
        anchorWall = wall.nanoseconds
        driftPartsPerBillion = 0
    }

    /// Both clocks at a world time that is not before the last change.
    @inline(__always)
    public func now(at world: Instant) -> Now {
        let elapsed = scaled(world.nanoseconds &- anchorWorld)
        return Now(
            monotonic: Instant(nanoseconds: anchorMonotonic &+ elapsed),
            wall: WallTime(nanoseconds: anchorWall &+ elapsed))
    }

    /// The first world time at which the monotonic clock shows `instant` or later; never before the last change.
    public func worldTime(of instant: Instant) -> Instant {
        let (wanted, overflow) = instant.nanoseconds.subtractingReportingOverflow(anchorMonotonic)
        if overflow { return instant.nanoseconds < 0 ? Instant(nanoseconds: anchorWorld) : .distantFuture }
        if wanted <= 0 { return Instant(nanoseconds: anchorWorld) }
        if driftPartsPerBillion == 0 {
            let (sum, overflow) = anchorWorld.addingReportingOverflow(wanted)
            return overflow ? .distantFuture : Instant(nanoseconds: sum)
        }
        let billion: UInt64 = 1_000_000_000
        let rate = UInt64(bitPattern: 1_000_000_000 &+ driftPartsPerBillion)
        let (high, low) = UInt64(wanted).multipliedFullWidth(by: billion)
        let (quotient, _) = rate.dividingFullWidth((high, low))
        // A century away is as good as never, and keeps the correction below from overflowing.
        guard quotient < 3_200_000_000_000_000_000 else { return .distantFuture }
        var elapsed = Int64(quotient)
        while scaled(elapsed) < wanted { elapsed &+= 1 }
        while elapsed > 0, scaled(elapsed &- 1) >= wanted { elapsed &-= 1 }
        let (sum, overflow2) = anchorWorld.addingReportingOverflow(elapsed)
        return overflow2 ? .distantFuture : Instant(nanoseconds: sum)
    }

    /// Changes the rate from world time `at` on.
    public mutating func setDrift(partsPerBillion: Int64, at world: Instant) {
        precondition(partsPerBillion.magnitude <= VirtualClock.maximumDrift.magnitude)
        reanchor(at: world)
        driftPartsPerBillion = partsPerBillion
    }

    /// Steps the wall clock, forwards or back.
    public mutating func jumpWall(by step: Duration) { anchorWall &+= step.nanoseconds }

    /// The machine has booted: the monotonic clock starts anew at `monotonic`; the wall clock goes on (a battery keeps it).
    public mutating func reboot(at world: Instant, monotonic: Instant) {
        reanchor(at: world)
        anchorMonotonic = monotonic.nanoseconds
    }

    private mutating func reanchor(at world: Instant) {
        let now = now(at: world)
        anchorWorld = world.nanoseconds
        anchorMonotonic = now.monotonic.nanoseconds
        anchorWall = now.wall.nanoseconds
    }

    /// `elapsed * (1 + drift)`, rounded down, without overflow for centuries.
    @inline(__always)
    private func scaled(_ elapsed: Int64) -> Int64 {
        if driftPartsPerBillion == 0 { return elapsed }
        let billion: Int64 = 1_000_000_000
        let seconds = elapsed / billion
        let rest = elapsed % billion
        var fraction = rest &* driftPartsPerBillion / billion
        if rest &* driftPartsPerBillion % billion < 0 { fraction &-= 1 }
        return elapsed &+ seconds &* driftPartsPerBillion &+ fraction
    }
}
