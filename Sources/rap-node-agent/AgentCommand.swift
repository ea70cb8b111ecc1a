internal import ArgumentParser
internal import FabricCommand
internal import FabricCore
internal import FabricNode
internal import FabricRuntime
internal import FabricWire
internal import Foundation
internal import Logging

@main
struct AgentCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rap-node-agent",
        abstract: "Joins this host to a cluster and keeps its tunnels.",
        discussion:
            "Runs in the foreground until SIGINT or SIGTERM. What it has learned is in the state directory: after the "
            + "first approval it needs no token, and it comes up without the control plane.\n\n"
            + "Exit codes: 0 ended as asked, 1 failed, 2 wrong usage.",
        subcommands: [Run.self, Status.self], defaultSubcommand: Run.self)

    static func main() { runAsProgram() }

    struct Run: ParsableCommand {
        @Option(help: "Directory of keys and state; made with mode 0700 when absent.") var state: String
        @Option(help: "The control plane's address and port.") var control: String
        @Option(help: "The join token, or @FILE to read it from a file. Needed until the node is enrolled.")
        var token: String?
        @Option(help: "The node's name, as approvers see it.") var name: String
        @Option(help: "UDP address and port for tunnels.") var listen = "0.0.0.0:51820"
        @Option(help: "Where peers reach this host; repeat for several. Needed when --listen is a wildcard.")
        var advertise: [String] = []
        @Option(help: "A routing domain besides “fabric”; repeat for several. Fixed at enrolment.") var domain:
            [String] = []
        @Option(help: "Name pattern of the interfaces; “none” runs without.") var interface = "rap%d"
        @Option(help: "Seconds between echo probes of each peer, 0.2 to 60.") var probeInterval = 2.0
        @Option(help: "Log level: trace, debug, info, notice, warning, error.") var logLevel = "info"

        func validate() throws {
            guard (0.2...60).contains(probeInterval) else {
                throw ValidationError("--probe-interval is \(probeInterval); it must be between 0.2 and 60 seconds")
            }
        }

        func run() throws {
            let settings = AgentHostSettings(
                node: NodeConfiguration(
                    name: name, joinToken: try joinToken(), domains: try domains(), facts: hostFacts(),
                    capabilities: [NodeCapability.canRouteMesh.rawValue], requestedRoles: [],
                    probeInterval: .milliseconds(Int64(probeInterval * 1000))),
                stateDirectory: state,
                control: try converted(control, "--control", "an address and port, such as 192.0.2.1:8443"),
                listen: try converted(listen, "--listen", "an address and port, such as 0.0.0.0:51820"),
                advertise: try advertised(), interfacePattern: interface == "none" ? nil : interface, statusSocket: nil)
            var logger = Logger(label: "rap.agent", factory: { StreamLogHandler.standardError(label: $0) })
            logger.logLevel = try converted(logLevel, "--log-level", "one of \(Logger.Level.allCases.map(\.rawValue))")
            {
                Logger.Level(rawValue: $0)
            }
            do { try AgentHost(settings: settings, logger: logger).run() } catch {
                FileHandle.standardError.write(Data("rap-node-agent: \(error)\n".utf8))
                throw ExitCode(1)
            }
        }

        private func joinToken() throws -> JoinToken? {
            guard let token else { return nil }
            var text = token
            if token.hasPrefix("@") {
                text = try String(contentsOfFile: String(token.dropFirst()), encoding: .utf8)
                    .trimmingCharacters(in: .whitespacesAndNewlines)
            }
            guard let parsed = JoinToken(text) else {
                throw ValidationError(
                    "--token is not a join token: it begins with “rap1.”, as “rap token create” prints it")
            }
            return parsed
        }

        private func domains() throws -> [RoutingDomainID] {
            let others: [RoutingDomainID] = try domain.map {
                try converted($0, "--domain", "a name of a-z, 0-9 and -")
            }
            return [.fabric] + others.filter { $0 != .fabric }
        }

        private func advertised() throws -> [Endpoint] {
            let given: [Endpoint] = try advertise.map {
                try converted($0, "--advertise", "an address and port, such as 192.0.2.1:51820")
            }
            if let listen = Endpoint(listen), given.isEmpty,
                listen.address == IPAddress(v4: 0) || listen.address == IPAddress(v6High: 0, low: 0)
            {
                throw ValidationError(
                    "--listen \(listen) is a wildcard: say with --advertise where peers reach this host")
            }
            return given
        }

        private func hostFacts() -> NodeFacts {
            let system = ProcessInfo.processInfo.operatingSystemVersionString
            #if arch(x86_64)
                let architecture = "x86_64"
            #else
                let architecture = "arm64"
            #endif
            return NodeFacts(
                os: String(system.prefix(NodeFacts.longestField)), architecture: architecture,
                version: RAPVersion.text)
        }
    }

    struct Status: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Prints a running agent's status as JSON.")
        @Option(help: "The agent's state directory.") var state: String

        func run() throws {
            do {
                FileHandle.standardOutput.write(Data(try StatusReader.read(path: state + ".sock") + [10]))
            } catch {
                FileHandle.standardError.write(Data("rap-node-agent: \(error); is the agent running?\n".utf8))
                throw ExitCode(1)
            }
        }
    }
}

private func converted<Value: LosslessStringConvertible>(_ text: String, _ option: String, _ wanted: String) throws
    -> Value
{
    try converted(text, option, wanted) { Value($0) }
}

private func converted<Value>(
    _ text: String, _ option: String, _ wanted: String, _ convert: (String) -> Value?
) throws -> Value {
    guard let value = convert(text) else { throw ValidationError("\(option): “\(text)” is not \(wanted)") }
    return value
}
