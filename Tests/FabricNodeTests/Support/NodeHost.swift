import FabricControl
import FabricCore
import FabricTunnel
import FabricWire
import Testing

@testable import FabricNode

/// One machine with an agent: its disk, its clocks, its socket, and everything that its agent did, in order.
final class NodeHost {
    /// What a test may do to a request on its way.
    enum Course {
        case pass
        /// It never arrives.
        case fail(ControlFailure)
        /// It is carried out, and its answer is lost.
        case loseAnswer
        /// The control plane never sees it.
        case answer(HTTPReply)
        case rewriteAnswer((HTTPReply) -> HTTPReply)
    }

    /// What the agent asked of its host, and what became durable.
    enum Step: Equatable {
        case requested(HTTPMethod, String)
        case persisting(StateFile)
        case durable(StateFile)
        case datagram(Endpoint)
    }

    let name: String
    let endpoint: Endpoint
    var configuration: NodeConfiguration
    fileprivate(set) var agent: NodeAgent
    fileprivate(set) var life = 1
    /// How often the agent had its connections to the control plane ended.
    fileprivate(set) var reconnects = 0
    /// Where the agent wants the control plane to be, when it knows it by name.
    fileprivate(set) var control: Endpoint?
    /// Names that the agent asked for, and has no answer to yet.
    var lookups: [(number: ResolutionNumber, name: HostName)] = []
    /// What would be read after a power cut.
    var disk: [LoadedFile] = []
    var steps: [Step] = []
    var reports: [NodeReport] = []
    var interfaces: [InterfaceConfiguration] = []
    fileprivate(set) var channel: ControlChannelSecurity?
    fileprivate(set) var delivered: [(domain: RoutingDomainID, packet: [UInt8])] = []
    /// Every datagram that left, as it was sent.
    fileprivate(set) var sent: [[UInt8]] = []
    /// Their marks.
    fileprivate(set) var marks: [ECN] = []
    /// Where its datagrams come from, when not from where it is reached.
    var sourceEndpoint: Endpoint?
    /// What the kernel knows of the paths; nil for nothing.
    var pathMTU: (Endpoint) -> Int? = { _ in nil }
    /// The paths that the agent asked for.
    fileprivate(set) var questions: [PathQuestion] = []
    /// What the network makes of the mark of a datagram that comes here.
    var pathMark: (ECN) -> ECN = { $0 }
    /// The bodies of the heartbeats, in order.
    fileprivate(set) var heartbeats: [[UInt8]] = []

    /// How far this host's wall clock is from the right time.
    var clockError = Duration.zero
    fileprivate var bootedAt: Instant

    var course: (HTTPRequest) -> Course = { _ in .pass }
    var diskError: (StateFile) -> DiskError? = { _ in nil }
    /// Nil for a host that says nothing of its interfaces; otherwise what of one can't be set up.
    var interfaceError: ((InterfaceConfiguration) -> String?)?
    /// How long a write takes.
    var diskTime = Duration.milliseconds(2)
    var losesDatagrams = false
    fileprivate var buffer = PacketBuffer(packetCapacity: 2048)

    fileprivate init(
        _ name: String, _ endpoint: Endpoint, _ configuration: NodeConfiguration, _ agent: NodeAgent,
        _ bootedAt: Instant
    ) {
        self.name = name
        self.endpoint = endpoint
        self.configuration = configuration
        self.agent = agent
        self.bootedAt = bootedAt
    }

    func file(_ file: StateFile) -> [UInt8]? { disk.first { $0.file == file }?.bytes }

    func setFile(_ file: StateFile, _ bytes: [UInt8]?) {
        disk.removeAll { $0.file == file }
        if let bytes { disk.append(LoadedFile(file: file, bytes: bytes)) }
    }

    func requests(_ path: String) -> Int {
        steps.count { step in
            if case .requested(_, let requested) = step { return requested == path }
            return false
        }
    }

    /// The questions to resolvers that wait for an answer; they are the caller's now.
    func takeLookups() -> [ResolutionNumber] {
        defer { lookups = [] }
        return lookups.map(\.number)
    }

    var requestCount: Int { steps.count { if case .requested = $0 { true } else { false } } }
    var heartbeatCount: Int { heartbeats.count }

