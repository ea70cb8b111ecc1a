internal import FabricCore
internal import FabricWire
internal import Logging
internal import NIOCore
internal import NIOHTTP1
internal import NIOSSL

/// One connection of the server: a request is read, handed over whole, answered; then the next.
///
/// What a client sends before it has its reply (pipelining) is not read: the reply closes the connection, and the
/// client asks again on a new one. Everything runs on the server's event loop.
final class ServerConnection: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = ByteBuffer

    private enum State {
        /// `started` once a byte of the request has come.
        case readingHead(started: Bool)
        case readingBody(HTTPRequest, keepsAlive: Bool, body: [UInt8])
        case awaitingReply(RequestID, keepsAlive: Bool)
        case writingReply(closes: Bool)
        /// The close is under way; what still comes is dropped.
        case closing
    }

    /// Fewer than 256 bytes of separators stand around a header's fields.
    private static let separatorsAllowance = 256
    private static let separatorsPerField = 4

    let remote: Endpoint
    private let server: HTTPSServer
    private let handshake: HandshakeRecord
    private var context: ChannelHandlerContext?
    private var state = State.readingHead(started: false)
    private var deadline: Scheduled<Void>?
    private var requests = 0
    /// Of the request being read, framing included.
    private var rawBytes = 0
    private var pipelinedBytes = 0
    private var isDraining = false
    /// This connection's share of `bodyBytesInAll`.
    private var heldBodyBytes = 0

    init(server: HTTPSServer, remote: Endpoint, handshake: HandshakeRecord) {
        self.server = server
        self.remote = remote
        self.handshake = handshake
    }

    private var limits: HTTPServerLimits { server.limits }

    // MARK: Life

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        arm(limits.headTimeout)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        server.connectionClosed(self)  // for a channel that never became active
    }

    func channelInactive(context: ChannelHandlerContext) {
        deadline?.cancel()
        deadline = nil
        if case .awaitingReply(let id, _) = state { server.requestAbandoned(id) }
        state = .closing
        holdBody(0)
        server.connectionClosed(self)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        case is HTTPParserError where !context.channel.isActive:
            break  // the end of the connection cut a request short
        case is HTTPParserError where isAwaitingReply:
            pipelinedBytes += 1
        case HTTPParserError.headerOverflow:
            refuse(431, Problem(.tooLarge, headLimitDetail))
        case is HTTPParserError:
            refuse(400, Problem(.malformedRequest, "not HTTP/1.1: \(error)"))
        case NIOSSLError.uncleanShutdown:
            break  // channelInactive follows and says all there is to say
        case NIOSSLError.handshakeFailed:
            server.handshakeFailed(remote, reason: handshake.refusal?.description ?? tlsReason(error))
            closeNow()
        default:
            server.logger.debug(
                "connection failed", metadata: ["remote": "\(remote)", "error": "\(error)"])
            closeNow()
        }
    }

    // MARK: Bytes, before they are parsed

    /// Whether bytes that came go on to the parser.
    func willParse(_ count: Int) -> Bool {
        switch state {
        case .readingHead(let started):
            if !started {
                state = .readingHead(started: true)
                rawBytes = 0
                if requests > 0 { arm(limits.headTimeout) }
            }
            rawBytes += count
            return true
        case .readingBody:
            rawBytes += count
            return true
        case .awaitingReply, .writingReply:
            pipelinedBytes += count
            if pipelinedBytes > limits.pipelinedBytes { closeNow() }
            return false
        case .closing:
            return false
        }
    }

    /// The parser has had all bytes so far; what it swallowed without telling (framing, blank lines) is bounded here.
    func didParse() {
        let head =
            limits.headBytes + Self.separatorsPerField * limits.headerFields + Self.separatorsAllowance
        switch state {
        case .readingHead(started: true) where rawBytes > head:
            refuse(431, Problem(.tooLarge, headLimitDetail))
        case .readingBody where rawBytes > head + 2 * limits.bodyBytes:
            refuse(413, RequestHead.Refusal.tooLarge(limits).problem)
        default: break
        }
    }

    private var isAwaitingReply: Bool {
        if case .awaitingReply = state { true } else { false }
    }

    private var headLimitDetail: String {
        "request line and header may have at most \(limits.headBytes) bytes and \(limits.headerFields) fields"
    }

    // MARK: Parts of a request

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch (unwrapInboundIn(data), state) {
        case (.head(let head), .readingHead): headCame(head)
        case (.body(let buffer), .readingBody(let request, let keepsAlive, var body)):
            state = .closing  // gives up the old copy, so that appending is in place
            body.append(contentsOf: buffer.readableBytesView)
            state = .readingBody(request, keepsAlive: keepsAlive, body: body)
            bodyGrew(to: body.count)
        case (.end, .readingBody(var request, let keepsAlive, let body)):
            request.body = body
            requestCame(request, keepsAlive: keepsAlive)
        default:
            // Pipelined in the same read, or the rest of what was refused.
            pipelinedBytes += 1
        }
    }

    private func headCame(_ head: HTTPRequestHead) {
        let verdict = RequestHead.judge(
            method: head.method.rawValue, target: head.uri, minorVersion: head.version.minor,
            headers: head.headers.map { ($0.name, $0.value) }, limits: limits)
        switch verdict {
        case .refused(let status, let problem): refuse(status, problem)
        case .accepted(let accepted):
            arm(limits.bodyTimeout)
            state = .readingBody(accepted.request, keepsAlive: accepted.keepsAlive, body: [])
            if accepted.expectsContinue, accepted.contentLength != 0, let context {
                context.writeAndFlush(
                    wrapOutboundOut(context.channel.allocator.buffer(string: ReplyEncoding.continueHead)), promise: nil)
            }
        }
    }

    private func bodyGrew(to count: Int) {
        guard count <= limits.bodyBytes else { return refuse(413, RequestHead.Refusal.tooLarge(limits).problem) }
        holdBody(count)
        if server.bodyBytesInAll > limits.bodyBytesInAll {
            refuse(503, Problem(.unavailable, "too many request bodies are being received; ask again shortly"))
        }
    }

    private func holdBody(_ count: Int) {
        server.bodyBytesInAll += count - heldBodyBytes
        heldBodyBytes = count
    }

    private func requestCame(_ request: HTTPRequest, keepsAlive: Bool) {
        guard !isDraining else { return refuse(503, Self.shuttingDown) }
        if let peer = handshake.peer {
            // A connection may outlive the certificate that opened it.
            do throws(PeerRefusal) {
                _ = try server.verifyClient(peer.chain)
            } catch {
                return refuse(401, Problem(.unauthenticated, "the client certificate is no longer valid: \(error)"))
            }
        }
        requests += 1
        let id = server.nextRequestID()
        state = .awaitingReply(id, keepsAlive: keepsAlive && requests < limits.requestsPerConnection)
        arm(limits.replyTimeout)
        server.requestCame(
            ServerRequest(id: id, request: request, peer: handshake.peer, remote: remote), on: self)
    }

    // MARK: Replies

    static let shuttingDown = Problem(.unavailable, "the server is shutting down; ask again shortly")

    /// The host's answer. False when the request is gone.
    func reply(_ reply: HTTPReply, to id: RequestID) -> Bool {
        guard case .awaitingReply(id, let keepsAlive) = state else { return false }
        send(reply, closes: !keepsAlive || isDraining || pipelinedBytes > 0)
        return true
    }

    /// The server's own answer to what it won't hand over; the connection ends with it.
    private func refuse(_ status: Int, _ problem: Problem) {
        switch state {
        case .readingHead, .readingBody, .awaitingReply: break
        case .writingReply, .closing: return
        }
        var problem = problem
        problem.status = status
        server.count { $0.refusals += 1 }
        server.logger.debug(
            "request refused",
            metadata: ["remote": "\(remote)", "status": "\(status)", "detail": "\(problem.detail)"])
        var reply = problem.reply
        reply.status = status
        send(reply, closes: true)
    }

    private func send(_ reply: HTTPReply, closes: Bool) {
        guard let context else { return }
        holdBody(0)
        state = .writingReply(closes: closes)
        arm(limits.writeTimeout)
        let buffer = ReplyEncoding.encode(reply, closes: closes, allocator: context.channel.allocator)
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenComplete { [weak self] result in self?.replyWritten(result) }
        context.writeAndFlush(wrapOutboundOut(buffer), promise: written)
    }

    private func replyWritten(_ result: Result<Void, any Error>) {
        guard case .writingReply(let closes) = state else { return }
        switch result {
        case .success where !closes && !isDraining && pipelinedBytes == 0:
            state = .readingHead(started: false)
            arm(limits.idleTimeout)
        default: closeNow()
        }
    }

    // MARK: Time

    private func arm(_ duration: Duration) {
        deadline?.cancel()
        guard let context else { return }
        deadline = context.eventLoop.assumeIsolated().scheduleTask(in: duration.timeAmount) { [weak self] in
            self?.deadlinePassed()
        }
    }

    private func deadlinePassed() {
        switch state {
        case .readingHead(started: false):
            server.count { $0.connectionsTimedOut += 1 }
            closeNow()
        case .readingHead(started: true):
            refuse(408, Problem(.malformedRequest, "the header took longer than \(limits.headTimeout)"))
        case .readingBody:
            refuse(408, Problem(.malformedRequest, "the body took longer than \(limits.bodyTimeout)"))
        case .awaitingReply(let id, _):
            server.requestAbandoned(id)
            refuse(503, Problem(.unavailable, "no answer within \(limits.replyTimeout)"))
        case .writingReply:
            server.count { $0.connectionsTimedOut += 1 }
            closeNow()
        case .closing: break
        }
    }

    // MARK: Shutdown

    /// Idle connections end, requests being read are refused, replies being written are the last.
    func drain() {
        isDraining = true
        switch state {
        case .readingHead(started: false): closeNow()
        case .readingHead, .readingBody: refuse(503, Self.shuttingDown)
        case .awaitingReply, .writingReply, .closing: break
        }
    }

    /// What still waits for the host is answered for it.
    func endDrain() {
        guard case .awaitingReply(let id, _) = state else { return }
        server.requestAbandoned(id)
        refuse(503, Self.shuttingDown)
    }

    /// Sends close_notify and waits a moment for the peer's, dropping what it sends, so that no reply is lost to a
    /// reset.
    func closeNow() {
        if case .awaitingReply(let id, _) = state { server.requestAbandoned(id) }
        state = .closing
        deadline?.cancel()
        deadline = nil
        holdBody(0)
        context?.close(promise: nil)
    }
}

/// Stands before the parser and counts.
final class ServerByteMeter: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let connection: ServerConnection

    init(_ connection: ServerConnection) { self.connection = connection }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard connection.willParse(unwrapInboundIn(data).readableBytes) else { return }
        context.fireChannelRead(data)
        connection.didParse()
    }
}
