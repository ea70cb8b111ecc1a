internal import FabricCore
internal import FabricNode
internal import FabricScenario

/// What the judge sees: agents by their status sockets, the control plane by the operator's lists.
struct LiveView: WorldView {
    private let indexOfName: [String: Int]
    private var phases: [FabricScenario.NodePhase]
    private var peers: [[PeerView]]
    private var snapshots: [Int64]
    private var records: OperatorDesk.Records
    private var flows: [LiveFlows.Counts]
    /// A path is down when no echo came for so long. An agent that is paused can't say so.
    private let upWindow: Duration

    init(_ plan: Plan, _ records: OperatorDesk.Records) {
        var indices: [String: Int] = [:]
        for (index, node) in plan.nodes.enumerated() { indices[node.name] = index }
        indexOfName = indices
        phases = plan.nodes.map { _ in .off }
        peers = plan.nodes.map { _ in [] }
        snapshots = plan.nodes.map { _ in 0 }
        self.records = records
        flows = plan.flows.map { _ in LiveFlows.Counts() }
        // As `PeerHealth` has it.
        upWindow = plan.cluster.probe * 3
    }

    mutating func update(
        _ agents: [LiveAgent], _ records: OperatorDesk.Records, _ flows: [LiveFlows.Counts], _ now: Instant
    ) {
        self.records = records
        self.flows = flows
        for agent in agents {
            phases[agent.index] = agent.phase
            let isStale = agent.pausedAt.map { now - $0 > upWindow } ?? false
            snapshots[agent.index] = agent.isRunning ? agent.status?.snapshotVersion ?? 0 : 0
            peers[agent.index] = (agent.isRunning ? agent.status?.peers ?? [] : []).compactMap { peer in
                guard peer.domain == .fabric, let node = indexOfName[peer.name] else { return nil }
                return PeerView(
                    node: node, hasSession: peer.hasSession, handshakes: Int(clamping: peer.handshakes),
                    isUp: peer.up && !isStale)
            }
        }
    }

    func phase(of node: Int) -> FabricScenario.NodePhase { phases[node] }
    func peerCount(of node: Int) -> Int { peers[node].count }
    func peer(_ index: Int, of node: Int) -> PeerView { peers[node][index] }
    func isOnline(_ node: Int) -> Bool { records.online[node] }
    func joinRequestCount(of node: Int) -> Int { records.requests[node] }
    func recordCount(of node: Int) -> Int { records.nodes[node] }
    func auditCount(of event: Int) -> Int { records.audit[event] }
    func snapshotVersion(of node: Int) -> Int64 { snapshots[node] }
    func flow(_ index: Int) -> FlowView {
        FlowView(sentPackets: flows[index].sent, deliveredPackets: flows[index].delivered)
    }

    // MARK: For progress

    var enrolledCount: Int { phases.count { $0 == .active } }
    var runningCount: Int { phases.count { $0 != .off } }
    var peersUp: (up: Int, all: Int) {
        (peers.reduce(0) { $0 + $1.count { $0.isUp } }, peers.reduce(0) { $0 + $1.count })
    }
    func isUp(_ node: Int, _ peer: Int) -> Bool { peers[node].contains { $0.node == peer && $0.isUp } }
}
