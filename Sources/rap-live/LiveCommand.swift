internal import ArgumentParser
internal import FabricCommand
internal import FabricCore
internal import FabricDocument
internal import FabricLive
internal import FabricScenario
internal import Foundation

@main
struct LiveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rap-live",
        abstract: "Runs scenario files on this machine: network namespaces, the real programs, real packets.",
        discussion: "Exit status: 0 held, 1 something broke, 2 the file is wrong or can't be run on this machine.",
        version: RAPVersion.text, subcommands: [Run.self, Clean.self, Capture.self])

    static func main() { runAsProgram() }
}

struct Run: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Runs a scenario in real time and judges its expectations and the underlay's captures.",
        discussion: "Needs root, and rap, rap-control and rap-node-agent beside this program. Everything it makes is "
            + "removed at the end, also after SIGINT and SIGTERM.")

    @Argument(help: "The scenario file.") var file: String
    @Flag(help: "Print one JSON object instead of tables.") var json = false
    @Flag(help: "No progress lines.") var quiet = false
    @Option(help: "Copy states and logs to this folder at the end.") var keep: String?
    @Option(help: "Copy the captures to this folder at the end.") var pcap: String?

    func run() throws {
        let plan = try loadPlan(file)
        let refusals = LivePlan.refusals(plan)
        for refusal in refusals { complain("\(file): not supported: \(refusal)") }
        if !refusals.isEmpty { throw ExitCode(2) }
        Interruption.install()
        do {
            let isQuiet = quiet || json
            let options = LiveOptions(keep: keep, pcap: pcap)
            let report = try LiveRun(plan: plan, options: options) { if !isQuiet { say($0) } }.run()
            try FileHandle.standardOutput.write(
                contentsOf: Data(json ? JSON.encode(report) + [10] : Array(report.text.utf8)))
            if !report.held { throw ExitCode(1) }
        } catch let error as Interrupted {
            complain("ended by signal \(error.signal); everything was removed")
            throw ExitCode(128 + error.signal)
        } catch let code as ExitCode {
            throw code
        } catch {
            complain("\(error)")
            throw ExitCode(1)
        }
    }
}

struct Clean: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Removes what killed runs left: namespaces with the programs in them, and folders in /tmp.",
        discussion: "Runs remove what they made by themselves, but when they are ended with SIGKILL. What belongs to a "
            + "running process stays. Needs root.")

    func run() throws {
        do {
            for leftover in try Leftovers.remove() { print("removed \(leftover)") }
        } catch {
            complain("\(error)")
            throw ExitCode(1)
        }
    }
}

private func say(_ text: String) { try? FileHandle.standardError.write(contentsOf: Data("\(text)\n".utf8)) }

func complain(_ text: String) { say("rap-live: \(text)") }

private func loadPlan(_ file: String) throws -> Plan {
    do {
        if let refusal = ScenarioFile.refusal(ofFile: file, bytes: try InputFile.size(file)) { throw refusal }
        return try ScenarioFile.plan(
            yaml: InputFile.read(file, limit: Int(ScenarioLimits.maximumFileBytes)), file: file)
    } catch let error as ScenarioError {
        say("\(error)")
        throw ExitCode(2)
    } catch let error as InputFile.Unreadable {
        complain("\(error)")
        throw ExitCode(2)
    }
}
