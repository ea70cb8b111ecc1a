internal import CFabricLinux
public import FabricCore
internal import Glibc

/// One thread's loop over file descriptors, one deadline, a mailbox and signals. It blocks in epoll_wait and nowhere
/// else.
///
/// Each turn runs `beforeWaiting` (the place to set the deadline), waits, then runs what is due: readable descriptors
/// first, then posted closures, then signals, then the deadline. Everything but `mailbox` belongs to the thread that
/// calls `run`.
public final class EventLoop {
    private enum Source {
        case descriptor(() -> Void)
        case timer
        case mailbox
        case signals
    }

    /// Posting is what other threads may do.
    public let mailbox: Mailbox
    /// Runs once per turn, before the loop sleeps.
    public var beforeWaiting: (() -> Void)?
    /// Runs when the deadline has passed; the deadline is then unset.
    public var onDeadline: (() -> Void)?

    private let epoll: OwnedDescriptor
    private let timer: OwnedDescriptor
    private let wake: OwnedDescriptor
    private var signalPipe: (read: Int32, write: Int32)?
    private var signalHandlers: [Int32: () -> Void] = [:]
    /// By descriptor; the generation tells a stale event of a closed descriptor from one of its successor.
    private var sources: [Int32: (generation: UInt32, source: Source)] = [:]
    private var generation: UInt32 = 0
    private var deadline: Instant?
    private var isStopped = false

    public init() throws(SystemError) {
        epoll = OwnedDescriptor(try check(fabric_epoll_create(), "create an epoll descriptor"))
        timer = OwnedDescriptor(try check(fabric_timerfd_create(), "create a timer"))
        wake = OwnedDescriptor(try check(fabric_eventfd_create(), "create an eventfd"))
        mailbox = Mailbox(descriptor: wake.raw)
        try add(timer.raw, .timer)
        try add(wake.raw, .mailbox)
    }

    deinit {
        mailbox.close()
        for signal in signalHandlers.keys.sorted() { _ = fabric_signal_restore(signal) }
        if let signalPipe {
            close(signalPipe.read)
            close(signalPipe.write)
        }
    }

    /// Calls `readable` whenever `descriptor` has something to read (level-triggered: what is left is reported again).
    /// The loop does not own the descriptor; unregister it before closing it.
    public func register(_ descriptor: Int32, readable: @escaping () -> Void) throws(SystemError) {
        try add(descriptor, .descriptor(readable))
    }

    public func unregister(_ descriptor: Int32) {
        guard sources.removeValue(forKey: descriptor) != nil else { return }
        _ = fabric_epoll_remove(epoll.raw, descriptor)
    }

    /// When to run `onDeadline`; nil for never. An instant that has passed fires on the next turn.
    public func setDeadline(_ instant: Instant?) {
        guard instant != deadline else { return }
        deadline = instant
        // 0 would disarm; an overflowing sum is as good as never.
        let value = instant.map { max($0.nanoseconds, 1) } ?? 0
        _ = fabric_timerfd_set(timer.raw, value)
    }

    /// Runs `handler` on the loop's thread for each arrival of `signal` (SIGINT, SIGTERM …), process-wide.
    public func onSignal(_ signal: Int32, _ handler: @escaping () -> Void) throws(SystemError) {
        let pipe = try openSignalPipe()
        signalHandlers[signal] = handler
        try check(fabric_signal_to_descriptor(signal, pipe.write), "watch signal \(signal)")
    }

    /// Readable while a signal waits for its handler: for work that blocks the loop's thread and must not outlast it. Nil
    /// before the first `onSignal`; only to be polled.
    public var signalDescriptor: Int32? { signalPipe?.read }

    /// Runs until `stop`.
    public func run() throws(SystemError) {
        isStopped = false
        while !isStopped { try runOnce(timeout: nil) }
    }

    /// One turn: waits for at most `timeout` (nil: until something happens) and runs what is due.
    public func runOnce(timeout: Duration?) throws(SystemError) {
        beforeWaiting?()
        if isStopped { return }
        let milliseconds = timeout.map { Int32(clamping: ($0.nanoseconds + 999_999) / 1_000_000) } ?? -1
        var tokens = InlineArray<64, UInt64>(repeating: 0)
        var storage = tokens.mutableSpan
        let result = storage.withUnsafeMutableBufferPointer {
            fabric_epoll_wait(epoll.raw, $0.baseAddress, Int32($0.count), milliseconds)
        }
        let count = try check(result, "wait for events")
        var timerFired = false
        var mailArrived = false
        var signalArrived = false
        for index in 0..<Int(count) {
            let token = tokens[index]
            let descriptor = Int32(truncatingIfNeeded: token)
            guard let entry = sources[descriptor], entry.generation == UInt32(token >> 32) else { continue }
            switch entry.source {
            case .descriptor(let readable): readable()
            case .timer: timerFired = true
            case .mailbox: mailArrived = true
            case .signals: signalArrived = true
            }
        }
        if mailArrived { for work in mailbox.takeAll() { work() } }
        if signalArrived { deliverSignals() }
        if timerFired { deliverDeadline() }
    }

    /// Ends `run` after the current turn. From another thread: `mailbox.post { loop.stop() }` in effect.
    public func stop() { isStopped = true }

    private func add(_ descriptor: Int32, _ source: Source) throws(SystemError) {
        generation &+= 1
        let token = UInt64(generation) << 32 | UInt64(UInt32(bitPattern: descriptor))
        try check(fabric_epoll_add(epoll.raw, descriptor, token), "watch descriptor \(descriptor)")
        sources[descriptor] = (generation, source)
    }

    private func deliverDeadline() {
        _ = fabric_timerfd_drain(timer.raw)
        // A handler of this turn may have moved the deadline after the timer fired.
        guard let due = deadline, due <= LinuxClock.now().monotonic else { return }
        deadline = nil
        onDeadline?()
    }

    private func openSignalPipe() throws(SystemError) -> (read: Int32, write: Int32) {
        if let signalPipe { return signalPipe }
        var ends: [Int32] = [0, 0]
        try check(fabric_pipe(&ends, 1), "create a pipe for signals")
        signalPipe = (ends[0], ends[1])
        try add(ends[0], .signals)
        return (ends[0], ends[1])
    }

    private func deliverSignals() {
        guard let signalPipe else { return }
        var numbers = [UInt8](repeating: 0, count: 64)
        let count = read(signalPipe.read, &numbers, numbers.count)
        guard count > 0 else { return }
        for number in numbers[..<count] { signalHandlers[Int32(number)]?() }
    }
}
