internal import FabricCore
internal import FabricDocument
internal import FabricScenario

/// What stands in a report's page as JSON, beside the template that shows it.
struct ReportData: Encodable {
    struct Expectation: Encodable {
        var name: String
        var condition: String
        var line: Int
        var outcome: String
        /// Held, or a rare state that other runs may reach.
        var isGood: Bool
        var from: Double
        var until: Double
        var kind: String
        var firstHeld: Double?
        var decided: Double?
        var why: String?
    }

    struct Node: Encodable {
        var name: String
        var place: Int
    }

    struct Link: Encodable {
        var a: Int
        var b: Int
        var text: String
    }

    var version = 1
    var scenario: String
    var about: String
    /// What runs it again.
    var command: String
    /// File and options for other commands.
    var arguments: String
    /// Which of the file's runs it is, in words.
    var run: String
    var seed: UInt64
    var duration: Double
    var held: Bool
    var hash: String
    var eventCount: UInt64
    var troubles: [String]
    var places: [String]
    var controlPlace: Int
    /// Of the journal's host numbers: what comes before the nodes.
    var otherHosts: [String]
    /// And what comes after them.
    var laterHosts: [String]
    var nodes: [Node]
    var links: [Link]
    var expectations: [Expectation]
    var bars: [ReportTimeline.Bar]
    var cuts: [ReportTimeline.Cut]
    /// Seconds, with commas.
    var times: String
    var series: [String: String]
    /// sample, node, state, … and sample, from, to, state, …
    var nodeChanges: String
    var pathChanges: String
    var missing: [String]
    var events: ReportEvents

    init(_ run: ScenarioRun, _ recorder: ReportRecorder, _ verdict: Verdict, _ replay: Replay) {
        let plan = run.plan
        let text = PlanText(plan)
        scenario = plan.name
        about = plan.about
        command = replay.command("run")
        arguments = replay.arguments
        self.run = replay.name
        seed = plan.seed
        duration = ReportTimeline.seconds(plan.duration)
        held = verdict.held
        hash = run.traceHash
        eventCount = run.eventCount
        troubles = run.troubles
        places = plan.places.map(\.name)
        controlPlace = plan.controlPlace
        let first = run.agents.first?.host.index ?? run.world.hostCount
        otherHosts = (0..<first).map { run.name(ofHost: $0) }
        laterHosts = (first + plan.nodes.count..<max(first + plan.nodes.count, run.world.hostCount)).map {
            run.name(ofHost: $0)
        }
        nodes = plan.nodes.map { Node(name: $0.name, place: $0.place) }
        links = []
        for a in plan.places.indices {
            for b in a..<plan.places.count where plan.places.count <= 40 {
                links.append(Link(a: a, b: b, text: text.properties(plan.link(between: a, and: b))))
            }
        }
        expectations = verdict.expectations.enumerated().map { index, result in
            Self.expectation(index < plan.expectations.count ? plan.expectations[index] : nil, result, plan)
        }
        let timeline = ReportTimeline(plan)
        bars = timeline.bars
        cuts = timeline.cuts
        times = recorder.times.map { "\(ReportTimeline.seconds($0))" }.joined(separator: ",")
        series = [:]
        for entry in recorder.curves { series[entry.name] = entry.values.map(Self.short).joined(separator: ",") }
        nodeChanges = recorder.nodeChanges.map { "\($0.sample),\($0.node),\($0.state.rawValue)" }.joined(separator: ",")
        pathChanges = recorder.pathChanges.map { "\($0.sample),\($0.from),\($0.to),\($0.state)" }.joined(separator: ",")
        missing = []
        if let time = recorder.changesTruncatedAt {
            missing.append("The map stands still from \(Span(time)) on: too many changes.")
        }
        if let journal = run.world.journal, let time = journal.truncatedAt {
            let from = Span(run.scenarioTime(time))
            missing.append(
                "Packets and timers from \(from) on are not kept: more than \(journal.maximumEntries) events.")
        }
        events = ReportEvents(run.world.journal!, start: run.start)
    }

    /// Three decimals are more than anyone sees; empty where there is no value.
    private static func short(_ value: Double) -> String {
        guard value.isFinite else { return "" }
        let thousandths = Int64((value * 1000).rounded())
        if thousandths % 1000 == 0 { return "\(thousandths / 1000)" }
        return "\(Double(thousandths) / 1000)"
    }

    /// `planned` is nil for what stands in no file.
    private static func expectation(
        _ planned: PlannedExpectation?, _ result: ExpectationResult, _ plan: Plan
    ) -> Expectation {
        let seconds = ReportTimeline.seconds
        var entry = Expectation(
            name: result.name, condition: result.condition, line: result.line, outcome: result.outcome.rawValue,
            isGood: result.isGood, from: 0, until: seconds(plan.duration), kind: result.kind.rawValue,
            firstHeld: result.firstHeld.map(seconds), decided: result.decidedAt.map(seconds), why: result.why)
        switch planned?.window {
        case .always(let from, let until), .never(let from, let until), .within(let from, let until, _),
            .sometimes(let from, let until, _):
            (entry.from, entry.until) = (seconds(from), seconds(until))
        case .at(let time): (entry.from, entry.until) = (seconds(time), seconds(time))
        case nil: break
        }
        return entry
    }
}
