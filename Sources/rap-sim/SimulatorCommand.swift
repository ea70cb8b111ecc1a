internal import ArgumentParser
internal import FabricCommand
internal import FabricScenario
internal import Simulator

@main
struct SimulatorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rap-sim",
        abstract: "Runs scenario files in the deterministic simulator.",
        discussion:
            "Exit status: 0 all expectations held, 1 one broke, 2 the file or the command is wrong, 3 not deterministic, "
            + "4 nothing is known of a run: its process was killed, or ended without a report.",
        subcommands: [
            Run.self, Check.self, Explain.self, Swarm.self, Shrink.self, SweepCommand.self, TraceCommand.self,
            ExplainPath.self, Debug.self,
        ] + planted)

    #if DEBUG || RAP_MUTANTS
        private static let planted: [any ParsableCommand.Type] = [Mutants.self]
    #else
        private static let planted: [any ParsableCommand.Type] = []
    #endif

    static func main() {
        runOnHugePages()
        leaveOutExclusivityChecks()
        runAsProgram()
    }
}

struct Run: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Runs a scenario and judges its expectations.")

    @Argument(help: "The scenario file.") var file: String
    @Flag(help: "Print one JSON object instead of tables.") var json = false
    @Flag(help: "No progress display.") var quiet = false
    @Option(help: "Write the datagrams that hosts send to this file: pcapng, with names and the tunnels' keys.")
    var pcap: String?
    @Option(help: "Of these, only what passes between two places (north-south), or within one (north).")
    var pcapLink: String?
    @Option(help: "Of these, only what this node sends and gets. May be given several times.") var pcapNode: [String] =
        []
    @Option(help: "Write the tunnels' keys to this file too, as Wireshark's wg.keylog_file wants them.") var keys:
        String?
    @Option(help: "Write what agents report to this file, a line each.") var events: String?
    @Option(help: "Write the trace's checkpoints, and its entries as --trace-entries says, to this file.")
    var trace: String?
    @Option(help: "Write a report to this file: one HTML page with map, timeline, curves and events.") var report:
        String?
    @Option(help: "FIRST..END: the entries to write to --trace.") var traceEntries: String?
    @Flag(help: "With --json: also what the run reached, by name.") var coverage = false
    @Flag(help: "End the run when every expectation is decided.") var untilSettled = false
    @Option(help: "End the run when this safety rule is broken, by its name.") var untilRule: String?
    /// Of the file that a swarm began with: all its runs are of that text.
    @Option(help: .hidden) var digest: String?
    @OptionGroup var which: WhichRun

    func run() throws {
        let rule = try untilRule.map { name throws -> SafetyRule in
            if let rule = SafetyRule.allCases.first(where: { $0.name == name }) { return rule }
            let all = SafetyRule.allCases.map(\.name).joined(separator: ", ")
            throw ValidationError("there is no rule “\(name)”; the rules are \(all)")
        }
        guard pcap != nil || (pcapLink == nil && pcapNode.isEmpty && keys == nil) else {
            throw ValidationError("--pcap-link, --pcap-node and --keys go with --pcap")
        }
        let plan = try which.plan(of: file, digest: digest)
        let display = json || quiet ? nil : ProgressDisplay(plan, which.name(plan))
        var outputs = RunOutputs(
            pcap: pcap, pcapLink: pcapLink, pcapNodes: pcapNode, keys: keys, events: events, trace: trace,
            traceEntries: try entryRange(), report: report)
        outputs.coverage = coverage
        outputs.untilSettled = untilSettled
        outputs.untilRule = rule
        let (run, report, verdict) = try simulate(plan, which.replay(file, plan), outputs, display)
        if json {
            try printJSON(report)
        } else {
            print(verdict.table)
            print(run.details)
            print(report.summary, terminator: "")
        }
        for trouble in run.troubles { complain(trouble) }
        if !run.troubles.isEmpty || !verdict.held { throw ExitCode(1) }
    }

    private func entryRange() throws -> Range<UInt64> {
        guard let traceEntries else { return 0..<0 }
        let ends = traceEntries.split(separator: ".", omittingEmptySubsequences: true).compactMap { UInt64($0) }
        guard ends.count == 2, ends[0] <= ends[1], trace != nil else {
            throw ValidationError("--trace-entries is FIRST..END, such as 1000..2000, and goes with --trace")
        }
        return ends[0]..<ends[1]
    }
}

struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Runs a scenario in two processes and compares their traces.",
        discussion:
            "The processes have different hash seeds and memory layouts. When the traces differ, the first event that "
            + "differs is named and the exit status is 3.")

    @Argument(help: "The scenario file.") var file: String
    @Option(help: "Another build of rap-sim for the second process, such as the debug one.") var against: String?
    @OptionGroup var which: WhichRun

    func run() throws {
        let plan = try which.plan(of: file)
        let outcome = try DeterminismCheck(
            plan: plan, name: "\(plan.name), \(which.name(plan))", replay: which.replay(file, plan), second: against
        ).run()
        print(outcome.text)
        if !outcome.isDeterministic { throw ExitCode(3) }
        if !outcome.held { throw ExitCode(1) }
    }
}

struct Explain: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Prints a scenario in its expanded, canonical form.",
        discussion:
            "What it prints is a scenario file that means the same. With --swarm-seed it is the run that was drawn.")

    @Argument(help: "The scenario file.") var file: String
    @OptionGroup var which: WhichRun

    func run() throws {
        print(try which.plan(of: file).explanation, terminator: "")
    }
}
