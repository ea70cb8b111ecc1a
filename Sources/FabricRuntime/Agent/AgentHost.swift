public import FabricCore
internal import FabricCrypto
internal import FabricDocument
internal import FabricIdentity
internal import FabricLinux
public import FabricNode
internal import FabricWire
public import Logging

/// What an agent's host is told on its command line.
public struct AgentHostSettings: Sendable {
    public var node: NodeConfiguration
    public var stateDirectory: String
    /// Where the control plane is, unless `node` has its name.
    public var control: Endpoint?
    public var listen: Endpoint
    /// Where peers reach this host; empty means `listen`.
    public var advertise: [Endpoint]
    /// TUN devices are named by this and a number; nil runs without interfaces (probes only).
    public var interfacePattern: String?
    /// Whether the kernel's segmentation offloads are used, as far as it has them.
    public var offloads = true
    /// Where the status socket stands; nil for `agent.sock` beside the state directory.
    public var statusSocket: String?
    /// Where to append the keys of each handshake, for decrypting captures; nil for nowhere.
    public var keyLog: String?

    public init(
        node: NodeConfiguration, stateDirectory: String, control: Endpoint?, listen: Endpoint, advertise: [Endpoint],
        interfacePattern: String?, statusSocket: String?
    ) {
        self.node = node
        self.stateDirectory = stateDirectory
        self.control = control
        self.listen = listen
        self.advertise = advertise
        self.interfacePattern = interfacePattern
        self.statusSocket = statusSocket
    }
}

/// The Linux host of one agent: an event loop that moves events in and performs actions. It decides nothing.
///
/// One thread runs the agent and its packets; HTTPS and durable writes have threads of their own and post back.
public final class AgentHost {
    private let settings: AgentHostSettings
    private let logger: Logger
    private let loop: EventLoop
    private let agent: NodeAgent
    private let cryptography: SystemCryptography
    private let ciphers: (cipher: any PacketCipher, measured: [PacketCiphers.Measurement])
    private let control: ControlClient
    private let resolver = NameResolver()
    private let state: StateWriter
    private let loadedFiles: [LoadedFile]
    private let socket: UDPSocket
    private let status: StatusSocket
    private let keyLog: KeyLogFile?
    private let packets: PacketDriver
    /// Nil without interfaces, and from a failure of it until the next configuration.
    private var watch: InterfaceWatch?
    private var actions: [NodeAction] = []

    /// Opens all that the agent needs; throws in words that say what is wrong and the mend.
    public init(settings: AgentHostSettings, logger: Logger) throws {
        self.settings = settings
        self.logger = logger
        loop = try EventLoop()
        ciphers = PacketCiphers.fastest(of: PacketCiphers.available()) { LinuxClock.now().monotonic.nanoseconds }
        cryptography = SystemCryptography(packetCipher: ciphers.cipher)
        let directory = try StateDirectory(path: settings.stateDirectory, create: true)
        loadedFiles = try directory.loadAll().compactMap { file in
            StateFile(rawValue: file.name).map { LoadedFile(file: $0, bytes: file.contents) }
        }
        state = StateWriter(directory: directory)
        socket = try UDPSocket(bind: settings.listen)
        control = ControlClient(endpoint: settings.control, logger: logger)
        status = try StatusSocket(path: settings.statusSocket ?? settings.stateDirectory + ".sock")
        keyLog = try settings.keyLog.map { try KeyLogFile(path: $0) }
        agent = NodeAgent(
            configuration: settings.node, cryptography: cryptography, certificates: X509Identity(),
            random: KernelRandom(), tunnelRandom: KernelRandom())
        packets = PacketDriver(agent: agent, socket: socket, offloads: settings.offloads) { error in
            logger.error("the packet path failed", metadata: ["error": "\(error)"])
        }
        if let path = settings.keyLog {
            agent.isKeyLogging = true
            logger.warning(
                "tunnel keys are being logged: whoever has the file can read the tunnels' traffic",
                metadata: ["file": "\(path)"])
        }
    }

