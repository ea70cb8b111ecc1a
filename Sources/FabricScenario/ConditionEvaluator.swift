internal import FabricCore

/// Evaluates conditions, and says for one that fails which nodes make it fail.
struct ConditionEvaluator: Sendable {
    private let plan: Plan
    /// By condition identifier: where it failed last, which is the place to look first.
    private var lastFailure: [Int]
    /// By condition identifier: the set of nodes that a reach condition names.
    private var targets: [[Bool]]
    private var targetCounts: [Int]

    init(plan: Plan) {
        self.plan = plan
        lastFailure = []
        targets = []
        targetCounts = []
        for expectation in plan.expectations { register(expectation.condition) }
    }

    private mutating func register(_ condition: PlannedCondition) {
        switch condition {
        case .nodes(let condition):
            while lastFailure.count <= condition.id {
                lastFailure.append(0)
                targets.append([])
                targetCounts.append(0)
            }
            switch condition.test {
            case .reaches(let nodes), .unreachable(let nodes):
                var members = [Bool](repeating: false, count: plan.nodes.count)
                for node in nodes { members[node] = true }
                targets[condition.id] = members
                targetCounts[condition.id] = nodes.count
            default: break
            }
        case .all(let parts), .any(let parts): for part in parts { register(part) }
        case .not(let part): register(part)
        case .audit, .flow: break
        }
    }

    // MARK: Holding

    mutating func holds(_ condition: PlannedCondition, _ view: some WorldView) -> Bool {
        switch condition {
        case .nodes(let condition): return holds(condition, view)
        case .audit(let event, let range): return range.contains(view.auditCount(of: event))
        case .flow(let index, let share): return delivered(view.flow(index), atLeast: share)
        case .all(let parts):
            for part in parts where !holds(part, view) { return false }
            return true
        case .any(let parts):
            for part in parts where holds(part, view) { return true }
            return false
        case .not(let part): return !holds(part, view)
        }
    }

    private mutating func holds(_ condition: NodeCondition, _ view: some WorldView) -> Bool {
        let hint = lastFailure[condition.id]
        if hint < condition.nodes.count, !passes(condition.nodes[hint], condition, view) { return false }
        for index in condition.nodes.indices where !passes(condition.nodes[index], condition, view) {
            lastFailure[condition.id] = index
            return false
        }
        return true
    }

    private func delivered(_ flow: FlowView, atLeast share: Int64) -> Bool {
        flow.sentPackets > 0 && flow.deliveredPackets * 1_000_000 >= flow.sentPackets * share
    }

    private func passes(_ node: Int, _ condition: NodeCondition, _ view: some WorldView) -> Bool {
        switch condition.test {
        case .enrolled: return view.phase(of: node) == .active
        case .tunnels(let count): return sessions(node, view) >= count
        case .reaches:
            let members = targets[condition.id]
            let wanted = targetCounts[condition.id] - (members[node] ? 1 : 0)
            return reached(node, members, view) == wanted
        case .reachesPolicy:
            let count = view.peerCount(of: node)
            for index in 0..<count where !view.peer(index, of: node).isUp { return false }
            return count > 0 && view.phase(of: node) == .active
        case .unreachable: return reached(node, targets[condition.id], view) == 0
        case .rekeyed(let count):
            let peers = view.peerCount(of: node)
            for index in 0..<peers where view.peer(index, of: node).handshakes <= count { return false }
            return peers > 0
        case .refused(let reason):
            if case .refused(let code) = view.phase(of: node) { return code == reason.rawValue }
            return false
        case .online: return view.isOnline(node)
        case .offline: return !view.isOnline(node)
        case .requests(let range): return range.contains(view.joinRequestCount(of: node))
        case .records(let range): return range.contains(view.recordCount(of: node))
        }
    }

    private func sessions(_ node: Int, _ view: some WorldView) -> Int {
        var count = 0
        for index in 0..<view.peerCount(of: node) where view.peer(index, of: node).hasSession { count += 1 }
        return count
    }

