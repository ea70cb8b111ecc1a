internal import FabricCore
public import FabricScenario

extension ScenarioRun {
    /// What this run reached, for a search that looks for runs unlike those before: `sometimes` expectations, audit events,
    /// kinds of trace entries, causes of dropped packets, phases of nodes. Sorted, each once.
    public var coverage: [String] {
        var reached = phasesSeen.map { "phase: \($0)" }
        let results = judge.verdict().expectations
        for (expectation, result) in zip(plan.expectations, results)
        where expectation.isSometimes && result.outcome == .held {
            reached.append(expectation.coverageName)
        }
        // Where expectations break nothing, a search still wants to know what they see.
        for result in results where result.outcome == .broken && !result.isRequired {
            reached.append("not held: \(result.name)")
        }
        let events = control.query("SELECT DISTINCT event AS name FROM cluster_audit_events ORDER BY event") ?? []
        reached += events.compactMap { row in (try? row.text("name")).map { "audit: \($0)" } }
        reached += world.trace.kinds.map { "trace: \($0.name)" }
        let network = world.network.counters
        let drops: [(String, UInt64)] = [
            ("lost", network.lost), ("duplicated", network.duplicated), ("reordered", network.reordered),
            ("corrupted", network.corrupted), ("queue", network.queueDropped), ("mtu", network.mtuDropped),
            ("partition", network.partitionDropped), ("unroutable", network.unroutable),
            ("host down", network.hostDown), ("over limit", network.overLimit),
        ]
        reached += drops.filter { $0.1 > 0 }.map { "network: \($0.0)" }
        return reached.sorted()
    }

    /// Notes the phases of all nodes.
    func notePhases() {
        for node in plan.nodes.indices {
            let text = view.phase(of: node).text
            if !phasesSeen.contains(text) { phasesSeen.append(text) }
        }
    }
}

extension PlannedExpectation {
    /// What a swarm's coverage calls it.
    public var coverageName: String { "sometimes: \(name)" }
}
