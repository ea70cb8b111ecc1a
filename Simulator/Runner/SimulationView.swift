internal import FabricCore
internal import FabricMesh
internal import FabricNode
internal import FabricScenario
internal import FabricTunnel
internal import FabricWire

/// What the judge sees of a simulated world: agents as they are, the control plane by its records.
final class SimulationView: WorldView {
    private let plan: Plan
    private let world: World
    private let control: ControlActor
    private let services: ActorServices
    var agents: [AgentActor] = []
    /// Flow numbers of the ledger, by the plan's flow.
    var flowNumbers: [[Int]]
    /// Looked up by key only.
    private var indexOfNode: [NodeID: Int] = [:]
    private var indexOfName: [String: Int] = [:]
    private var peerIndices: [PeerIndices]
    private var records: ControlRecords

    /// The plan's indices of a node's peers in the fabric domain, as of a snapshot of one boot.
    private struct PeerIndices {
        var version: Int64 = -1
        var boot: UInt64 = 0
        /// Position in the agent's list, index in the plan.
        var peers: [(position: Int, node: Int)] = []
    }

    private struct ControlRecords {
        var readAt: Instant?
        /// Of the control plane's disk.
        var changes: UInt64?
        var online: [Bool]
        var requests: [Int]
        var nodes: [Int]
        var audit: [Int]
        var snapshots: [Int]
    }

    init(plan: Plan, world: World, control: ControlActor, services: ActorServices) {
        self.plan = plan
        self.world = world
        self.control = control
        self.services = services
        flowNumbers = plan.flows.map { _ in [] }
        peerIndices = plan.nodes.map { _ in PeerIndices() }
        records = ControlRecords(
            online: plan.nodes.map { _ in false }, requests: plan.nodes.map { _ in 0 },
            nodes: plan.nodes.map { _ in 0 }, audit: plan.auditEvents.map { _ in 0 },
            snapshots: plan.nodes.map { _ in 0 })
        for (index, node) in plan.nodes.enumerated() { indexOfName[node.name] = index }
    }

    // MARK: Nodes

    func phase(of node: Int) -> FabricScenario.NodePhase {
        guard let agent = agents[node].agent else { return .off }
        switch agent.phase {
        case .idle, .joining: return .joining
        case .awaitingApproval: return .awaitingApproval
        case .active: return .active
        case .refused(let code, _): return .refused(code.rawValue)
        case .broken: return .refused("broken")
        }
    }

    func peerCount(of node: Int) -> Int {
        guard let agent = agents[node].agent else { return 0 }
        refresh(node, agent)
        return peerIndices[node].peers.count
    }

    func peer(_ index: Int, of node: Int) -> PeerView {
        guard let agent = agents[node].agent else {
            return PeerView(node: 0, hasSession: false, handshakes: 0, isUp: false)
        }
        let entry = peerIndices[node].peers[index]
        // Fields, not the peer: a copy of it would be most of the work.
        let status = agent.tunnelStatus(agent.peers[entry.position].handle)
        let health = agent.peers[entry.position].health
        return PeerView(
            node: entry.node, hasSession: status?.hasSession ?? false, handshakes: Int(status?.handshakes ?? 0),
            isUp: health.isUp(at: world.now(of: agents[node].host).monotonic))
    }

    /// A look costs one comparison while the paths are fresh: the peers are asked again when the oldest echo is about to
    /// count no more, and not at every look.
    func reachesAllPeers(_ node: Int) -> Bool {
        if services.paths.areUp(node, at: world.now) { return true }
        guard let agent = agents[node].agent, agent.phase == .active else { return false }
        refresh(node, agent)
        guard !peerIndices[node].peers.isEmpty else { return false }
        let host: HostID = agents[node].host
        let now = world.now(of: host).monotonic
        var until = Instant.distantFuture
        for entry in peerIndices[node].peers {
            guard let end = agent.peers[entry.position].health.upUntil, now <= end else { return false }
            until = min(until, end)
        }
        // Of a peer that is not known yet nothing is kept.
        guard peerIndices[node].version == agent.snapshotVersion else { return true }
        services.paths.note(node, upBefore: world.clock(of: host).worldTime(of: until + .nanoseconds(1)))
        return true
    }

    private func refresh(_ node: Int, _ agent: NodeAgent) {
        let boot = agents[node].bootCount
        guard peerIndices[node].version != agent.snapshotVersion || peerIndices[node].boot != boot else { return }
        var known = true
        var peers: [(position: Int, node: Int)] = []
        for (position, peer) in agent.peers.enumerated() where peer.domain == .fabric {
            if let index = index(of: peer.node) { peers.append((position, index)) } else { known = false }
        }
        peerIndices[node] = PeerIndices(version: known ? agent.snapshotVersion : -1, boot: boot, peers: peers)
    }

