internal import FabricCore
internal import FabricNode
internal import FabricScenario
internal import FabricTunnel
internal import FabricWire

/// A virtual host that runs the production agent. It moves events in and performs actions; it decides nothing.
final class AgentActor: SimulatedHost {
    static let tunnelPort: UInt16 = 51_820
    /// Timers of flows carry this bit.
    static let flowFlag: UInt64 = 1 << 62
    static let startDelay = Duration.seconds(1)
    static let startToken = UInt64(1) << 61
    /// Timers of lookups carry this bit beside the number.
    static let lookupFlag = UInt64(1) << 60

    private let world: World
    private let services: ActorServices
    private let control: Endpoint
    let name: String
    /// What the operator types on this host; changed by scenario steps before the host boots.
    var configuration: NodeConfiguration
    private(set) var host: HostID!
    private(set) var agent: NodeAgent?
    /// Of this boot; kept, since deriving it costs a key generation.
    private(set) var nodeID: NodeID?
    private(set) var bootCount: UInt64 = 0
    private var client: VirtualControlClient?
    private var security: ControlChannelSecurity?
    /// What handshakes and packets that are worked on take of the processor.
    var processorCost = ProcessorCost.none {
        didSet { workDone = agent.map { Work($0.tunnelCounters) } ?? Work() }
    }
    /// What the processor has done in this boot; not kept while it costs nothing.
    private var workDone = Work()
    /// Handshakes that wait in the agent, the oldest first: it keeps their order. The safety rules judge by them.
    private var waiting: [[UInt8]] = []
    /// Datagrams that were read in this turn, while more waited.
    private var readInTurn = 0
    /// As the Linux host's driver does.
    private static let datagramsPerTurn = 256
    /// What resolvers will have said, by the number of the question. Looked up by key only.
    private var lookups: [UInt64: VirtualResolver.Outcome] = [:]
    private var actions: [NodeAction] = []
    /// One buffer serves all packets: the world copies what is sent.
    private let packets: PacketScratch
    var flows: [FlowState] = []
    /// Reports that a person would look for, for traces of single runs.
    var onReport: ((AgentActor, NodeReport) -> Void)?
    /// Who asks to join with the tunnel keys of another host; see `Attack.impostor`.
    var claimedKeys: [TunnelKey] = []
    /// Lines of the key log, before the datagrams that they open. Set before the host boots.
    var onKeys: ((AgentActor, String) -> Void)?

    init(
        world: World, services: ActorServices, name: String, configuration: NodeConfiguration, control: Endpoint,
        packets: PacketScratch
    ) {
        self.world = world
        self.services = services
        self.name = name
        self.configuration = configuration
        self.control = control
        self.packets = packets
    }

    func attach(_ host: HostID) { self.host = host }

    var endpoint: Endpoint { Endpoint(address: world.network.address(of: host), port: Self.tunnelPort) }

    // MARK: SimulatedHost

    func boot(_ now: Now) {
        bootCount += 1
        services.paths.forget(host)
        services.checks.booted(self)
        agent = NodeAgent(
            configuration: configuration,
            cryptography: CheckedCryptography(services.cryptography, services.checks, host: host),
            certificates: services.certificates,
            random: world.random(of: host, "agent"), tunnelRandom: world.random(of: host, "tunnel"))
        agent?.isKeyLogging = onKeys != nil
        client = VirtualControlClient(
            world: world, host: host, server: control, identity: nil,
            verifyServer: { [unowned self] chain, now in verifyControl(chain, now) })
        let files: [LoadedFile]
        do {
            files = try world.store(of: host).readAll().compactMap { file in
                StateFile(rawValue: file.name).map { LoadedFile(file: $0, bytes: file.bytes) }
            }
        } catch {
            // The program ends, and the machine's service manager starts it again.
            world.note(host, "the state can't be read: \(error)")
            agent = nil
            world.setTimer(host, after: Self.startDelay, token: Self.startToken)
            return
        }
        feed(.started(files: files, endpoints: [endpoint]), now)
        nodeID = agent?.nodeID
    }

