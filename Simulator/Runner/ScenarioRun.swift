internal import FabricControl
internal import FabricCore
internal import FabricCrypto
internal import FabricIdentity
internal import FabricNode
public import FabricScenario
internal import FabricWire

/// One run of a plan in a simulated world: builds the world, does the steps at their times, shows the judge what it asks for.
///
/// Same plan, same seed, same build of the deciding code: the same events, and the same trace hash.
public final class ScenarioRun {
    /// The true time at which every run begins.
    static let epoch = WallTime(seconds: 1_790_000_000)
    /// How often the judge looks, besides the moments that it names; in runs of days more seldom, by the next.
    static let shortestObservationInterval = Duration.milliseconds(250)
    static let mostObservations = 20_000
    static let clusterOfRuns = ClusterID("scenario")!

    public let plan: Plan
    public let world: World
    public internal(set) var judge: Judge
    /// Scenario time of the next observation; nil before the first.
    var nextObservation: Duration?
    /// The end has come.
    public internal(set) var isOver = false
    let services: ActorServices
    let control: ControlActor
    let person: OperatorActor
    var agents: [AgentActor] = []
    /// Nil in runs without attacks on the path.
    private(set) var attacker: Attacker?
    /// Stands in the world when a resolver may name him.
    var impostor: Impostor?
    let places: [PlaceID]
    let view: SimulationView
    /// World time at which the scenario's clock starts.
    let start: Instant
    var startOfScenario: Instant { start }
    var nextSweep = Duration.zero
    /// The cuts in force, by the plan's identifier. Looked up by key only.
    var cuts: [Int: [PartitionID]] = [:]
    var endedSwizzles: Set<Int> = []
    /// The world's translators, in the plan's order.
    var nats: [NATID] = []
    private var enrolled: Set<Int> = []
    /// Phases that some node was seen in; noted when `notesCoverage` is set.
    var phasesSeen: [String] = []
    /// Whether `coverage` is wanted; set it before the run.
    public var notesCoverage = false
    /// Whether the run ends when every expectation is decided, not at the plan's end.
    public var stopsWhenSettled = false
    /// Ends the run soon after this rule is broken; its verdict is then certain.
    public var stopsWhenBroken: SafetyRule?
    /// Called with a line for each thing that an agent reports.
    public var onReport: ((String) -> Void)?

    /// What went wrong beyond broken expectations: the scenario could not be carried out as written.
    public var troubles: [String] {
        (control.failure.map { [$0] } ?? []) + person.refusals.map { "operator: \($0)" } + control.idleCaptures
            + (standstill.map { [$0] } ?? [])
    }
    /// Why the run did not come to its end: time stood still.
    var standstill: String?

    public init(plan: Plan, recording: Trace.Recording = Trace.Recording()) {
        self.plan = plan
        world = World(seed: plan.seed, epoch: Self.epoch, recording: recording)
        judge = Judge(plan: plan)
        services = ActorServices(
            world: world,
            cryptography: WorldCryptography(SystemCryptography(packetCipher: PacketCiphers.forSimulation())),
            certificates: X509Identity())
        let world = world
        places = plan.places.enumerated().map { index, place in
            world.network.addPlace(
                place.name, inner: LinkProfile(place.link), outer: LinkProfile(plan.defaultLink))
        }
        var settings = ControlSettings(
            adminTokenHash: services.cryptography.sha256(Array(ControlActor.adminToken.utf8)))
        settings.heartbeatInterval = plan.cluster.heartbeat
        settings.certificateLifetime = plan.cluster.certificateLifetime
        let control = ControlActor(world: world, services: services, settings: settings)
        self.control = control
        let place = places[plan.controlPlace]
        control.attach(world.addHost(control, name: "control", place: place))
        person = OperatorActor(
            world: world, services: services, cluster: Self.clusterOfRuns, peerDegree: plan.cluster.peers,
            control: { control })
        person.attach(world.addHost(person, name: "operator", place: place))
        view = SimulationView(plan: plan, world: world, control: control, services: services)
        // The fabric is set up before the scenario's clock starts.
        start = .zero + .seconds(5)
        for link in plan.links {
            world.network.setLink(between: places[link.a], and: places[link.b], LinkProfile(link.link))
        }
        addAgents()
        addNATs()
        attacker = makeAttacker()
        if plan.steps.contains(where: { if case .attack(.captureControl) = $0.action { true } else { false } }) {
            control.past = ControlPast()
        }
        addNames()
        services.checks.trust = { [unowned person] in person.trust }
        world.start(control.host, at: .zero)
        world.start(person.host, at: .zero + .seconds(1))
        person.createCluster()
        schedule()
    }

