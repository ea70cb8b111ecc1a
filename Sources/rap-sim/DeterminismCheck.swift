internal import ArgumentParser
internal import FabricScenario
internal import Foundation
internal import Simulator

/// Runs a file in two processes that differ in hash seed and memory layout, and compares what they print.
struct DeterminismCheck {
    var plan: Plan
    /// Of the run, for people.
    var name: String
    var replay: Replay
    /// The second process's program; nil for this one.
    var second: String?

    struct Outcome {
        var isDeterministic: Bool
        var held: Bool
        var text: String
    }

    func run() throws -> Outcome {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("rap-sim-check-\(getpid())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let (a, b) = try runBoth(folder, entries: nil)
        if a.summary.traceHash == b.summary.traceHash, a.summary.events == b.summary.events {
            let held = a.summary.held
            guard held == b.summary.held else {
                return Outcome(
                    isDeterministic: false, held: false,
                    text:
                        "\(name): NOT DETERMINISTIC: \(a.summary.traceHash) in both processes, "
                        + "which judge it differently: held in the \(held ? "first" : "second") alone")
            }
            return Outcome(
                isDeterministic: true, held: held,
                text: "\(name): \(a.summary.traceHash) in both processes, "
                    + "\(a.summary.events) events, \(held ? "held" : "NOT HELD")")
        }
        var text = """
            \(name): NOT DETERMINISTIC
              first   \(a.summary.traceHash)  \(a.summary.events) events
              second  \(b.summary.traceHash)  \(b.summary.events) events
            """
        text += "\n" + (try firstDifference(a.trace, b.trace, folder))
        return Outcome(isDeterministic: false, held: false, text: text)
    }

    /// Runs both once more with the entries around the first difference, and names it.
    private func firstDifference(_ a: TraceFile, _ b: TraceFile, _ folder: URL) throws -> String {
        guard let range = TraceComparison.firstDifferingRange(a.checkpoints, b.checkpoints) else {
            return "the checkpoints agree; the difference is behind the last"
        }
        let (first, second) = try runBoth(folder, entries: range)
        guard let difference = TraceComparison.firstDifference(first.trace.entries, second.trace.entries) else {
            return "the difference did not come back when events \(range) were recorded; run the check again"
        }
        // Hosts in the order in which a run adds them.
        let names = ["control", "operator"] + plan.nodes.map(\.name)
        return difference.description { $0 < names.count ? names[$0] : "host \($0)" }
    }

    private struct Summary: Decodable {
        var traceHash: String
        var events: UInt64
        var held: Bool
    }

    private func runBoth(
        _ folder: URL, entries: Range<UInt64>?
    ) throws -> ((summary: Summary, trace: TraceFile), (summary: Summary, trace: TraceFile)) {
        let own = ChildPool.ownProgram
        let traces = [1, 2].map { folder.appendingPathComponent("trace-\($0)").path }
        let first = try start(own, .first, trace: traces[0], entries)
        let second = try start(self.second ?? own, .second, trace: traces[1], entries)
        return (try finish(first, traces[0]), try finish(second, traces[1]))
    }

    private func finish(_ run: (Process, Pipe), _ trace: String) throws -> (summary: Summary, trace: TraceFile) {
        let output = run.1.fileHandleForReading.readDataToEndOfFile()
        run.0.waitUntilExit()
        guard let summary = try? JSONDecoder().decode(Summary.self, from: output) else {
            let isExit = run.0.terminationReason == .exit
            let ending = isExit ? "ended with status" : "was ended by signal"
            complain("\(name): a run \(ending) \(run.0.terminationStatus), and there is no report")
            throw ExitCode(isExit && run.0.terminationStatus == 2 ? 2 : 4)
        }
        return (summary, try TraceFile(decoding: String(contentsOfFile: trace, encoding: .utf8)))
    }

    private func start(
        _ program: String, _ layout: HeapLayout, trace: String, _ entries: Range<UInt64>?
    ) throws -> (Process, Pipe) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments =
            ["run", replay.file] + replay.options + ["--json", "--trace", trace]
            + (entries.map { ["--trace-entries", "\($0.lowerBound)..\($0.upperBound)"] } ?? [])
        var environment = ProcessInfo.processInfo.environment
        // Swift seeds its hashing anew in each process unless told otherwise; make sure that nothing tells it.
        environment["SWIFT_DETERMINISTIC_HASHING"] = nil
        for (name, value) in layout.environment { environment[name] = value }
        process.environment = environment
        let pipe = Pipe()
        process.standardOutput = pipe
        try process.run()
        return (process, pipe)
    }
}
