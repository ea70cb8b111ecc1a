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

    /// Refuses outputs that would overwrite the scenario or one another. Devices take several.
    func checkDistinct(from scenario: String) throws {
        func resolved(_ path: String) -> String { URL(fileURLWithPath: path).resolvingSymlinksInPath().path }
        var known = [(file: resolved(scenario), what: "the scenario")]
        let named = [
            ("--report", report), ("--pcap", pcap), ("--keys", keys), ("--events", events), ("--trace", trace),
        ]
        for (option, path) in named {
            guard let path, case let file = resolved(path), !file.hasPrefix("/dev/") else { continue }
            if let other = known.first(where: { $0.file == file }) {
                complain("\(option) \(path) would overwrite \(other.what); name another file")
                throw ExitCode(2)
            }
            known.append((file, "what \(option) writes"))
        }
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
    private var files: [BufferedFile] = []
    private var report: BufferedFile?
    private var capture: UnderlayCapture?
    private(set) var recorder: ReportRecorder?

    /// Opens what `outputs` names, so that a path that can't be written is refused before the run.
    init(_ outputs: RunOutputs, _ run: ScenarioRun) throws {
        self.run = run
        self.outputs = outputs
        if outputs.report != nil {
            run.keepJournal()
        } else if outputs.pcap != nil {
            // The capture needs what the journal is told, not what it keeps.
            run.keepJournal(maximumEntries: 1)
        }
        if let path = outputs.report {
            report = try open(path)
            recorder = ReportRecorder(run)
        }
        if let path = outputs.pcap {
            let file = try open(path)
            let keys = try outputs.keys.map { try open($0, mode: 0o600) }
            capture = UnderlayCapture(
                run, filter: try outputs.filter(run.plan), keys: { keys?.write(Array($0.utf8)) },
                write: { file.write($0) })
        }
        if let path = outputs.events {
            let file = try open(path)
            run.onReport = { file.write(Array(($0 + "\n").utf8)) }
        }
        if let path = outputs.trace { _ = try open(path) }
    }

    func finish(_ verdict: Verdict, file: String) throws {
        if let recorder, let report { report.write(try ReportPage.html(run, recorder, verdict, file: file)) }
        if outputs.trace != nil, let trace = files.last { trace.write(Array(TraceFile(run.world.trace).encode().utf8)) }
        for file in files where !file.close() {
            complain("\(file.path) could not be written whole; is the disk full?")
            throw ExitCode(1)
        }
    }

    private func open(_ path: String, mode: mode_t = 0o644) throws -> BufferedFile {
        guard let file = BufferedFile(path, mode: mode) else {
            complain("\(path) can't be written")
            throw ExitCode(2)
        }
        files.append(file)
        return file
    }
}

/// A file that is written in large pieces.
final class BufferedFile {
    let path: String
    private let handle: FileHandle
    private var buffer: [UInt8] = []
    private var hasFailed = false

    /// What is at `path` is written, not replaced: a link stays one, and a device or a pipe gets the bytes.
    init?(_ path: String, mode: mode_t) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
        guard descriptor >= 0 else { return nil }
        var status = stat()
        // A file that was there before may be open to more people than what it is to hold.
        if fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG { _ = fchmod(descriptor, mode) }
        self.path = path
        handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    }

    func write(_ bytes: [UInt8]) {
        buffer += bytes
        if buffer.count >= 1 << 18 { flush() }
    }

    /// False when something could not be written.
    func close() -> Bool {
        flush()
        try? handle.close()
        return !hasFailed
    }

    private func flush() {
        do { try handle.write(contentsOf: Data(buffer)) } catch { hasFailed = true }
        buffer.removeAll(keepingCapacity: true)
    }
}
