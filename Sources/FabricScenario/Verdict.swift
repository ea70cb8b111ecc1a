internal import FabricCore

/// How a run came out.
public struct Verdict: Sendable, Hashable {
    public var expectations: [ExpectationResult]

    public init(expectations: [ExpectationResult]) { self.expectations = expectations }

    /// Every expectation held. One that the run did not reach did not, unless it is a `sometimes` that is not required.
    public var held: Bool { expectations.allSatisfy { $0.isGood } }

    /// `0` when all held, `1` otherwise: the exit status of a run.
    public var exitStatus: Int32 { held ? 0 : 1 }

    /// A table for people: outcome, when, what; below a broken one, why.
    public var table: String {
        let times = expectations.map { result in
            (result.firstHeld ?? result.decidedAt).map { Span(.milliseconds($0.nanoseconds / 1_000_000)).description }
                ?? "-"
        }
        let width = max(4, times.map(\.count).max() ?? 0)
        var lines: [String] = []
        for (result, time) in zip(expectations, times) {
            let pad = String(repeating: " ", count: width - time.count)
            lines.append("\(result.mark)  \(pad)\(time)  \(result.name)")
            if let why = result.why { lines.append(String(repeating: " ", count: 13 + width) + why) }
        }
        return lines.joined(separator: "\n") + (lines.isEmpty ? "" : "\n")
    }
}

public struct ExpectationResult: Sendable, Hashable {
    public enum Outcome: String, Sendable, Hashable, Encodable {
        case held, broken
        case notReached = "not reached"

    }

    /// It breaks no run: it held, or it is not required.
    public var isGood: Bool { outcome == .held || !isRequired }

    var mark: String {
        switch outcome {
        case .held: kind == .sometimes ? "reached    " : "held       "
        case .broken: isRequired ? "BROKEN     " : "broken     "
        case .notReached: isRequired ? "NOT REACHED" : "not reached"
        }
    }

    public init(
        name: String, condition: String, line: Int, outcome: Outcome, firstHeld: Duration?, decidedAt: Duration?,
        why: String?
    ) {
        self.name = name
        self.condition = condition
        self.line = line
        self.outcome = outcome
        self.firstHeld = firstHeld
        self.decidedAt = decidedAt
        self.why = why
    }

    public var kind = ExpectationKind.within
    /// False for what is told and breaks no run, as a `sometimes` that a set of runs must reach, not each run.
    public var isRequired = true

    public var name: String
    /// Window and condition in words.
    public var condition: String
    /// In the scenario file.
    public var line: Int
    public var outcome: Outcome
    public var firstHeld: Duration?
    public var decidedAt: Duration?
    /// For a broken one: which nodes, and what is so with them.
    public var why: String?
}

public enum ExpectationKind: String, Sendable, Hashable, Encodable {
    case always, never, sometimes, within, at
    /// A safety rule that every run is under; its expectation stands in no file.
    case rule
}

extension ExpectationResult: Encodable {
    enum CodingKeys: String, CodingKey {
        case name, kind, required, condition, line, outcome, firstHeldSeconds, decidedAtSeconds, why
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(name, forKey: .name)
        try container.encode(kind, forKey: .kind)
        try container.encode(isRequired, forKey: .required)
        try container.encode(condition, forKey: .condition)
        try container.encode(line, forKey: .line)
        try container.encode(outcome, forKey: .outcome)
        try container.encodeIfPresent(firstHeld?.secondsAsDouble, forKey: .firstHeldSeconds)
        try container.encodeIfPresent(decidedAt?.secondsAsDouble, forKey: .decidedAtSeconds)
        try container.encodeIfPresent(why, forKey: .why)
    }
}

extension Duration {
    /// For reports only; decisions count nanoseconds.
    var secondsAsDouble: Double { Double(nanoseconds) / 1_000_000_000 }
}

/// A safety rule of the simulator in one run.
public struct RuleReport: Sendable, Hashable, Encodable {
    public var rule: String
    public var checks: UInt64
    public var violations: UInt64

    public init(rule: String, checks: UInt64, violations: UInt64) {
        self.rule = rule
        self.checks = checks
        self.violations = violations
    }
}

/// What `--json` prints: one object, the same in both hosts.
public struct RunReport: Sendable, Encodable {
    public var scenario: String
    public var host: ScenarioHost
    public var held: Bool
    public var expectations: [ExpectationResult]
    /// The safety rules that the run was under; empty in the live host.
    public var rules: [RuleReport] = []
    /// What the run reached, by name; nil when nobody asked.
    public var coverage: [String]?
    /// Hexadecimal; nil in the live host, whose runs are not repeatable.
    public var traceHash: String?
    public var seed: UInt64
    /// The seed of a swarm that drew the run.
    public var swarmSeed: UInt64?
    /// The planted bug that was switched on.
    public var mutant: String?
    /// The command that runs it again, event by event; nil in the live host.
    public var replay: String?
    public var nodes: Int
    /// Events that the run handled; packets and steps in the live host.
    public var events: UInt64
    public var virtualSeconds: Double
    public var wallSeconds: Double
    public var peakResidentBytes: UInt64

    public init(plan: Plan, host: ScenarioHost, verdict: Verdict) {
        scenario = plan.name
        self.host = host
        held = verdict.held
        expectations = verdict.expectations
        seed = plan.seed
        nodes = plan.nodes.count
        events = 0
        virtualSeconds = 0
        wallSeconds = 0
        peakResidentBytes = 0
    }

    /// Lines below the verdict's table: what ran, how much, how fast.
    public var summary: String {
        let seed = swarmSeed.map { "swarm seed \($0)" } ?? "seed \(seed)"
        var lines = ["scenario  \(scenario) in the \(host.rawValue) host, \(seed), \(nodes) nodes"]
        if let mutant { lines.append("planted   \(mutant)") }
        let rate = wallSeconds > 0 ? UInt64(Double(events) / wallSeconds) : 0
        lines.append("time      \(Self.text(virtualSeconds)) s of the scenario in \(Self.text(wallSeconds)) s")
        lines.append("events    \(events), \(rate) per second")
        lines.append("memory    \(peakResidentBytes >> 20) MiB at most")
        if let traceHash { lines.append("trace     \(traceHash)") }
        let judged = expectations.filter { $0.isRequired && $0.kind != .rule }
        let good = judged.count { $0.outcome == .held }
        let rare = expectations.filter { $0.kind == .sometimes && !$0.isRequired }
        if !rare.isEmpty {
            lines.append("sometimes \(rare.count { $0.outcome == .held }) of \(rare.count) rare states reached")
        }
        let told = expectations.filter { !$0.isRequired && $0.kind != .sometimes }
        if !told.isEmpty {
            let good = told.count { $0.outcome == .held }
            lines.append("told      \(good) of \(told.count) expectations held that are not required")
        }
        if !rules.isEmpty {
            let checks = rules.reduce(0) { $0 + $1.checks }
            let broken = rules.count { $0.violations > 0 }
            lines.append("rules     \(rules.count - broken) of \(rules.count) safety rules held, \(checks) checks")
        }
        if !held, let replay { lines.append("replay    \(replay)") }
        // The number is of those that held, in both cases, and says so.
        lines.append("result    \(held ? "held" : "NOT HELD"): \(good) of \(judged.count) expectations held")
        return lines.joined(separator: "\n") + "\n"
    }

    private static func text(_ seconds: Double) -> String {
        let tenths = Int64(seconds * 10 + 0.5)
        return "\(tenths / 10).\(tenths % 10)"
    }
}

extension ScenarioHost: Encodable {}
