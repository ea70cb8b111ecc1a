public import FabricCore

/// What one end knows of a path from its echo probes. A path is up while echoes come back; never because a session exists.
///
/// A probe goes out every interval. While one is unanswered, five times as often: a lost packet is no lost path, and a path
/// that is back is seen at once.
public struct PeerHealth: Hashable, Sendable {
    public static let defaultProbeInterval = Duration.seconds(2)
    /// Of an interval, after which an unanswered probe is repeated.
    public static let repetitionsPerInterval = 5

    public let probeInterval: Duration
    /// After this long without an echo the path is down.
    public let upWindow: Duration
    /// Worked out once: dividing a `Duration` is slow.
    private let repetitionInterval: Duration
    /// When the next probe is due; kept, since it is asked for at every event.
    public private(set) var probeDue: Instant
    /// The end of the last echo's window.
    private var lastUp: Instant?
    public private(set) var nextSequence: UInt64 = 1
    public private(set) var lastProbe: Instant?
    public private(set) var lastEcho: Instant?
    public private(set) var roundTrip: Duration?
    public private(set) var probesSent: UInt64 = 0
    public private(set) var echoesReceived: UInt64 = 0

    /// Of a peer that is probed this often, first at `firstProbe`.
    public init(probeInterval: Duration, firstProbe: Instant) {
        self.probeInterval = probeInterval
        upWindow = probeInterval * 5 / 2
        repetitionInterval = probeInterval / Self.repetitionsPerInterval
        probeDue = firstProbe
    }

    /// Returns the sequence number of the probe that is sent now.
    public mutating func probeSent(now: Instant) -> UInt64 {
        defer { nextSequence += 1 }
        probesSent += 1
        lastProbe = now
        probeDue = now + repetitionInterval
        return nextSequence
    }

    /// False when the echo answers nothing that was asked, or comes too late: it is not counted.
    public mutating func echoReceived(sequence: UInt64, sentAt: Int64, now: Instant) -> Bool {
        guard sequence >= 1, sequence < nextSequence, sentAt <= now.nanoseconds, sentAt >= 0 else { return false }
        let trip = now - Instant(nanoseconds: sentAt)
        guard trip <= upWindow else { return false }
        lastEcho = now
        roundTrip = trip
        echoesReceived += 1
        if let lastProbe { probeDue = lastProbe + probeInterval }
        lastUp = now + upWindow
        return true
    }

    /// The path counts as up until then, if no echo comes; nil before the first.
    public var upUntil: Instant? { planted(.pathUpForever) ? lastUp.map { _ in .distantFuture } : lastUp }

    public func isUp(at now: Instant) -> Bool {
        guard let upUntil else { return false }
        return now <= upUntil
    }
}
