internal import FabricCore
internal import FabricMesh
internal import FabricNode
internal import FabricScenario
internal import FabricTunnel

/// Why one node can or can't reach another, now: what must be so is looked at in the order in which it comes to pass, and
/// the first that is not so is the reason.
public struct PathExplanation {
    public enum Judgement: String, Sendable {
        case good = "ok"
        /// The path can't work like this.
        case bad = "NO"
        /// Worth knowing, and no reason.
        case note = "--"
    }

    public struct Finding: Sendable {
        public var judgement: Judgement
        public var subject: String
        public var text: String
    }

    /// How far back datagrams between the two are looked at.
    static let window = Duration.seconds(10)

    public private(set) var findings: [Finding] = []
    /// One sentence.
    public private(set) var conclusion = ""
    public private(set) var isReachable = false

    private let run: ScenarioRun
    private let a: Int
    private let b: Int

    /// `a` and `b` index the plan's nodes. The run must keep a journal.
    public init(_ run: ScenarioRun, from a: Int, to b: Int) {
        self.run = run
        self.a = a
        self.b = b
        // What is wrong with one of them by itself comes before what they know of each other: that follows from it.
        let isHereLive = life(of: a)
        let isThereLive = life(of: b)
        if isHereLive { knowledge(of: a, about: b) }
        if isThereLive { knowledge(of: b, about: a) }
        for (node, other) in [(a, b), (b, a)] { underlay(node, other) }
        for (node, other) in [(a, b), (b, a)] { session(node, other) }
        echo(a, b)
        echo(b, a)
        conclude()
    }

    /// The conclusion, then the findings, as lines.
    public var lines: [String] {
        let width = findings.map(\.subject.count).max() ?? 0
        return [conclusion, ""]
            + findings.map {
                "  \(TraceText.pad($0.judgement.rawValue, 4))\(TraceText.pad($0.subject, width + 2))\($0.text)"
            }
    }

    private func name(_ node: Int) -> String { run.plan.nodes[node].name }
    private func host(_ node: Int) -> Int { run.agents[node].host.index }
    private func ago(_ time: Instant, _ now: Instant) -> String { "\(Self.short(now - time)) ago" }
    private static func short(_ duration: Duration) -> String {
        let milli = duration.nanoseconds / 1_000_000
        return milli < 10_000 ? "\(milli / 1000).\(milli % 1000 / 100) s" : "\(milli / 1000) s"
    }

    private mutating func add(_ judgement: Judgement, _ subject: String, _ text: String) {
        findings.append(Finding(judgement: judgement, subject: subject, text: text))
    }

    // MARK: Each node by itself, and what it knows of the other

    /// True when it runs and is a member.
    private mutating func life(of node: Int) -> Bool {
        let me = name(node)
        guard let agent = run.agents[node].agent else {
            add(.bad, "\(me) runs", "no: " + whyDown(node))
            return false
        }
        add(.good, "\(me) runs", lastEntry(of: node, .boot).map { "booted at \(time($0))" } ?? "")
        guard case .active = agent.phase else {
            let said = lastEntry(of: node, .report).map { "; the last it said, at \(time($0)): \($0.text)" } ?? ""
            add(.bad, "\(me) is enrolled", "no: it is \(agent.phase)\(said)")
            return false
        }
        add(.good, "\(me) is enrolled", "")
        return true
    }

    private mutating func knowledge(of node: Int, about other: Int) {
        let me = name(node)
        guard let agent = run.agents[node].agent else { return }
        guard agent.snapshotVersion > 0 else {
            return add(.bad, "\(me) has a snapshot", "no: it has enrolled, and the control plane has not given it one")
        }
        add(.good, "\(me) has a snapshot", "version \(agent.snapshotVersion), \(agent.peers.count) peers")
        guard let peer = peer(of: node, other) else {
            let never = run.agents[other].nodeID == nil ? ": \(name(other)) has never started" : ""
            return add(
                .bad, "\(me) may talk to \(name(other))", "no: its snapshot does not name that node as a peer\(never)")
        }
        add(.good, "\(me) may talk to \(name(other))", "its snapshot names it, with an admission that holds")
        endpoint(node, other, agent, peer)
    }

    private mutating func endpoint(_ node: Int, _ other: Int, _ agent: NodeAgent, _ peer: Int) {
        let subject = "\(name(node)) knows where \(name(other)) is"
        let own = run.agents[other].endpoint
        guard let known = agent.tunnelStatus(agent.peers[peer].handle)?.endpoint else {
            // The other one may know, and begin.
            let otherKnows = self.peer(of: other, node).flatMap { index in
                run.agents[other].agent.flatMap { $0.tunnelStatus($0.peers[index].handle)?.endpoint }
            }
            return add(otherKnows == nil ? .bad : .note, subject, "no: no record of it has come, and no packet from it")
        }
        if known == own { return add(.good, subject, "\(known)") }
        add(.note, subject, "it sends to \(known); \(name(other))'s own address is \(own)")
    }

