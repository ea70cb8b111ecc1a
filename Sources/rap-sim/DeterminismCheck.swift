internal import ArgumentParser
internal import FabricScenario
internal import Foundation

/// Runs a file in two processes that differ in hash seed and memory layout, and compares what they print.
struct DeterminismCheck {
    var file: String
    var plan: Plan
    /// The second process's program; nil for this one.
    var second: String?

    struct Outcome {
        var isDeterministic: Bool
        var held: Bool
        var text: String
    }

    func run() throws -> Outcome {
        let own = CommandLine.arguments[0].contains("/")
            ? CommandLine.arguments[0] : Bundle.main.executablePath ?? CommandLine.arguments[0]
        let processes = try [start(own, layout: 1), start(second ?? own, layout: 2)]
        var summaries: [Summary] = []
        for (process, pipe) in processes {
            let output = pipe.fileHandleForReading.readDataToEndOfFile()
            process.waitUntilExit()
            guard let summary = try? JSONDecoder().decode(Summary.self, from: output) else {
                complain("a run of \(file) ended with status \(process.terminationStatus) and no report")
                throw ExitCode(process.terminationStatus == 2 ? 2 : 1)
            }
            summaries.append(summary)
        }
        let (a, b) = (summaries[0], summaries[1])
        if a.traceHash == b.traceHash, a.events == b.events {
            return Outcome(
                isDeterministic: true, held: a.held && b.held,
                text: "\(plan.name), seed \(plan.seed): \(a.traceHash) in both processes, \(a.events) events, "
                    + (a.held && b.held ? "held" : "NOT HELD"))
        }
        return Outcome(
            isDeterministic: false, held: false,
            text: "\(plan.name), seed \(plan.seed): NOT DETERMINISTIC\n"
                + "  first   \(a.traceHash)  \(a.events) events\n  second  \(b.traceHash)  \(b.events) events")
    }

    private struct Summary: Decodable {
        var traceHash: String
        var events: UInt64
        var held: Bool
    }

    private func start(_ program: String, layout: Int) throws -> (Process, Pipe) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = ["run", file, "--seed", "\(plan.seed)", "--json"]
        var environment = ProcessInfo.processInfo.environment
        // Swift seeds its hashing anew in each process unless told otherwise; make sure that nothing tells it.
        environment["SWIFT_DETERMINISTIC_HASHING"] = nil
        // Another allocator layout: thresholds and padding of glibc's malloc.
        environment["MALLOC_TOP_PAD_"] = "\(layout * 65_536)"
        environment["MALLOC_PERTURB_"] = "\(layout * 37)"
        process.environment = environment
        let pipe = Pipe()
        process.standardOutput = pipe
        try process.run()
        return (process, pipe)
    }
}
