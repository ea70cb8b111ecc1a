internal import FabricCore
internal import FabricDocument
internal import FabricScenario
internal import Foundation
internal import Simulator

/// Runs a shrinker's candidates in processes, within a budget of time.
final class ShrinkSearch {
    struct Found {
        var document: DocumentNode
        var shape: FailureShape
        var why: String?
        var sizeBefore: String
        var sizeAfter: String
        /// Of the whole run.
        var traceHash: String
    }

    private struct Failure {
        var shape: FailureShape
        var why: String?
        var decidedAt: Duration?
        /// The process ended badly, or the scenario could not be carried out.
        var isOfTheRun = false
        var isRule = false
    }

    private enum Needed { case faults, mutant }

    /// A candidate that takes so many times what the whole took is given up, but none earlier than `shortestLimit`.
    static let patience = 2.0
    static let shortestLimit = 10.0

    private let pool: ChildPool
    private let folder: URL
    private let began = ChildPool.seconds
    private let budgetSeconds: Double
    private let isSilent: Bool
    private(set) var runs = 0
    /// What must break: an expectation, or a rule of the simulator; nil when the run itself fails.
    private var wanted: String?
    /// Whether the candidates have that expectation alone, so that a run may end when it is decided.
    private var isFocused = false
    /// The rule that must break, by its name: a run may end when it has.
    private var rule: String?
    /// What a candidate must hold without, as the whole does; nil when that does not hold either.
    private var needed: Needed?
    /// Options that switch on a planted bug; empty for none.
    private let mutant: [String]
    private var why: String?
    /// Of the run that is cut down; and why nothing is known of it.
    private var wholeHash: String?
    private var noResult: String?