    var refusedSnapshots: [String] {
        reports.compactMap { if case .snapshotRefused(let why) = $0 { why } else { nil } }
    }

    var refusedFiles: [StateFile] {
        reports.compactMap { if case .stateRefused(let file, _) = $0 { file } else { nil } }
    }
}

/// The part of the bench that hosts agents: it performs their actions, nothing more.
extension NodeBench {
    func addHost(
        _ name: String, token: JoinToken?, domains: [RoutingDomainID] = [.fabric], clockError: Duration = .zero,
        staticPeers: [StaticPeers] = [], controlName: NamedServer? = nil,
        change: (inout NodeConfiguration) -> Void = { _ in }
    ) -> NodeHost {
        var configuration = NodeConfiguration(
            name: name, joinToken: token, domains: domains,
            facts: NodeFacts(os: "Debian 12", architecture: "x86-64", version: "0.1"),
            capabilities: ["can_route_mesh"], requestedRoles: [], probeInterval: .seconds(2))
        configuration.staticPeers = staticPeers
        configuration.controlName = controlName
        change(&configuration)
        let endpoint = Endpoint("192.0.2.\(hosts.count + 1):51820")!
        let host = NodeHost(name, endpoint, configuration, makeAgent(configuration, name, life: 1), now.monotonic)
        host.clockError = clockError
        hosts.append(host)
        return host
    }

    private func makeAgent(_ configuration: NodeConfiguration, _ name: String, life: Int) -> NodeAgent {
        NodeAgent(
            configuration: configuration, cryptography: cryptography, certificates: certificates,
            random: SeededRandom(seed: seed, stream: "\(name).\(life)"),
            tunnelRandom: SeededRandom(seed: seed, stream: "\(name).\(life).tunnel"))
    }

    func start(_ host: NodeHost) { tell(host, .started(files: host.disk, endpoints: [host.endpoint])) }

    /// A power cut and a start: what was under way is gone, and the monotonic clock begins again.
    func reboot(_ host: NodeHost, token: JoinToken? = nil, starts: Bool = true) {
        if let token { host.configuration.joinToken = token }
        host.life += 1
        host.bootedAt = now.monotonic
        host.channel = nil
        host.reports = []
        host.steps = []
        host.agent = makeAgent(host.configuration, host.name, life: host.life)
        if starts { start(host) }
    }

    func time(of host: NodeHost) -> Now {
        Now(
            monotonic: Instant(nanoseconds: (now.monotonic - host.bootedAt).nanoseconds),
            wall: now.wall + host.clockError)
    }

    func nextDeadline(of host: NodeHost) -> Instant? {
        host.agent.nextDeadline().map { host.bootedAt + .nanoseconds($0.instant.nanoseconds) }
    }

    func tell(_ host: NodeHost, _ event: NodeEvent) {
        var actions: [NodeAction] = []
        host.agent.handle(event, now: time(of: host), into: &actions)
        perform(actions, host)
    }

    func wake(_ host: NodeHost) {
        var actions: [NodeAction] = []
        host.agent.handleDeadline(now: time(of: host), into: &actions)
        perform(actions, host)
    }

    private func perform(_ actions: [NodeAction], _ host: NodeHost) {
        for action in actions {
            switch action {
            case .request(let number, let request, let timeout): carry(request, number, timeout, host)
            case .secureControlChannel(let security): host.channel = security
            case .reconnectControl: host.reconnects += 1
            case .useControl(let endpoint, _): host.control = endpoint
            case .resolve(let number, let name, _): host.lookups.append((number, name))
            case .persist(let number, let file, let bytes): persist(file, bytes, number, host)
            case .configureInterface(let interface):
                host.interfaces.removeAll { $0.domain == interface.domain }
                host.interfaces.append(interface)
                guard let error = host.interfaceError else { continue }
                let event = error(interface).map { NodeEvent.interfaceFailed(interface.domain, $0) }
                schedule(after: .zero) { [self] in tell(host, event ?? .interfaceConfigured(interface.domain)) }
            case .report(let report): host.reports.append(report)
            }
        }
        drain(host)
    }

