internal import ArgumentParser
internal import FabricCommand
internal import FabricCore
internal import FabricDocument
internal import FabricScenario
internal import Foundation
internal import Simulator

func complain(_ text: String) { try? FileHandle.standardError.write(contentsOf: Data("rap-sim: \(text)\n".utf8)) }

/// One line; whether it could be written is found out at the program's end, as for all that is printed.
func printJSON(_ value: some Encodable) throws { print(String(decoding: try JSON.encode(value), as: UTF8.self)) }

/// Reads and plans a scenario, with another seed or as a swarm seed draws it; what is wrong with the file is printed, with
/// exit status 2.
///
/// With a digest a file that is another one now, or can't be read any more, is no scenario that is wrong: exit status 4.
func loadPlan(_ file: String, seed: UInt64?, swarmSeed: UInt64? = nil, digest: String? = nil) throws -> Plan {
    try loadPlan(loadFile(file, readScenario(file, digest: digest), seed: seed, swarmSeed: swarmSeed), file)
}

/// The plan of a scenario that was read from this file.
func loadPlan(_ scenario: ScenarioFile, _ file: String) throws -> Plan {
    do {
        let plan = try scenario.plan()
        guard plan.hosts.contains(.simulator) else {
            complain("\(file) is for the live host only; run it with rap-live, or add “simulator” to its “hosts”")
            throw ExitCode(2)
        }
        return plan
    } catch let error as ScenarioError {
        try? FileHandle.standardError.write(contentsOf: Data("\(error)\n".utf8))
        throw ExitCode(2)
    }
}

/// The bytes of a scenario file, which whoever needs them twice reads once: the file may change meanwhile. With a digest
/// they are those that it tells of.
func readScenario(_ file: String, digest: String? = nil) throws -> [UInt8] {
    do {
        let refusal = ScenarioFile.refusal(ofFile: file, bytes: try InputFile.size(file))
        if let refusal, digest == nil { throw refusal }
        let bytes = try InputFile.read(file, limit: Int(ScenarioLimits.maximumFileBytes))
        guard digest == nil || digest == SwarmIdentity.digest(bytes) else {
            complain("\(file) is not the file that the swarm began with; run the swarm again")
            throw ExitCode(4)
        }
        return bytes
    } catch let error as ScenarioError {
        try? FileHandle.standardError.write(contentsOf: Data("\(error)\n".utf8))
        throw ExitCode(2)
    } catch let error as InputFile.Unreadable {
        complain("\(error)")
        throw ExitCode(digest == nil ? 2 : 4)
    }
}

/// The scenario of a file's bytes; with a seed it is the file with that seed in it.
func loadFile(_ file: String, _ bytes: [UInt8], seed: UInt64?, swarmSeed: UInt64?) throws -> ScenarioFile {
    do {
        let scenario = try ScenarioFile(yaml: bytes, file: file)
        if let swarmSeed { return try scenario.drawn(seed: swarmSeed) }
        return try seed.map { try scenario.with(seed: $0) } ?? scenario
    } catch let error as ScenarioError {
        try? FileHandle.standardError.write(contentsOf: Data("\(error)\n".utf8))
        throw ExitCode(2)
    }
}

/// Runs a plan to its end, with the figures that a report wants.
func simulate(
    _ plan: Plan, _ replay: Replay, _ outputs: RunOutputs, _ display: ProgressDisplay?
) throws -> (ScenarioRun, RunReport, Verdict) {
    let began = DispatchTime.now().uptimeNanoseconds
    let run = ScenarioRun(plan: plan, recording: outputs.recording)
    run.notesCoverage = outputs.coverage
    run.stopsWhenSettled = outputs.untilSettled
    run.stopsWhenBroken = outputs.untilRule
    let files = try OutputFiles(outputs, run, replay)
    let verdict = run.run {
        display?.show($0)
        files.recorder?.observe($0)
    }
    display?.finish()
    try files.finish(verdict)
    var report = RunReport(plan: plan, host: .simulator, verdict: verdict)
    report.swarmSeed = replay.swarmSeed
    report.mutant = replay.mutant
    report.replay = replay.command("run")
    report.rules = run.safety
    report.traceHash = run.traceHash
    report.events = run.eventCount
    if outputs.coverage { report.coverage = run.coverage }
    report.virtualSeconds = Double(run.elapsed.nanoseconds) / 1e9
    report.wallSeconds = Double(DispatchTime.now().uptimeNanoseconds - began) / 1e9
    report.peakResidentBytes = peakResidentBytes()
    return (run, report, verdict)
}

private func peakResidentBytes() -> UInt64 {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    return UInt64(usage.ru_maxrss) * 1024
}

/// One line that is drawn over and over on a terminal; elsewhere a line now and then.
final class ProgressDisplay {
    private let plan: Plan
    private let isTerminal = isatty(STDERR_FILENO) == 1
    private var lastDrawn: UInt64 = 0
    private var lastText = ""

    /// `run` says which of the file's runs it is.
    init(_ plan: Plan, _ run: String) {
        self.plan = plan
        write("\(plan.name): \(plan.nodes.count) nodes in \(plan.places.count) places, \(run)\n")
    }

    func show(_ run: ScenarioRun) {
        let now = DispatchTime.now().uptimeNanoseconds
        guard now - lastDrawn > (isTerminal ? 100_000_000 : 2_000_000_000) else { return }
        lastDrawn = now
        let total = Double(plan.duration.nanoseconds)
        let share = total > 0 ? Double(run.elapsed.nanoseconds) / total : 1
        let width = 24
        let filled = min(width, Int(share * Double(width)))
        let bar = String(repeating: "█", count: filled) + String(repeating: "·", count: width - filled)
        let peers = run.peersUp
        let text =
            "\(bar) \(Int(Double(run.elapsed.nanoseconds) / 1e9)) s  on \(run.runningCount)  enrolled \(run.enrolledCount)"
            + "  paths up \(peers.up)/\(peers.all)  held \(run.judge.heldCount)/\(plan.expectations.count)"
            + (run.judge.brokenCount > 0 ? "  BROKEN \(run.judge.brokenCount)" : "") + "  \(run.eventCount) events"
        write(isTerminal ? "\r\u{1B}[K\(text)" : text + "\n")
        lastText = text
    }

    func finish() { if isTerminal { write("\r\u{1B}[K") } }

    private func write(_ text: String) { try? FileHandle.standardError.write(contentsOf: Data(text.utf8)) }
}