    private func peer(of node: Int, _ other: Int) -> Int? {
        guard let agent = run.agents[node].agent, let id = run.agents[other].nodeID else { return nil }
        return agent.peers.indices.first { agent.peers[$0].node == id && agent.peers[$0].domain == .fabric }
    }

    private func whyDown(_ node: Int) -> String {
        guard let journal = run.world.journal, let crash = lastEntry(of: node, .crash) else {
            return "it has not been switched on"
        }
        let cause = crash.cause >= 0 ? " by \(journal[crash.cause].text)" : ""
        return "it \(crash.text) at \(time(crash))\(cause)"
    }

    private func lastEntry(of node: Int, _ kind: JournalKind) -> JournalEntry? {
        guard let journal = run.world.journal else { return nil }
        let host = host(node)
        for id in (0..<journal.count).reversed() where journal.kind(of: id) == kind {
            let entry = journal[id]
            if entry.host == host { return entry }
        }
        return nil
    }

    private func time(_ entry: JournalEntry) -> String {
        "\(Span(.milliseconds(run.scenarioTime(entry.time).nanoseconds / 1_000_000)))"
    }

    // MARK: The way between

    private mutating func underlay(_ from: Int, _ to: Int) {
        let subject = "packets \(name(from)) → \(name(to))"
        let seen = datagrams(from, to)
        if run.world.network.isCut(from: run.agents[from].host, to: run.agents[to].host, .udp) {
            return add(.bad, subject, "a partition cuts them: \(cut(from, to))" + seen.text)
        }
        let inner = run.plan.nodes[from].place == run.plan.nodes[to].place
        let line =
            inner
            ? "within \(run.plan.places[run.plan.nodes[from].place].name)"
            : "\(run.plan.places[run.plan.nodes[from].place].name) to \(run.plan.places[run.plan.nodes[to].place].name)"
        let changed = linkChange(from, to).map { ", as \($0)" } ?? ""
        if seen.sent > 1, seen.arrived == 0 {
            return add(.bad, subject, "none gets through (\(line)\(changed))\(seen.text)")
        }
        let judgement: Judgement = seen.sent > 0 && seen.arrived * 2 < seen.sent ? .note : .good
        add(judgement, subject, "the line \(line) is open\(changed)\(seen.text)")
    }

    /// What became of the datagrams of the last seconds.
    private func datagrams(_ from: Int, _ to: Int) -> (sent: Int, arrived: Int, text: String) {
        guard let journal = run.world.journal else { return (0, 0, "") }
        let begin = journal.firstIndex(from: run.world.now - Self.window)
        var sent = 0
        var arrived = 0
        var fates: [(text: String, count: Int)] = []
        for id in begin..<journal.count {
            let kind = journal.kind(of: id)
            guard kind == .sent || kind == .arrived else { continue }
            let entry = journal[id]
            if kind == .arrived, entry.host == host(to), entry.peer == host(from) { arrived += 1 }
            guard kind == .sent, entry.host == host(from), entry.peer == host(to) else { continue }
            sent += 1
            guard !entry.outcome.isEmpty else { continue }
            if let known = fates.firstIndex(where: { $0.text == entry.outcome }) {
                fates[known].count += 1
            } else {
                fates.append((entry.outcome, 1))
            }
        }
        guard sent > 0 else { return (0, arrived, "; none was sent in the last \(Self.short(Self.window))") }
        let never = "never arrives: "
        let why = fates.map { fate in
            "\(fate.count) × \(fate.text.hasPrefix(never) ? String(fate.text.dropFirst(never.count)) : fate.text)"
        }
        return (
            sent, arrived,
            "; of \(sent) sent in the last \(Self.short(Self.window)) \(arrived) arrived"
                + (why.isEmpty ? "" : " (\(why.joined(separator: ", ")))")
        )
    }

    /// The step whose cut lies between two nodes now.
    private func cut(_ from: Int, _ to: Int) -> String {
        for step in run.plan.steps where step.time <= run.elapsed {
            guard case .cut(let cut) = step.action, cut.only != .tcp else { continue }
            let healed = run.plan.steps.first { later in
                if case .heal(let ids) = later.action {
                    ids.contains(cut.id) && later.time <= run.elapsed
                } else {
                    false
                }
            }
            let there = cut.from.nodes.contains(from) && cut.to.nodes.contains(to)
            let back = cut.isSymmetric && cut.from.nodes.contains(to) && cut.to.nodes.contains(from)
            guard healed == nil, there || back else { continue }
            let label = step.label.map { " “\($0)”" } ?? ""
            let end = run.plan.steps.first { later in
                if case .heal(let ids) = later.action { ids.contains(cut.id) } else { false }
            }
            return "line \(step.line)\(label), since \(Span(step.time)), "
                + (end.map { "until \(Span($0.time))" } ?? "to the end")
        }
        // Other steps cut too; those in force are named by their own words.
        let now = ReportTimeline.seconds(run.elapsed)
        let others = ReportTimeline(run.plan).bars.filter { bar in
            !bar.isOperation && bar.spans.contains { $0[0] <= now && now < $0[1] }
        }
        return others.isEmpty
            ? "made by no step of the file" : others.map { "line \($0.line), \($0.text)" }.joined(separator: "; ")
    }