    /// Runs until SIGINT or SIGTERM.
    public func run() throws {
        for signal in [2, 15] as [Int32] {
            try loop.onSignal(signal) { [unowned self] in
                logger.info("stopping", metadata: ["signal": "\(signal)"])
                loop.stop()
            }
        }
        try loop.register(socket.descriptor) { [unowned self] in
            packets.receive()
            settle(LinuxClock.now())
        }
        try loop.register(status.descriptor) { [unowned self] in
            status.serve(JSON.encodeOwn(ownStatus()))
        }
        if settings.interfacePattern != nil { try watchInterfaces() }
        loop.onDeadline = { [unowned self] in
            let now = LinuxClock.now()
            agent.handleDeadline(now: now, into: &actions)
            settle(now)
        }
        packets.onLoss = { [unowned self] interface, error in
            loop.unregister(interface.device.descriptor)
            tell(.interfaceFailed(interface.domain, "\(error); was it deleted? It is made again"))
        }
        let endpoints = settings.advertise.isEmpty ? [socket.localEndpoint] : settings.advertise
        feed(.started(files: loadedFiles, endpoints: endpoints))
        try loop.run()
        status.close()
        control.shutdown()
    }

    private func ownStatus() -> NodeStatus {
        var status = agent.status(now: LinuxClock.now())
        if case .broken(let why) = agent.phase { status.detail = "\(settings.stateDirectory): \(why)" }
        status.packets = NodeStatus.Packets(
            cipher: ciphers.cipher.name,
            measured: ciphers.measured.map { NodeStatus.Cipher(name: $0.name, nanoseconds: $0.nanoseconds) },
            offloads: packets.offloads, superPacketsRead: packets.counters.superPacketsRead,
            superPacketsWritten: packets.counters.superPacketsWritten, tooBigTold: agent.counters.tooBigTold,
            outwardLatency: NodeStatus.Latency(packets.outwardLatency),
            inwardLatency: NodeStatus.Latency(packets.inwardLatency),
            drops: agent.drops + packets.drops.map { NodeStatus.Drop(reason: $0.reason, count: $0.count) })
        return status
    }

    private func feed(_ event: NodeEvent) {
        let now = LinuxClock.now()
        agent.handle(event, now: now, into: &actions)
        settle(now)
    }

    /// After every call of the agent: send what it wants sent, perform its actions, note when to wake it.
    private func settle(_ now: Now) {
        packets.drainTransmits(now)
        if let keyLog { drainKeys(into: keyLog) }
        while let question = agent.nextPathQuestion() {
            if let bytes = socket.pathMTU(to: question.endpoint) {
                agent.handle(.pathMTU(question, bytes), now: now, into: &actions)
            }
        }
        while !actions.isEmpty {
            let batch = actions
            actions.removeAll(keepingCapacity: true)
            for action in batch { perform(action) }
        }
        loop.setDeadline(agent.nextDeadline()?.instant)
    }

    private func drainKeys(into file: KeyLogFile) {
        while let text = agent.nextKeyLogText() {
            do { try file.append(text) } catch {
                logger.error("the key log can't be written", metadata: ["error": "\(error)"])
            }
        }
    }

    private func perform(_ action: NodeAction) {
        switch action {
        case .request(let number, let request, let timeout):
            let mailbox = loop.mailbox
            let host = Unowned(self)
            control.send(request, timeout: timeout) { outcome in
                mailbox.post {
                    switch outcome {
                    case .success(let reply): host.value.feed(.replied(number, reply))
                    case .failure(let failure): host.value.feed(.requestFailed(number, failure))
                    }
                }
            }
        case .secureControlChannel(let security):
            do { try control.secure(security) } catch {
                logger.error("the control channel can't be set up", metadata: ["error": "\(error)"])
            }
        case .reconnectControl: control.reconnect()
        case .useControl(let endpoint, let timeout):
            do { try control.use(endpoint, connectTimeout: timeout) } catch {
                logger.error("the control channel can't be set up", metadata: ["error": "\(error)"])
            }
        case .resolve(let number, let name, let timeout):
            let mailbox = loop.mailbox
            let host = Unowned(self)
            resolver.resolve(name, timeout: timeout) { outcome in
                mailbox.post {
                    switch outcome {
                    case .success(let answer): host.value.feed(.resolved(number, answer))
                    case .failure(let failure): host.value.feed(.resolutionFailed(number, failure))
                    }
                }
            }
        case .persist(let number, let file, let bytes):
            let mailbox = loop.mailbox
            let host = Unowned(self)
            state.write(file.rawValue, bytes) { error in
                mailbox.post {
                    host.value.feed(error.map { .persistFailed(number, $0) } ?? .persisted(number))
                }
            }
        case .configureInterface(let configuration): configure(configuration)
        case .report(let report): log(report)
        }
    }