    /// Of the target nodes, how many this one reaches.
    private func reached(_ node: Int, _ members: [Bool], _ view: some WorldView) -> Int {
        var count = 0
        for index in 0..<view.peerCount(of: node) {
            let peer = view.peer(index, of: node)
            if peer.isUp, peer.node != node, members[peer.node] { count += 1 }
        }
        return count
    }

    // MARK: Reasons

    /// In words, why a condition does not hold now.
    func reason(_ condition: PlannedCondition, _ view: some WorldView) -> String {
        switch condition {
        case .nodes(let condition): return reason(condition, view)
        case .audit(let event, let range):
            return
                "“\(plan.auditEvents[event])” stands \(view.auditCount(of: event)) times in the audit, expected \(range)"
        case .flow(let index, let share):
            let flow = view.flow(index)
            return "\(flow.deliveredPackets) of \(flow.sentPackets) packets of \(plan.flows[index].name) arrived, "
                + "expected \(Ratio(partsPerMillion: share))"
        case .all(let parts):
            var copy = self
            return parts.filter { !copy.holds($0, view) }.map { reason($0, view) }.joined(separator: "; ")
        case .any(let parts): return "none holds: " + parts.map { reason($0, view) }.joined(separator: "; ")
        case .not(let part): return "this holds: " + PlanText(plan).condition(part)
        }
    }

    private func reason(_ condition: NodeCondition, _ view: some WorldView) -> String {
        let failing = condition.nodes.filter { !passes($0, condition, view) }
        let named = failing.prefix(PlanText.maximumNames).map { node in
            "\(plan.nodes[node].name) (\(state(node, condition, view)))"
        }
        let more = failing.count > named.count ? ", and \(failing.count - named.count) more" : ""
        let count = condition.nodes.count == 1 ? "" : "\(failing.count) of \(condition.nodes.count) nodes: "
        return count + named.joined(separator: ", ") + more
    }

    /// What is so with a node that fails a condition.
    private func state(_ node: Int, _ condition: NodeCondition, _ view: some WorldView) -> String {
        let peers = (0..<view.peerCount(of: node)).map { view.peer($0, of: node) }
        func named(_ nodes: [Int]) -> String {
            nodes.prefix(3).map { plan.nodes[$0].name }.joined(separator: ", ") + (nodes.count > 3 ? ", …" : "")
        }
        switch condition.test {
        case .enrolled, .refused: return view.phase(of: node).text
        case .tunnels: return "\(sessions(node, view)) tunnels, \(view.phase(of: node).text)"
        case .reaches:
            let members = targets[condition.id]
            let missing = members.indices.filter { target in
                members[target] && target != node && !peers.contains { $0.node == target && $0.isUp }
            }
            let strangers = missing.filter { target in !peers.contains { $0.node == target } }
            return strangers.isEmpty
                ? "can't reach \(named(missing))"
                : "can't reach \(named(missing)); \(named(strangers)) no peer by policy"
        case .reachesPolicy:
            if peers.isEmpty { return "has no peers, \(view.phase(of: node).text)" }
            let missing = peers.filter { !$0.isUp }.map(\.node)
            return missing.isEmpty ? view.phase(of: node).text : "can't reach \(named(missing))"
        case .unreachable:
            return "reaches \(named(peers.filter { $0.isUp && targets[condition.id][$0.node] }.map(\.node)))"
        case .rekeyed(let count):
            if peers.isEmpty { return "has no peers" }
            let stale = peers.filter { $0.handshakes <= count }
            return "\(stale[0].handshakes) handshakes with \(named(stale.map(\.node)))"
        case .online: return "offline"
        case .offline: return "online"
        case .requests: return "\(view.joinRequestCount(of: node)) join requests"
        case .records: return "\(view.recordCount(of: node)) records"
        }
    }
}
