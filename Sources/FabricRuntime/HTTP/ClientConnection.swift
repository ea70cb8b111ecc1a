internal import FabricCore
internal import FabricWire
internal import NIOCore
internal import NIOHTTP1
internal import NIOSSL
internal import NIOTLS

/// A request on its way, confined to the event loop.
final class ClientCall {
    let id: HTTPCallID
    let request: HTTPRequest
    let target: String
    let headers: [(String, String)]
    let lane: HTTPClientLane
    var timer: Scheduled<Void>?
    var connection: ClientConnection?
    var retried = false
    private var completion: HTTPCompletion?

    init(
        id: HTTPCallID, request: HTTPRequest, target: String, headers: [(String, String)], lane: HTTPClientLane,
        completion: @escaping HTTPCompletion
    ) {
        self.id = id
        self.request = request
        self.target = target
        self.headers = headers
        self.lane = lane
        self.completion = completion
    }

    /// Completes once; later outcomes are dropped.
    func complete(_ result: Result<HTTPReply, HTTPClientError>) {
        timer?.cancel()
        timer = nil
        connection = nil
        let completion = self.completion
        self.completion = nil
        completion?(result)
    }
}

/// One connection of the client, carrying one call at a time. Everything runs on the event loop.
final class ClientConnection: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    private enum Reading {
        case head
        case body(HTTPReply, keepsAlive: Bool)
        /// Nothing more is taken.
        case over
    }

    let lane: HTTPClientLane
    /// Which identity and verifier it was opened with.
    let generation: Int
    private let limits: HTTPClientLimits
    let handshake = HandshakeRecord()
    private let client: HTTPSClient
    private var context: ChannelHandlerContext?
    private var deadline: Scheduled<Void>?
    private var reading = Reading.head
    private(set) var call: ClientCall?
    private var isSecured = false
    private var isClosed = false
    private var failure: HTTPClientError?
    /// A reply has come before, so a close may be no more than the server's idle time-out.
    private(set) var isReused = false

    init(
        client: HTTPSClient, lane: HTTPClientLane, generation: Int, limits: HTTPClientLimits, call: ClientCall
    ) {
        self.client = client
        self.lane = lane
        self.generation = generation
        self.limits = limits
        self.call = call
    }

    // MARK: Life

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        arm(limits.connectTimeout)
    }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? TLSUserEvent, case .handshakeCompleted = event {
            isSecured = true
            deadline?.cancel()
            deadline = nil
            if let call { send(call) }
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        finish(isSecured ? .answerLost : .tlsFailed("the server closed the connection during the handshake"))
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if case NIOSSLError.uncleanShutdown = error { return }  // channelInactive follows
        abort(meaning(of: error))
    }

    private func meaning(of error: any Error) -> HTTPClientError? {
        switch error {
        case NIOSSLError.handshakeFailed:
            handshake.refusal.map { .serverRefused($0) } ?? .tlsFailed(tlsReason(error))
        // In TLS 1.3 the server judges our certificate after our side of the handshake is complete.
        case BoringSSLError.sslError where !isReused: .tlsFailed("the server refused us: \(tlsReason(error))")
        case HTTPParserError.headerOverflow:
            .badReply("its header has more than \(limits.headBytes) bytes or \(limits.headerFields) fields")
        case is HTTPParserError where context?.channel.isActive == true: .badReply("\(error)")
        case is NIOHTTPDecoderError: .badReply("\(error)")
        default: nil
        }
    }

    /// The end of the connection, once.
    private func finish(_ reason: HTTPClientError) {
        guard !isClosed else { return }
        isClosed = true
        deadline?.cancel()
        deadline = nil
        let call = self.call
        self.call = nil
        let untouched: Bool
        if case .head = reading { untouched = true } else { untouched = false }
        reading = .over
        client.connectionEnded(
            self, call: call, failure: failure ?? reason, isStale: isReused && untouched && failure == nil)
    }

    /// Ends the connection at once, its call with `error`.
    func abort(_ error: HTTPClientError?) {
        if failure == nil { failure = error }
        let context = self.context
        finish(.answerLost)
        context?.close(promise: nil)
    }

    private func arm(_ duration: Duration) {
        deadline?.cancel()
        guard let context else { return }
        deadline = context.eventLoop.assumeIsolated().scheduleTask(in: duration.timeAmount) { [weak self] in
            guard let self else { return }
            self.abort(
                self.call == nil ? nil : .connectFailed(self.client.endpoint, "no TLS handshake within \(duration)"))
        }
    }

    // MARK: Calls

    /// Takes the next call on a connection that has had one.
    func start(_ call: ClientCall) {
        precondition(self.call == nil && isSecured && !isClosed)
        deadline?.cancel()
        deadline = nil
        self.call = call
        call.connection = self
        send(call)
    }

    private func send(_ call: ClientCall) {
        guard let context else { return }
        reading = .head
        // The module's name is needed: NIOHTTP1 has an HTTPMethod too.
        let method = NIOHTTP1.HTTPMethod(rawValue: call.request.method.rawValue)
        let head = HTTPRequestHead(
            version: .http1_1, method: method, uri: call.target, headers: HTTPHeaders(call.headers))
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        if !call.request.body.isEmpty {
            let buffer = context.channel.allocator.buffer(bytes: call.request.body)
            context.write(wrapOutboundOut(.body(.byteBuffer(buffer))), promise: nil)
        }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard call != nil else { return abort(nil) }  // the server speaks unasked
        switch (unwrapInboundIn(data), reading) {
        case (.head(let head), .head): headCame(head)
        case (.body(let buffer), .body(var reply, let keepsAlive)):
            guard reply.body.count + buffer.readableBytes <= limits.replyBytes else {
                return abort(.replyTooLarge(limit: limits.replyBytes))
            }
            reading = .over  // gives up the old copy, so that appending is in place
            reply.body.append(contentsOf: buffer.readableBytesView)
            reading = .body(reply, keepsAlive: keepsAlive)
        case (.end, .body(let reply, let keepsAlive)): replyCame(reply, keepsAlive: keepsAlive)
        default: break
        }
    }

    private func headCame(_ head: HTTPResponseHead) {
        let status = Int(head.status.code)
        let length = head.headers.first(name: "content-length").flatMap { Int($0) }
        guard (200..<600).contains(status) else { return abort(.badReply("status \(status)")) }
        // A body that ends with the connection could be cut short unnoticed.
        guard status == 204 || status == 304 || length != nil || head.headers.contains(name: "transfer-encoding") else {
            return abort(.badReply("it doesn't say how long it is"))
        }
        guard length ?? 0 <= limits.replyBytes else { return abort(.replyTooLarge(limit: limits.replyBytes)) }
        let type = head.headers.first(name: "content-type") ?? ""
        reading = .body(HTTPReply(status: status, contentType: type, body: []), keepsAlive: head.isKeepAlive)
    }

    private func replyCame(_ reply: HTTPReply, keepsAlive: Bool) {
        guard let call else { return }
        self.call = nil
        reading = .over
        isReused = true
        if keepsAlive, client.keeps(self) {
            arm(limits.idleTimeout)
            client.connectionFreed(self)
        } else {
            abort(nil)
        }
        client.callCompleted(call, reply)
    }
}
