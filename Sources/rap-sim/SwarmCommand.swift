internal import ArgumentParser
internal import FabricCommand
internal import FabricCore
internal import FabricScenario
internal import Foundation
internal import Simulator

struct Swarm: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Runs a scenario under many seeds, each with features and faults of its own.",
        discussion: """
            Each seed draws from what the file's “swarm” allows, and runs in a process of its own. A failure is shown at \
            once, with the command that replays it. The expectations of a file without “swarm” break nothing there: it \
            does not say that they hold whatever is drawn. Exit status: 0 all seeds held and every “sometimes” was \
            reached, 1 one failed or a “sometimes” was reached by none, 2 the file or the command is wrong, 3 a seed was \
            not deterministic, 4 nothing is known of a seed (its process was killed, say), 130 interrupted.
            """)

    @Argument(help: "The scenario file.") var file: String
    @Option(help: "FIRST..LAST, for example 1..200.") var seeds: String
    @Option(help: "Processes at once; as many as there are cores when left out.") var jobs: Int?
    @Option(help: "A directory for interesting seeds, which are run first next time, and for --resume.") var corpus:
        String?
    @Flag(help: "Go on where an interrupted swarm with this corpus ended.") var resume = false
    @Flag(help: "Print one JSON object instead of tables.") var json = false
    @Flag(help: "No progress display.") var quiet = false
    @Option(help: "What one seed may take, such as 90s or 500ms.") var seedLimit = "10m"
    @Option(help: "Each so many seeds, one runs in two processes, which are compared; 0 for none.") var checkEvery = 50
    @OptionGroup var planted: PlantedMutant

    func run() throws {
        let range = try seedRange()
        guard resume == false || corpus != nil else {
            throw ValidationError("--resume needs --corpus, where the state is")
        }
        guard checkEvery >= 0, (jobs ?? 1) >= 1 else {
            throw ValidationError("--jobs is 1 or more, --check-every 0 or more")
        }
        guard let limit = Span(seedLimit)?.duration, limit > .zero else {
            throw ValidationError("--seed-limit “\(seedLimit)” is not \(Span.expectation)")
        }
        let bytes = try readScenario(file)
        let plan = try loadPlan(loadFile(file, bytes, seed: nil, swarmSeed: nil), file)
        do {
            let store = try corpus.map { directory in
                let program = SwarmIdentity.program(try InputFile.read("/proc/self/exe", limit: 1 << 32))
                let identity = SwarmIdentity(
                    scenario: plan.name, mutant: planted.name, program: program, file: bytes, first: range.lowerBound,
                    last: range.upperBound)
                return try SwarmStore(directory: directory, identity: identity, resuming: resume)
            }
            var run = SwarmRun(
                file: file, digest: SwarmIdentity.digest(bytes), plan: plan, range: range, store: store,
                display: SwarmDisplay(file: file, mutant: planted.name, isSilent: json || quiet, range: range),
                mutant: planted.name)
            run.checkEvery = UInt64(checkEvery)
            ChildPool.catchInterrupts()
            let jobs = jobs ?? ProcessInfo.processInfo.activeProcessorCount
            try run.run(ChildPool(jobs: jobs, limitSeconds: Double(limit.nanoseconds) / 1e9))
            try run.finish(json: json)
        } catch let error as SearchFailure {
            complain(error.description)
            throw ExitCode(error.status)
        }
    }

    private func seedRange() throws -> ClosedRange<UInt64> {
        let ends = seeds.components(separatedBy: "..").map { UInt64($0) }
        guard ends.count == 2, let first = ends[0], let last = ends[1], first <= last, last < 1 << 63 else {
            throw ValidationError("--seeds “\(seeds)” is not FIRST..LAST, such as 1..200; seeds are below 2^63")
        }
        guard last - first < UInt64(SwarmFiles.maximumSeeds) else {
            throw ValidationError("--seeds \(seeds) are more than \(SwarmFiles.maximumSeeds); take a smaller range")
        }
        return first...last
    }
}

