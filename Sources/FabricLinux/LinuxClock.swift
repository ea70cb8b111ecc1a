internal import CFabricLinux
public import FabricCore

/// The host's clocks. CLOCK_BOOTTIME counts through suspend, so that leases and sessions age while a machine sleeps.
public enum LinuxClock {
    /// Both clocks, read next to each other.
    public static func now() -> Now {
        var boottime: Int64 = 0
        var realtime: Int64 = 0
        fabric_clock_read(&boottime, &realtime)
        return Now(monotonic: Instant(nanoseconds: boottime), wall: WallTime(nanoseconds: realtime))
    }
}
