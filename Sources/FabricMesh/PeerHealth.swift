public import FabricCore

/// What one end knows of a path from its echo probes. A path is up while echoes come back; never because a session exists.
public struct PeerHealth: Hashable, Sendable {
    public static let defaultProbeInterval = Duration.seconds(2)

    /// After this long without an echo the path is down: two echoes in a row may be lost.
    public let upWindow: Duration

    public private(set) var nextSequence: UInt64 = 1
    public private(set) var lastEcho: Instant?
    public private(set) var roundTrip: Duration?
    public private(set) var probesSent: UInt64 = 0
    public private(set) var echoesReceived: UInt64 = 0

    /// Of a peer that is probed this often.
    public init(probeInterval: Duration) { upWindow = probeInterval * 5 / 2 }

    public mutating func probeSent() -> UInt64 {
        defer { nextSequence += 1 }
        probesSent += 1
        return nextSequence
    }

    /// False when the echo answers nothing that was asked, or comes from the future: it is not counted.
    public mutating func echoReceived(sequence: UInt64, sentAt: Int64, now: Instant) -> Bool {
        guard sequence >= 1, sequence < nextSequence, sentAt <= now.nanoseconds, sentAt >= 0 else { return false }
        let trip = now - Instant(nanoseconds: sentAt)
        guard trip <= upWindow else { return false }
        lastEcho = now
        roundTrip = trip
        echoesReceived += 1
        return true
    }

    public func isUp(at now: Instant) -> Bool {
        guard let lastEcho else { return false }
        return now - lastEcho <= upWindow
    }
}
