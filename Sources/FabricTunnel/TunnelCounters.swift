/// Why a packet, a datagram or a message went no further. The wire hears nothing of it.
public enum DropReason: UInt8, CaseIterable, Hashable, Sendable, CustomStringConvertible {
    // Sending.
    case unknownDomain
    /// No peer of the domain has the destination among its allowed IPs.
    case noRoute
    /// The peer's address is not known.
    case noEndpoint
    /// The buffer has no room for header, padding and tag.
    case noRoom
    /// A newer packet took its place in the queue that waits for the handshake.
    case stagedOverflow
    /// The handshake that it waited for was given up, or its peer was removed.
    case stagedExpired
    /// Larger than what the path to the peer takes, and not to be fragmented.
    case tooBig

    // Both ways.
    /// Not an IP packet, or one that claims to be longer than it is.
    case malformedInnerPacket

    // Receiving.
    /// Too short, of an unknown type, or not of its type's length.
    case malformedMessage
    /// From UDP port 0, where no answer can go (RFC 768).
    case unanswerable
    case unknownReceiverIndex
    case invalidMAC1
    /// Under load, and without a valid mac2; a cookie reply was sent.
    case cookieRequired
    case rateLimited
    /// A handshake message, with a valid mac1, that did not decrypt.
    case handshakeNotAuthentic
    case unknownPeer
    /// An initiation no newer than the greatest seen.
    case handshakeReplayed
    /// Initiations of one peer less than 20 ms apart.
    case handshakeFlood
    /// A Diffie-Hellman result of all zeros.
    case weakKey
    case invalidCookieReply
    case notAuthentic
    case replayed
    /// Of a session that is too old or exhausted.
    case sessionExpired
    /// The inner source address is not among the sender's allowed IPs.
    case sourceNotAllowed
    /// The path marked the datagram with congestion, and the packet's sender does not speak ECN (RFC 6040).
    case congestion

    // Queues.
    case transmitQueueFull
    case eventQueueFull
    /// A handshake message that found too many others waiting.
    case handshakeQueueFull

    public var description: String {
        switch self {
        case .unknownDomain: "unknown_domain"
        case .noRoute: "no_route"
        case .noEndpoint: "no_endpoint"
        case .noRoom: "no_room"
        case .stagedOverflow: "staged_overflow"
        case .stagedExpired: "staged_expired"
        case .tooBig: "too_big"
        case .malformedInnerPacket: "malformed_inner_packet"
        case .malformedMessage: "malformed_message"
        case .unanswerable: "unanswerable"
        case .unknownReceiverIndex: "unknown_receiver_index"
        case .invalidMAC1: "invalid_mac1"
        case .cookieRequired: "cookie_required"
        case .rateLimited: "rate_limited"
        case .handshakeNotAuthentic: "handshake_not_authentic"
        case .unknownPeer: "unknown_peer"
        case .handshakeReplayed: "handshake_replayed"
        case .handshakeFlood: "handshake_flood"
        case .weakKey: "weak_key"
        case .invalidCookieReply: "invalid_cookie_reply"
        case .notAuthentic: "not_authentic"
        case .replayed: "replayed"
        case .sessionExpired: "session_expired"
        case .sourceNotAllowed: "source_not_allowed"
        case .congestion: "congestion"
        case .transmitQueueFull: "transmit_queue_full"
        case .eventQueueFull: "event_queue_full"
        case .handshakeQueueFull: "handshake_queue_full"
        }
    }
}

/// What an endpoint has counted since it was made. Bytes are those of inner IP packets.
public struct TunnelCounters: Equatable, Sendable {
    public internal(set) var packetsSent: UInt64 = 0
    public internal(set) var packetsReceived: UInt64 = 0
    public internal(set) var bytesSent: UInt64 = 0
    public internal(set) var bytesReceived: UInt64 = 0
    public internal(set) var keepalivesSent: UInt64 = 0
    public internal(set) var keepalivesReceived: UInt64 = 0
    public internal(set) var initiationsSent: UInt64 = 0
    public internal(set) var initiationsReceived: UInt64 = 0
    public internal(set) var responsesSent: UInt64 = 0
    public internal(set) var responsesReceived: UInt64 = 0
    public internal(set) var cookieRepliesSent: UInt64 = 0
    public internal(set) var cookieRepliesReceived: UInt64 = 0
    public internal(set) var sessionsEstablished: UInt64 = 0
    public internal(set) var handshakesGivenUp: UInt64 = 0
    /// Messages of handshakes that were worked on past all that is cheap: each cost Diffie-Hellman.
    public internal(set) var handshakesOpened: UInt64 = 0
    /// Those of them that came under load, with a valid cookie.
    public internal(set) var handshakesByCookie: UInt64 = 0

    private var drops = InlineArray<28, UInt64>(repeating: 0)

    public init() {}

    /// How many were dropped for one reason.
    public internal(set) subscript(reason: DropReason) -> UInt64 {
        get { drops[Int(reason.rawValue)] }
        set { drops[Int(reason.rawValue)] = newValue }
    }

    /// The reasons that occurred, in their own order.
    public var dropped: [(reason: DropReason, count: UInt64)] {
        DropReason.allCases.map { ($0, self[$0]) }.filter { $0.1 > 0 }
    }

    public static func == (a: TunnelCounters, b: TunnelCounters) -> Bool {
        a.packetsSent == b.packetsSent && a.packetsReceived == b.packetsReceived && a.bytesSent == b.bytesSent
            && a.bytesReceived == b.bytesReceived && a.keepalivesSent == b.keepalivesSent
            && a.keepalivesReceived == b.keepalivesReceived && a.initiationsSent == b.initiationsSent
            && a.initiationsReceived == b.initiationsReceived && a.responsesSent == b.responsesSent
            && a.responsesReceived == b.responsesReceived && a.cookieRepliesSent == b.cookieRepliesSent
            && a.cookieRepliesReceived == b.cookieRepliesReceived && a.sessionsEstablished == b.sessionsEstablished
            && a.handshakesGivenUp == b.handshakesGivenUp && a.handshakesOpened == b.handshakesOpened
            && a.handshakesByCookie == b.handshakesByCookie && DropReason.allCases.allSatisfy { a[$0] == b[$0] }
    }
}
