internal import FabricCore
internal import Synchronization

/// Whether the control plane's thread gets on, for the network's thread to ask.
final class TurnWatch: Sendable {
    /// Nanoseconds of the monotonic clock; 0 while it waits for work.
    private let busySince = Atomic<Int64>(0)

    func begin(_ now: Instant) { busySince.store(now.nanoseconds, ordering: .relaxed) }
    func end() { busySince.store(0, ordering: .relaxed) }

    func busyFor(_ now: Instant) -> Duration {
        let since = busySince.load(ordering: .relaxed)
        return since == 0 ? .zero : max(.zero, now - Instant(nanoseconds: since))
    }
}
