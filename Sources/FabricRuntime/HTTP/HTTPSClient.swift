public import FabricCore
public import FabricWire
internal import Glibc
public import Logging
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import NIOSSL
internal import Synchronization

/// A client of one HTTPS server: HTTP/1.1 over TLS 1.3 with Ed25519 certificates, a few kept connections.
///
/// The server is judged by the verifier over the chain that it presents (a SPIFFE id, no DNS names). Long polls have
/// connections of their own. A request that meets the close of a kept connection is sent once more on a new one when
/// its method is idempotent (GET, PUT, DELETE; RFC 9110 section 9.2.2); any other becomes `answerLost`.
///
/// Logs go to `logger` at debug; bearer tokens and bodies are never logged.
public final class HTTPSClient: @unchecked Sendable {
    // Unchecked, because all that changes is touched on `loop.eventLoop` alone, but for the counter of calls.

    private struct Lane {
        /// The most recently used is last, and used first.
        var idle: [ClientConnection] = []
        var open = 0
        var waiting: [ClientCall] = []
    }

    public private(set) var endpoint: Endpoint
    private let loop: HTTPLoop
    private var limits: HTTPClientLimits
    private let logger: Logger
    private var tls: NIOSSLContext
    private var verifier: PeerVerifier
    private var generation = 0
    private var lanes: [HTTPClientLane: Lane] = [.ordinary: Lane(), .longPoll: Lane()]
    private var connections: [ObjectIdentifier: ClientConnection] = [:]
    private var calls: [HTTPCallID: ClientCall] = [:]
    private var isShutDown = false
    private let lastCallID = Atomic<UInt64>(0)

    /// `identity` is what the client presents, if anything.
    public init(
        loop: HTTPLoop, endpoint: Endpoint, verifyServer: PeerVerifier, identity: TLSIdentity?,
        limits: HTTPClientLimits, logger: Logger
    ) throws(TLSIdentityError) {
        self.loop = loop
        self.endpoint = endpoint
        self.limits = limits
        self.logger = logger
        verifier = verifyServer
        tls = try TLSContexts.client(identity)
    }

    /// Requests from now on travel on connections made with these. Idle ones are closed, busy ones after their reply.
    public func update(verifyServer: PeerVerifier, identity: TLSIdentity?) throws(TLSIdentityError) {
        let context = try TLSContexts.client(identity)
        loop.eventLoop.execute {
            self.tls = context
            self.verifier = verifyServer
            self.generation += 1
            for lane in HTTPClientLane.allCases { for connection in self.lanes[lane]!.idle { connection.abort(nil) } }
        }
    }

    /// Connections from now on go there, and may take so long to come about. What is under way stays where it is, and idle
    /// connections are closed.
    func update(endpoint: Endpoint, connectTimeout: Duration) {
        loop.eventLoop.execute {
            self.endpoint = endpoint
            self.limits.connectTimeout = connectTimeout
            self.generation += 1
            for lane in HTTPClientLane.allCases { for connection in self.lanes[lane]!.idle { connection.abort(nil) } }
        }
    }

    /// Ends all connections at once, as when the address is gone that they came from. Requests under way end with `answerLost`;
    /// those that wait for a connection, and later ones, get new ones.
    public func reconnect() {
        loop.eventLoop.execute {
            self.generation += 1
            let underWay = self.calls.filter { $0.value.connection != nil }.map(\.key)
            for call in underWay { self.end(call, with: .answerLost) }
            for connection in Array(self.connections.values) { connection.abort(nil) }
        }
    }

    /// Sends a request, from any thread; `completion` is called once, on the loop, within `timeout`.
    @discardableResult
    public func send(
        _ request: HTTPRequest, timeout: Duration, lane: HTTPClientLane, completion: @escaping HTTPCompletion
    ) -> HTTPCallID {
        let id = HTTPCallID(number: lastCallID.add(1, ordering: .relaxed).newValue)
        loop.eventLoop.execute { self.begin(id, request, timeout: timeout, lane: lane, completion: completion) }
        return id
    }

    /// Ends a request with `cancelled`, if it is still going.
    public func cancel(_ id: HTTPCallID) { loop.eventLoop.execute { self.end(id, with: .cancelled) } }

    /// Sends a request and blocks the calling thread until it has its outcome. Not to be called on the loop.
    public func perform(_ request: HTTPRequest, timeout: Duration) throws(HTTPClientError) -> HTTPReply {
        precondition(!loop.eventLoop.inEventLoop, "the loop would wait for itself")
        let promise = loop.eventLoop.makePromise(of: Result<HTTPReply, HTTPClientError>.self)
        send(request, timeout: timeout, lane: .ordinary) { promise.succeed($0) }
        do {
            return try promise.futureResult.wait().get()
        } catch let error as HTTPClientError {
            throw error
        } catch {
            throw .shutDown  // the loop itself has ended
        }
    }

    /// Ends all requests with `shutDown` and closes all connections. `completion` is called on the loop.
    public func shutdown(completion: @escaping @Sendable () -> Void) {
        loop.eventLoop.execute {
            self.isShutDown = true
            for call in Array(self.calls.keys) { self.end(call, with: .shutDown) }
            for connection in Array(self.connections.values) { connection.abort(.shutDown) }
            completion()
        }
    }
}

// MARK: - Calls

