internal import ArgumentParser
internal import FabricCommand
internal import FabricControl
internal import FabricCore
internal import FabricRuntime
internal import Foundation
internal import Logging

@main
struct ControlCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rap-control",
        abstract: "Runs a control plane.",
        discussion: """
            “init” makes its keys and the operators' file; “run” serves in the foreground until SIGINT or SIGTERM.

            Exit codes: 0 ended as asked, 1 failed, 2 wrong usage.
            """,
        version: RAPVersion.text, subcommands: [Initialise.self, Run.self])

    static func main() { runAsProgram() }
}

struct Initialise: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init", abstract: "Makes a control plane's state directory and its operators' file.")

    @Option(help: "Directory of keys and database; made with mode 0700.") var state: String
    @Option(help: "Address and port that “run” will listen on.") var listen: String
    @Option(
        help: """
            Address or name, and port, under which operators reach it; needed when --listen is a wildcard. A name says \
            only where it is: the operators' file holds the pin by which they know it.
            """)
    var advertise: String?
    @Option(help: "Where to write the operators' file (default: operator.json in the state directory).")
    var operatorFile: String?

    func run() throws {
        let listen = try endpoint(listen, "--listen")
        let advertised = try advertise.map { try server($0, "--advertise") } ?? .address(listen)
        if case .address(let endpoint) = advertised, isWildcard(endpoint.address) || endpoint.port == 0 {
            throw ValidationError(
                "operators can't reach \(advertised): say with --advertise which address or name, and port, they use")
        }
        let file = operatorFile ?? "\(state)/operator.json"
        let (_, context) = try ControlInstallation.initialise(state, endpoint: advertised, operatorFile: file)
        print(
            """
            The control plane's state is in \(state); its pin is \(context.controlPin).
            The operators' file is \(file). It is a secret: move it to an operator's machine,
            as ~/.config/rap/operator.json with mode 0600.

            Start it with
              rap-control run --state \(state) --listen \(listen)
            """)
    }
}

struct Run: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serves in the foreground.",
        discussion: "Prints one line to standard output when it is ready; logs go to standard error.")

    @Option(help: "The state directory that “init” made.") var state: String
    @Option(help: "Address and port to listen on.") var listen: String
    @Option(
        help: """
            PostgreSQL instead of SQLite in the state directory: a libpq URI such as \
            postgresql://rap@db.example/rap?sslmode=verify-full. Keep passwords in libpq's password file.
            """)
    var postgres: String?
    @Option(help: "How often nodes report, such as 15s.") var heartbeat = "15s"
    @Option(help: "A node is offline when this many heartbeats are missing.") var missedHeartbeats = 3
    @Option(help: "How long nodes' certificates live, 72h or more; they are renewed at two thirds.")
    var certificateLifetime = "96h"
    @Option(help: "A name or address for stock HTTPS clients, in the certificate; repeat for several.")
    var name: [String] = []
    @Option(help: "Log level: trace, debug, info, notice, warning, error.") var logLevel = "info"

    func run() throws {
        let listen = try endpoint(listen, "--listen")
        guard let interval = Duration(text: heartbeat), interval >= .seconds(1), interval <= .hours(1) else {
            throw ValidationError("--heartbeat: “\(heartbeat)” is not a time from 1s to 1h")
        }
        guard (1...100).contains(missedHeartbeats) else {
            throw ValidationError("--missed-heartbeats: \(missedHeartbeats) is not from 1 to 100")
        }
        let shortest = ControlSettings.shortestCertificateLifetime
        guard let lifetime = Duration(text: certificateLifetime), lifetime >= shortest, lifetime <= .hours(24 * 397)
        else {
            throw ValidationError("--certificate-lifetime: “\(certificateLifetime)” is not a time from 72h to 397d")
        }
        guard let level = Logger.Level(rawValue: logLevel) else {
            throw ValidationError(
                "--log-level: “\(logLevel)” is not one of \(Logger.Level.allCases.map(\.rawValue).joined(separator: ", "))"
            )
        }
        var logger = Logger(label: "rap.control", factory: { StreamLogHandler.standardError(label: $0) })
        logger.logLevel = level
        let installation = try ControlInstallation.open(state)
        var control = ControlSettings(adminTokenHash: try installation.adminTokenHash())
        control.heartbeatInterval = interval
        control.missedHeartbeats = missedHeartbeats
        control.certificateLifetime = lifetime
        let names = name + ["localhost"] + (isWildcard(listen.address) ? [] : [listen.address.description])
        let host = try ControlHost(
            installation,
            settings: ControlHostSettings(
                listen: listen, names: names, control: control, database: postgres.map { .postgres($0) } ?? .sqlite),
            logger: logger)
        try printAtOnce("ready: endpoint \(host.endpoint) pin \(Blob(host.pin))")
        try host.run()
    }
}

private func server(_ text: String, _ option: String) throws -> ServerAddress {
    guard let server = ServerAddress(text) else {
        throw ValidationError(
            "\(option): “\(text)” is not an address or a name, and a port, such as control.example.net:8443")
    }
    return server
}

private func endpoint(_ text: String, _ option: String) throws -> Endpoint {
    guard let endpoint = Endpoint(text) else {
        throw ValidationError(
            "\(option): “\(text)” is not an address and port, such as 192.0.2.1:8443 or [2001:db8::1]:8443")
    }
    return endpoint
}

private func isWildcard(_ address: IPAddress) -> Bool {
    address == IPAddress(v4: 0) || address == IPAddress(v6High: 0, low: 0)
}
