internal import FabricCore

/// The part of a journal that a report carries: every notable event, and of packets, timers and requests a share that is
/// spread over the run; what led to a path going up or down is kept with it.
struct ReportEvents: Encodable {
    static let maximumNotable = 24_000
    static let maximumOthers = 16_000
    static let maximumCauses = 8
    private static let slices = 400

    /// Columns, each as numbers with commas: the identifier (as the difference to the one before), microseconds since the
    /// one before, kind, host, peer, cause, text, outcome.
    var id: String
    var time: String
    var kind: String
    var host: String
    var peer: String
    var cause: String
    var text: String
    var outcome: String
    var texts: [String]
    var kinds: [String]
    /// How many there were in all, and how many are here.
    var total: Int
    var kept: Int
    /// Of each kind, how many there were.
    var totals: [Int]
    /// Scenario time of the first, microseconds.
    var begin: Int64

    init(_ journal: Journal, start: Instant) {
        let chosen = Self.choose(journal)
        var indices: [String: Int] = ["": 0]
        var texts = [""]
        func index(_ text: String) -> Int {
            if let known = indices[text] { return known }
            texts.append(text)
            indices[text] = texts.count - 1
            return texts.count - 1
        }
        var columns = [[Int64]](repeating: [], count: 8)
        var lastID = 0
        var lastTime: Int64 = 0
        for (position, id) in chosen.enumerated() {
            let entry = journal[id]
            let time = (entry.time - start).nanoseconds / 1000
            let values: [Int64] = [
                Int64(id - lastID), position == 0 ? 0 : time - lastTime, Int64(entry.kind.rawValue), Int64(entry.host),
                Int64(entry.peer), Int64(entry.cause), Int64(index(entry.text)), Int64(index(entry.outcome)),
            ]
            for column in 0..<8 { columns[column].append(values[column]) }
            lastID = id
            lastTime = time
        }
        func text(_ column: Int) -> String { columns[column].map(String.init).joined(separator: ",") }
        id = text(0)
        time = text(1)
        kind = text(2)
        host = text(3)
        peer = text(4)
        cause = text(5)
        self.text = text(6)
        outcome = text(7)
        self.texts = texts
        kinds = JournalKind.allCases.map(\.name)
        total = journal.count
        kept = chosen.count
        totals = JournalKind.allCases.map { _ in 0 }
        for id in 0..<journal.count { totals[Int(journal.kind(of: id).rawValue)] += 1 }
        begin = chosen.first.map { (journal.time(of: $0) - start).nanoseconds / 1000 } ?? 0
    }

    /// Ascending.
    private static func choose(_ journal: Journal) -> [Int] {
        var isChosen = [Bool](repeating: false, count: journal.count)
        var notable: [Int] = []
        var others: [Int] = []
        for id in 0..<journal.count {
            if isAlwaysKept(journal.kind(of: id)) { notable.append(id) } else { others.append(id) }
        }
        // Rarely more than fit: then evenly thinned.
        for id in thinned(notable, to: maximumNotable) {
            isChosen[id] = true
            guard journal.kind(of: id) == .report else { continue }
            var cause = journal.cause(of: id)
            var depth = 0
            while cause >= 0, !isChosen[cause], depth < maximumCauses {
                isChosen[cause] = true
                if journal.kind(of: cause) == .timer { break }
                cause = journal.cause(of: cause)
                depth += 1
            }
        }
        for id in spread(others, journal) { isChosen[id] = true }
        return isChosen.indices.filter { isChosen[$0] }
    }

    private static func isAlwaysKept(_ kind: JournalKind) -> Bool {
        switch kind {
        case .step, .boot, .crash, .report, .network, .clock, .note, .disk: true
        default: false
        }
    }

    private static func thinned(_ ids: [Int], to count: Int) -> [Int] {
        ids.count <= count ? ids : (0..<count).map { ids[$0 * ids.count / count] }
    }

    /// The same number from each slice of time, so that quiet minutes are as well told as busy ones.
    private static func spread(_ ids: [Int], _ journal: Journal) -> [Int] {
        guard ids.count > maximumOthers, let first = ids.first, let last = ids.last else { return ids }
        let begin = journal.time(of: first).nanoseconds
        let length = max(1, journal.time(of: last).nanoseconds - begin + 1)
        var parts = [[Int]](repeating: [], count: slices)
        for id in ids {
            let offset = journal.time(of: id).nanoseconds - begin
            parts[Int(offset.multipliedFullWidth(by: Int64(slices)).low / UInt64(length))].append(id)
        }
        return parts.flatMap { thinned($0, to: maximumOthers / slices) }
    }
}
