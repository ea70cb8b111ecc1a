internal import FabricCore

/// Evaluates conditions, and says for one that fails which nodes make it fail.
struct ConditionEvaluator: Sendable {
    private let plan: Plan
    /// By condition identifier: where it failed last, which is the place to look first.
    private var lastFailure: [Int]
    /// By condition identifier: the set of nodes that a reach condition names.
    private var targets: [[Bool]]
    private var targetCounts: [Int]
    /// Nil when no expectation asks for faults.
    private var faults: FaultWindows?
    private var time = Duration.zero
    /// Of the expectation at hand: who is judged; nil for everybody.
    private var core: [Bool]?

    init(plan: Plan) {
        self.plan = plan
        lastFailure = []
        targets = []
        targetCounts = []
        var asksForFaults = false
        for expectation in plan.expectations {
            register(expectation.condition)
            if expectation.core != nil || expectation.condition.asksForFaults { asksForFaults = true }
        }
        if asksForFaults { faults = FaultWindows(plan) }
    }

    /// What follows is judged at this time, among those of `core` that are in no fault then.
    mutating func look(_ view: some WorldView, at time: Duration, core nodes: [Int]?) {
        self.time = time
        guard let nodes else {
            core = nil
            return
        }
        var members = [Bool](repeating: false, count: plan.nodes.count)
        for node in nodes where !isInFault(node, view) { members[node] = true }
        core = members
    }

    /// A core of which nothing is left proves nothing.
    var coreIsEmpty: Bool { core.map { !$0.contains(true) } ?? false }

    private func isInFault(_ node: Int, _ view: some WorldView) -> Bool {
        faults?.isInFault(node, at: time) ?? false || view.awaitsCrash(node)
    }

    @inline(__always)
    private func isJudged(_ node: Int) -> Bool { core.map { $0[node] } ?? true }

    private mutating func register(_ condition: PlannedCondition) {
        switch condition {
        case .nodes(let condition), .count(let condition, _), .reachable(let condition, _, _):
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
        case .audit, .flow, .controlUp: break
        }
    }

    // MARK: Holding