/// One swarm: hands out seeds, keeps the ledger.
struct SwarmRun {
    let file: String
    /// Of the file when the swarm began; its children take no other text.
    let digest: String
    let plan: Plan
    let range: ClosedRange<UInt64>
    let store: SwarmStore?
    let display: SwarmDisplay
    var checkEvery: UInt64 = 0
    /// The planted bug that every run gets.
    let mutant: String?
    private var ledger: SwarmLedger
    /// Seeds of the corpus, newest last; then the range.
    private var first: [UInt64]
    private var next: UInt64?
    private var started: Set<UInt64> = []
    /// First runs whose second is under way, by seed; and seeds by the number of their job.
    private var firstRuns: [UInt64: (hash: String, result: SwarmResult)] = [:]
    private var pendingSeconds: [UInt64] = []
    private var jobSeeds: [Int: UInt64] = [:]
    private var jobCount = 0
    private let began = ChildPool.seconds

    init(
        file: String, digest: String, plan: Plan, range: ClosedRange<UInt64>, store: SwarmStore?,
        display: SwarmDisplay, mutant: String?
    ) {
        self.mutant = mutant
        self.file = file
        self.digest = digest
        self.plan = plan
        self.range = range
        self.store = store
        self.display = display
        ledger = SwarmLedger(range: range)
        first = ((store?.failedElsewhere ?? []) + (store?.corpus ?? [])).reversed()
        next = range.lowerBound
        for result in store?.results ?? [] { _ = ledger.record(result) }
        display.begins(ledger, plan, store)
    }

    mutating func run(_ pool: ChildPool) throws {
        var failure: (any Error)?
        try pool.run(next: { failure == nil ? job() : nil }) { result in
            do { try ended(result) } catch { failure = error }
        } idle: {
            display.show(ledger)
        }
        store?.sync()
        display.clear()
        if let failure { throw failure }
    }

    private mutating func job() -> ChildPool.Job? {
        let isSecond = !pendingSeconds.isEmpty
        guard let seed = pendingSeconds.popLast() ?? nextSeed() else { return nil }
        jobCount += 1
        jobSeeds[jobCount] = seed
        var job = ChildPool.Job(
            tag: jobCount,
            arguments: ["run", file] + Replay(file: file, swarmSeed: seed, mutant: mutant).options
                + ["--json", "--coverage", "--digest", digest])
        if isSecond { job.environment = HeapLayout.second.environment }
        return job
    }

    private mutating func nextSeed() -> UInt64? {
        while let seed = first.popLast() { if !ledger.isDone(seed), started.insert(seed).inserted { return seed } }
        while let seed = next {
            next = seed == range.upperBound ? nil : seed + 1
            if !ledger.isDone(seed), !started.contains(seed) { return seed }
        }
        return nil
    }

    private mutating func ended(_ child: ChildResult) throws {
        let seed = jobSeeds.removeValue(forKey: child.tag)!
        let record = RunRecord(child.output)
        let (outcome, failures) = RunRecord.outcome(child, record)
        let cameToAnEnd = outcome != .noResult && outcome != .overran
        let result = SwarmResult(
            seed: seed, outcome: outcome, failures: failures, coverage: cameToAnEnd ? record?.coverage ?? [] : [])
        if let earlier = firstRuns.removeValue(forKey: seed) {
            try add(earlier.result.compared(earlier.hash, with: result, record?.traceHash))
        } else if let record, cameToAnEnd, checkEvery > 0, seed % checkEvery == 0 {
            firstRuns[seed] = (record.traceHash, result)
            pendingSeconds.append(seed)
        } else {
            try add(result)
        }
    }

    private mutating func add(_ result: SwarmResult) throws {
        let new = ledger.record(result)
        try store?.add(result, new: new)
        if result.outcome != .held { display.failed(result, ledger) }
        display.show(ledger)
    }

    /// Prints what there is to say, and ends with the status of it.
    func finish(json: Bool) throws {
        let sometimes = plan.expectations.filter(\.isSometimes).map(\.coverageName)
        // Those too are told, and not judged, where the rules alone decide.
        let judged = plan.swarm.judge == .rules ? [] : sometimes
        let isWhole = !ChildPool.isInterrupted
        let summary = SwarmSummary(
            scenario: plan.name, judge: plan.swarm.judge, held: isWhole && ledger.exitStatus(sometimes: judged) == 0,
            ledger: ledger, sometimes: sometimes, isWhole: isWhole, seconds: ChildPool.seconds - began,
            corpus: store?.corpusCount)
        if json { try printJSON(summary) } else { print(summary.text, terminator: "") }
        if !isWhole {
            if let store { complain("interrupted; go on with --resume (\(store.corpusCount) seeds in the corpus)") }
            throw ExitCode(130)
        }
        let status = ledger.exitStatus(sometimes: judged)
        if status != 0 { throw ExitCode(status) }
    }
}
