internal import ArgumentParser
internal import FabricCommand
internal import FabricCore
internal import FabricScenario
internal import Foundation
internal import Simulator

/// A time on the command line.
func span(_ text: String) throws -> Span {
    guard let span = Span(text) else { throw ValidationError("“\(text)” is no time; give \(Span.expectation)") }
    return span
}

/// A run whose journal was kept, up to a moment or condition.
func journalled(_ plan: Plan, until condition: String?, entries: Int) throws -> (ScenarioRun, Journal) {
    let run = ScenarioRun(plan: plan)
    let journal = run.keepJournal(maximumEntries: entries)
    let stop = try condition.map { text in
        guard let condition = StopCondition(text, run) else {
            throw ValidationError("--until “\(text)”: give \(StopCondition.help)")
        }
        return condition
    }
    if case .time(let time) = stop { run.advance(to: time) } else { run.advance(until: stop?.check(from: 0)) }
    return (run, journal)
}

struct TraceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trace", abstract: "Runs a scenario and prints what happened, in words, with causes.",
        discussion: """
            Entries have numbers, the same in every run with the same seed; --follow N shows what led to one and what \
            followed. Times are those of the scenario, such as 30.5s or 4m30s. Without a filter the last --limit entries \
            are printed.
            """)

    @Argument(help: "The scenario file.") var file: String
    @OptionGroup var which: WhichRun
    @Option(help: "Only what concerns this host: a node, control or operator. May be given several times.")
    var node: [String] = []
    @Option(help: "Only what lies between --node and this host.") var peer: String?
    @Option(
        help:
            "Only this kind: \(JournalKind.allCases.map(\.name).joined(separator: ", ")). Several with commas, or one after the other."
    )
    var kind: [String] = []
    @Option(help: "Only from this time on.", transform: span) var from: Span?
    @Option(help: "Only to this time.", transform: span) var to: Span?
    @Option(help: "Only entries with these words.") var find: String?
    @Option(help: "Stop the run at \(StopCondition.help).") var until: String?
    @Flag(help: "Stop the run when an expectation breaks.") var untilBroken = false
    @Option(help: "Follow this entry: what led to it, and what it led to.") var follow: Int?
    @Flag(help: "Draw the messages as a sequence chart.") var diagram = false
    @Flag(help: "The chart as Mermaid text.") var mermaid = false
    @Option(help: "Print at most so many entries, the last ones.") var limit = 200
    @Option(help: "Keep at most so many entries of a run in memory.") var entries = Journal.defaultMaximumEntries
    @Flag(help: "Print one JSON object.") var json = false

    func validate() throws {
        guard limit > 0, (1...100_000_000).contains(entries) else {
            throw ValidationError("--limit and --entries are at least 1, and --entries at most 100,000,000")
        }
        guard !untilBroken || until == nil else { throw ValidationError("give --until or --until-broken, not both") }
        for name in kinds where !JournalKind.allCases.contains(where: { $0.name == name }) {
            let all = JournalKind.allCases.map(\.name).joined(separator: ", ")
            throw ValidationError("there is no kind “\(name)”; give one of \(all)")
        }
    }

    private var kinds: [String] { kind.flatMap { $0.split(separator: ",").map(String.init) } }

    func run() throws {
        try refuseRecording()
        let plan = try which.plan(of: file)
        let stop = untilBroken ? "broken" : until ?? (follow == nil ? to.map { "\($0)" } : nil)
        let (run, journal) = try journalled(plan, until: stop, entries: entries)
        if let time = journal.truncatedAt {
            complain(
                "from \(Span(run.scenarioTime(time))) on packets are missing: there are more than \(entries) entries; "
                    + "give --to, or more --entries")
        }
        if let follow { return try print(follow, run, journal) }
        let ids = try query(run).select(journal, run)
        if diagram || mermaid { return print(MessageDiagram(ids, in: journal, of: run)) }
        let isFiltered = from != nil || to != nil
        let shown = isFiltered && limit == 200 ? ids.suffix(100_000) : ids.suffix(limit)
        if json { return try printJSON(TraceListing(Array(shown), matched: ids.count, of: run, journal)) }
        let text = TraceText(run)
        if shown.count < ids.count {
            Swift.print("… \(ids.count - shown.count) entries before these; --limit shows more")
        }
        for id in shown { Swift.print(text.line(journal[id])) }
        if ids.isEmpty { complain("no entry fits") }
    }

    private func print(_ id: Int, _ run: ScenarioRun, _ journal: Journal) throws {
        guard (0..<journal.count).contains(id) else {
            complain("there is no entry #\(id); this run has #0 to #\(journal.count - 1)")
            throw ExitCode(2)
        }
        let chain = CausalChain(of: id, in: journal)
        if json {
            let ids = chain.causes + chain.effects.map(\.id)
            return try printJSON(TraceListing(ids, matched: ids.count, of: run, journal))
        }
        for line in TraceText(run).lines(chain, in: journal) { Swift.print(line) }
    }

    private func print(_ diagram: MessageDiagram) {
        for line in mermaid ? diagram.mermaid() : diagram.text() { Swift.print(line) }
        if diagram.isCut {
            complain(
                "the chart shows \(MessageDiagram.maximumHosts) hosts and \(MessageDiagram.maximumRows) messages at most; "
                    + "narrow it with --node, --from and --to")
        }
    }

    private func query(_ run: ScenarioRun) throws -> TraceQuery {
        var query = TraceQuery()
        query.hosts = try node.map { try host($0, run) }
        query.peer = try peer.map { try host($0, run) }
        query.kinds = kinds.compactMap { name in JournalKind.allCases.first { $0.name == name } }
        query.from = from?.duration
        query.until = to?.duration
        query.words = find
        return query
    }

    private func host(_ name: String, _ run: ScenarioRun) throws -> Int {
        if let host = run.host(named: name) { return host }
        complain("\(file) has no node “\(name)”; control and operator are hosts too")
        throw ExitCode(2)
    }

    /// A file that `run --trace` wrote is no scenario, and one of another version is not even read.
    private func refuseRecording() throws {
        guard let head = try? InputFile.read(file, limit: 64), head.starts(with: Array("rap-trace ".utf8)) else {
            return
        }
        let line = String(decoding: head.prefix { $0 != 10 }, as: UTF8.self)
        complain(
            line == TraceFile.header
                ? "\(file) is a recording of “run --trace”, which holds digests; name the scenario file, and trace runs it again"
                : "\(file) is a recording of another version (“\(line)”; this is “\(TraceFile.header)”); name the scenario file"
        )
        throw ExitCode(2)
    }
}
