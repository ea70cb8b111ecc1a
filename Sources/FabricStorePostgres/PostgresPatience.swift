internal import FabricCore
internal import Glibc

/// How long the store's thread waits for the server. A stopped server's kernel still acknowledges what it is sent, so
/// that no rule of TCP notices: the limits are ours.
final class PostgresPatience {
    private let statement: Duration
    private let stop: Duration
    /// Readable once the process is asked to end.
    var interrupt: Int32?
    /// From here on everything gets `stop` at most.
    private(set) var isWindingDown = false

    init(_ options: PostgresStore.Options) {
        statement = options.statementPatience
        stop = options.stopPatience
    }

    func windDown() { isWindingDown = true }

    /// What the log names as the limit that passed.
    var description: String { isWindingDown ? "\(stop), for the process is ending" : "\(statement)" }

    /// When a statement that is sent now must have been answered; on `MonotonicClock`.
    func statementDeadline() -> Int64 { deadline(statement) }

    func deadline(_ patience: Duration) -> Int64 {
        MonotonicClock.now() + (isWindingDown ? min(patience, stop) : patience).nanoseconds
    }

    /// Waits for one of `events` (or the descriptor's end). False when the time is up. `deadline` comes nearer when the process
    /// is asked to end meanwhile.
    func wait(for descriptor: Int32, _ events: Int32, until deadline: inout Int64) -> Bool {
        // libpq has closed it, and says why when it is asked.
        guard descriptor >= 0 else { return true }
        while true {
            let left = deadline - MonotonicClock.now()
            let watched = isWindingDown ? -1 : interrupt ?? -1
            var entries = [
                pollfd(fd: descriptor, events: Int16(truncatingIfNeeded: events), revents: 0),
                pollfd(fd: watched, events: Int16(POLLIN), revents: 0),
            ]
            let count = poll(&entries, 2, Int32(clamping: max(0, left + 999_999) / 1_000_000))
            if count > 0, entries[0].revents != 0 { return true }
            if count > 0, entries[1].revents != 0 {
                windDown()
                deadline = min(deadline, self.deadline(stop))
            } else if count == 0, left <= 0 {
                return false
            } else if count < 0, errno != EINTR {
                preconditionFailure("poll fails for \(errno)")
            }
        }
    }
}

enum MonotonicClock {
    /// Nanoseconds.
    static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
