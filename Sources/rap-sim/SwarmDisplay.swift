internal import FabricScenario
internal import Foundation
internal import Simulator

/// A swarm's progress on standard error: one line that is drawn over and over, failures as they come.
final class SwarmDisplay {
    /// Failures shown as they come; the rest are in the summary's count.
    static let shownFailures = 20

    private let file: String
    private let mutant: String?
    private let isSilent: Bool
    private let total: UInt64
    private let isTerminal = isatty(STDERR_FILENO) == 1
    private let began = ChildPool.seconds
    private var lastDrawn = 0.0
    private var before = 0

    init(file: String, mutant: String?, isSilent: Bool, range: ClosedRange<UInt64>) {
        self.file = file
        self.mutant = mutant
        self.isSilent = isSilent
        total = range.upperBound - range.lowerBound + 1
    }

    /// Says what a person would not guess.
    func begins(_ ledger: SwarmLedger, _ plan: Plan, _ store: SwarmStore?) {
        before = ledger.doneCount
        if before > 0 { line("\(before) of \(total) seeds were done before") }
        if let store, store.isOfAnotherProgram {
            line(
                "what was done is another build's and is done again, first the \(store.failedElsewhere.count) seeds that failed"
            )
        }
        if plan.swarm.judge == .rules, !isSilent {
            line(
                "the safety rules alone are judged; what the file expects is told. With “swarm: { judge: expectations }” it "
                    + "says that this holds whatever is drawn")
        }
    }

    func show(_ ledger: SwarmLedger) {
        let now = ChildPool.seconds
        guard !isSilent, now - lastDrawn > (isTerminal ? 0.1 : 10) else { return }
        lastDrawn = now
        let done = ledger.doneCount
        let rate = Double(done - before) / max(0.001, now - began)
        let left = rate > 0 ? "  \(Int(Double(Int(total) - done) / rate)) s left" : ""
        let failures =
            (ledger.failureCount > 0 ? "  FAILED \(ledger.failureCount)" : "")
            + (ledger.noResultCount > 0 ? "  NO RESULT \(ledger.noResultCount)" : "")
        let text =
            "\(done)/\(total) seeds  \(SwarmSummary.text(rate)) a second\(left)  reached \(ledger.coverageCount)\(failures)"
        write(isTerminal ? "\r\u{1B}[K\(text)" : text + "\n")
    }

    func failed(_ result: SwarmResult, _ ledger: SwarmLedger) {
        let count = result.outcome == .noResult ? ledger.noResultCount : ledger.failureCount
        guard count <= Self.shownFailures else { return }
        line(SwarmSummary.failure(result, file: file, mutant: mutant))
    }

    func clear() { if isTerminal, !isSilent { write("\r\u{1B}[K") } }

    private func line(_ text: String) {
        clear()
        // Failures are shown at once, also when a program reads the summary.
        write(text + "\n")
    }

    private func write(_ text: String) { try? FileHandle.standardError.write(contentsOf: Data(text.utf8)) }
}

/// What a swarm has to say at its end; `--json` prints it as one object.
struct SwarmSummary: Encodable {
    struct Failure: Encodable {
        var seed: UInt64
        var outcome: String
        var failures: [String]
    }

    struct Sometimes: Encodable {
        var name: String
        var seeds: Int
        var first: UInt64?
    }

    struct Reached: Encodable {
        var what: String
        var seeds: Int
        var first: UInt64
    }

    var scenario: String
    /// By what the runs are judged: expectations, or rules alone.
    var judge: String
    var held: Bool
    /// False when it was interrupted.
    var whole: Bool
    var seeds: Int
    var failed: Int
    var failures: [Failure]
    /// Seeds of which nothing is known.
    var noResult: [Failure]
    var sometimes: [Sometimes]
    var coverage: [Reached]
    var corpus: Int?
    var wallSeconds: Double

    init(
        scenario: String, judge: SwarmJudgement, held: Bool, ledger: SwarmLedger, sometimes: [String],
        isWhole: Bool, seconds: Double, corpus: Int?
    ) {
        self.scenario = scenario
        self.judge = judge.rawValue
        self.held = held
        whole = isWhole
        seeds = ledger.doneCount
        failed = ledger.failureCount
        func sorted(_ results: [SwarmResult]) -> [Failure] {
            results.sorted { $0.seed < $1.seed }.map {
                Failure(seed: $0.seed, outcome: $0.outcome.rawValue, failures: $0.failures)
            }
        }
        failures = sorted(ledger.failures)
        noResult = sorted(ledger.noResults)
        self.sometimes = sometimes.map { name in
            let reached = ledger.reached(name)
            return Sometimes(
                name: String(name.dropFirst("sometimes: ".count)), seeds: reached?.seeds ?? 0, first: reached?.first)
        }
        coverage = ledger.coverage.map { Reached(what: $0.what, seeds: $0.seeds, first: $0.first) }
        self.corpus = corpus
        wallSeconds = seconds
    }

    var text: String {
        var lines: [String] = []
        for item in coverage {
            lines.append("reached   \(Self.padded(item.seeds, 6)) seeds, first \(item.first): \(item.what)")
        }
        for item in sometimes {
            lines.append(
                item.first.map { "sometimes \(Self.padded(item.seeds, 6)) seeds, first \($0): \(item.name)" }
                    ?? "sometimes REACHED BY NONE: \(item.name)")
        }
        let rate = Self.text(Double(seeds) / max(0.001, wallSeconds))
        lines.append("seeds     \(seeds) in \(Self.text(wallSeconds)) s, \(rate) a second; \(failed) failed")
        if !noResult.isEmpty { lines.append("no result \(noResult.count) seeds, of which nothing is known") }
        if let corpus { lines.append("corpus    \(corpus) seeds") }
        let good = sometimes.count { $0.first != nil }
        if judge == SwarmJudgement.rules.rawValue { lines.append("judged    by the safety rules alone") }
        lines.append("result    \(held ? "held" : "NOT HELD"): \(good) of \(sometimes.count) rare states were reached")
        return lines.joined(separator: "\n") + "\n"
    }

    static func failure(_ result: SwarmResult, file: String, mutant: String?) -> String {
        let replay = Replay(file: file, swarmSeed: result.seed, mutant: mutant)
        let program = Replay.shellWord(ChildPool.ownProgram)
        let what = result.failures.prefix(4).joined(separator: "; ")
        let verb = result.outcome == .undetermined ? "check" : "run"
        if result.outcome == .noResult {
            return """
                NO RESULT  seed \(result.seed): \(what)
                        replay: \(replay.command(verb, program: program))
                """
        }
        return """
            FAILED  seed \(result.seed): \(what)
                    replay: \(replay.command(verb, program: program))
                    shrink: \(replay.command("shrink", program: program))
            """
    }

    private static func padded(_ number: Int, _ width: Int) -> String {
        let text = "\(number)"
        return String(repeating: " ", count: max(0, width - text.count)) + text
    }

    static func text(_ number: Double) -> String {
        let tenths = Int64(number * 10 + 0.5)
        return "\(tenths / 10).\(tenths % 10)"
    }
}
