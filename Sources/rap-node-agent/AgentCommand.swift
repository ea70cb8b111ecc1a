internal import ArgumentParser
internal import FabricCommand
internal import FabricCore
internal import FabricDocument
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
        subcommands: [Run.self, Status.self, PeerConfig.self], defaultSubcommand: Run.self)

    static func main() { runAsProgram() }

    struct Run: ParsableCommand {
        @Option(help: "Directory of keys and state; made with mode 0700 when absent.") var state: String
        @Option(
            help: ArgumentHelp(
                "The control plane's address or name, and port.",
                discussion: "A name says only where to look: the join token says who must be there."))
        var control: String
        @Option(help: "The join token, or @FILE to read it from a file. Needed until the node is enrolled.")
        var token: String?
        @Option(help: "The node's name, as approvers see it.") var name: String
        @Option(help: "UDP address and port for tunnels.") var listen = "0.0.0.0:51820"
        @Option(help: "Where peers reach this host; repeat for several. Needed when --listen is a wildcard.")
        var advertise: [String] = []
        @Option(help: "A routing domain besides “fabric”; repeat for several. Fixed at enrolment.") var domain:
            [String] = []
        @Option(help: "Name pattern of the interfaces; “none” runs without.") var interface = "rap%d"
        @Option(
            help: "“none” moves single packets, without the kernel's segmentation offloads; “auto” uses what there is.")
        var offloads = "auto"
        @Option(
            help: ArgumentHelp(
                "The interfaces' MTU, 1280 to 8912.",
                discussion: "Paths that take less are found; senders are told by Packet Too Big."))
        var mtu = NodeConfiguration.defaultInterfaceMTU
        @Flag(
            name: .customLong("clamp-mss"),
            help: "Lower the segment size in packets that open TCP connections to what their path takes.")
        var clampMSS = false
        @Option(help: "Seconds between echo probes of each peer, 0.2 to 60.") var probeInterval = 2.0
        @Option(
            help: ArgumentHelp(
                "WireGuard peers that are no nodes, for one routing domain; repeat for several domains.",
                discussion: "FILE has the [Peer] sections of wg(8), and may have [Interface] with Address.",
                valueName: "domain=file"))
        var staticPeers: [String] = []
        @Option(
            help: ArgumentHelp(
                "Append the keys of each handshake to this file, for Wireshark's wg.keylog_file.",
                discussion: "WHOEVER HAS THE FILE CAN READ THE TUNNELS' TRAFFIC. For debugging alone."))
        var keyLog: String?
        @Option(help: "Log level: trace, debug, info, notice, warning, error.") var logLevel = "info"

        func validate() throws {
            guard offloads == "auto" || offloads == "none" else {
                throw ValidationError("--offloads: “\(offloads)” is not auto or none")
            }
            guard NodeConfiguration.interfaceMTUs.contains(mtu) else {
                throw ValidationError("--mtu is \(mtu); it must be between 1280 and 8912")
            }
            guard (0.2...60).contains(probeInterval) else {
                throw ValidationError("--probe-interval is \(probeInterval); it must be between 0.2 and 60 seconds")
            }
        }

        func run() throws {
            var node = NodeConfiguration(
                name: name, joinToken: try joinToken(), domains: try domains(), facts: hostFacts(),
                capabilities: [NodeCapability.canRouteMesh.rawValue], requestedRoles: [],
                probeInterval: .milliseconds(Int64(probeInterval * 1000)))
            let control: ServerAddress = try converted(
                control, "--control", "an address or a name, and a port, such as control.example.net:8443")
            var address: Endpoint?
            switch control {
            case .address(let endpoint): address = endpoint
            case .name(let name, let port): node.controlName = NamedServer(name: name, port: port)
            }
            node.staticPeers = try StaticPeerFiles.read(
                staticPeers, domains: node.domains, underlay: try (address.map { [$0] } ?? []) + advertised())
            node.interfaceMTU = mtu
            node.clampsSegments = clampMSS
            var settings = AgentHostSettings(
                node: node, stateDirectory: state, control: address,
                listen: try converted(listen, "--listen", "an address and port, such as 0.0.0.0:51820"),
                advertise: try advertised(), interfacePattern: interface == "none" ? nil : interface, statusSocket: nil)
            settings.keyLog = keyLog
            settings.offloads = offloads == "auto"
            var logger = Logger(label: "rap.agent", factory: { StreamLogHandler.standardError(label: $0) })
            logger.logLevel = try converted(logLevel, "--log-level", "one of \(Logger.Level.allCases.map(\.rawValue))")
            {
                Logger.Level(rawValue: $0)
            }
            do { try AgentHost(settings: settings, logger: logger).run() } catch {
                try? FileHandle.standardError.write(contentsOf: Data("rap-node-agent: \(error)\n".utf8))
                throw ExitCode(1)
            }
        }

        /// Bytes; a token has at most 256.
        private static let longestTokenFile = 4096

        private func joinToken() throws -> JoinToken? {
            guard let token else { return nil }
            var text = token
            if token.hasPrefix("@") {
                let contents = try InputFile.read(String(token.dropFirst()), limit: Self.longestTokenFile)
                text = String(decoding: contents, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
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
                try converted($0, "--advertise", "an address and a port of 1 or more, such as 192.0.2.1:51820") {
                    Endpoint($0).flatMap { $0.port == 0 ? nil : $0 }
                }
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
            let status: [UInt8]
            do {
                status = try StatusReader.read(path: state + ".sock")
            } catch {
                try? FileHandle.standardError.write(
                    contentsOf: Data("rap-node-agent: \(error); is the agent running?\n".utf8))
                throw ExitCode(1)
            }
            try FileHandle.standardOutput.write(contentsOf: Data(status + [10]))
        }
    }

    struct PeerConfig: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Prints the [Peer] section by which a stock WireGuard peer reaches this node.",
            discussion:
                "The agent must be running. The peer also needs a place on this side: see --static-peers of “run”.")
        @Option(help: "The agent's state directory.") var state: String
        @Option(help: "The routing domain that the peer joins.") var domain = RoutingDomainID.fabric.text
        @Option(help: "Where the peer reaches this host: an address or a name, with a port.") var endpoint: String

        func run() throws {
            guard let colon = endpoint.lastIndex(of: ":"), UInt16(endpoint[endpoint.index(after: colon)...]) ?? 0 > 0,
                colon != endpoint.startIndex, endpoint.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != 0x23 })
            else { throw ValidationError("--endpoint: “\(endpoint)” is not HOST:PORT, such as vpn.example.com:51820") }
            do {
                let status = try JSON.decode(NodeStatus.self, from: try StatusReader.read(path: state + ".sock"))
                guard let found = status.domains.first(where: { $0.domain.text == domain }) else {
                    let known = status.domains.map(\.domain.text).joined(separator: ", ")
                    throw ValidationError(
                        known.isEmpty
                            ? "the node is no member yet; its phase is \(status.phase)"
                            : "--domain: the node is not in “\(domain)”, but in: \(known)")
                }
                print(found.peerSection(endpoint: endpoint), terminator: "")
            } catch let error as ValidationError {
                throw error
            } catch {
                try? FileHandle.standardError.write(
                    contentsOf: Data("rap-node-agent: \(error); is the agent running?\n".utf8))
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
