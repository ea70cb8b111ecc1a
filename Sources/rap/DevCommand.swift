internal import ArgumentParser
internal import FabricControl
internal import FabricCore
internal import FabricOperator
internal import FabricRuntime
internal import FabricWire
internal import Foundation
internal import Logging

struct DevCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dev", abstract: "A control plane for trying things out.", subcommands: [Up.self])

    struct Up: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Runs a control plane on this machine with a cluster “dev” and a join token, until Ctrl-C.",
            discussion: "Everything is in one directory; the next “dev up” with the same directory goes on with it.")
        @Option(help: "Directory of all keys and state; made with mode 0700.") var dir = "rap-dev"
        @Option(help: "Port on 127.0.0.1.") var port: UInt16 = 8443
        @Option(help: "Log level of the control plane.") var logLevel = "warning"

        func run() throws {
            guard let level = Logger.Level(rawValue: logLevel) else {
                throw ValidationError("--log-level: “\(logLevel)” is not a log level")
            }
            var logger = Logger(label: "rap.control", factory: { StreamLogHandler.standardError(label: $0) })
            logger.logLevel = level
            let contextFile = dir + "/operator.json"
            let host = try makeHost(contextFile, logger)
            // The host has this thread; what an operator does has another, since it waits for answers.
            let stop = host.stopper
            let (dir, operatorLogger) = (dir, logger)
            let outcome = Outcome()
            Thread.detachNewThread {
                do {
                    try FileHandle.standardOutput.write(contentsOf: Data(Self.prepare(dir, operatorLogger).utf8))
                } catch {
                    outcome.fail(error)
                    stop()
                }
            }
            try host.run()
            if let error = outcome.error { throw error }
        }

        private func makeHost(_ contextFile: String, _ logger: Logger) throws -> ControlHost {
            let listen = Endpoint(address: IPAddress(v4: 0x7F00_0001), port: port)
            let endpoint = ServerAddress.address(listen)
            let state = dir + "/control"
            let installation: ControlInstallation
            if FileManager.default.fileExists(atPath: contextFile) {
                installation = try ControlInstallation.open(state)
                var context = try OperatorContext.load(contextFile)
                if context.endpoint != endpoint {
                    context.endpoint = endpoint
                    try context.save(contextFile)
                }
            } else {
                (installation, _) = try ControlInstallation.initialise(
                    state, endpoint: endpoint, operatorFile: contextFile)
            }
            let settings = ControlSettings(adminTokenHash: try installation.adminTokenHash())
            return try ControlHost(
                installation,
                settings: ControlHostSettings(listen: listen, names: ["localhost", "127.0.0.1"], control: settings),
                logger: logger)
        }

        /// Makes the cluster when there is none, and a token; says what to do next.
        private static func prepare(_ dir: String, _ logger: Logger) throws -> String {
            let contextFile = dir + "/operator.json"
            let session = try OperatorSession(contextFile: contextFile, logger: logger)
            let cluster = ClusterID("dev")!
            let existing = try session.all { session.calls.clusters($0) }.first { $0.id == cluster }
            if existing?.status != "active" {
                _ = try session.createCluster(cluster, name: "dev", peerDegree: 4)
            }
            let (token, _) = try session.createToken(
                in: cluster, name: "dev up", uses: 100, lifetime: .hours(24),
                scope: ControlAPI.TokenScope(domains: [.fabric]))
            let agent = (try? Sibling.path("rap-node-agent")) ?? "rap-node-agent"
            let rap = (try? Sibling.path("rap")) ?? "rap"
            let endpoint = session.context.endpoint
            return """
                The control plane listens on \(endpoint); its state is in \(dir). Ctrl-C ends it.

                Start agents, each in its own terminal (the token serves 100 hosts for 24 hours):
                  \(agent) --state \(dir)/a --control \(endpoint) --name a \\
                    --listen 127.0.0.1:51821 --interface none --token \(token)
                  \(agent) --state \(dir)/b --control \(endpoint) --name b \\
                    --listen 127.0.0.1:51822 --interface none --token \(token)

                Approve them, and look:
                  \(rap) join approve dev --all-pending --context \(contextFile)
                  \(rap) node list dev --context \(contextFile)
                  \(agent) status --state \(dir)/a

                """
        }
    }
}

/// Carries an error from one thread to another that looks after the first has asked it to stop.
private final class Outcome: @unchecked Sendable {
    private let lock = NSLock()
    private var failure: (any Error)?
    var error: (any Error)? { lock.withLock { failure } }
    func fail(_ error: any Error) { lock.withLock { failure = error } }
}