    private func addAgents() {
        let packets = PacketScratch()
        for node in plan.nodes {
            var configuration = NodeConfiguration(
                name: node.name, joinToken: nil, domains: node.domains,
                facts: NodeFacts(os: "simulated", architecture: "virtual", version: RAPVersion.text),
                capabilities: [NodeCapability.canRouteMesh.rawValue], requestedRoles: [],
                probeInterval: plan.cluster.probe)
            configuration.controlName = plan.controlName.map { NamedServer(name: $0, port: ControlActor.port) }
            let agent = AgentActor(
                world: world, services: services, name: node.name, configuration: configuration,
                control: control.endpoint, packets: packets)
            let host = world.addHost(agent, name: node.name, place: places[node.place])
            agent.attach(host)
            services.paths.add(node: agents.count, host: host)
            if node.clockSkew != .zero { world.jumpWallClock(host, by: node.clockSkew) }
            if node.clockDriftPartsPerBillion != 0 {
                world.setClockDrift(host, partsPerBillion: node.clockDriftPartsPerBillion)
            }
            agent.onReport = { [unowned self] actor, report in
                if let journal = world.journal { describe(report, of: actor, journal) }
                onReport?("\(elapsed) \(actor.name): \(report)")
            }
            agents.append(agent)
        }
        view.agents = agents
    }

    // MARK: Running

    /// Virtual time since the scenario's start; before that, zero.
    public var elapsed: Duration { max(.zero, world.now - start) }
    public var eventCount: UInt64 { world.eventCount }
    /// The host of the control plane.
    public var controlHost: HostID { control.host }
    public var traceHash: String { world.trace.hash.description }

    /// Runs to the end. `progress` is called at each observation, for display; it must not act on the world.
    public func run(progress: (ScenarioRun) -> Void) -> Verdict {
        advance(progress: progress)
        return verdict()
    }

    public var enrolledCount: Int { agents.count { $0.agent?.phase == .active } }
    public var runningCount: Int { agents.count { $0.agent != nil } }
    /// Pairs counted at both ends: up by echo, of those that policy gives.
    public var peersUp: (up: Int, all: Int) {
        var up = 0
        var all = 0
        for index in agents.indices {
            all += view.peerCount(of: index)
            for peer in 0..<view.peerCount(of: index) where view.peer(peer, of: index).isUp { up += 1 }
        }
        return (up, all)
    }
    public var networkCounters: NetworkCounters { world.network.counters }
    public var handshakes: Int {
        agents.indices.reduce(0) { sum, index in
            sum + (0..<view.peerCount(of: index)).reduce(0) { $0 + view.peer($1, of: index).handshakes }
        }
    }

    // MARK: Steps

    private func schedule() {
        for step in plan.steps {
            world.schedule(at: start + step.time, "step \(step.order)") { [unowned self] world in
                if let journal = world.journal { describe(step, journal) }
                perform(step.action)
            }
        }
    }

