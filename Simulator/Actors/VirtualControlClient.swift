internal import FabricCore
internal import FabricNode
internal import FabricWire

/// A virtual host's channel to the control plane: it keeps a connection for ordinary requests and others for those that may be
/// parked, and makes them as they are needed. Like the Linux client, it has one parked request on a connection: one that is
/// made anew, because the first seems dead, does not go where that one went.
final class VirtualControlClient {
    enum Outcome {
        case reply(UInt64, HTTPReply)
        case failure(UInt64, ControlFailure)

        var description: String {
            switch self {
            case .reply(_, let reply): "status \(reply.status)"
            case .failure(_, let failure): failure.description
            }
        }
    }

    /// Timers of requests carry this bit beside the number, so that a host can tell them from its own.
    static let timerFlag: UInt64 = 1 << 63
    static let connectTimeout = Duration.seconds(10)

    private struct Lane {
        var stream: StreamID?
        var isOpen = false
        /// Made under an identity that has been replaced: it serves what is under way, and no more.
        var isOutdated = false
        /// Waiting for the connection to open, in order.
        var waiting: [(number: UInt64, bytes: [UInt8])] = []
        /// Sent, not answered; sorted by number.
        var sent: [UInt64] = []
    }

    private let world: World
    private let host: HostID
    private var server: Endpoint
    private var connectTimeout = VirtualControlClient.connectTimeout
    private let verifyServer: StreamVerifier
    private var identity: StreamIdentity?
    /// Of ordinary requests, and then of each parked one.
    private var lanes = [Lane(), Lane()]
    /// As in the Linux client.
    static let longPolls = 8

    init(
        world: World, host: HostID, server: Endpoint, identity: StreamIdentity?, verifyServer: @escaping StreamVerifier
    ) {
        self.world = world
        self.host = host
        self.server = server
        self.identity = identity
        self.verifyServer = verifyServer
    }

    /// New connections use this. Idle ones end at once and busy ones after their last reply, as in the Linux client.
    func present(_ identity: StreamIdentity?) {
        guard identity != self.identity else { return }
        self.identity = identity
        for index in lanes.indices where lanes[index].stream != nil {
            lanes[index].isOutdated = true
            closeIfDone(index)
        }
    }

    private func closeIfDone(_ index: Int) {
        guard lanes[index].isOutdated, lanes[index].sent.isEmpty, lanes[index].waiting.isEmpty else { return }
        if let stream = lanes[index].stream { world.streams.close(stream) }
        lanes[index] = Lane()
    }

    func send(_ request: HTTPRequest, number: UInt64, timeout: Duration) {
        let index = request.parameter("wait") == nil ? 0 : freeLongPoll()
        let bytes = VirtualHTTP.encode(request, number: number)
        world.setTimer(host, after: timeout, token: number | Self.timerFlag)
        if lanes[index].stream == nil {
            var options = StreamOptions(identity: identity, verify: verifyServer)
            options.connectTimeout = connectTimeout
            lanes[index].stream = world.streams.connect(host, to: server, options)
        }
        if lanes[index].isOpen, let stream = lanes[index].stream, world.streams.send(stream, bytes) {
            lanes[index].sent.append(number)
        } else {
            lanes[index].waiting.append((number, bytes))
        }
    }

    private func freeLongPoll() -> Int {
        let free = lanes.indices.dropFirst().first { lanes[$0].sent.isEmpty && lanes[$0].waiting.isEmpty }
        if let free { return free }
        guard lanes.count <= Self.longPolls else { return 1 }
        lanes.append(Lane())
        return lanes.count - 1
    }

    /// New connections go there.
    func use(_ server: Endpoint, connectTimeout: Duration) {
        self.server = server
        self.connectTimeout = connectTimeout
    }

    /// Ends all connections, and what was under way on them.
    func reconnect() -> [Outcome] {
        lanes.indices.flatMap { index -> [Outcome] in
            guard let stream = lanes[index].stream else { return [] }
            world.streams.reset(stream)
            return end(index, but: nil, .answerLost)
        }
    }

    /// A request's time is up, unless it has been answered: its connection is of no more use.
    func timerFired(_ token: UInt64) -> [Outcome] {
        let number = token & ~Self.timerFlag
        guard
            let index = lanes.firstIndex(where: { lane in
                lane.sent.contains(number) || lane.waiting.contains { $0.number == number }
            })
        else { return [] }
        if let stream = lanes[index].stream { world.streams.reset(stream) }
        let others = end(index, but: number, .answerLost)
        return [.failure(number, .timedOut)] + others
    }

    func handle(_ stream: StreamID, _ event: StreamEvent) -> [Outcome] {
        guard let index = lanes.firstIndex(where: { $0.stream == stream }) else { return [] }
        switch event {
        case .opened:
            lanes[index].isOpen = true
            flush(index)
            return []
        case .writable:
            flush(index)
            return []
        case .accepted: return []
        case .received(let bytes):
            let (number, reply) = VirtualHTTP.decodeReply(bytes)
            guard let position = lanes[index].sent.firstIndex(of: number) else { return [] }
            lanes[index].sent.remove(at: position)
            closeIfDone(index)
            return [.reply(number, reply)]
        case .closed(let closure):
            let failure: ControlFailure =
                switch closure {
                case .refusedPeer(let refusal): .untrusted(refusal.reason)
                case .refusedByPeer(let alert): .untrusted("the control plane refused our certificate (\(alert))")
                case .finished, .refused, .reset, .timedOut: .unreachable
                }
            return end(index, but: nil, failure)
        }
    }

    private func flush(_ index: Int) {
        guard let stream = lanes[index].stream else { return }
        while let next = lanes[index].waiting.first, world.streams.send(stream, next.bytes) {
            lanes[index].waiting.removeFirst()
            lanes[index].sent.append(next.number)
        }
    }

    /// The connection is gone: what was sent may have been carried out, what waited was not.
    private func end(_ index: Int, but excepted: UInt64?, _ failure: ControlFailure) -> [Outcome] {
        let lane = lanes[index]
        lanes[index] = Lane()
        let sentFailure: ControlFailure = if case .untrusted = failure { failure } else { .answerLost }
        return lane.sent.filter { $0 != excepted }.map { .failure($0, sentFailure) }
            + lane.waiting.map(\.number).filter { $0 != excepted }.map { .failure($0, failure) }
    }
}
