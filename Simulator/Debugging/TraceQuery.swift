internal import FabricCore
internal import FabricScenario

/// Which entries of a journal somebody wants to see.
public struct TraceQuery: Sendable {
    /// Hosts of which one must be the entry's own or its peer; empty for any.
    public var hosts: [Int] = []
    /// The other host, beside one of `hosts`.
    public var peer: Int?
    /// Empty for all kinds.
    public var kinds: [JournalKind] = []
    /// Scenario time.
    public var from: Duration?
    public var until: Duration?
    /// Words that text or outcome must hold, in any case.
    public var words: String?

    public init() {}

    /// The entries that fit, ascending.
    public func select(_ journal: Journal, _ run: ScenarioRun) -> [Int] {
        let first = from.map { journal.firstIndex(from: run.start + $0) } ?? 0
        let end = until.map { journal.firstIndex(from: run.start + $0 + .nanoseconds(1)) } ?? journal.count
        guard first < end else { return [] }
        let words = words?.lowercased()
        return (first..<end).filter { matches(journal, $0, words) }
    }

    private func matches(_ journal: Journal, _ id: Int, _ words: String?) -> Bool {
        if !kinds.isEmpty, !kinds.contains(journal.kind(of: id)) { return false }
        if hosts.isEmpty, peer == nil, words == nil { return true }
        let entry = journal[id]
        let ends = [entry.host, entry.peer]
        if !hosts.isEmpty, !hosts.contains(where: { ends.contains($0) }) { return false }
        if let peer, !ends.contains(peer) || (!hosts.isEmpty && ends[0] == ends[1]) { return false }
        if let words, !entry.text.lowercased().contains(words), !entry.outcome.lowercased().contains(words) {
            return false
        }
        return true
    }
}

/// One entry with what led to it and what it led to.
public struct CausalChain: Sendable {
    public static let maximumEffects = 400

    /// From the step or timer that began it to the entry itself. A timer has a cause of its own, which set it; following that
    /// would go back through every probe and heartbeat to the start.
    public var causes: [Int]
    /// What the entry caused, ascending, each with how many entries lie between.
    public var effects: [(id: Int, depth: Int)]
    /// There are more effects than are kept.
    public var isCut: Bool

    public init(of id: Int, in journal: Journal) {
        var chain = [id]
        while let first = chain.last, journal.cause(of: first) >= 0, first == id || journal.kind(of: first) != .timer {
            chain.append(journal.cause(of: first))
        }
        causes = chain.reversed()
        effects = []
        isCut = false
        /// Depth by entry, looked up by key only.
        var depths = [id: 0]
        for later in id + 1..<max(id + 1, journal.count) {
            guard let depth = depths[journal.cause(of: later)] else { continue }
            if effects.count == Self.maximumEffects {
                isCut = true
                break
            }
            // What a timer does is a story of its own, unless the timer is the one that is followed.
            if journal.kind(of: later) != .timer { depths[later] = depth + 1 }
            effects.append((later, depth + 1))
        }
    }
}

/// Entries as lines for a terminal.
public struct TraceText {
    private let run: ScenarioRun
    private let width: Int

    public init(_ run: ScenarioRun) {
        self.run = run
        let longest = (0..<run.world.hostCount).map { run.name(ofHost: $0).count }.max() ?? 8
        width = min(18, longest)
    }

    /// Scenario time in seconds with microseconds: what `--from` takes.
    public static func time(_ duration: Duration) -> String {
        let micro = duration.nanoseconds / 1000
        let size = micro.magnitude
        let fraction = String(size % 1_000_000)
        return (micro < 0 ? "-" : "") + "\(size / 1_000_000)." + String(repeating: "0", count: 6 - fraction.count)
            + fraction + "s"
    }

    static func pad(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }

    static func padLeft(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(0, width - text.count)) + text
    }

    /// `#1301   30.127879s  sent         branch-1 → branch-2  fabric probe 28 · never arrives: …`
    public func line(_ entry: JournalEntry) -> String {
        let id = Self.pad("#\(entry.id)", 8)
        let time = Self.padLeft(Self.time(run.scenarioTime(entry.time)), 13)
        return "\(id)\(time)  \(Self.pad(entry.kind.name, 11))  " + what(entry)
    }

    /// Hosts and words, without number and time.
    public func what(_ entry: JournalEntry) -> String {
        var text = Self.pad(run.name(ofHost: entry.host), width)
        if entry.peer >= 0 {
            let incoming = entry.kind == .arrived || entry.kind == .dropped || entry.outcome.hasPrefix("arrives")
            text += " \(incoming ? "←" : "→") " + Self.pad(run.name(ofHost: entry.peer), width)
        } else {
            text += String(repeating: " ", count: width + 3)
        }
        return text + "  " + entry.text + (entry.outcome.isEmpty ? "" : " · \(entry.outcome)")
    }

    /// The chain to an entry and what followed from it.
    public func lines(_ chain: CausalChain, in journal: Journal) -> [String] {
        var lines: [String] = []
        for (depth, id) in chain.causes.enumerated() {
            let mark = depth + 1 == chain.causes.count ? "▶ " : depth == 0 ? "● " : "↳ "
            lines.append(mark + line(journal[id]))
        }
        let first = chain.causes[0]
        if journal.cause(of: first) >= 0 {
            lines.insert("  (the timer was set by #\(journal.cause(of: first)))", at: 0)
        } else if chain.causes.count == 1 {
            lines.append("  nothing that is kept caused it")
        }
        if !chain.effects.isEmpty { lines.append("what followed:") }
        for (id, depth) in chain.effects {
            lines.append(String(repeating: "  ", count: min(depth, 12)) + "↳ " + line(journal[id]))
        }
        if chain.isCut { lines.append("  … and more; follow one of these") }
        return lines
    }
}

/// Entries as JSON.
public struct TraceListing: Encodable {
    struct Entry: Encodable {
        var id: Int
        var seconds: Double
        var trace: UInt64
        var kind: String
        var host: String
        var peer: String?
        var cause: Int?
        var text: String
        var outcome: String?
    }

    var scenario: String
    var seed: UInt64
    /// Of the run, as far as it went.
    var traceHash: String
    /// How many fitted; `entries` may be fewer.
    var matched: Int
    var entries: [Entry]

    public init(_ ids: [Int], matched: Int, of run: ScenarioRun, _ journal: Journal) {
        scenario = run.plan.name
        seed = run.plan.seed
        traceHash = run.traceHash
        self.matched = matched
        entries = ids.map { id in
            let entry = journal[id]
            return Entry(
                id: id, seconds: Double(run.scenarioTime(entry.time).nanoseconds) / 1e9, trace: entry.traceIndex,
                kind: entry.kind.name, host: run.name(ofHost: entry.host),
                peer: entry.peer < 0 ? nil : run.name(ofHost: entry.peer), cause: entry.cause < 0 ? nil : entry.cause,
                text: entry.text, outcome: entry.outcome.isEmpty ? nil : entry.outcome)
        }
    }
}