    private func linkChange(_ from: Int, _ to: Int) -> String? {
        let places = [run.plan.nodes[from].place, run.plan.nodes[to].place].sorted()
        let step = run.plan.steps.last { step in
            guard step.time <= run.elapsed, case .setLinks(let links) = step.action else { return false }
            return links.contains { [$0.a, $0.b].sorted() == places }
        }
        return step.map { "line \($0.line) made it at \(Span($0.time)): \(PlanText(run.plan).action($0.action))" }
    }

    // MARK: Session and echoes

    private mutating func session(_ node: Int, _ other: Int) {
        guard let agent = run.agents[node].agent, let index = peer(of: node, other),
            let status = agent.tunnelStatus(agent.peers[index].handle)
        else { return }
        let now = run.world.now(of: run.agents[node].host).monotonic
        let subject = "\(name(node)) has a session with \(name(other))"
        let traffic = "\(status.traffic.packetsSent) packets sent, \(status.traffic.packetsReceived) received"
        let drops = refusals(node, other)
        let when = status.lastHandshake.map { "last handshake \(ago($0, now)), \(status.handshakes) in all, " } ?? ""
        if status.hasSession {
            add(.good, subject, when + traffic + drops)
        } else {
            let keys = status.lastHandshake == nil ? "there has been no handshake" : "its keys are too old"
            add(.bad, subject, "no: \(keys); \(when)\(traffic)\(drops)")
        }
    }

    /// Why datagrams that came from the other were thrown away lately.
    private func refusals(_ node: Int, _ other: Int) -> String {
        guard let journal = run.world.journal else { return "" }
        var counts: [(text: String, count: Int)] = []
        for id in journal.firstIndex(from: run.world.now - Self.window)..<journal.count
        where journal.kind(of: id) == .arrived {
            let entry = journal[id]
            guard entry.host == host(node), entry.peer == host(other), entry.outcome.contains("dropped: ") else {
                continue
            }
            if let known = counts.firstIndex(where: { $0.text == entry.outcome }) {
                counts[known].count += 1
            } else {
                counts.append((entry.outcome, 1))
            }
        }
        return counts.isEmpty
            ? "" : "; it threw away " + counts.map { "\($0.count) (\($0.text))" }.joined(separator: ", ")
    }

    private mutating func echo(_ node: Int, _ other: Int) {
        guard let agent = run.agents[node].agent, let index = peer(of: node, other) else { return }
        let health = agent.peers[index].health
        let now = run.world.now(of: run.agents[node].host).monotonic
        let subject = "echoes \(name(node)) → \(name(other)) → \(name(node))"
        let isUp = health.isUp(at: now)
        if node == a { isReachable = isUp }
        let rest =
            health.isResting(at: now) ? "; it rests, and is tried next in \(Self.short(health.probeDue - now))" : ""
        guard let last = health.lastEcho else {
            return add(.bad, subject, "none has ever come back; \(health.probesSent) sent\(rest)")
        }
        let trip = health.roundTrip.map { ", after \(Double($0.nanoseconds / 1000) / 1000) ms" } ?? ""
        let limit = "the path counts as down at most \(Self.short(health.upWindow)) after the last\(rest)"
        add(isUp ? .good : .bad, subject, "the last came back \(ago(last, now))\(trip); \(limit)")
    }

    // MARK: The end of it

    private mutating func conclude() {
        let at = "At \(Span(.milliseconds(run.elapsed.nanoseconds / 1_000_000)))"
        // In the order of things: a reason further up makes those below it.
        let first = findings.first { $0.judgement == .bad }
        if isReachable {
            conclusion = "\(at) \(name(a)) reaches \(name(b))."
            if let first { conclusion += " But soon it won't: \(Self.reason(first))" }
            return
        }
        guard let first else {
            conclusion = "\(at) \(name(a)) does not reach \(name(b)) yet, and nothing is in the way."
            return
        }
        conclusion = "\(at) \(name(a)) can't reach \(name(b)). \(Self.reason(first))"
    }

    /// What is found not to be so is asked and denied: `left is enrolled? No: it is joining.`
    private static func reason(_ finding: Finding) -> String {
        finding.text.hasPrefix("no: ")
            ? "\(finding.subject)? No: \(finding.text.dropFirst(4))." : "\(finding.subject): \(finding.text)."
    }
}