    private func index(of node: NodeID) -> Int? {
        if let index = indexOfNode[node] { return index }
        for (index, actor) in agents.enumerated() {
            if let id = actor.nodeID { indexOfNode[id] = index }
        }
        return indexOfNode[node]
    }

    // MARK: The control plane

    func isOnline(_ node: Int) -> Bool {
        refreshRecords()
        return records.online[node]
    }

    func joinRequestCount(of node: Int) -> Int {
        refreshRecords()
        return records.requests[node]
    }

    func recordCount(of node: Int) -> Int {
        refreshRecords()
        return records.nodes[node]
    }

    func auditCount(of event: Int) -> Int {
        refreshRecords()
        return records.audit[event]
    }

    /// Reads the control plane's records once per moment, when they may have changed; while it is down, what was read last
    /// stands.
    private func refreshRecords() {
        guard records.readAt != world.now else { return }
        records.readAt = world.now
        guard let changes = control.recordChanges, changes != records.changes else { return }
        records.changes = changes
        func counted(_ sql: String) -> [(String, Int)]? {
            control.query(sql)?.compactMap { row in
                guard let name = try? row.text("name"), let count = try? row.integer("count") else { return nil }
                return (name, Int(count))
            }
        }
        func assign(_ counts: [(String, Int)]?, _ target: inout [Int]) {
            guard let counts else { return }
            for index in target.indices { target[index] = 0 }
            for (name, count) in counts { if let index = indexOfName[name] { target[index] = count } }
        }
        var online = [Int](repeating: 0, count: plan.nodes.count)
        let read = counted(
            "SELECT node_name AS name, COUNT(*) AS count FROM cluster_memberships WHERE health = 'online' "
                + "GROUP BY node_name ORDER BY node_name")
        if let read {
            assign(read, &online)
            records.online = online.map { $0 > 0 }
        }
        assign(
            counted(
                "SELECT node_name AS name, COUNT(*) AS count FROM node_join_requests GROUP BY node_name ORDER BY node_name"
            ),
            &records.requests)
        assign(
            counted(
                "SELECT node_name AS name, COUNT(*) AS count FROM cluster_memberships GROUP BY node_name "
                    + "ORDER BY node_name"),
            &records.nodes)
        assign(
            counted(
                "SELECT m.node_name AS name, s.version AS count FROM snapshots s JOIN cluster_memberships m "
                    + "ON m.cluster_id = s.cluster_id AND m.node_id = s.node_id ORDER BY m.node_name"),
            &records.snapshots)
        if let audit = counted(
            "SELECT event AS name, COUNT(*) AS count FROM cluster_audit_events GROUP BY event ORDER BY event")
        {
            for (index, event) in plan.auditEvents.enumerated() {
                records.audit[index] = audit.first { $0.0 == event }?.1 ?? 0
            }
        }
    }

    func snapshotVersion(of node: Int) -> Int64 { agents[node].agent?.snapshotVersion ?? 0 }

    func issuedSnapshotVersion(of node: Int) -> Int64 {
        refreshRecords()
        return Int64(records.snapshots[node])
    }

    var controlIsUp: Bool { world.isRunning(control.host) }

    func awaitsCrash(_ node: Int) -> Bool { world.awaitsCrash(agents[node].host) }

    func certificate(of node: Int) -> CertificateView? {
        guard let validity = agents[node].agent?.certificateValidity else { return nil }
        return CertificateView(age: world.trueWall - validity.lowerBound, left: validity.upperBound - world.trueWall)
    }

    func clockOffset(of node: Int) -> Duration { world.now(of: agents[node].host).wall - world.trueWall }

    func sessionAge(_ index: Int, of node: Int) -> Duration? {
        guard let agent = agents[node].agent,
            let status = agent.tunnelStatus(agent.peers[peerIndices[node].peers[index].position].handle),
            status.hasSession, let since = status.lastHandshake
        else { return nil }
        return world.now(of: agents[node].host).monotonic - since
    }

    func flow(_ index: Int) -> FlowView {
        var view = FlowView(sentPackets: 0, deliveredPackets: 0)
        for number in flowNumbers[index] {
            view.sentPackets += Int64(services.flows.counts[number].sent)
            view.deliveredPackets += Int64(services.flows.counts[number].delivered)
        }
        return view
    }
}
