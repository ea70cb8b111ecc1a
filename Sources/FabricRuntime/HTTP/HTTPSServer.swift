public import FabricCore
public import FabricWire
internal import Glibc
public import Logging
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import NIOSSL
internal import Synchronization

/// Names a request from its arrival to its reply.
public struct RequestID: Hashable, Sendable, CustomStringConvertible {
    public var number: UInt64
    public var description: String { "\(number)" }
}

/// A whole request, and who sent it as far as TLS knows.
public struct ServerRequest: Sendable {
    public var id: RequestID
    public var request: HTTPRequest
    /// Nil when the client presented no certificate.
    public var peer: VerifiedPeer?
    public var remote: Endpoint

    public init(id: RequestID, request: HTTPRequest, peer: VerifiedPeer?, remote: Endpoint) {
        self.id = id
        self.request = request
        self.peer = peer
        self.remote = remote
    }
}

/// What the server calls, one call after the other, on its event loop: hand the work on, don't do it there.
public struct HTTPServerHandlers: Sendable {
    /// Exactly one `reply` is due, now or later.
    public var onRequest: @Sendable (ServerRequest) -> Void
    /// The request has lost its connection, or the server has answered in the host's place: drop what is parked for it.
    public var onClosed: @Sendable (RequestID) -> Void
    /// Asked first: a reply that can be given without waiting for anything. `onRequest` does not hear of such a request.
    public var replyAtOnce: @Sendable (ServerRequest) -> HTTPReply? = { _ in nil }

    public init(
        onRequest: @escaping @Sendable (ServerRequest) -> Void, onClosed: @escaping @Sendable (RequestID) -> Void
    ) {
        self.onRequest = onRequest
        self.onClosed = onClosed
    }
}

public enum HTTPServerError: Error, Hashable, Sendable, CustomStringConvertible {
    case identity(TLSIdentityError)
    case bind(Endpoint, String)

    public var description: String {
        switch self {
        case .identity(let error): error.description
        case .bind(let endpoint, let why): "can't listen on \(endpoint): \(why)"
        }
    }
}

/// An HTTPS server: HTTP/1.1 over TLS 1.3 with Ed25519 certificates, client certificates optional. No port is plain.
///
/// A client that presents a chain must pass `verifyClient` or its handshake fails; each of its requests is checked
/// again, since a connection may outlive a certificate. A waiting request holds a connection and some memory, never a
/// thread.
///
/// Logs go to `logger`: info for start and stop, debug for what single clients do wrong; bearer tokens and bodies are
/// never logged.
public final class HTTPSServer: @unchecked Sendable {
    // Unchecked, because all that changes is touched on `loop.eventLoop` alone, or has a lock.

    public let limits: HTTPServerLimits
    let logger: Logger
    private let loop: HTTPLoop
    private let verifier: PeerVerifier
    private let handlers: HTTPServerHandlers
    private let tls: Mutex<NIOSSLContext>
    private var listener: (any Channel)?
    private var connections: [ObjectIdentifier: ServerConnection] = [:]
    private var connectionsByAddress: [IPAddress: Int] = [:]
    private var waiting: [RequestID: ServerConnection] = [:]
    private var lastRequestID: UInt64 = 0
    private var isShuttingDown = false
    private var onShutdown: [@Sendable () -> Void] = []
    private let counterBox = Mutex(HTTPServerCounters())
    var bodyBytesInAll = 0

    /// Where it listens; the port that the kernel chose when `bind` had port 0.
    public private(set) var endpoint: Endpoint

    /// Listens from here on. `limits.connections` is lowered to what the process may open (RLIMIT_NOFILE). Blocks
    /// for the moment that binding takes; not to be called on the loop.
    public init(
        loop: HTTPLoop, bind: Endpoint, identity: TLSIdentity, verifyClient: PeerVerifier, limits: HTTPServerLimits,
        logger: Logger, handlers: HTTPServerHandlers
    ) throws(HTTPServerError) {
        self.loop = loop
        self.limits = limits.within(openFiles: Self.openFilesLimit)
        self.logger = logger
        self.handlers = handlers
        verifier = verifyClient
        endpoint = bind
        do {
            tls = Mutex(try TLSContexts.server(identity))
        } catch {
            throw .identity(error)
        }
        do {
            let channel = try bootstrap().bind(to: SocketAddress(bind)).wait()
            endpoint = channel.localAddress?.endpoint ?? bind
            try loop.eventLoop.submit { self.listener = channel }.wait()
        } catch {
            throw .bind(bind, "\(error)")
        }
        logger.info(
            "listening", metadata: ["endpoint": "\(endpoint)", "connections": "\(self.limits.connections)"])
    }

