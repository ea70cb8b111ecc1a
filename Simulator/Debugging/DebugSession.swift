internal import FabricCore
internal import FabricMesh
internal import FabricNode
public import FabricScenario
internal import FabricTunnel

/// A run that a person goes through by hand: forward by events, by nodes, to a time or a condition, and back. Going back is
/// running again: the run is deterministic, so that the same number of events is the same moment.
public final class DebugSession {
    /// A command has ended the session.
    public private(set) var isOver = false
    /// Commands that said nothing that could be done.
    public private(set) var refusals = 0
    private let plan: Plan
    private var run: ScenarioRun
    private var journal: Journal
    /// Where `back` without a number goes: before the last command that went forward.
    private var former: [UInt64] = []

    public init(_ plan: Plan) {
        self.plan = plan
        run = ScenarioRun(plan: plan)
        journal = run.keepJournal()
    }

    public static let help = """
        step [N]            the next event, or the next N
        step NAME           on to the next event of this host
        until CONDITION     \(StopCondition.help)
        run                 to the end
        back [N]            N events back, or before the last command
        where               time, events, expectations, trace hash
        show NODE           a node's state, and its peers
        trace [N]           the last N entries (10)
        follow ID           what led to an entry, and what followed
        path A B            why A can or can't reach B, now
        verdict             the expectations as they stand
        quit
        """

    /// Carries out one line; returns what to print.
    public func perform(_ line: String) -> [String] {
        let words = line.split(separator: " ").map(String.init)
        guard let command = words.first else { return [] }
        let argument = words.count > 1 ? words[1] : nil
        switch command {
        case "step", "s":
            guard let argument else { return step(1) }
            if looksLikeNumber(argument) {
                guard let count = number(argument) else {
                    return refuse("step takes a number from 1, or a host's name")
                }
                return step(count)
            }
            return stepNode(argument)
        case "node", "n": return stepNode(argument)
        case "until", "u": return until(words.dropFirst().joined(separator: " "))
        case "run", "r": return until("\(Span(plan.duration))")
        case "back", "b":
            guard let argument else { return back(nil) }
            guard let count = number(argument) else {
                return refuse("back takes a number of events from 1, or nothing")
            }
            return back(count)
        case "where", "w": return [position, "trace \(run.traceHash)"]
        case "show": return show(argument)
        case "trace", "t":
            guard let argument else { return trace(10) }
            guard let count = number(argument) else {
                return refuse("trace takes a number of entries from 1, or nothing")
            }
            return trace(count)
        case "follow", "f": return follow(argument.flatMap { UInt64($0) })
        case "path", "p": return path(words)
        case "verdict", "v": return verdict()
        case "help", "h", "?": return Self.help.split(separator: "\n").map(String.init)
        case "quit", "q", "exit":
            isOver = true
            return []
        default: return refuse("“\(command)” is no command; help lists them")
        }
    }

    /// `30.127879s, event 1301, 3 expectations held`
    public var position: String {
        let broken = run.judge.brokenCount
        return "\(TraceText.time(run.scenarioTime(run.world.now))), event \(run.eventCount), \(run.judge.heldCount) of "
            + "\(plan.expectations.count) expectations held" + (broken > 0 ? ", \(broken) BROKEN" : "")
            + (run.isOver ? ", the end" : "")
    }

    /// From 1.
    private func number(_ text: String) -> UInt64? { UInt64(text).flatMap { $0 > 0 ? $0 : nil } }

    /// Names begin with a letter.
    private func looksLikeNumber(_ text: String) -> Bool {
        text.utf8.first.map { (48...57).contains($0) || $0 == 43 || $0 == 45 } ?? false
    }

    private func refuse(_ problem: String) -> [String] {
        refusals += 1
        return [problem]
    }

    // MARK: Going

    /// Goes on until `enough`, looked at after each event; prints what was added, no more than the last 20 entries.
    private func go(to limit: Duration? = nil, _ enough: ((ScenarioRun) -> Bool)? = nil) -> [String] {
        former.append(run.eventCount)
        let first = journal.count
        let broken = run.judge.brokenCount
        run.advance(to: limit, until: enough)
        let news = run.judge.brokenCount > broken ? brokenLines() : []
        return added(since: first) + news + [position]
    }

    private func brokenLines() -> [String] {
        run.verdict().expectations.filter { $0.outcome == .broken && !$0.isGood }.flatMap { result in
            ["  BROKEN  \(result.name)"] + (result.why.map { ["          \($0)"] } ?? [])
        }
    }

