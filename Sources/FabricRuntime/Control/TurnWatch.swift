package import FabricCore
internal import Synchronization

/// Whether the control plane's thread gets on, for the network's thread to ask.
package final class TurnWatch: Sendable {
    /// Since when it has been at one thing. Nanoseconds of the monotonic clock; 0 while it waits for work.
    private let busySince = Atomic<Int64>(0)

    package init() {}

    package func begin(_ now: Instant) { busySince.store(now.nanoseconds, ordering: .relaxed) }
    package func end() { busySince.store(0, ordering: .relaxed) }

    /// One thing is done, and the next begins: a turn may hold thousands, such as all the requests that one change wakes.
    package func getOn(_ now: Instant) {
        // Only the control plane's thread writes, so nothing comes between.
        if busySince.load(ordering: .relaxed) != 0 { begin(now) }
    }

    package func busyFor(_ now: Instant) -> Duration {
        let since = busySince.load(ordering: .relaxed)
        return since == 0 ? .zero : max(.zero, now - Instant(nanoseconds: since))
    }
}

/// A store of which each transaction is one thing that the control plane does, whatever comes of it.
package final class TurnStore: Store {
    private let base: any Store
    private let turns: TurnWatch
    private let clock: () -> Instant

    package init(_ base: any Store, _ turns: TurnWatch, clock: @escaping () -> Instant) {
        self.base = base
        self.turns = turns
        self.clock = clock
    }

    package func transaction<Result>(_ body: (any Transaction) throws -> Result) throws -> Result {
        defer { turns.getOn(clock()) }
        return try base.transaction(body)
    }
}
