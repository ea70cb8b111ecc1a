internal import FabricCore
internal import FabricWire

/// What the server grants anyone who connects, before it knows who that is. Each is enforced; what happens at the limit
/// stands beside it.
public struct HTTPServerLimits: Hashable, Sendable {
    /// Connections in all; one more is closed as it is accepted.
    public var connections = 12_000
    /// Connections from one address; one more is closed as it is accepted.
    public var connectionsPerAddress = 4_096
    /// Requests on one connection; the last one's reply closes it.
    public var requestsPerConnection = 10_000
    /// Request line, header names and header values, in bytes: 431.
    public var headBytes = 16 * 1024
    /// Header fields, trailers included: 431.
    public var headerFields = 64
    /// Query parameters: 400.
    public var queryItems = 32
    /// A request's body: 413. Its framing (chunk sizes and extensions) may take as much again.
    public var bodyBytes = HTTPLimits.requestBody
    /// Bodies being received or awaiting their reply, in all connections: 503.
    public var bodyBytesInAll = 64 * 1024 * 1024
    /// Bytes that a client sends before it has the reply to its last request: the connection is cut.
    public var pipelinedBytes = 64 * 1024
    /// From the connection's start (so the TLS handshake is in it), or a later request's first byte, to the header's
    /// end: 408.
    public var headTimeout = Duration.seconds(10)
    /// From the header's end to the body's: 408.
    public var bodyTimeout = Duration.seconds(15)
    /// From one reply to the next request's first byte: the connection is closed.
    public var idleTimeout = Duration.seconds(75)
    /// From a request to its reply, parked requests included: 503.
    public var replyTimeout = HTTPLimits.longestPark + .seconds(30)
    /// For the client to take a reply: the connection is cut.
    public var writeTimeout = Duration.seconds(15)

    public init() {}

    /// Files that the rest of the process has open: databases, logs, sockets of other kinds.
    static let otherOpenFiles = 128

    /// These limits, with no more connections than a process may have that can open so many files.
    func within(openFiles: Int) -> HTTPServerLimits {
        var limits = self
        limits.connections = min(connections, max(openFiles - Self.otherOpenFiles, 16))
        return limits
    }
}

/// What the server has done since its start.
public struct HTTPServerCounters: Hashable, Sendable {
    public var connectionsAccepted = 0
    /// Closed at accept because of `connections` or `connectionsPerAddress`.
    public var connectionsOverLimit = 0
    public var handshakesFailed = 0
    /// Handed to the host.
    public var requests = 0
    /// Answered by the server itself with 4xx or 5xx: bad, too large, too slow, refused in shutdown.
    public var refusals = 0
    /// Closed for idleness or for not taking a reply.
    public var connectionsTimedOut = 0
    /// Closed by the peer before the host replied.
    public var requestsAbandoned = 0
    /// Replies of the host to requests that were gone.
    public var repliesUndeliverable = 0

    public init() {}
}