    init(jobs: Int, budgetSeconds: Double, mutant: [String], isSilent: Bool) throws {
        self.mutant = mutant
        pool = ChildPool(jobs: jobs, limitSeconds: budgetSeconds)
        self.budgetSeconds = budgetSeconds
        self.isSilent = isSilent
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("rap-sim-shrink-\(getpid())")
        do {
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        } catch {
            throw SearchFailure(description: "\(folder.path) can't be made", status: 4)
        }
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    var elapsed: Double { ChildPool.seconds - began }
    private var isOver: Bool { ChildPool.isInterrupted || elapsed > budgetSeconds }

    func run(_ document: DocumentNode, _ plan: Plan, wanted: String?) throws -> Found {
        let whole = try first(in: [document]) { result, record in
            self.wholeHash = record?.traceHash
            if case (.noResult, let reasons) = RunRecord.outcome(result, record) { self.noResult = reasons.first }
            return self.failure(result, record, wanted)
        }
        guard let (_, failure) = whole else {
            if ChildPool.isInterrupted { throw SearchFailure(description: "interrupted", status: 130) }
            if let noResult {
                throw SearchFailure(description: "nothing is known of this run: \(noResult)", status: 4)
            }
            if isOver {
                throw SearchFailure(description: "the budget is used up before the run ends; give more --budget")
            }
            throw SearchFailure(
                description: wanted.map { "“\($0)” does not break in this run" }
                    ?? "this run does not fail; give its seed"
            )
        }
        pool.limitSeconds = max(Self.shortestLimit, Self.patience * elapsed)
        why = failure.why
        var start = ScenarioShrinker.unfocused(document)
        self.wanted = failure.isOfTheRun ? nil : failure.shape.expectation
        if let focused = ScenarioShrinker.focused(document, plan, on: failure.shape.expectation) {
            isFocused = true
            start = focused
        } else if failure.isRule {
            rule = RunRecord.ruleName(failure.shape.expectation)
        }
        // Their effect is what is wanted, so candidates must hold without them: a deadline that nobody could keep is not
        // the failure that was asked for. Rules have no deadlines, and a run's end has no reason to hold to.
        if !mutant.isEmpty {
            needed = try holds(start, without: .mutant) ? .mutant : nil
        } else if isFocused {
            needed = try holds(start, without: .faults) ? .faults : nil
        }
        var shrinker = ScenarioShrinker(
            document: start, suspects: names(in: failure.why, plan), mayMoveTimes: needed != nil || failure.isRule,
            isOver: { [unowned self] in isOver }
        ) { [unowned self] in answer($0, like: failure.shape) }
        shrinker.onProgress = { [unowned self] line in
            guard !isSilent else { return }
            try? FileHandle.standardError.write(
                contentsOf: Data("\(SwarmSummary.text(elapsed)) s  \(runs) runs  \(line)\n".utf8))
        }
        let small = shrinker.run()
        return Found(
            document: small, shape: failure.shape, why: why, sizeBefore: ScenarioShrinker.size(document),
            sizeAfter: ScenarioShrinker.size(small), traceHash: wholeHash ?? "no trace")
    }

    private func names(in why: String?, _ plan: Plan) -> [String] {
        let words = Set((why ?? "").split { !($0.isLetter || $0.isNumber || $0 == "-") }.map(String.init))
        return plan.nodes.map(\.name).filter { words.contains($0) }
    }

    // MARK: Candidates

    /// The first of the candidates that fails in this way.
    private func answer(_ candidates: [DocumentNode], like shape: FailureShape) -> ScenarioShrinker.Answer? {
        var from = 0
        do {
            while from < candidates.count {
                let found = try first(in: Array(candidates[from...])) { result, record in
                    self.failure(result, record, self.wanted).flatMap { $0.shape.matches(shape) ? $0 : nil }
                }
                guard let (offset, failure) = found else { return nil }
                if try needed.map({ try holds(candidates[from + offset], without: $0) }) ?? true {
                    why = failure.why
                    return ScenarioShrinker.Answer(index: from + offset, decidedAt: failure.decidedAt)
                }
                from += offset + 1
            }
        } catch {
            complain("\(error)")
        }
        return nil
    }

    private func holds(_ document: DocumentNode, without needed: Needed) throws -> Bool {
        var quiet = document
        if needed == .faults {
            guard let calm = ScenarioShrinker.withoutFaults(document), calm != document else { return false }
            quiet = calm
        }
        return try first(in: [quiet], options: needed == .mutant ? [] : mutant) { result, _ in
            result.ending == .exited(0) ? true : nil
        } != nil
    }

    /// How a run failed: the wanted expectation, or the first that broke, or the end of the process.
    private func failure(_ result: ChildResult, _ record: RunRecord?, _ wanted: String?) -> Failure? {
        let broken = (record?.broken ?? []).enumerated().sorted {
            ($0.element.decidedAt ?? .zero, $0.offset) < ($1.element.decidedAt ?? .zero, $1.offset)
        }.map(\.element)
        if let first = wanted.map({ name in broken.first { $0.name == name } }) ?? broken.first {
            // A rule is broken in one way, whatever it says of hosts and counters.
            let shape = FailureShape(expectation: first.name, why: first.isRule ? nil : first.why)
            return Failure(shape: shape, why: first.why, decidedAt: first.decidedAt, isRule: first.isRule)
        }
        let (outcome, failures) = RunRecord.outcome(result, record)
        guard wanted == nil, outcome == .trapped || outcome == .broken, let text = failures.first else { return nil }
        let ending = if case .signalled(let number) = result.ending { "signal \(number)" } else { "the run itself" }
        return Failure(shape: FailureShape(expectation: ending, why: nil), why: text, isOfTheRun: true)
    }

    /// Runs the candidates side by side, and gives the first for which `judge` gives something. Which one that is does not
    /// depend on which process is the faster: those before it are waited for, those behind it ended.
    private func first<T>(
        in candidates: [DocumentNode], options: [String]? = nil,
        where judge: @escaping (ChildResult, RunRecord?) -> T?
    ) throws -> (Int, T)? {
        var found: (index: Int, value: T)?
        var next = 0
        var failure: (any Error)?
        try pool.run {
            guard next < candidates.count, failure == nil, !isOver, found.map({ next < $0.index }) ?? true else {
                return nil
            }
            defer { next += 1 }
            do {
                return try job(candidates[next], next, options ?? mutant)
            } catch {
                failure = error
                return nil
            }
        } ended: { result in
            guard found.map({ result.tag < $0.index }) ?? true, let value = judge(result, RunRecord(result.output))
            else {
                return
            }
            found = (result.tag, value)
            pool.killAll { $0 > result.tag }
        } idle: {
            if isOver { pool.killAll { _ in true } }
        }
        if let failure { throw failure }
        // With candidates before it cut off by the clock, what was found is still one that fails.
        return found
    }

    private func job(_ document: DocumentNode, _ tag: Int, _ options: [String]) throws -> ChildPool.Job {
        let file = folder.appendingPathComponent("\(tag).yaml").path
        guard FileManager.default.createFile(atPath: file, contents: Data(YAMLWriter.text(document).utf8)) else {
            throw SearchFailure(description: "\(file) can't be written; is the disk full?", status: 4)
        }
        runs += 1
        var arguments = ["run", file, "--json"] + options
        if isFocused { arguments.append("--until-settled") }
        if let rule { arguments += ["--until-rule", rule] }
        return ChildPool.Job(tag: tag, arguments: arguments)
    }
}
