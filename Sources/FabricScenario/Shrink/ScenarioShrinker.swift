internal import FabricCore
public import FabricDocument

/// Cuts a scenario that fails down to a small one that fails in the same way: fewer nodes, places, steps and properties,
/// a shorter run, rounder values.
///
/// Pure: it proposes trees, and the oracle says which is the first that still fails. Every proposal is a valid scenario.
/// Bold cuts come first (three hundred nodes to two, to three, …), and small worlds before large ones: they cost little.
public struct ScenarioShrinker {
    /// Gets valid scenarios in order of preference; gives the first that fails in the wanted way. Nil when none does, or
    /// when the time is over.
    public typealias Oracle = (_ candidates: [DocumentNode]) -> Answer?

    public struct Answer {
        public var index: Int
        /// When the run's failure was certain; nil when that is not known.
        public var decidedAt: Duration?

        public init(index: Int, decidedAt: Duration?) {
            self.index = index
            self.decidedAt = decidedAt
        }
    }

    /// The smallest found so far.
    public private(set) var document: DocumentNode
    /// Called with a line for each cut that was kept.
    public var onProgress: (String) -> Void = { _ in }
    private let oracle: Oracle
    private let isOver: () -> Bool
    private var decidedAt: Duration?
    /// Texts of what was tried; looked up only.
    private var tried: Set<String> = []
    private let suspects: [String]
    private let mayMoveTimes: Bool

    /// Rounds over all cuts; the second mostly finds nothing more.
    static let maximumRounds = 6

    /// `document` fails (`focused` made it); `suspects` are nodes that its verdict names. `mayMoveTimes` says that the
    /// oracle also checks that a candidate holds without its faults, or without the planted bug, so that a deadline that
    /// moves can't come to mean another thing; or that no deadline is asked about, but a rule.
    public init(
        document: DocumentNode, suspects: [String], mayMoveTimes: Bool, isOver: @escaping () -> Bool,
        oracle: @escaping Oracle
    ) {
        self.document = document
        self.suspects = suspects
        self.mayMoveTimes = mayMoveTimes
        self.isOver = isOver
        self.oracle = oracle
    }

    /// The scenario with one expectation of its plan alone, by its name. Its window is written out, so that steps whose
    /// labels it named can go. Nil when there is no such expectation.
    public static func focused(_ document: DocumentNode, _ plan: Plan, on name: String) -> DocumentNode? {
        guard let expectation = plan.expectations.first(where: { $0.name == name }),
            let written = try? YAMLDocument.parse(Array("expect:\n\(PlanText(plan).written(expectation))\n".utf8)),
            let entry = written["expect"]?.array?.first
        else { return nil }
        let members = (entry.object ?? []).filter { $0.key != "name" }
        let named = DocumentNode(.object([DocumentMember("name", .text(name))] + members))
        return alone(document, named)
    }

    /// The scenario with an expectation that says nothing, for failures that no expectation of the file tells.
    public static func unfocused(_ document: DocumentNode) -> DocumentNode {
        let enrolled = DocumentNode(.object([DocumentMember("enrolled", .text("all"))]))
        return alone(document, DocumentNode(.object([DocumentMember("sometimes", enrolled)])))
    }

    private static func alone(_ document: DocumentNode, _ expectation: DocumentNode) -> DocumentNode {
        document.setting("expect", DocumentNode(.array([expectation]))).setting("swarm", nil).setting("hosts", nil)
    }

    /// The scenario without what disturbs it; nil when that is no scenario.
    public static func withoutFaults(_ document: DocumentNode) -> DocumentNode? {
        let quiet = ShrinkWorld.foundations + ["token", "revoke-token", "reject", "flow", "backup-control"]
        let kept = (document["timeline"]?.array ?? []).filter { quiet.contains(ShrinkWorld.action($0)) }
        return ShrinkWorld.repaired(
            document.setting("timeline", kept.isEmpty ? nil : DocumentNode(.array(kept))))?.document
    }

    public mutating func run() -> DocumentNode {
        cutNodesBoldly()
        for _ in 0..<ScenarioShrinker.maximumRounds {
            let before = document
            cutEnd()
            cutSteps()
            cutNodes()
            cutPlaces()
            cutProperties()
            closeGaps()
            roundValues()
            if document == before || isOver() { break }
        }
        // People read from top to bottom.
        take([ShrinkTimes.ordered(document)], "order")
        return document
    }

    // MARK: Trying

    /// Tries candidates in order and takes the first that fails; its index among those given.
    @discardableResult
    private mutating func take(_ candidates: [DocumentNode?], _ what: String, repairing: Bool = false) -> Int? {
        if isOver() { return nil }
        var valid: [(index: Int, document: DocumentNode)] = []
        for (index, candidate) in candidates.enumerated() {
            guard let candidate, candidate != document, let repaired = ShrinkWorld.repaired(candidate),
                repairing || repaired.document == candidate,
                tried.insert(YAMLWriter.text(repaired.document)).inserted
            else { continue }
            valid.append((index, repaired.document))
        }
        guard !valid.isEmpty, let answer = oracle(valid.map(\.document)) else { return nil }
        document = valid[answer.index].document
        decidedAt = answer.decidedAt
        onProgress("\(what): \(ScenarioShrinker.size(document))")
        return valid[answer.index].index
    }

    private var plan: Plan? { ShrinkWorld.repaired(document)?.plan }

    /// Nodes, places, steps and length, for people.
    public static func size(_ document: DocumentNode) -> String {
        guard let plan = ShrinkWorld.repaired(document)?.plan else { return "" }
        let steps = document["timeline"]?.array?.count ?? 0
        return "\(plan.nodes.count) nodes, \(plan.places.count) places, \(steps) steps, \(Span(plan.duration))"
    }