    mutating func holds(_ condition: PlannedCondition, _ view: some WorldView) -> Bool {
        if coreIsEmpty { return false }
        switch condition {
        case .nodes(let condition): return holds(condition, view)
        case .count(let condition, let range): return range.contains(count(condition, view))
        case .reachable(let condition, let least, let most):
            let (up, all) = pairs(condition, view)
            return all > 0 && up * 1_000_000 >= all * least && up * 1_000_000 <= all * most
        case .controlUp(let up): return view.controlIsUp == up
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
        if hint < condition.nodes.count, fails(condition.nodes[hint], condition, view) { return false }
        for index in condition.nodes.indices where fails(condition.nodes[index], condition, view) {
            lastFailure[condition.id] = index
            return false
        }
        return true
    }

    private func fails(_ node: Int, _ condition: NodeCondition, _ view: some WorldView) -> Bool {
        isJudged(node) && !passes(node, condition, view)
    }

    private func count(_ condition: NodeCondition, _ view: some WorldView) -> Int {
        condition.nodes.count { isJudged($0) && passes($0, condition, view) }
    }

    /// Of the pairs that a reach condition names, how many are up, and how many there are.
    private func pairs(_ condition: NodeCondition, _ view: some WorldView) -> (up: Int64, all: Int64) {
        var up: Int64 = 0
        var all: Int64 = 0
        for node in condition.nodes where isJudged(node) {
            if case .reachesPolicy = condition.test {
                for index in 0..<view.peerCount(of: node) {
                    let peer = view.peer(index, of: node)
                    guard isJudged(peer.node) else { continue }
                    all += 1
                    if peer.isUp { up += 1 }
                }
            } else {
                all += Int64(wanted(node, condition))
                up += Int64(reached(node, targets[condition.id], view))
            }
        }
        return (up, all)
    }

    /// Of the target nodes, how many there are to reach.
    private func wanted(_ node: Int, _ condition: NodeCondition) -> Int {
        let members = targets[condition.id]
        guard let core else { return targetCounts[condition.id] - (members[node] ? 1 : 0) }
        return members.indices.count { members[$0] && core[$0] && $0 != node }
    }

    private func delivered(_ flow: FlowView, atLeast share: Int64) -> Bool {
        flow.sentPackets > 0 && flow.deliveredPackets * 1_000_000 >= flow.sentPackets * share
    }

    private func passes(_ node: Int, _ condition: NodeCondition, _ view: some WorldView) -> Bool {
        switch condition.test {
        case .enrolled: return view.phase(of: node) == .active
        case .tunnels(let count): return sessions(node, view) >= count
        case .reaches:
            return reached(node, targets[condition.id], view) == wanted(node, condition)
        case .reachesPolicy:
            if view.reachesAllPeers(node) { return true }
            let count = view.peerCount(of: node)
            for index in 0..<count {
                let peer = view.peer(index, of: node)
                if !peer.isUp, isJudged(peer.node) { return false }
            }
            return count > 0 && view.phase(of: node) == .active
        case .unreachable: return reached(node, targets[condition.id], view) == 0
        case .rekeyed(let range):
            let peers = view.peerCount(of: node)
            for index in 0..<peers where !range.contains(view.peer(index, of: node).handshakes - 1) { return false }
            return peers > 0
        case .phase(let name): return name.matches(view.phase(of: node))
        case .peers(let range): return range.contains(view.peerCount(of: node))
        case .snapshotAgrees:
            let version = view.snapshotVersion(of: node)
            return version > 0 && version == view.issuedSnapshotVersion(of: node)
        case .snapshotVersion(let range): return range.contains(Int(clamping: view.snapshotVersion(of: node)))
        case .certificate(let age, let left):
            guard let certificate = view.certificate(of: node) else { return false }
            return age.map { certificate.age <= $0 } ?? true && left.map { certificate.left >= $0 } ?? true
        case .clockOffset(let limit): return view.clockOffset(of: node).magnitude <= limit
        case .sessionAge(let limit): return oldestSession(node, view).map { $0 <= limit } ?? true
        case .inFault: return isInFault(node, view)
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

    private func oldestSession(_ node: Int, _ view: some WorldView) -> Duration? {
        (0..<view.peerCount(of: node)).compactMap { view.sessionAge($0, of: node) }.max()
    }

    /// Of the target nodes, how many this one reaches.
    private func reached(_ node: Int, _ members: [Bool], _ view: some WorldView) -> Int {
        var count = 0
        for index in 0..<view.peerCount(of: node) {
            let peer = view.peer(index, of: node)
            if peer.isUp, peer.node != node, members[peer.node], isJudged(peer.node) { count += 1 }
        }
        return count
    }

    // MARK: Reasons

    /// In words, why a condition does not hold now.
    func reason(_ condition: PlannedCondition, _ view: some WorldView) -> String {
        if coreIsEmpty { return "no node of the core is without a fault" }
        switch condition {
        case .nodes(let condition): return reason(condition, view)
        case .count(let condition, let range):
            return "true of \(count(condition, view)) of \(condition.nodes.count) nodes, expected \(range)"
        case .reachable(let condition, let least, let most):
            let (up, all) = pairs(condition, view)
            let wanted =
                (least > 0 ? ["at least \(Ratio(partsPerMillion: least))"] : [])
                + (most < 1_000_000 ? ["at most \(Ratio(partsPerMillion: most))"] : [])
            return "\(up) of \(all) pairs reach each other, expected \(wanted.joined(separator: " and "))"
        case .controlUp(let up): return "the control plane is \(up ? "down" : "up")"
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
        let failing = condition.nodes.filter { fails($0, condition, view) }
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
        case .enrolled, .refused, .phase: return view.phase(of: node).text
        case .peers: return "\(peers.count) peers"
        case .snapshotAgrees:
            return "has snapshot \(view.snapshotVersion(of: node)) of \(view.issuedSnapshotVersion(of: node))"
        case .snapshotVersion: return "has snapshot \(view.snapshotVersion(of: node))"
        case .certificate:
            guard let certificate = view.certificate(of: node) else { return "has no certificate" }
            return "certificate \(Span.rounded(certificate.age)) old, \(Span.rounded(certificate.left)) left"
        case .clockOffset: return "off by \(Span.rounded(view.clockOffset(of: node)))"
        case .sessionAge: return "a session is \(Span.rounded(oldestSession(node, view) ?? .zero)) old"
        case .inFault: return "in no fault"
        case .tunnels: return "\(sessions(node, view)) tunnels, \(view.phase(of: node).text)"
        case .reaches:
            let members = targets[condition.id]
            let missing = members.indices.filter { target in
                members[target] && target != node && isJudged(target)
                    && !peers.contains { $0.node == target && $0.isUp }
            }
            let strangers = missing.filter { target in !peers.contains { $0.node == target } }
            return strangers.isEmpty
                ? "can't reach \(named(missing))"
                : "can't reach \(named(missing)); \(named(strangers)) no peer by policy"
        case .reachesPolicy:
            if peers.isEmpty { return "has no peers, \(view.phase(of: node).text)" }
            let missing = peers.filter { !$0.isUp && isJudged($0.node) }.map(\.node)
            return missing.isEmpty ? view.phase(of: node).text : "can't reach \(named(missing))"
        case .unreachable:
            return "reaches \(named(peers.filter { $0.isUp && targets[condition.id][$0.node] }.map(\.node)))"
        case .rekeyed(let range):
            if peers.isEmpty { return "has no peers" }
            let stale = peers.filter { !range.contains($0.handshakes - 1) }
            return "\(stale[0].handshakes) handshakes with \(named(stale.map(\.node)))"
        case .online: return "offline"
        case .offline: return "online"
        case .requests: return "\(view.joinRequestCount(of: node)) join requests"
        case .records: return "\(view.recordCount(of: node)) records"
        }
    }
}

extension PlannedCondition {
    var asksForFaults: Bool {
        switch self {
        case .nodes(let condition), .count(let condition, _): condition.test == .inFault
        case .all(let parts), .any(let parts): parts.contains { $0.asksForFaults }
        case .not(let part): part.asksForFaults
        case .reachable, .controlUp, .audit, .flow: false
        }
    }
}

extension Duration {
    var magnitude: Duration { self < .zero ? .zero - self : self }
}

extension Span {
    /// To a millisecond, for reasons.
    static func rounded(_ duration: Duration) -> Span { Span(.milliseconds(duration.nanoseconds / 1_000_000)) }
}
