internal import CFabricLinux
internal import Synchronization

/// How other threads reach an `EventLoop`: they post closures, and the loop's thread runs them in the order of posting.
public final class Mailbox: Sendable {
    /// At most this many closures wait; `post` refuses more.
    public static let limit = 65_536

    private struct State {
        var waiting: [@Sendable () -> Void] = []
        var isOpen = true
    }

    private let state = Mutex(State())
    let descriptor: Int32

    init(descriptor: Int32) { self.descriptor = descriptor }

    /// False, and the closure is dropped, when the mailbox is full or its loop is gone. Any thread may call this.
    @discardableResult
    public func post(_ work: @escaping @Sendable () -> Void) -> Bool {
        state.withLock { state in
            guard state.isOpen, state.waiting.count < Mailbox.limit else { return false }
            state.waiting.append(work)
            // Under the lock, so that the loop can't close the descriptor in between. One wake-up serves the whole
            // batch.
            if state.waiting.count == 1 { _ = fabric_eventfd_signal(descriptor) }
            return true
        }
    }

    func takeAll() -> [@Sendable () -> Void] {
        state.withLock { state in
            _ = fabric_eventfd_drain(descriptor)
            let work = state.waiting
            state.waiting = []
            return work
        }
    }

    func close() {
        state.withLock { state in
            state.isOpen = false
            state.waiting = []
        }
    }
}
