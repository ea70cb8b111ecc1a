internal import ArgumentParser
internal import FabricCore
internal import FabricDocument
internal import FabricScenario
internal import Foundation
internal import Simulator

struct SweepCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sweep",
        abstract: "Crashes one component at every boundary between its actions, a run for each.",
        discussion: """
            The scenario runs once as it is, and the boundaries that the component passes are counted; then it runs once \
            for each of them, with a crash there and a restart. Those at which an expectation broke are printed, and \
            the exit status is 1 when there are any; 2 when it passes none.
            """)

    /// Boundaries that one sweep tries when --limit does not say.
    static let usualLimit = 1000
    /// A worker process runs so many before it reports.
    static let batch = 8

    @Argument(help: "The scenario file.") var file: String
    @Option(help: "The node that crashes, or “control”.") var node: String
    @Option(help: "Which boundaries: any, or a list such as persist,send.") var boundary = "any"
    @Option(help: "Every so many of them.") var every = 1
    @Option(help: "So many runs at most, evenly chosen.") var limit = SweepCommand.usualLimit
    @Option(help: "What is lost: power or process.") var kind = "power"
    @Option(help: "How long the component is down, such as 1s.") var down = "1s"
    @OptionGroup var which: WhichRun
    @Option(help: "Worker processes; as many as there are processors when left out.") var jobs: Int?
    @Option(help: "Only these numbers, in this process: 17,18.") var only: String?
    @Flag(help: "Print JSON objects, a line each.") var json = false

    func run() throws {
        let plan = try which.plan(of: file)
        let sweep = try options(plan)
        if let only { return try runHere(plan, sweep, try numbers(only)) }
        let began = DispatchTime.now().uptimeNanoseconds
        var points: [(boundary: CrashBoundary, point: Sweep.Point)] = []
        for boundary in sweep.boundaries {
            let (found, outcome) = Sweep.points(plan, of: sweep.component, boundary)
            guard outcome.held else {
                complain("\(file) does not hold without a crash: \(outcome.broken.joined(separator: "; "))")
                throw ExitCode(1)
            }
            points += found.map { (boundary, $0) }
        }
        guard !points.isEmpty else {
            complain(
                "\(node) passes no boundary “\(boundary)” in this run, so that nothing can be swept; "
                    + "name another --boundary or --node")
            throw ExitCode(2)
        }
        let chosen = choose(points.count).map { points[$0] }
        if !json {
            print(
                "\(plan.name), \(which.name(plan)): \(node) passes \(points.count) boundaries; trying \(chosen.count)")
        }
        let outcomes = try SweepPool(command: self, jobs: jobs ?? ProcessInfo.processInfo.activeProcessorCount)
            .run(chosen.map { ($0.boundary, $0.point.number) })
        try report(plan, chosen, outcomes, began)
    }

    // MARK: Arguments

    struct Options {
        var component: Sweep.Component
        var boundaries: [CrashBoundary]
        var powerFails: Bool
        var down: Duration
    }

    private func options(_ plan: Plan) throws -> Options {
        let component: Sweep.Component
        if node == "control" {
            component = .control
        } else if let index = plan.nodes.firstIndex(where: { $0.name == node }) {
            component = .node(index)
        } else {
            let mend = NearestName.mend(node, among: plan.nodes.map(\.name) + ["control"], noun: "node")
            throw ValidationError("there is no node “\(node.prefix(40))”; \(mend)")
        }
        var boundaries: [CrashBoundary] = []
        for word in boundary.split(separator: ",") {
            guard let known = CrashBoundary(rawValue: String(word)) else {
                let mend = NearestName.mend(
                    String(word), among: CrashBoundary.allCases.map(\.rawValue), noun: CrashBoundary.noun)
                throw ValidationError("there is no boundary “\(word.prefix(40))”; \(mend)")
            }
            guard component == .control ? known.isOfControl : known.isOfNodes else {
                throw ValidationError("\(node) has no boundary “\(known)”")
            }
            boundaries.append(known)
        }
        guard let form = CrashForm(rawValue: kind) else { throw ValidationError("--kind is power or process") }
        guard let span = Span(down), span.duration >= .zero, span.duration <= .hours(24) else {
            throw ValidationError("--down is \(Span.expectation)")
        }
        guard every >= 1, limit >= 1, (jobs ?? 1) >= 1, !boundaries.isEmpty else {
            throw ValidationError("--every, --limit and --jobs are 1 or more, and --boundary names one")
        }
        return Options(
            component: component, boundaries: boundaries, powerFails: form == .power, down: span.duration)
    }

    private func numbers(_ text: String) throws -> [Int] {
        let numbers = text.split(separator: ",").map { Int($0) ?? 0 }
        guard !numbers.isEmpty, numbers.allSatisfy({ $0 >= 1 }) else {
            throw ValidationError("--only is a list of numbers from 1, such as 17,18")
        }
        guard !boundary.contains(",") else { throw ValidationError("--only goes with one boundary") }
        return numbers
    }

    /// Positions in the list of `count`: each k-th, and no more than the limit.
    private func choose(_ count: Int) -> [Int] {
        let all = Array(stride(from: 0, to: count, by: every))
        guard all.count > limit else { return all }
        return (0..<limit).map { all[$0 * all.count / limit] }
    }

    // MARK: Running

    private func runHere(_ plan: Plan, _ sweep: Options, _ numbers: [Int]) throws {
        var held = true
        for number in numbers {
            let point = CrashPoint(
                boundary: sweep.boundaries[0], nth: number, powerFails: sweep.powerFails, downFor: sweep.down)
            let (outcome, verdict) = Sweep.runWithVerdict(plan, crashing: sweep.component, at: point)
            held = held && outcome.held
            if json {
                try printJSON(outcome)
            } else {
                print("crash of \(node) at boundary \(number)")
                print(verdict.table)
            }
        }
        if !held, !json { throw ExitCode(1) }
    }

    private func report(
        _ plan: Plan, _ chosen: [(boundary: CrashBoundary, point: Sweep.Point)], _ outcomes: [Sweep.Outcome],
        _ began: UInt64
    ) throws {
        var broken = 0
        for ((boundary, point), outcome) in zip(chosen, outcomes) {
            if json { try printJSON(SweepLine(point: point, outcome: outcome)) }
            if outcome.held { continue }
            broken += 1
            if json { continue }
            print("BROKEN  \(point.number)  \(point.boundary) at \(tenths(point.seconds)) s: \(point.detail)")
            for line in outcome.broken { print("          \(line)") }
            let other = kind == "power" ? "" : " --kind \(kind)"
            print(
                "          replay: \(which.replay(file).command("sweep", program: "rap-sim")) --node \(node) --boundary \(boundary) --down \(down)\(other) "
                    + "--only \(point.number)")
        }
        if !json {
            let seconds = Double(DispatchTime.now().uptimeNanoseconds - began) / 1e9
            print("\(chosen.count - broken) of \(chosen.count) held, \(tenths(seconds)) s")
        }
        if broken > 0 { throw ExitCode(1) }
    }

    private func tenths(_ seconds: Double) -> String {
        let tenths = Int64(seconds * 10)
        return "\(tenths / 10).\(abs(tenths % 10))"
    }
}

