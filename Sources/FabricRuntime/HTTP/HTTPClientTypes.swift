public import FabricCore
public import FabricWire

/// Why a request has no reply. Whether the server acted on it is known only where it says so.
public enum HTTPClientError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Nothing was sent: nobody listens there.
    case connectRefused(Endpoint)
    /// Nothing was sent: the network gave no connection.
    case connectFailed(Endpoint, String)
    /// Nothing was sent: the server's certificates were refused.
    case serverRefused(PeerRefusal)
    /// The server did not act: the handshake failed, or the server refused our certificate.
    case tlsFailed(String)
    /// The server may have acted. Also when the time ran out before anything was sent.
    case timedOut
    /// The connection ended before the reply; the server may have acted.
    case answerLost
    /// The server acted; its reply is longer than this many bytes.
    case replyTooLarge(limit: Int)
    /// What came is not a reply in HTTP/1.1 with a known length.
    case badReply(String)
    /// Nothing was sent: the request can't be written in HTTP.
    case badRequest(String)
    /// Nothing was sent: this many requests wait already.
    case tooManyRequests(limit: Int)
    case cancelled
    /// Nothing was sent: the client is shut down.
    case shutDown

    public var description: String {
        switch self {
        case .connectRefused(let endpoint): "\(endpoint) refused the connection; is the server running there?"
        case .connectFailed(let endpoint, let why): "no connection to \(endpoint): \(why)"
        case .serverRefused(let refusal): "the server's certificate is not accepted: \(refusal)"
        case .tlsFailed(let why): "the TLS handshake failed: \(why)"
        case .timedOut: "no answer in time"
        case .answerLost: "the connection ended before the answer"
        case .replyTooLarge(let limit): "the answer is longer than \(limit) bytes"
        case .badReply(let what): "the answer is not HTTP as expected: \(what)"
        case .badRequest(let what): "the request can't be sent: \(what)"
        case .tooManyRequests(let limit): "\(limit) requests are waiting already"
        case .cancelled: "the request was cancelled"
        case .shutDown: "the client is shut down"
        }
    }

    /// The server at this address did not act, and another may be the right one.
    var nothingWasSent: Bool {
        switch self {
        case .connectRefused, .connectFailed, .serverRefused, .tlsFailed: true
        case .timedOut, .answerLost, .replyTooLarge, .badReply, .badRequest, .tooManyRequests, .cancelled, .shutDown:
            false
        }
    }
}

public struct HTTPClientLimits: Hashable, Sendable {
    /// Connections for ordinary requests; more requests wait their turn.
    public var connections = 4
    /// Connections for long polls, apart from those.
    public var longPolls = 8
    /// Requests that wait for a connection, of each kind: `tooManyRequests`.
    public var waiting = 64
    /// A reply's body: `replyTooLarge`.
    public var replyBytes = HTTPLimits.replyBody
    /// A reply's header names and values, in bytes: `badReply`.
    public var headBytes = 16 * 1024
    /// A reply's header fields: `badReply`.
    public var headerFields = 64
    /// TCP and TLS together: `connectFailed`.
    public var connectTimeout = Duration.seconds(10)
    /// How long an unused connection is kept. Shorter than the server's, so that seldom a request meets a close.
    public var idleTimeout = Duration.seconds(30)

    public init() {}
}

/// Which connections a request may use.
public enum HTTPClientLane: Hashable, Sendable, CaseIterable {
    case ordinary
    /// Requests that the server may park: they never hold up ordinary ones.
    case longPoll
}

/// Names a request of a client, to cancel it.
public struct HTTPCallID: Hashable, Sendable {
    public var number: UInt64
}

public typealias HTTPCompletion = @Sendable (Result<HTTPReply, HTTPClientError>) -> Void
