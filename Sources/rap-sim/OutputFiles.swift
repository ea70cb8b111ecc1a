internal import ArgumentParser
internal import FabricScenario
internal import Foundation
internal import Simulator

/// Files that a run writes besides its report, as the command line names them.
struct RunOutputs {
    var pcap: String?
    var pcapLink: String?
    var pcapNodes: [String] = []
    var keys: String?
    var events: String?
    var trace: String?
    var traceEntries: Range<UInt64>
    var report: String?
    /// The report says what the run reached.
    var coverage = false
    /// The run ends when all is decided.
    var untilSettled = false
    var untilRule: SafetyRule?

    /// Close enough that a second run over one interval names the entry at once.
    static let checkpointInterval: UInt64 = 4096

    var recording: Trace.Recording {
        Trace.Recording(checkpointInterval: trace == nil ? 0 : Self.checkpointInterval, entries: traceEntries)
    }

    /// What a capture is to hold; names that the plan does not have end the program.
    func filter(_ plan: Plan) throws -> UnderlayCapture.Filter {
        var filter = UnderlayCapture.Filter()
        func find(_ name: String, _ names: [String], _ noun: String) throws -> Int {
            if let index = names.firstIndex(of: name) { return index }
            complain("the scenario has no \(noun) “\(name)”")
            throw ExitCode(2)
        }
        let places = plan.places.map(\.name)
        if let link = pcapLink {
            if let place = places.firstIndex(of: link) {
                filter.places = (place, place)
            } else {
                // Names may hold hyphens themselves.
                let ends = places.indices.flatMap { a in places.indices.map { (a, $0) } }
                guard let pair = ends.first(where: { "\(places[$0.0])-\(places[$0.1])" == link }) else {
                    complain(
                        "--pcap-link \(link): give two places with a hyphen, or one; there are \(places.joined(separator: ", "))"
                    )
                    throw ExitCode(2)
                }
                filter.places = pair
            }
        }
        filter.nodes = try pcapNodes.map { try find($0, plan.nodes.map(\.name), "node") }
        return filter
    }
}

/// The files of one run, open.
final class OutputFiles {
    private let run: ScenarioRun
    private let outputs: RunOutputs
    private let replay: Replay
    /// By option.
    private var files: [(option: String, file: BufferedFile)] = []
    private var capture: UnderlayCapture?
    private(set) var recorder: ReportRecorder?

    /// Opens what `outputs` names, so that a path that can't be written is refused before the run; nothing that was there is
    /// touched then.
    init(_ outputs: RunOutputs, _ run: ScenarioRun, _ replay: Replay) throws {
        self.run = run
        self.outputs = outputs
        self.replay = replay
        let filter = try outputs.filter(run.plan)
        let named = [
            ("--report", outputs.report, 0o644), ("--pcap", outputs.pcap, 0o644), ("--keys", outputs.keys, 0o600),
            ("--events", outputs.events, 0o644), ("--trace", outputs.trace, 0o644),
        ].compactMap { option, path, mode in path.map { (option, $0, mode_t(mode)) } }
        files = zip(named, try Self.open(named, besides: [("the scenario", replay.file)])).map { ($0.0, $1) }
        for entry in files { entry.file.begin() }
        if outputs.report != nil {
            run.keepJournal()
            recorder = ReportRecorder(run)
        } else if outputs.pcap != nil {
            // The capture needs what the journal is told, not what it keeps.
            run.keepJournal(maximumEntries: 1)
        }
        if let file = file("--pcap") {
            let keys = self.file("--keys")
            capture = UnderlayCapture(
                run, filter: filter, keys: { keys?.write(Array($0.utf8)) }, write: { file.write($0) })
        }
        if let file = file("--events") { run.onReport = { file.write(Array(($0 + "\n").utf8)) } }
    }

    private func file(_ option: String) -> BufferedFile? { files.first { $0.option == option }?.file }

    func finish(_ verdict: Verdict) throws {
        if let recorder, let report = file("--report") {
            report.write(try ReportPage.html(run, recorder, verdict, replay))
        }
        file("--trace")?.write(Array(TraceFile(run.world.trace).encode().utf8))
        let problems = files.compactMap { $0.file.close() }
        for problem in problems { complain(problem) }
        if !problems.isEmpty { throw ExitCode(1) }
    }

    /// Opens the files that options name, and empties none. A file that would be overwritten by two, or is one of those
    /// `besides`, or can't be written, ends the program, and none of the others is left behind. Files are compared by what
    /// they are, not by their names; what is no regular file (a device, a pipe) takes several.
    static func open(
        _ named: [(option: String, path: String, mode: mode_t)], besides: [(what: String, path: String)]
    ) throws -> [BufferedFile] {
        var known = besides.compactMap { other in
            FileIdentity(path: other.path).map { (file: $0, what: other.what) }
        }
        var files: [BufferedFile] = []
        func refusal(_ problem: String) -> ExitCode {
            for file in files { file.discard() }
            complain(problem)
            return ExitCode(2)
        }
        for (option, path, mode) in named {
            let file: BufferedFile
            do {
                file = try BufferedFile(path, mode: mode)
            } catch {
                throw refusal("\(option) \(error)")
            }
            files.append(file)
            guard let identity = file.identity else { continue }
            if let other = known.first(where: { $0.file == identity }) {
                throw refusal("\(option) \(path) would overwrite \(other.what); name another file")
            }
            known.append((identity, "what \(option) writes"))
        }
        return files
    }
}