    private func log(_ report: NodeReport) {
        let what: Logger.Metadata = ["what": "\(report)"]
        switch report {
        case .phaseChanged(.broken(let why)):
            logger.error("the agent can't go on", metadata: ["what": "\(why)", "path": "\(settings.stateDirectory)"])
        case .phaseChanged(let phase): logger.notice("phase changed", metadata: ["phase": "\(phase)"])
        case .interfaceMended: logger.notice("report", metadata: what)
        case .interfaceFailed: logger.error("report", metadata: what)
        case .stateRefused(let file, _), .persistFailed(let file, _):
            logger.warning(
                "report", metadata: ["what": "\(report)", "path": "\(settings.stateDirectory)/\(file.rawValue)"])
        case .snapshotRefused, .recordRefused, .clockOffset, .staticRefused, .staticShadows, .lookupFailed:
            logger.warning("report", metadata: what)
        case .controlFailed, .snapshotApplied, .certificateRenewed, .peerUp, .peerDown, .controlFound:
            logger.info("report", metadata: what)
        }
    }

    private func configure(_ configuration: InterfaceConfiguration) {
        guard let pattern = settings.interfacePattern else { return }
        do {
            if let existing = packets.interfaces.first(where: { $0.domain == configuration.domain }) {
                return apply(configuration, existing)
            }
            let interface = try AgentInterface(pattern: pattern, offloads: settings.offloads, configuration)
            try loop.register(interface.device.descriptor) { [unowned self, unowned interface] in
                packets.readable(interface)
                settle(LinuxClock.now())
            }
            packets.add(interface)
            apply(configuration, interface)
            logger.notice(
                "interface up",
                metadata: [
                    "interface": "\(interface.device.name)", "domain": "\(configuration.domain)",
                    "address": "\(configuration.address)",
                ])
        } catch {
            tell(.interfaceFailed(configuration.domain, "\(error)"))
        }
    }

    private func apply(_ configuration: InterfaceConfiguration, _ interface: AgentInterface) {
        var failures: [SystemError] = []
        // Before the interface is looked at: what changes after that is heard.
        do throws(SystemError) { try watchInterfaces() } catch { failures.append(error) }
        failures += interface.apply(configuration)
        let words = failures.map(\.description).joined(separator: "; ")
        tell(
            failures.isEmpty
                ? .interfaceConfigured(configuration.domain) : .interfaceFailed(configuration.domain, words))
    }

    /// Hears of changed interfaces from now on, unless it does already.
    private func watchInterfaces() throws(SystemError) {
        guard watch == nil else { return }
        let opened = try InterfaceWatch()
        try loop.register(opened.descriptor) { [unowned self] in
            lookAtInterfaces()
            settle(LinuxClock.now())
        }
        watch = opened
    }

    /// Tells the agent how the interfaces are of which the kernel says that something has changed. What can't be looked at has
    /// failed: the agent asks for its configuration again, less and less often, which looks again.
    private func lookAtInterfaces() {
        guard let watch else { return }
        let changes: InterfaceWatch.Changes
        do throws(SystemError) { changes = try watch.changes() } catch {
            loop.unregister(watch.descriptor)
            self.watch = nil
            for interface in packets.interfaces { tell(.interfaceFailed(interface.domain, "\(error)")) }
            return
        }
        for interface in packets.interfaces where changes.concern(interface.device.interfaceIndex) {
            do throws(SystemError) {
                if let state = try interface.device.state() {
                    tell(.interfaceObserved(interface.domain, state))
                } else {
                    packets.lose(interface, interface.device.absence)
                }
            } catch {
                tell(.interfaceFailed(interface.domain, "\(error)"))
            }
        }
    }

    /// While actions are performed: those that follow are performed after them.
    private func tell(_ event: NodeEvent) { agent.handle(event, now: LinuxClock.now(), into: &actions) }
}