    private func persist(_ file: StateFile, _ bytes: [UInt8], _ number: PersistNumber, _ host: NodeHost) {
        host.steps.append(.persisting(file))
        let life = host.life
        schedule(after: host.diskTime) { [self] in
            guard host.life == life else { return }
            if let error = host.diskError(file) { return tell(host, .persistFailed(number, error)) }
            host.setFile(file, bytes)
            host.steps.append(.durable(file))
            tell(host, .persisted(number))
        }
    }

    private func carry(_ request: HTTPRequest, _ number: RequestNumber, _ timeout: Duration, _ host: NodeHost) {
        host.steps.append(.requested(request.method, request.path))
        if request.path == "/v1/node/heartbeat" { host.heartbeats.append(request.body) }
        let life = host.life
        let reconnects = host.reconnects
        let course = host.course(request)
        var answered = false
        func answer(_ event: NodeEvent) {
            guard host.life == life, !answered else { return }
            answered = true
            tell(host, host.reconnects == reconnects ? event : .requestFailed(number, .answerLost))
        }
        schedule(after: timeout) { answer(.requestFailed(number, .timedOut)) }
        schedule(after: .milliseconds(10)) { [self] in
            switch course {
            case .fail(let failure): return answer(.requestFailed(number, failure))
            case .answer(let reply): return answer(.replied(number, reply))
            case .pass, .loseAnswer, .rewriteAnswer: break
            }
            if isControlPlaneAway { return answer(.requestFailed(number, .unreachable)) }
            var peer: CertificateFacts?
            if let chain = host.channel?.clientChain, !chain.isEmpty {
                guard let facts = try? service.plane.verifyClient(chain: chain, now: now) else {
                    return answer(.requestFailed(number, .untrusted("the certificate is refused")))
                }
                peer = facts
            }
            ask(request, peer: peer) { reply in
                self.schedule(after: .milliseconds(10)) {
                    if case .loseAnswer = course { return answer(.requestFailed(number, .answerLost)) }
                    if case .rewriteAnswer(let change) = course { return answer(.replied(number, change(reply))) }
                    answer(.replied(number, reply))
                }
            }
        }
    }

    // MARK: Packets

    private func drain(_ host: NodeHost) {
        while let endpoint = host.agent.nextTransmit(into: &host.buffer, now: time(of: host)) {
            send(host, to: endpoint)
        }
        while let question = host.agent.nextPathQuestion() {
            host.questions.append(question)
            if let bytes = host.pathMTU(question.endpoint) { tell(host, .pathMTU(question, bytes)) }
        }
    }

    private func send(_ host: NodeHost, to endpoint: Endpoint) {
        let (bytes, ecn) = (Array(host.buffer.bytes), host.buffer.ecn)
        host.steps.append(.datagram(endpoint))
        host.sent.append(bytes)
        host.marks.append(ecn)
        guard !host.losesDatagrams else { return }
        schedule(after: .milliseconds(5)) { [self] in
            if let target = hosts.first(where: { $0.endpoint == endpoint }) {
                receive(bytes, target, from: host.sourceEndpoint ?? host.endpoint, ecn: target.pathMark(ecn))
            } else {
                strangers[endpoint]?(bytes, host.endpoint)
            }
        }
    }

    func receive(_ datagram: [UInt8], _ host: NodeHost, from source: Endpoint, ecn: ECN = .notECT) {
        guard host.buffer.assign(datagram) else { return }
        host.buffer.ecn = ecn
        switch host.agent.receive(&host.buffer, from: source, now: time(of: host)) {
        case .transmit(let endpoint): send(host, to: endpoint)
        case .deliver(let domain): host.delivered.append((domain, Array(host.buffer.bytes)))
        case .done: break
        }
        drain(host)
    }

    func inject(_ packet: [UInt8], _ host: NodeHost, domain: RoutingDomainID = .fabric) {
        let fits = host.buffer.assign(packet)
        #expect(fits)
        switch host.agent.send(&host.buffer, domain: domain, now: time(of: host)) {
        case .transmit(let endpoint): send(host, to: endpoint)
        case .deliver(let domain): host.delivered.append((domain, Array(host.buffer.bytes)))
        case .done: break
        }
        drain(host)
    }
}