    /// The network gave this host another address, and the host noticed.
    func addressChanged() {
        guard agent != nil else { return }
        feed(.endpointsChanged([endpoint]), world.now(of: host))
    }

    func crashed() {
        services.paths.forget(host)
        agent = nil
        client = nil
        security = nil
        lookups = [:]
        actions = []
        flows = []
        workDone = Work()
        waiting = []
        readInTurn = 0
    }

    func handle(_ event: HostEvent, now: Now) {
        if case .timer(Self.startToken) = event { return boot(now) }
        guard let agent, let client else { return }
        switch event {
        case .wake:
            let before = agent.waitingHandshakes > 0 ? agent.tunnelCounters : nil
            agent.handleDeadline(now: now, into: &actions)
            if let before {
                let done = Array(waiting.prefix(waiting.count - agent.waitingHandshakes))
                waiting.removeFirst(done.count)
                services.checks.handledWaiting(done, self, agent, before)
            }
        case .datagram(let source, _, let bytes, let ecn):
            guard packets.buffer.assign(bytes) else { return }
            packets.buffer.ecn = ecn
            let observation = world.journal.map { _ in AgentObservation(agent) }
            let before = HandshakeOnce.isInitiation(bytes) ? agent.tunnelCounters : nil
            let waitingBefore = agent.waitingHandshakes
            let outcome = agent.receive(&packets.buffer, from: source, now: now)
            if agent.waitingHandshakes > waitingBefore { waiting.append(Array(bytes)) }
            if let observation, let journal = world.journal { observation.tellReceived(agent, journal) }
            if let before { services.checks.handledInitiation(bytes, self, agent, before) }
            perform(outcome, now)
            if isReading() { return }
        case .stream(let stream, let event):
            for outcome in client.handle(stream, event) {
                if world.isWatched(host), world.pass(.reply, of: host, outcome.description) { return }
                take(outcome, now)
            }
        case .persisted(let operation, let failure):
            if world.pass(.persisted, of: host, "write \(operation)") { return }
            services.checks.persisted(operation, failed: failure != nil, self)
            agent.handle(
                failure.map { .persistFailed(operation, $0) } ?? .persisted(operation), now: now, into: &actions)
        case .timer(let token):
            if token & VirtualControlClient.timerFlag != 0 {
                for outcome in client.timerFired(token) { take(outcome, now) }
            } else if token & Self.flowFlag != 0 {
                flowTimerFired(Int(token & ~Self.flowFlag), now)
            } else if token & Self.lookupFlag != 0 {
                lookupEnded(token & ~Self.lookupFlag, agent, now)
            }
        }
        settle(now)
    }

    private func feed(_ event: NodeEvent, _ now: Now) {
        agent?.handle(event, now: now, into: &actions)
        settle(now)
    }

    private func take(_ outcome: VirtualControlClient.Outcome, _ now: Now) {
        services.checks.answered(self, outcome)
        switch outcome {
        case .reply(let number, let reply): agent?.handle(.replied(number, reply), now: now, into: &actions)
        case .failure(let number, let failure):
            agent?.handle(.requestFailed(number, failure), now: now, into: &actions)
        }
    }

    private func settle(_ now: Now) {
        guard let agent, let client else { return }
        var observation = world.journal.map { _ in AgentObservation(agent) }
        while let endpoint = agent.nextTransmit(into: &packets.buffer, now: now) {
            if let journal = world.journal { observation?.tellTransmitting(agent, journal) }
            transmit(to: endpoint)
        }
        while let question = agent.nextPathQuestion() {
            if let bytes = world.network.pathMTU(from: host, to: question.endpoint) {
                agent.handle(.pathMTU(question, bytes), now: now, into: &actions)
            }
        }
        while !actions.isEmpty {
            let batch = actions
            actions.removeAll(keepingCapacity: true)
            for action in batch {
                if world.isWatched(host), passBoundary(before: action) { return }
                perform(action, client)
            }
        }
        chargeWork(agent)
        services.checks.acted(self, agent)
        let deadline = agent.nextDeadline()
        if let journal = world.journal {
            journal.deadline(of: host.index, deadline?.instant, deadline?.reason.description ?? "")
        }
        world.setDeadline(host, deadline?.instant)
    }

