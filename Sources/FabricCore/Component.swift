/// The contract between deciding code and its host; see `docs/ARCHITECTURE.md`, "The component contract".
///
/// A component performs no I/O. Its host
///  1. calls `handle` with each event, and `handleDeadline` once `nextDeadline()` has passed;
///  2. then takes every action from the list, in order, and performs it;
///  3. then asks for `nextDeadline()` again and arranges to wake the component.
///
/// Calls are synchronous and never overlap. `now` never goes back on the monotonic clock; the wall clock may do anything.
/// What a component waits for (a reply, a durable write) comes back as an event that names the action's identifier.
public protocol Component {
    associatedtype Event
    associatedtype Action
    associatedtype DeadlineReason: CustomStringConvertible

    /// Takes one event and appends what the host must do about it.
    mutating func handle(_ event: Event, now: Now, into actions: inout [Action])

    /// Called when the deadline has come. A call that is early or superfluous does nothing.
    mutating func handleDeadline(now: Now, into actions: inout [Action])

    /// When the component next wants to be woken, and why; nil when only an event can change anything.
    func nextDeadline() -> Deadline<DeadlineReason>?
}

/// An instant and the reason for which a component wants to be woken then. The reason goes to traces, never to decisions.
public struct Deadline<Reason: CustomStringConvertible>: CustomStringConvertible {
    public var instant: Instant
    public var reason: Reason

    @inlinable public init(_ instant: Instant, _ reason: Reason) {
        self.instant = instant
        self.reason = reason
    }

    /// The earlier of two deadlines; of equal ones the first.
    @inlinable public static func earlier(_ a: Deadline?, _ b: Deadline?) -> Deadline? {
        guard let a else { return b }
        guard let b else { return a }
        return b.instant < a.instant ? b : a
    }

    public var description: String { "\(instant) \(reason)" }
}

extension Deadline: Sendable where Reason: Sendable {}