    // MARK: Nodes

    /// From two nodes upwards, until a number fails: small worlds run in no time. The first of each group, those that the
    /// verdict names, and the first again under other seeds.
    private mutating func cutNodesBoldly() {
        guard let plan, plan.nodes.count > 3 else { return }
        let sizes = [2, 3, 4, 5, 6, 8, 11, 16, 24, 36, 54, 80, 120, 180].filter { $0 < plan.nodes.count }
        var candidates: [DocumentNode?] = []
        for size in sizes {
            let first = firstNodes(size, plan)
            let named = namedNodes(size, plan)
            let cut = ShrinkWorld.keeping(first, of: plan, document)
            candidates.append(cut)
            if named != first { candidates.append(ShrinkWorld.keeping(named, of: plan, document)) }
            for seed in 1...3 as ClosedRange<Int64> where size <= 16 {
                candidates.append(cut?.setting("seed", DocumentNode(.integer(seed))))
            }
        }
        take(candidates, "nodes", repairing: true)
    }

    /// So many nodes, each group in proportion, the first of each while there is room.
    private func firstNodes(_ size: Int, _ plan: Plan) -> [Int] {
        var isChosen = [Bool](repeating: false, count: plan.nodes.count)
        var count = 0
        var depth = 0
        while count < size, depth < plan.nodes.count {
            // Another node of each group whose share is not used up.
            for group in plan.groups where count < size && depth < group.nodes.count {
                let share = max(1, (group.nodes.count * size + plan.nodes.count - 1) / plan.nodes.count)
                guard depth < share else { continue }
                isChosen[group.nodes.lowerBound + depth] = true
                count += 1
            }
            depth += 1
        }
        return isChosen.indices.filter { isChosen[$0] }
    }

    /// Nodes that the verdict names, filled up with the first.
    private func namedNodes(_ size: Int, _ plan: Plan) -> [Int] {
        var isChosen = [Bool](repeating: false, count: plan.nodes.count)
        var count = 0
        let named = plan.nodes.indices.filter { suspects.contains(plan.nodes[$0].name) }
        for node in named + Array(plan.nodes.indices) where count < size && !isChosen[node] {
            isChosen[node] = true
            count += 1
        }
        return isChosen.indices.filter { isChosen[$0] }
    }

    private mutating func cutNodes() {
        guard let plan, plan.nodes.count > 1 else { return }
        let base = document
        // Later nodes first: what remains is then the first of each group, with a plain count.
        _ = DeltaDebugging.minimize(Array(plan.nodes.indices.reversed())) { parts in
            take(
                parts.map { $0.isEmpty ? nil : ShrinkWorld.keeping($0.sorted(), of: plan, base) }, "nodes",
                repairing: true)
        }
    }

    // MARK: Steps and time

    private static func foundations(_ document: DocumentNode) -> Int {
        (document["timeline"]?.array ?? []).count { ShrinkWorld.foundations.contains(ShrinkWorld.action($0)) }
    }

    private mutating func cutSteps() {
        let base = document
        let entries = base["timeline"]?.array ?? []
        let removable = entries.indices.filter { index in
            !(ShrinkWorld.endings + ShrinkWorld.foundations).contains(ShrinkWorld.action(entries[index]))
        }
        let needed = ScenarioShrinker.foundations(base)
        _ = DeltaDebugging.minimize(removable) { parts in
            take(
                parts.map { part -> DocumentNode? in
                    let kept = entries.indices.filter { part.contains($0) || !removable.contains($0) }.map {
                        entries[$0]
                    }
                    let cut = base.setting("timeline", kept.isEmpty ? nil : DocumentNode(.array(kept)))
                    // A token that an enrolment needs takes the enrolment with it.
                    guard let repaired = ShrinkWorld.repaired(cut)?.document else { return nil }
                    return ScenarioShrinker.foundations(repaired) == needed ? repaired : nil
                }, "steps")
        }
    }

    /// The run ends soon after its failure is certain.
    private mutating func cutEnd() {
        guard let decidedAt, let duration = document["duration"]?.string.flatMap({ Span($0) })?.duration else { return }
        let second = Duration.seconds(1).nanoseconds
        let end = Duration.nanoseconds((decidedAt.nanoseconds + second - 1) / second * second)
        for end in [end, end + .seconds(1)] where end < duration {
            if take([ShrinkTimes.ending(document, at: end)], "end", repairing: true) != nil { return }
        }
    }

    /// Stretches in which no step and no window begins or ends become shorter.
    private mutating func closeGaps() {
        guard mayMoveTimes else { return }
        for keep in [Duration.seconds(1), .seconds(5), .seconds(20)] {
            let times = ShrinkTimes.times(of: document)
            for (before, after) in zip(times, times.dropFirst()).reversed() where after - before > keep * 2 {
                take([ShrinkTimes.moved(document, from: after, by: after - before - keep)], "time")
            }
        }
    }

    // MARK: Places, properties, values

    private mutating func cutPlaces() {
        guard let plan, let first = plan.places.first else { return }
        for place in plan.places.dropFirst().reversed() {
            take([ShrinkWorld.merging(place.name, into: first.name, document)], "places")
        }
    }

    private mutating func cutProperties() {
        let base = document
        let count = ShrinkEdits.deletableCount(base)
        _ = DeltaDebugging.minimize(Array(0..<count)) { parts in
            take(parts.map { ShrinkEdits.keeping($0, of: base) }, "properties")
        }
        if document["about"] != nil { take([document.setting("about", nil)], "text") }
    }

    private mutating func roundValues() {
        var index = 0
        while index < ShrinkEdits.valueCount(document), !isOver() {
            take(ShrinkEdits.simpler(document, at: index), "values")
            index += 1
        }
    }
}