    /// A processor that has been busy takes all datagrams that have come meanwhile, then does what they ask for.
    private func isReading() -> Bool {
        guard workCosts, readInTurn < Self.datagramsPerTurn, world.readsOn(host) else {
            readInTurn = 0
            return false
        }
        readInTurn += 1
        return true
    }

    private var workCosts: Bool { processorCost.perHandshake > .zero || processorCost.perPacket > .zero }

    private func chargeWork(_ agent: NodeAgent) {
        guard workCosts else { return }
        let done = Work(agent.tunnelCounters)
        world.occupy(
            host,
            for: .nanoseconds(
                processorCost.perHandshake.nanoseconds * (done.handshakes - workDone.handshakes)
                    + processorCost.perPacket.nanoseconds * (done.packets - workDone.packets)))
        workDone = done
    }

    private func lookUp(_ number: UInt64, _ name: HostName, _ timeout: Duration) {
        let (delay, outcome) = world.resolver.ask(name, for: host, timeout: timeout)
        lookups[number] = outcome
        world.setTimer(host, after: delay, token: number | Self.lookupFlag)
    }

    private func lookupEnded(_ number: UInt64, _ agent: NodeAgent, _ now: Now) {
        switch lookups.removeValue(forKey: number) {
        case .success(let answer):
            world.note(host, "resolver: \(answer.addresses.map(\.description).joined(separator: ", "))")
            agent.handle(.resolved(number, answer), now: now, into: &actions)
        case .failure(let failure):
            world.note(host, "resolver: \(failure)")
            agent.handle(.resolutionFailed(number, failure), now: now, into: &actions)
        case nil: break
        }
    }

    /// True when the host has crashed before it did this.
    private func passBoundary(before action: NodeAction) -> Bool {
        switch action {
        case .request(_, let request, _):
            world.pass(.send, of: host, "\(request.method.rawValue) \(request.path)")
        case .persist(_, let file, _): world.pass(.persist, of: host, file.rawValue)
        case .secureControlChannel, .reconnectControl, .useControl, .resolve, .configureInterface, .report: false
        }
    }

    private func perform(_ action: NodeAction, _ client: VirtualControlClient) {
        switch action {
        case .request(let number, let request, let timeout):
            if let agent { services.checks.requested(self, agent, request) }
            client.send(claimingKeys(request), number: number, timeout: timeout)
        case .secureControlChannel(let security):
            self.security = security
            client.present(security.clientChain.isEmpty ? nil : StreamIdentity(chain: security.clientChain))
        case .reconnectControl:
            let now = world.now(of: host)
            for outcome in client.reconnect() { take(outcome, now) }
        case .useControl(let endpoint, let timeout): client.use(endpoint, connectTimeout: timeout)
        case .resolve(let number, let name, let timeout): lookUp(number, name, timeout)
        case .persist(let number, let file, let bytes):
            services.checks.persists(file, bytes, number, self)
            world.store(of: host).persist(file.rawValue, bytes, operation: number)
        case .configureInterface: break
        case .report(let report):
            services.paths.forget(host)
            onReport?(self, report)
        }
    }

    private func verifyControl(_ chain: [[UInt8]], _ now: Now) -> TLSRefusal? {
        guard let security else { return TLSRefusal(.unknownAuthority, "no control plane is trusted yet") }
        do throws(CertificateError) {
            _ = try ControlPin.verify(
                chain: chain, pin: security.controlPin, time: max(now.wall, security.timeFloor), services.certificates,
                services.cryptography)
            return nil
        } catch {
            return TLSRefusal(error)
        }
    }

