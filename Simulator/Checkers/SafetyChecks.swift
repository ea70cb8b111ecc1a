internal import FabricControl
internal import FabricCore
internal import FabricMesh
internal import FabricNode
internal import FabricOperator
internal import FabricTunnel
internal import FabricWire

/// The safety rules of one run: always on, told by the actors of every event that can break one. It acts on nothing, draws
/// no randomness and leaves no trace, so that a run with it is the same run.
final class SafetyChecks {
    /// Violations of one rule that are kept in words; the rest is counted.
    static let keptViolations = 8

    struct Violation {
        var time: Instant
        var host: String?
        var message: String
    }

    struct Outcome {
        var checks: UInt64 = 0
        var violations: UInt64 = 0
        var kept: [Violation] = []
    }

    private unowned let world: World
    let cryptography: any Cryptography
    let certificates: any CertificateProvider
    private(set) var outcomes = [Outcome](repeating: Outcome(), count: SafetyRule.allCases.count)

    var nonceOnce = NonceOnce()
    var keysEnd = KeysEnd()
    private var handshakeTime = HandshakeTimeForward()
    private var admitted = AdmittedPeersOnly()
    private var unique = UniqueIdentity()
    var secrets = SecretsStaySecret()
    private var flows: [SequencesOnce] = []
    private var nodes: [NodeWatch?] = []
    /// Hosts whose disks don't keep their word. Looked up only.
    private var distrusted: Set<Int> = []
    /// Who sealed the datagram that was opened last.
    var lastSealer = -1
    /// What the operator's machine has signed.
    var trust: () -> AdmittedPeersOnly.Trust? = { nil }

    /// What is kept of one node.
    private struct NodeWatch {
        var boot: UInt64 = 0
        var version: Int64 = 0
        var keys: [[UInt8]] = []
        var snapshots = SnapshotForward()
        var initiations = HandshakeOnce()
        let answered = AnsweredInitiations()
        var durable = DurableBeforeSent()
        var records = RecordsForward()
        var work = LoadShed()
        var failures = RetriesBounded()
        /// The number of its newest write of the floors.
        var floorsWrite: UInt64?
    }

    init(world: World, cryptography: any Cryptography, certificates: any CertificateProvider) {
        self.world = world
        self.cryptography = cryptography
        self.certificates = certificates
    }

    // MARK: Outcomes

    @inline(__always)
    func note(_ rule: SafetyRule) { outcomes[rule.rawValue].checks &+= 1 }

    func violated(_ rule: SafetyRule, _ host: HostID?, _ message: String) {
        let index = rule.rawValue
        outcomes[index].violations += 1
        guard outcomes[index].kept.count < Self.keptViolations else { return }
        outcomes[index].kept.append(
            Violation(time: world.now, host: host.map { world.name(of: $0) }, message: message))
    }

    /// Notes a check, and its violation when there is one.
    func judge(_ rule: SafetyRule, _ host: HostID?, _ violation: String?) {
        note(rule)
        if let violation { violated(rule, host, violation) }
    }

    func isBroken(_ rule: SafetyRule) -> Bool { outcomes[rule.rawValue].violations > 0 }

    var violationCount: UInt64 { outcomes.reduce(0) { $0 + $1.violations } }

    @inline(__always)
    func monotonic(of host: HostID) -> Instant { world.now(of: host).monotonic }

    // MARK: Nodes

    private func watch(_ host: HostID) -> Int {
        while nodes.count <= host.index { nodes.append(nil) }
        if nodes[host.index] == nil { nodes[host.index] = NodeWatch() }
        return host.index
    }

    func booted(_ actor: AgentActor) {
        let index = watch(actor.host)
        nodes[index]!.boot = actor.bootCount
        nodes[index]!.version = 0
        nodes[index]!.keys = []
        nodes[index]!.snapshots.booted()
        nodes[index]!.initiations.booted()
        nodes[index]!.answered.turnEnded()
        nodes[index]!.durable.booted()
        nodes[index]!.records.booted()
        nodes[index]!.work.booted()
        nodes[index]!.failures.booted()
        nodes[index]!.floorsWrite = nil
        guard distrusted.contains(actor.host.index) else { return }
        nodes[index]!.snapshots.diskLost()
        handshakeTime.forget(actor.host.index)
    }

    /// The host's disk may lose from now on, or give back wrong, what it called durable: nothing that rests on it can be
    /// asked for.
    func distrust(_ host: HostID) { distrusted.insert(host.index) }

    func trusts(_ host: HostID) -> Bool { !distrusted.contains(host.index) }

