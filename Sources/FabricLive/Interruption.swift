internal import Glibc
internal import Synchronization

private let raised = Atomic<Int32>(0)

/// SIGINT, SIGTERM and SIGHUP as a flag that a run looks at, so that it can remove what it made.
public enum Interruption {
    /// The signal that came, or nil.
    public static var signal: Int32? {
        let number = raised.load(ordering: .relaxed)
        return number == 0 ? nil : number
    }

    public static func install() {
        // The first use of a global may take a lock, which a handler must not.
        _ = raised.load(ordering: .relaxed)
        for number in [SIGINT, SIGTERM, SIGHUP] {
            Glibc.signal(number) { raised.store($0, ordering: .relaxed) }
        }
        // A program that ends early must not end us.
        Glibc.signal(SIGPIPE, SIG_IGN)
    }

    static func check() throws(Interrupted) {
        if let signal { throw Interrupted(signal: signal) }
    }
}

/// The run was asked to end.
public struct Interrupted: Error, Hashable, Sendable {
    public var signal: Int32
}
