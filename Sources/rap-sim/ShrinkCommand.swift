internal import ArgumentParser
internal import FabricCore
internal import FabricScenario
internal import Foundation
internal import Simulator

struct Shrink: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Cuts a run that fails down to a small scenario file that fails in the same way.",
        discussion: """
            Exit status: 0 the file was written, 2 the file or the command is wrong, or the run does not fail, 4 \
            nothing is known of the run, or a file could not be written whole (a full disk, say), 130 interrupted (what \
            was found so far is written).
            """)

    @Argument(help: "The scenario file.") var file: String
    @Option(help: "The expectation to keep, by its name; the first that breaks when left out.") var expectation: String?
    @Option(help: "Where to write the small scenario; NAME.small.yaml when left out.") var out: String?
    @Option(help: "How long to search.") var budget = "10m"
    @Option(help: "Processes at once; as many as there are cores when left out.") var jobs: Int?
    @Flag(help: "No progress display.") var quiet = false
    @OptionGroup var which: WhichRun

    func run() throws {
        guard let limit = Span(budget)?.duration, limit > .zero else {
            throw ValidationError("--budget “\(budget)” is not \(Span.expectation)")
        }
        guard (jobs ?? 1) >= 1 else { throw ValidationError("--jobs is 1 or more") }
        let scenario = try loadFile(file, readScenario(file), seed: which.seed, swarmSeed: which.swarmSeed)
        let plan = try loadPlan(scenario, file)
        let out = out ?? "\(plan.name).small.yaml"
        // Found out now, and not after ten minutes of search.
        let written = try OutputFiles.open([("--out", out, 0o644)], besides: [("the scenario", file)])[0]
        ChildPool.catchInterrupts()
        do {
            let search = try ShrinkSearch(
                jobs: jobs ?? ProcessInfo.processInfo.activeProcessorCount,
                budgetSeconds: Double(limit.nanoseconds) / 1e9, mutant: which.planted.arguments, isSilent: quiet)
            let found = try search.run(scenario.document, plan, wanted: expectation)
            let replay = Replay(file: out, mutant: which.planted.name)
            let head = """
                # Fails: \(PlanText.comment(found.shape.expectation))
                #   \(PlanText.comment((found.why ?? "").split(separator: "\n").joined(separator: " ")))
                # Cut down from \(PlanText.comment(file)), \(which.name(plan)) (\(found.sizeBefore)) in \(search.runs) runs.
                # Replay: \(PlanText.comment(replay.command("run", program: "rap-sim")))

                """
            written.begin()
            written.write(Array((head + YAMLWriter.text(found.document)).utf8))
            if let problem = written.close() { throw SearchFailure(description: problem, status: 4) }
            print("replayed  \(found.traceHash)")
            print("before    \(found.sizeBefore)")
            print("after     \(found.sizeAfter)")
            print("fails     \(found.shape.expectation)")
            print("search    \(search.runs) runs, \(SwarmSummary.text(search.elapsed)) s")
            print("written   \(out)")
            if ChildPool.isInterrupted { throw ExitCode(130) }
        } catch let error as SearchFailure {
            written.discard()
            complain(error.description)
            throw ExitCode(error.status)
        }
    }
}
