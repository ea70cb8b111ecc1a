internal import FabricCore
internal import FabricScenario

/// Where a run stops for somebody to look.
public enum StopCondition: Hashable, Sendable {
    /// Scenario time.
    case time(Duration)
    /// The first expectation has broken.
    case broken
    /// A node is in this phase (`active`, `joining`, `off` …); any node when none is named.
    case phase(String, node: Int?)
    /// An entry with these words has been added to the journal.
    case words(String)

    public static let help = "a time (4m30s), broken, phase=active, NODE:phase=active, or event=WORDS"

    /// Nil for what is none of those in `help`, or names no node of the plan.
    public init?(_ text: String, _ run: ScenarioRun) {
        if let span = Span(text) {
            self = .time(span.duration)
            return
        }
        if text == "broken" {
            self = .broken
            return
        }
        if text.hasPrefix("event="), text.count > 6 {
            self = .words(String(text.dropFirst(6)))
            return
        }
        let parts = text.split(separator: ":", maxSplits: 1)
        guard let last = parts.last, last.hasPrefix("phase=") else { return nil }
        let phase = last.dropFirst("phase=".count)
        if parts.count == 1 {
            self = .phase(String(phase), node: nil)
            return
        }
        guard let node = run.plan.nodes.firstIndex(where: { $0.name == parts[0] }) else { return nil }
        self = .phase(String(phase), node: node)
    }

    /// Whether it has come to pass. Words are looked for among the journal's entries from `first` on.
    func holds(_ run: ScenarioRun, journalFrom first: Int) -> Bool {
        switch self {
        case .time(let time): return run.elapsed >= time
        case .broken: return run.judge.brokenCount > 0
        case .phase(let phase, let node):
            let nodes = node.map { [$0] } ?? Array(run.agents.indices)
            return nodes.contains { run.view.phase(of: $0).text == phase }
        case .words(let words):
            guard let journal = run.world.journal, first < journal.count else { return false }
            return (first..<journal.count).contains {
                journal[$0].text.contains(words) || journal[$0].outcome.contains(words)
            }
        }
    }
}

extension StopCondition {
    /// For `ScenarioRun.advance`: sees each entry of the journal from `first` on once.
    public func check(from first: Int) -> (ScenarioRun) -> Bool {
        var seen = first
        return { run in
            defer { seen = run.world.journal?.count ?? 0 }
            return holds(run, journalFrom: seen)
        }
    }
}