    private func added(since first: Int) -> [String] {
        let text = TraceText(run)
        let shown = max(first, journal.count - 20)
        let lines = (shown..<max(shown, journal.count)).map { text.line(journal[$0]) }
        return shown > first ? ["… \(shown - first) entries before these"] + lines : lines
    }

    private func step(_ count: UInt64) -> [String] {
        let (target, overflow) = run.eventCount.addingReportingOverflow(count)
        if overflow { return until("\(Span(plan.duration))") }
        return go { $0.eventCount >= target }
    }

    private func stepNode(_ name: String?) -> [String] {
        guard let name, let host = run.host(named: name) else { return refuse(noHost(name)) }
        let first = journal.count
        return go { [journal] _ in (first..<max(first, journal.count)).contains { journal[$0].host == host } }
    }

    private func until(_ text: String) -> [String] {
        guard let condition = StopCondition(text, run) else {
            return refuse("“\(text)” is no condition; give \(StopCondition.help)")
        }
        if case .time(let time) = condition {
            return time < run.elapsed ? refuse("that is past; “back” goes there") : go(to: time)
        }
        return go(condition.check(from: journal.count))
    }

    private func back(_ count: UInt64?) -> [String] {
        let target: UInt64
        if let count {
            target = run.eventCount > count ? run.eventCount - count : 0
        } else {
            guard let last = former.popLast() else { return refuse("this is the start") }
            target = last
        }
        run = ScenarioRun(plan: plan)
        journal = run.keepJournal()
        if target > 0 { run.advance { $0.eventCount >= target } }
        former.removeAll { $0 >= target && target > 0 }
        return trace(1) + [position]
    }

    // MARK: Looking

    private func noHost(_ name: String?) -> String {
        guard let name else { return "name a host, such as \(plan.nodes.first?.name ?? "control")" }
        return "there is no host “\(name)”"
    }

    private func trace(_ count: UInt64) -> [String] {
        let text = TraceText(run)
        let first = max(0, journal.count - Int(min(count, 10_000)))
        return (first..<journal.count).map { text.line(journal[$0]) }
    }

    private func verdict() -> [String] {
        run.verdict().expectations.flatMap { result in
            let isOpen = result.outcome == .notReached && !run.isOver
            let mark = isOpen ? "open" : result.outcome.rawValue
            let why = isOpen ? nil : result.why.map { "              \($0)" }
            return [TraceText.pad(mark, 14) + result.name] + (why.map { [$0] } ?? [])
        }
    }

    private func follow(_ id: UInt64?) -> [String] {
        guard let id, id < journal.count else { return refuse("there is no entry of that number yet") }
        return TraceText(run).lines(CausalChain(of: Int(id), in: journal), in: journal)
    }

    private func path(_ words: [String]) -> [String] {
        guard words.count == 3 else { return refuse("path takes two nodes") }
        let nodes = words[1...2].map { name in plan.nodes.firstIndex { $0.name == name } }
        guard let a = nodes[0], let b = nodes[1] else { return refuse(noHost(nodes[0] == nil ? words[1] : words[2])) }
        return PathExplanation(run, from: a, to: b).lines
    }

    private func show(_ name: String?) -> [String] {
        guard let name, let node = plan.nodes.firstIndex(where: { $0.name == name }) else {
            return refuse(noHost(name))
        }
        let actor = run.agents[node]
        var lines = ["\(name) in \(plan.places[plan.nodes[node].place].name): \(run.view.phase(of: node).text)"]
        guard let agent = actor.agent else { return lines }
        let now = run.world.now(of: actor.host)
        lines.append("  snapshot \(agent.snapshotVersion), own clock \(now.wall), endpoint \(actor.endpoint)")
        if let deadline = agent.nextDeadline() {
            let wait = deadline.instant - now.monotonic
            lines.append("  wakes in \(TraceText.time(wait)) to \(deadline.reason)")
        }
        for index in agent.peers.indices {
            let status = agent.tunnelStatus(agent.peers[index].handle)
            let id = agent.peers[index].node
            let peer = run.agents.first { $0.nodeID == id }?.name ?? "\(id)"
            let health = agent.peers[index].health
            let trip = health.roundTrip.map { ", \(Double($0.nanoseconds / 1000) / 1000) ms" } ?? ""
            lines.append(
                "  \(TraceText.pad(peer, 14)) \(health.isUp(at: now.monotonic) ? "up  " : "down") "
                    + "\(status?.hasSession == true ? "session" : "no session"), \(status?.handshakes ?? 0) handshakes\(trip), "
                    + "at \(status?.endpoint.map { "\($0)" } ?? "an unknown address")")
        }
        return lines
    }
}