    /// How many files the process may have open; accepting beyond it would fail over and over.
    private static var openFilesLimit: Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
        return Int(clamping: limit.rlim_cur)
    }

    /// Connections accepted from now on are served with `identity`; those that stand keep the old one.
    public func update(identity: TLSIdentity) throws(TLSIdentityError) {
        let context = try TLSContexts.server(identity)
        tls.withLock { $0 = context }
    }

    public var counters: HTTPServerCounters { counterBox.withLock { $0 } }

    /// Answers a request, from any thread. A request that is gone takes no answer, and that is no error.
    public func reply(_ id: RequestID, _ reply: HTTPReply) {
        loop.eventLoop.execute {
            if self.waiting.removeValue(forKey: id)?.reply(reply, to: id) != true {
                self.count { $0.repliesUndeliverable += 1 }
            }
        }
    }

    /// Stops accepting, closes idle connections, gives waiting requests `answerWithin` to be answered by the host,
    /// answers the rest with 503 and Retry-After, and closes. `completion` is called on the loop when all are gone.
    public func shutdown(answerWithin: Duration, completion: @escaping @Sendable () -> Void) {
        loop.eventLoop.execute {
            self.onShutdown.append(completion)
            guard !self.isShuttingDown else { return self.finishShutdown() }
            self.isShuttingDown = true
            self.logger.info("shutting down", metadata: ["connections": "\(self.connections.count)"])
            self.listener?.close(promise: nil)
            self.listener = nil
            for connection in Array(self.connections.values) { connection.drain() }
            self.loop.eventLoop.scheduleTask(in: answerWithin.timeAmount) {
                for connection in Array(self.connections.values) { connection.endDrain() }
            }
            self.finishShutdown()
        }
    }

    private func finishShutdown() {
        guard isShuttingDown, connections.isEmpty else { return }
        let callbacks = onShutdown
        onShutdown = []
        for callback in callbacks { callback() }
    }
}

// MARK: - Connections

extension HTTPSServer {
    private func bootstrap() -> ServerBootstrap {
        ServerBootstrap(group: loop.eventLoop)
            .serverChannelOption(.backlog, value: 1024)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.socketOption(.so_keepalive), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try self.accept(channel) }
            }
    }

    private func accept(_ channel: any Channel) throws {
        guard let remote = channel.remoteAddress?.endpoint, !isShuttingDown, connections.count < limits.connections,
            connectionsByAddress[remote.address, default: 0] < limits.connectionsPerAddress
        else {
            count { $0.connectionsOverLimit += 1 }
            throw ChannelError.operationUnsupported  // the bootstrap closes it
        }
        let handshake = HandshakeRecord()
        let connection = ServerConnection(server: self, remote: remote, handshake: handshake)
        let operations = channel.pipeline.syncOperations
        try operations.addHandler(
            NIOSSLServerHandler(
                context: tls.withLock { $0 }, customVerificationCallback: handshake.callback(verifier)))
        try operations.addHandler(ServerByteMeter(connection))
        var parserLimits = NIOHTTPDecoderLimitConfiguration()
        parserLimits.maxHeaderFieldSize = limits.headBytes
        parserLimits.maxHeaderListSize = limits.headBytes
        parserLimits.maxHeaderFieldCount = limits.headerFields
        try operations.addHandler(
            ByteToMessageHandler(HTTPRequestDecoder(limitConfiguration: parserLimits)))
        try operations.addHandler(connection)
        connections[ObjectIdentifier(connection)] = connection
        connectionsByAddress[remote.address, default: 0] += 1
        count { $0.connectionsAccepted += 1 }
    }

    func connectionClosed(_ connection: ServerConnection) {
        guard connections.removeValue(forKey: ObjectIdentifier(connection)) != nil else { return }
        let address = connection.remote.address
        connectionsByAddress[address, default: 1] -= 1
        if connectionsByAddress[address] == 0 { connectionsByAddress[address] = nil }
        if isShuttingDown { finishShutdown() }
    }

    func verifyClient(_ chain: [[UInt8]]) throws(PeerRefusal) -> CertificateFacts { try verifier.verify(chain) }

    func handshakeFailed(_ remote: Endpoint, reason: String) {
        count { $0.handshakesFailed += 1 }
        logger.debug("TLS handshake failed", metadata: ["remote": "\(remote)", "reason": "\(reason)"])
    }

    func count(_ change: (inout HTTPServerCounters) -> Void) { counterBox.withLock { change(&$0) } }
}

// MARK: - Requests

extension HTTPSServer {
    func nextRequestID() -> RequestID {
        lastRequestID += 1
        return RequestID(number: lastRequestID)
    }

    func requestCame(_ request: ServerRequest, on connection: ServerConnection) {
        waiting[request.id] = connection
        count { $0.requests += 1 }
        if let reply = handlers.replyAtOnce(request) { return self.reply(request.id, reply) }
        handlers.onRequest(request)
    }

    func requestAbandoned(_ id: RequestID) {
        guard waiting.removeValue(forKey: id) != nil else { return }
        count { $0.requestsAbandoned += 1 }
        handlers.onClosed(id)
    }
}