    // MARK: Packets

    private func perform(_ outcome: PacketOutcome, _ now: Now) {
        switch outcome {
        case .transmit(let endpoint): transmit(to: endpoint)
        case .deliver(let domain):
            services.flows.delivered(
                UnsafeRawBufferPointer(packets.buffer.bytes), to: host, in: domain, services.checks)
        case .done: break
        }
    }

    private func transmit(to destination: Endpoint) {
        if world.isWatched(host), world.pass(.transmit, of: host, "to \(destination)") { return }
        if let onKeys { while let text = agent?.nextKeyLogText() { onKeys(self, text) } }
        if let agent { services.checks.sent(UnsafeRawBufferPointer(packets.buffer.bytes), self, agent) }
        world.send(
            from: host, source: endpoint, destination: destination, bytes: UnsafeRawBufferPointer(packets.buffer.bytes),
            ecn: packets.buffer.ecn)
        // Every line takes this much.
        guard packets.buffer.count > 576 - VirtualNetwork.overhead(destination) else { return }
        if let agent, let mtu = world.network.pathMTU(from: host, to: destination),
            packets.buffer.count + VirtualNetwork.overhead(destination) > mtu
        {
            // A router has said so, or the line itself.
            agent.datagramsTooLarge(for: destination, now: world.now(of: host))
        }
    }

    // MARK: Flows

    func startFlow(_ flow: FlowState) {
        flows.append(flow)
        world.setTimer(host, after: .zero, token: UInt64(flows.count - 1) | Self.flowFlag)
    }

    /// A program on this host sends its next packet through the interface.
    private func flowTimerFired(_ index: Int, _ now: Now) {
        guard index < flows.count, let agent, world.now < flows[index].end else { return }
        world.setTimer(host, after: flows[index].interval, token: UInt64(index) | Self.flowFlag)
        guard let source = flows[index].source.agent?.overlayAddress(in: flows[index].domain),
            let destination = flows[index].destination()
        else { return }
        flows[index].sequence += 1
        services.flows.sent(flows[index].number)
        FlowPacket(
            flow: flows[index].number, sequence: flows[index].sequence, source: source, destination: destination,
            bytes: flows[index].packetBytes
        ).write(to: &packets.buffer)
        world.journal?.content = "packet \(flows[index].sequence) of a flow"
        perform(agent.send(&packets.buffer, domain: flows[index].domain, now: now), now)
    }
}

/// What takes a processor's time in the tunnels: public keys, and the packets' cipher.
private struct Work {
    var handshakes: Int64 = 0
    var packets: Int64 = 0

    init() {}

    init(_ counters: TunnelCounters) {
        handshakes = Int64(counters.handshakesOpened)
        packets = Int64(
            counters.packetsSent + counters.keepalivesSent + counters.packetsReceived + counters.keepalivesReceived
                + counters[.notAuthentic] + counters[.sourceNotAllowed])
    }
}

/// The packet that is being handled: a class, so that hosts share one.
final class PacketScratch {
    var buffer = PacketBuffer(packetCapacity: PacketBuffer.maximumPacket)
}

/// What all actors of a world share.
final class ActorServices {
    let cryptography: any Cryptography
    let certificates: any CertificateProvider
    let flows = FlowLedger()
    let paths = FreshPaths()
    let checks: SafetyChecks

    init(world: World, cryptography: any Cryptography, certificates: any CertificateProvider) {
        self.cryptography = cryptography
        self.certificates = certificates
        checks = SafetyChecks(world: world, cryptography: cryptography, certificates: certificates)
    }
}

extension TLSRefusal {
    init(_ error: CertificateError) {
        let alert: TLSAlert =
            switch error {
            case .expired, .notYetValid: .certificateExpired
            case .untrustedRoot: .unknownAuthority
            case .badSignature: .decryptError
            case .malformed, .unsupportedKey, .violates: .badCertificate
            }
        self.init(alert, error.description)
    }
}
