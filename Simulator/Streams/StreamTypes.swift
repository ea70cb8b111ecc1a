public import FabricCore

/// One end of a stream. Both ends of one connection have identifiers of their own.
public struct StreamID: Hashable, Comparable, Sendable {
    /// Generation (32 bits), slot (31 bits), side (1 bit: 0 the client).
    public let value: UInt64

    init(slot: Int, generation: UInt32, side: Int) {
        value = UInt64(generation) << 32 | UInt64(slot) << 1 | UInt64(side)
    }

    init(value: UInt64) { self.value = value }

    var slot: Int { Int(value >> 1 & 0x7FFF_FFFF) }
    var side: Int { Int(value & 1) }
    var generation: UInt32 { UInt32(value >> 32) }

    public static func < (a: StreamID, b: StreamID) -> Bool { a.value < b.value }
}

/// What a host shows of itself in a TLS handshake.
public struct StreamIdentity: Hashable, Sendable {
    /// The certificate, then intermediates, DER.
    public var chain: [[UInt8]]
    /// False for one who shows a certificate without having its key: the peer's check of the signature fails.
    public var hasPrivateKey: Bool

    public init(chain: [[UInt8]], hasPrivateKey: Bool = true) {
        self.chain = chain
        self.hasPrivateKey = hasPrivateKey
    }

    /// A TLS Certificate message of this chain, with the CertificateVerify that follows it.
    var handshakeBytes: Int { chain.reduce(120) { $0 + $1.count + 5 } }
}

/// RFC 8446 section 6.2, as far as the model has occasion for them.
public enum TLSAlert: UInt8, Hashable, Sendable {
    case handshakeFailure = 40
    case badCertificate = 42
    case certificateExpired = 45
    case certificateUnknown = 46
    case unknownAuthority = 48
    case accessDenied = 49
    case decryptError = 51
    case certificateRequired = 116
}

/// A verifier's refusal.
public struct TLSRefusal: Error, Hashable, Sendable {
    public var alert: TLSAlert
    /// For logs on the refusing side; the peer learns the alert only.
    public var reason: String

    public init(_ alert: TLSAlert, _ reason: String) {
        self.alert = alert
        self.reason = reason
    }
}

/// Judges a peer's chain, at the verifier's own time. Nil accepts.
public typealias StreamVerifier = (_ chain: [[UInt8]], _ now: Now) -> TLSRefusal?

/// Who may connect to a listener.
public struct StreamListener {
    public enum ClientCertificate: Sendable { case none, optional, required }

    public var identity: StreamIdentity
    public var clientCertificate: ClientCertificate
    /// Judges the client's chain when it sends one.
    public var verify: StreamVerifier

    public init(
        identity: StreamIdentity, clientCertificate: ClientCertificate, verify: @escaping StreamVerifier
    ) {
        self.identity = identity
        self.clientCertificate = clientCertificate
        self.verify = verify
    }
}

/// How a client connects.
public struct StreamOptions {
    /// The client's own identity, sent when the server asks for one.
    public var identity: StreamIdentity?
    /// Judges the server's chain.
    public var verify: StreamVerifier
    /// From the call until the TLS handshake is done. Linux gives up a TCP connect after 127 s.
    public var connectTimeout: Duration = .seconds(127)
    /// How long sent bytes may stay unacknowledged before the stream is closed (TCP_USER_TIMEOUT); both ends use it.
    /// Linux's default is about 15 minutes.
    public var userTimeout: Duration = .seconds(924)

    public init(identity: StreamIdentity?, verify: @escaping StreamVerifier) {
        self.identity = identity
        self.verify = verify
    }
}

/// What happens at one end of a stream.
public enum StreamEvent {
    /// The client's end is open; the server's chain.
    case opened(peer: [[UInt8]])
    /// The server's end is open; the client's chain (empty without a certificate).
    case accepted(port: UInt16, from: Endpoint, peer: [[UInt8]])
    /// One whole message, in the order of sending.
    case received([UInt8])
    /// A `send` was refused before, and the buffer has drained to half.
    case writable
    /// The end is gone; its identifier means nothing any more. A side that called `close` hears nothing.
    case closed(StreamClosure)
}

/// Why a stream ended.
public enum StreamClosure: Hashable, Sendable, CustomStringConvertible {
    /// The peer closed it, after all that it had sent.
    case finished
    /// Nobody listens there.
    case refused
    case reset
    case timedOut
    /// This end refused the peer's certificate.
    case refusedPeer(TLSRefusal)
    /// The peer refused this end's certificate.
    case refusedByPeer(TLSAlert)

    public var description: String {
        switch self {
        case .finished: "closed by the peer"
        case .refused: "connection refused"
        case .reset: "connection reset"
        case .timedOut: "timed out"
        case .refusedPeer(let refusal): "refused the peer: \(refusal.reason) (\(refusal.alert))"
        case .refusedByPeer(let alert): "refused by the peer: \(alert)"
        }
    }
}

/// What became of streams, and of their packets beyond what the network counts.
public struct StreamCounters: Hashable, Sendable {
    public var connects: UInt64 = 0
    public var opened: UInt64 = 0
    public var refusedHandshakes: UInt64 = 0
    public var timedOut: UInt64 = 0
    public var resets: UInt64 = 0
    public var messages: UInt64 = 0
    public var messageBytes: UInt64 = 0
    public var retransmittedSegments: UInt64 = 0

    public init() {}
}

/// A queue over an array that forgets its front in batches.
struct FIFO<Element> {
    private var storage: [Element] = []
    private var head = 0

    var count: Int { storage.count - head }
    var isEmpty: Bool { head == storage.count }
    var first: Element? { isEmpty ? nil : storage[head] }

    subscript(_ index: Int) -> Element {
        get { storage[head + index] }
        set { storage[head + index] = newValue }
    }

    mutating func append(_ element: Element) { storage.append(element) }

    mutating func popFirst() -> Element? {
        guard head < storage.count else { return nil }
        let element = storage[head]
        head += 1
        if head == storage.count {
            storage.removeAll(keepingCapacity: storage.count <= 64)
            head = 0
        } else if head >= 64, head * 2 >= storage.count {
            storage.removeFirst(head)
            head = 0
        }
        return element
    }

    mutating func removeAll() {
        storage = []
        head = 0
    }
}