    private func perform(_ action: PlannedStep.Action) {
        switch action {
        case .createToken(let index):
            let token = plan.tokens[index]
            person.createToken(
                .init(
                    name: token.name, uses: token.uses, lifetime: token.lifetime,
                    scope: .init(domains: token.domains, namePrefix: token.namePrefix))
            ) { [unowned self] in startWaiting(for: index) }
        case .revokeToken(let index): person.revokeToken(plan.tokens[index].name)
        case .enrol(let nodes, let token): for node in nodes { enrol(node, token) }
        case .approve(let nodes): person.decideWaiting(nodes.map { plan.nodes[$0].name }, .approve)
        case .reject(let nodes):
            person.decideWaiting(nodes.map { plan.nodes[$0].name }, .reject(reason: "rejected by the scenario"))
        case .cut(let partition): cut(partition)
        case .swizzle(let swizzle): self.swizzle(swizzle)
        case .heal(let ids): heal(ids)
        case .readdress(let nodes, let told): readdress(nodes, told: told)
        case .rebind(let nats, let newAddress): rebind(nats, newAddress: newAddress)
        case .setLinks(let links):
            for link in links {
                world.network.setLink(between: places[link.a], and: places[link.b], LinkProfile(link.link))
            }
        case .crash(let nodes): for node in nodes { bringDown(agents[node].host, .power) }
        case .restart(let nodes): for node in nodes { world.start(agents[node].host, at: world.now) }
        case .stopControl: bringDown(control.host, .power)
        case .startControl: world.start(control.host, at: world.now)
        case .moveClock(let set, let step):
            for node in set.nodes { world.jumpWallClock(agents[node].host, by: step) }
            if set.control { world.jumpWallClock(control.host, by: step) }
        case .loseAnswers(let kind, let count): control.lose(kind, count)
        case .startFlow(let index): startFlow(index)
        case .hostFault(let fault): perform(fault)
        case .attack(let attack): perform(attack)
        case .setMembership(let nodes, let active):
            person.setMembership(nodes.map { plan.nodes[$0].name }, active: active)
        }
    }

    /// Nodes that were switched on before their token existed.
    private var waitingForToken: [(node: Int, token: Int)] = []

    func enrol(_ node: Int, _ token: Int) {
        guard enrolled.insert(node).inserted else { return }
        guard let joinToken = person.token(plan.tokens[token].name) else {
            waitingForToken.append((node, token))
            return
        }
        agents[node].configuration.joinToken = joinToken
        world.start(agents[node].host, at: world.now)
    }

    private func startWaiting(for token: Int) {
        let ready = waitingForToken.filter { $0.token == token }
        waitingForToken.removeAll { $0.token == token }
        for entry in ready {
            enrolled.remove(entry.node)
            enrol(entry.node, entry.token)
        }
    }

    private func startFlow(_ index: Int) {
        let flow = plan.flows[index]
        for pair in flow.pairs {
            let receiver = agents[pair.to]
            let (sender, domain) = (agents[pair.from], flow.domain)
            let number = services.flows.open { [unowned sender, unowned receiver] in
                InnerPacketsIntact.Expected(
                    sender: sender.host.index, receiver: receiver.host.index, domain: domain,
                    source: sender.agent?.overlayAddress(in: domain),
                    destination: receiver.agent?.overlayAddress(in: domain))
            }
            view.flowNumbers[index].append(number)
            agents[pair.from].startFlow(
                FlowState(
                    number: number, domain: domain, interval: flow.interval, packetBytes: flow.packetBytes,
                    end: world.now + flow.duration,
                    source: flow.spoof.map { agents[$0] } ?? sender,
                    destination: { [unowned receiver] in receiver.agent?.overlayAddress(in: domain) }))
        }
    }
}

extension ScenarioRun {
    /// Lines for a person: what the run moved.
    public var details: String {
        let network = world.network.counters
        let peers = peersUp
        return """
            nodes     \(runningCount) running, \(enrolledCount) enrolled
            tunnels   \(peers.up) of \(peers.all) ends up, \(handshakes) handshakes
            packets   \(network.sent) sent, \(network.delivered) delivered, \(network.lost) lost, \
            \(network.partitionDropped) cut, \(network.queueDropped) queue-dropped\(rareDrops(network))
            """
    }

    private func rareDrops(_ network: NetworkCounters) -> String {
        [
            (network.burstLost, "lost in bursts"), (network.mtuDropped, "too large"),
            (network.blackHoleDropped, "in black holes"), (network.natDropped, "dropped by NATs"),
            (network.unroutable, "unroutable"),
        ].filter { $0.0 > 0 }.map { ", \($0.0) \($0.1)" }.joined()
    }
}