    /// After each event that a node has handled. Nearly always one comparison.
    @inline(__always)
    func acted(_ actor: AgentActor, _ agent: NodeAgent) {
        nodes[actor.host.index]!.answered.turnEnded()
        let version = agent.snapshotVersion
        if version != nodes[actor.host.index]!.version { snapshotChanged(actor, agent, version) }
    }

    private func snapshotChanged(_ actor: AgentActor, _ agent: NodeAgent, _ version: Int64) {
        let index = actor.host.index
        nodes[index]!.version = version
        guard let snapshot = agent.appliedSnapshot, let node = agent.nodeID else { return }
        judge(.snapshotForward, actor.host, nodes[index]!.snapshots.applied(snapshot, by: node))
        judge(.admittedPeersOnly, actor.host, admitted.holds(agent.peers, agent.members, trust(), cryptography))
        if agent.tunnelPeerCount > agent.peers.count {
            violated(
                .admittedPeersOnly, actor.host,
                "its tunnels know \(agent.tunnelPeerCount) peers, its snapshot gives it \(agent.peers.count)")
        }
        if nodes[index]!.keys.isEmpty {
            nodes[index]!.keys = agent.tunnelPublicKeys.map(\.key)
            claim(actor, agent, node)
        }
    }

    private func claim(_ actor: AgentActor, _ agent: NodeAgent, _ node: NodeID) {
        note(.uniqueIdentity)
        func claim(_ kind: String, _ bytes: [UInt8]) {
            guard let other = unique.claim(kind, bytes, by: actor.host.index) else { return }
            violated(.uniqueIdentity, actor.host, "it has the \(kind) of \(world.name(of: HostID(index: other)))")
        }
        claim("identity", Array(node.text.utf8))
        for (domain, key) in agent.tunnelPublicKeys {
            claim("tunnel key", key)
            guard let address = agent.overlayAddress(in: domain) else { continue }
            claim("overlay address in \(domain)", address.bytes)
        }
    }

    /// A node hands a request to its channel.
    func requested(_ actor: AgentActor, _ agent: NodeAgent, _ request: HTTPRequest) {
        judge(.secretsStaySecret, actor.host, secrets.find(in: request.body).map { "a request's body holds \($0)" })
        switch request.path {
        case "/v1/node/heartbeat": nodes[actor.host.index]!.snapshots.promised(agent.reportedSnapshotVersion)
        case "/v1/enrolments":
            guard let node = agent.nodeID, trusts(actor.host) else { return }
            let seed = DurableBeforeSent.durableSeed(world.store(of: actor.host))
            let durable = seed.flatMap { try? cryptography.ed25519PublicKey(seed: $0) }
                .map { FabricIdentifier.nodeID(identityKey: $0, cryptography).text }
            judge(.durableBeforeSent, actor.host, DurableBeforeSent.askedToJoin(as: node.text, durable: durable))
        default: break
        }
    }

    /// A node writes a state file.
    func persists(_ file: StateFile, _ bytes: [UInt8], _ number: PersistNumber, _ actor: AgentActor) {
        if file == .floors { nodes[actor.host.index]!.floorsWrite = number }
        guard file == .identity, let state = StateFiles.read(StateFiles.Identity.self, bytes) else { return }
        secrets.add("the identity key of \(actor.name)", state.identitySeed.bytes)
        for key in state.tunnelKeys { secrets.add("a tunnel key of \(actor.name)", key.privateKey.bytes) }
    }

    /// A node is told what became of a write.
    func persisted(_ number: PersistNumber, failed: Bool, _ actor: AgentActor) {
        let index = actor.host.index
        if nodes[index]!.floorsWrite == number { nodes[index]!.durable.wroteFloors(failed: failed) }
    }

    // MARK: Packets

    /// A node's datagram leaves.
    func sent(_ datagram: UnsafeRawBufferPointer, _ actor: AgentActor, _ agent: NodeAgent) {
        note(.secretsStaySecret)
        if let what = SecretsStaySecret.plaintext(in: datagram) {
            violated(.secretsStaySecret, actor.host, "a datagram shows \(what)")
        }
        if HandshakeOnce.isInitiation(datagram) { initiated(actor, agent) }
        if let answered = nodes[actor.host.index]!.answered.sent(datagram) { tookInitiation(answered, actor, agent) }
    }