extension HTTPSClient {
    private func begin(
        _ id: HTTPCallID, _ request: HTTPRequest, timeout: Duration, lane: HTTPClientLane,
        completion: @escaping HTTPCompletion
    ) {
        guard !isShutDown else { return completion(.failure(.shutDown)) }
        let call: ClientCall
        do throws(HTTPClientError) {
            let (target, headers) = try RequestEncoding.head(request, host: endpoint.description)
            call = ClientCall(
                id: id, request: request, target: target, headers: headers, lane: lane, completion: completion)
        } catch {
            return completion(.failure(error))
        }
        guard lanes[lane]!.waiting.count < limits.waiting else {
            return completion(.failure(.tooManyRequests(limit: limits.waiting)))
        }
        calls[id] = call
        call.timer = loop.eventLoop.scheduleTask(in: timeout.timeAmount) { self.end(id, with: .timedOut) }
        lanes[lane]!.waiting.append(call)
        serve(lane)
    }

    /// Gives waiting calls to idle connections, then to new ones.
    private func serve(_ lane: HTTPClientLane) {
        let most = lane == .ordinary ? limits.connections : limits.longPolls
        while let call = lanes[lane]!.waiting.first {
            if let connection = lanes[lane]!.idle.popLast() {
                lanes[lane]!.waiting.removeFirst()
                connection.start(call)
            } else if lanes[lane]!.open < most {
                lanes[lane]!.waiting.removeFirst()
                connect(for: call)
            } else {
                return
            }
        }
    }

    private func end(_ id: HTTPCallID, with error: HTTPClientError) {
        guard let call = calls.removeValue(forKey: id) else { return }
        lanes[call.lane]!.waiting.removeAll { $0 === call }
        if let connection = call.connection { connection.abort(error) }
        call.complete(.failure(error))
    }
}

// MARK: - Connections

extension HTTPSClient {
    private func connect(for call: ClientCall) {
        let connection = ClientConnection(
            client: self, lane: call.lane, generation: generation, limits: limits, call: call)
        let name = ObjectIdentifier(connection)
        lanes[call.lane]!.open += 1
        connections[name] = connection
        call.connection = connection
        let address: SocketAddress
        do {
            address = try SocketAddress(endpoint)
        } catch {
            return connection.abort(.connectFailed(endpoint, "\(error)"))
        }
        ClientBootstrap(group: loop.eventLoop)
            .connectTimeout(limits.connectTimeout.timeAmount)
            .channelOption(.socketOption(.so_keepalive), value: 1)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try self.prepare(channel, name) }
            }
            .connect(to: address)
            .whenFailure { self.connectFailed(name, $0) }
    }

    private func prepare(_ channel: any Channel, _ name: ObjectIdentifier) throws {
        // Gone when its call ended before the connection began.
        guard let connection = connections[name] else { throw ChannelError.operationUnsupported }
        let operations = channel.pipeline.syncOperations
        try operations.addHandler(
            NIOSSLClientHandler(
                context: tls, serverHostname: nil,
                customVerificationCallback: connection.handshake.callback(verifier)))
        try operations.addHandler(HTTPRequestEncoder())
        var parserLimits = NIOHTTPDecoderLimitConfiguration()
        parserLimits.maxHeaderFieldSize = limits.headBytes
        parserLimits.maxHeaderListSize = limits.headBytes
        parserLimits.maxHeaderFieldCount = limits.headerFields
        try operations.addHandler(
            ByteToMessageHandler(HTTPResponseDecoder(limitConfiguration: parserLimits)))
        try operations.addHandler(connection)
    }

    private func connectFailed(_ name: ObjectIdentifier, _ error: any Error) {
        if let error = error as? IOError, error.errnoCode == ECONNREFUSED {
            connections[name]?.abort(.connectRefused(endpoint))
        } else {
            connections[name]?.abort(.connectFailed(endpoint, "\(error)"))
        }
    }

    /// Whether a connection is worth keeping after its reply.
    func keeps(_ connection: ClientConnection) -> Bool { !isShutDown && connection.generation == generation }

    func connectionFreed(_ connection: ClientConnection) {
        lanes[connection.lane]!.idle.append(connection)
    }

    /// A reply is complete; its connection has been freed or has ended.
    func callCompleted(_ call: ClientCall, _ reply: HTTPReply) {
        calls[call.id] = nil
        call.complete(.success(reply))
        serve(call.lane)
    }

    func connectionEnded(_ connection: ClientConnection, call: ClientCall?, failure: HTTPClientError, isStale: Bool) {
        connections[ObjectIdentifier(connection)] = nil
        lanes[connection.lane]!.open -= 1
        lanes[connection.lane]!.idle.removeAll { $0 === connection }
        // A call that has ended already is no longer listed; its connection ends because of it.
        if let call, calls[call.id] != nil {
            call.connection = nil
            let isIdempotent = call.request.method != .post && call.request.method != .patch
            if isStale, isIdempotent, !call.retried {
                call.retried = true
                lanes[call.lane]!.waiting.insert(call, at: 0)
            } else {
                calls[call.id] = nil
                logger.debug(
                    "request failed",
                    metadata: [
                        "server": "\(endpoint)", "path": "\(call.request.path)", "error": "\(failure)",
                    ])
                call.complete(.failure(failure))
            }
        }
        if !isShutDown { serve(connection.lane) }
    }
}
