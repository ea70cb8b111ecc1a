internal import ArgumentParser
internal import FabricCommand
internal import FabricCore
internal import FabricDocument
internal import FabricOperator
internal import FabricRuntime
internal import Foundation
internal import Logging

@main
struct RapCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rap",
        abstract: "Operates a fabric: clusters, join tokens, join requests and nodes.",
        discussion: """
            Talks to the control plane that the operator context names (--context). Clusters' keys stand beside that \
            file and never leave this machine. Lists are tables; --json prints what the control plane answered.

            Exit codes: 0 done, 1 refused or failed, 2 wrong usage.
            """,
        version: RAPVersion.text,
        subcommands: [
            ClusterCommand.self, TokenCommand.self, JoinCommand.self, NodeCommand.self, AuditCommand.self,
            DevCommand.self, SimCommand.self, LiveCommand.self, CaptureCommand.self,
        ])

    static func main() { runAsProgram() }
}

/// Something that did not go as asked; exit code 1.
struct Failure: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

/// What every command that talks to the control plane takes.
struct GlobalOptions: ParsableArguments {
    @Option(help: "The operator context, a file that “rap-control init” wrote.")
    var context = "~/.config/rap/operator.json"
    @Flag(help: "Print JSON for programs.") var json = false

    func session() throws -> OperatorSession {
        var logger = Logger(label: "rap", factory: { StreamLogHandler.standardError(label: $0) })
        logger.logLevel = .warning
        return try OperatorSession(contextFile: NSString(string: context).expandingTildeInPath, logger: logger)
    }

    /// Prints JSON when it is asked for, else what `text` makes.
    func show(_ value: some Encodable, _ text: () -> String) throws {
        let bytes = json ? try JSON.pretty(value) : Array((text() + "\n").utf8)
        try FileHandle.standardOutput.write(contentsOf: Data(bytes))
    }
}

func identifier<Kind>(_ text: String, _ what: String) throws -> Identifier<Kind> {
    guard let identifier = Identifier<Kind>(text) else {
        throw ValidationError("“\(text)” is not \(what): 1 to 64 characters from a-z, 0-9 and -")
    }
    return identifier
}