    private func initiated(_ actor: AgentActor, _ agent: NodeAgent) {
        for peer in agent.peers {
            guard let stamp = agent.handshakeTimestamps(peer)?.greatestSent else { continue }
            judge(
                .handshakeTimeForward, actor.host,
                handshakeTime.sent(stamp, by: actor.host.index, to: peer.publicKey))
            guard trusts(actor.host) else { continue }
            // Taken out and put back: the optimiser of Swift 6.3 does not stand a closure within a change in place.
            var durable = nodes[actor.host.index]!.durable
            let violation = durable.sentHandshake(
                stamp, at: world.now(of: actor.host).wall, in: world.store(of: actor.host))
            nodes[actor.host.index]!.durable = durable
            judge(.durableBeforeSent, actor.host, violation)
        }
    }

    /// A node has handled an initiation; `before` are its counters from before.
    func handledInitiation(
        _ datagram: UnsafeRawBufferPointer, _ actor: AgentActor, _ agent: NodeAgent, _ before: TunnelCounters
    ) {
        let counters = agent.tunnelCounters
        if LoadShed.counts(datagram, before, counters) { worked(actor) }
        guard counters.initiationsReceived > before.initiationsReceived else { return }
        nodes[actor.host.index]!.answered.tookArrived(datagram)
        tookInitiation(Array(datagram), actor, agent)
    }

    /// A node has come to these handshakes, which had waited. Those that it took show when its answers leave.
    func handledWaiting(
        _ datagrams: [[UInt8]], _ actor: AgentActor, _ agent: NodeAgent, _ before: TunnelCounters
    ) {
        for _ in 0..<LoadShed.counts(datagrams, before, agent.tunnelCounters) { worked(actor) }
        nodes[actor.host.index]!.answered.cameTo(datagrams)
    }

    private func worked(_ actor: AgentActor) {
        let index = actor.host.index
        judge(.loadShed, actor.host, nodes[index]!.work.worked(at: monotonic(of: actor.host)))
    }

    /// A request of a node has come to something.
    func answered(_ actor: AgentActor, _ outcome: VirtualControlClient.Outcome) {
        guard RetriesBounded.isFailure(outcome) else { return }
        let index = actor.host.index
        let violation = nodes[index]!.failures.failed(at: monotonic(of: actor.host))
        judge(.retriesBounded, actor.host, violation)
    }

    /// A node has taken an initiation.
    private func tookInitiation(_ datagram: [UInt8], _ actor: AgentActor, _ agent: NodeAgent) {
        let index = actor.host.index
        let keys = nodes[index]!.keys.isEmpty ? agent.tunnelPublicKeys.map(\.key) : nodes[index]!.keys
        judge(.handshakeOnce, actor.host, nodes[index]!.initiations.took(datagram, keys: keys, cryptography))
    }

    /// A node hands a packet to the interface of a domain.
    func delivered(
        _ packet: UnsafeRawBufferPointer, _ flow: FlowPacket, _ ledger: FlowLedger, at host: HostID,
        in domain: RoutingDomainID
    ) {
        guard flow.flow < ledger.counts.count else { return }
        judge(
            .innerPacketsIntact, host,
            InnerPacketsIntact.judge(
                packet, flow: flow, at: host.index, in: domain, sealer: lastSealer, ledger.expected(flow.flow)))
        while flows.count <= flow.flow { flows.append(SequencesOnce()) }
        note(.innerPacketsOnce)
        guard flow.sequence <= ledger.counts[flow.flow].sent else {
            return violated(.innerPacketsIntact, host, "packet \(flow.sequence) of a flow was delivered and never sent")
        }
        if !flows[flow.flow].take(flow.sequence) {
            violated(.innerPacketsOnce, host, "packet \(flow.sequence) of a flow was delivered twice")
        }
    }

    // MARK: Now and then

    /// What is judged at intervals: it grows slowly, and looking costs something.
    func sweep(_ agents: [AgentActor]) {
        for actor in agents {
            guard let agent = actor.agent else { continue }
            judge(.queuesBounded, actor.host, QueuesBounded.judge(agent.tunnelQueues))
            let index = actor.host.index
            let older = nodes[index]!.records.holds(agent.members.compactMap(\.record))
            judge(.recordsForward, actor.host, older)
        }
        note(.keysEnd)
        let overdue = keysEnd.overdue { index in
            let host = HostID(index: index)
            // Who does not get to run can forget nothing.
            return world.isRunning(host) && !world.isHeld(host) ? monotonic(of: host) : nil
        }
        if let overdue {
            violated(
                .keysEnd, HostID(index: overdue.host),
                "a tunnel key is still in memory after \(Int(overdue.age.nanoseconds / 1_000_000_000)) s")
        }
    }
}