private struct SweepLine: Encodable {
    var point: Sweep.Point
    var outcome: Sweep.Outcome
}

/// Worker processes: this program with `--only`.
private final class SweepPool: @unchecked Sendable {
    private let command: SweepCommand
    private let jobs: Int
    private let lock = NSLock()
    private var work: [(CrashBoundary, Int)] = []
    private var next = 0
    private var outcomes: [Sweep.Outcome?] = []
    private var failure: String?

    init(command: SweepCommand, jobs: Int) {
        self.command = command
        self.jobs = jobs
    }

    /// In the order of the work.
    func run(_ work: [(CrashBoundary, Int)]) throws -> [Sweep.Outcome] {
        self.work = work
        outcomes = work.map { _ in nil }
        DispatchQueue.concurrentPerform(iterations: jobs) { _ in
            while let range = take() { perform(range) }
        }
        if let failure {
            complain(failure)
            throw ExitCode(4)
        }
        return outcomes.compactMap { $0 }
    }

    /// The next stretch of one boundary.
    private func take() -> Range<Int>? {
        lock.withLock {
            guard next < work.count, failure == nil else { return nil }
            let start = next
            while next < work.count, next - start < SweepCommand.batch, work[next].0 == work[start].0 { next += 1 }
            return start..<next
        }
    }

    private func perform(_ range: Range<Int>) {
        let numbers = range.map { "\(work[$0].1)" }.joined(separator: ",")
        let process = Process()
        let own = CommandLine.arguments[0]
        process.executableURL = URL(fileURLWithPath: own.contains("/") ? own : Bundle.main.executablePath ?? own)
        process.arguments =
            ["sweep", command.file, "--node", command.node, "--boundary", work[range.lowerBound].0.rawValue]
            + ["--kind", command.kind, "--down", command.down, "--only", numbers, "--json"]
            + command.which.replay(command.file).options
        let pipe = Pipe()
        process.standardOutput = pipe
        do {
            try process.run()
        } catch {
            return lock.withLock { failure = "a worker could not be started: \(error)" }
        }
        let output = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        let found = output.split(separator: 10).compactMap { try? JSONDecoder().decode(Sweep.Outcome.self, from: $0) }
        lock.withLock {
            guard found.count == range.count else {
                failure = "a worker ended with status \(process.terminationStatus) in the midst of \(numbers)"
                return
            }
            for (index, outcome) in zip(range, found) { outcomes[index] = outcome }
        }
    }
}
