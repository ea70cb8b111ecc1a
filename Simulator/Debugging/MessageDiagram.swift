internal import FabricCore

/// The messages of a window as a sequence chart: a line of life for each host, an arrow for each message.
public struct MessageDiagram {
    public static let maximumHosts = 8
    public static let maximumRows = 400
    private static let column = 18

    struct Row {
        var time: Duration
        var from: Int
        /// Nil for something that a host does by itself.
        var to: Int?
        var arrives: Bool
        var text: String
    }

    private let run: ScenarioRun
    /// Hosts in the order in which they appear.
    let hosts: [Int]
    let rows: [Row]
    /// There are more hosts or rows than are shown.
    public let isCut: Bool

    /// `ids` are the entries of the window, ascending.
    public init(_ ids: [Int], in journal: Journal, of run: ScenarioRun) {
        self.run = run
        var rows: [Row] = []
        var hosts: [Int] = []
        for id in ids {
            let entry = journal[id]
            guard let row = Self.row(entry, run) else { continue }
            rows.append(row)
            for host in [row.from, row.to ?? row.from] where !hosts.contains(host) { hosts.append(host) }
        }
        let shown = Set(hosts.sorted().prefix(Self.maximumHosts))
        let kept = rows.filter { shown.contains($0.from) && shown.contains($0.to ?? $0.from) }
        self.hosts = hosts.filter { shown.contains($0) }.sorted()
        self.rows = Array(kept.prefix(Self.maximumRows))
        isCut = self.rows.count < rows.count
    }

    /// A message is drawn where it is sent; what happens to a host by itself where it happens.
    private static func row(_ entry: JournalEntry, _ run: ScenarioRun) -> Row? {
        let time = run.scenarioTime(entry.time)
        let text = entry.text + (entry.outcome.isEmpty ? "" : " · \(entry.outcome)")
        switch entry.kind {
        case .sent, .http:
            guard entry.peer >= 0, !entry.outcome.hasPrefix("arrives") else { return nil }
            let lost = entry.outcome.hasPrefix("never arrives") || entry.outcome == "goes nowhere"
            return Row(time: time, from: entry.host, to: entry.peer, arrives: !lost, text: text)
        case .arrived where !entry.outcome.isEmpty:
            return Row(time: time, from: entry.host, to: nil, arrives: true, text: entry.outcome)
        case .boot, .crash, .report, .written, .clock:
            return Row(time: time, from: entry.host, to: nil, arrives: true, text: text)
        case .step: return Row(time: time, from: -1, to: nil, arrives: true, text: text)
        default: return nil
        }
    }

    // MARK: Text

    public func text() -> [String] {
        let named = hosts.filter { $0 >= 0 }
        guard !named.isEmpty else { return ["no message in this window"] }
        func center(_ name: String) -> String {
            let short = String(name.prefix(Self.column - 2))
            let left = (Self.column - short.count) / 2
            return TraceText.pad(String(repeating: " ", count: left) + short, Self.column)
        }
        var lines = [TraceText.pad("", 14) + named.map { center(run.name(ofHost: $0)) }.joined()]
        for row in rows {
            let time = TraceText.padLeft(TraceText.time(row.time), 13) + " "
            if row.from < 0 {
                lines.append(time + "── " + row.text)
                continue
            }
            lines.append(time + track(row, named) + "  " + row.text)
        }
        return lines
    }

    /// The lines of life, with the arrow of one row across them.
    private func track(_ row: Row, _ named: [Int]) -> String {
        var cells = [Character](repeating: " ", count: Self.column * named.count)
        func middle(_ host: Int) -> Int { (named.firstIndex(of: host) ?? 0) * Self.column + Self.column / 2 - 1 }
        for host in named { cells[middle(host)] = "│" }
        let from = middle(row.from)
        guard let to = row.to.map(middle), to != from else {
            cells[from] = "●"
            return String(cells)
        }
        let step = to > from ? 1 : -1
        var at = from + step
        // A message that never arrives ends on the way.
        let end = row.arrives ? to - step : from + (to - from) * 2 / 3
        while at != end {
            cells[at] = "─"
            at += step
        }
        cells[end] = row.arrives ? (step > 0 ? "▶" : "◀") : "✕"
        cells[from] = step > 0 ? "├" : "┤"
        return String(cells)
    }

    // MARK: Mermaid

    /// The same for Mermaid (https://mermaid.js.org/syntax/sequenceDiagram.html).
    public func mermaid() -> [String] {
        var lines = ["sequenceDiagram"]
        let named = hosts.filter { $0 >= 0 }
        for host in named { lines.append("    participant h\(host) as \(run.name(ofHost: host))") }
        for row in rows {
            let text = "\(TraceText.time(row.time)) \(row.text)".map { $0 == ";" || $0 == "#" ? "," : $0 }
            if row.from < 0, let first = named.first, let last = named.last {
                lines.append("    Note over h\(first),h\(last): \(String(text))")
            } else if let to = row.to {
                lines.append("    h\(row.from)\(row.arrives ? "->>" : "-x")h\(to): \(String(text))")
            } else {
                lines.append("    Note over h\(row.from): \(String(text))")
            }
        }
        return lines
    }
}
