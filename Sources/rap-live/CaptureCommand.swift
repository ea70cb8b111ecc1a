internal import ArgumentParser
internal import FabricCapture
internal import FabricCore
internal import FabricLinux
internal import Foundation

struct Capture: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Records an interface, and judges what a capture holds.",
        subcommands: [Record.self, Verify.self])
}

extension Capture {
    struct Record: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Records an interface of this network namespace until SIGINT or SIGTERM.",
            discussion: "Prints a line to standard output when it is ready. Exit status: 0, or 1 when the capture lost "
                + "frames or failed. Needs root.")

        @Argument(help: "The interface.") var interface: String
        @Argument(help: "The pcap file to write.") var file: String

        func run() throws {
            do {
                let loop = try EventLoop()
                for signal in [2, 15] as [Int32] { try loop.onSignal(signal) { loop.stop() } }
                let recorder = try CaptureRecorder(interface: interface, path: file, options: .init())
                tell("ready \(interface)")
                try loop.run()
                let outcome = try recorder.stop()
                tell("recorded \(outcome.frames) frames, lost \(outcome.statistics.dropped)")
                if outcome.statistics.dropped > 0 { throw ExitCode(1) }
            } catch let code as ExitCode {
                throw code
            } catch {
                complain("\(error)")
                throw ExitCode(1)
            }
        }
    }

    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Checks that a capture holds WireGuard, TLS 1.3, what links need and nothing else.",
            discussion: "Exit status: 0 it held, 1 it did not.")

        @Argument(help: "The pcap or pcapng file.") var file: String
        @Option(help: "Bytes, in hex, that must occur nowhere; repeat for several.") var canary: [String] = []
        @Option(help: "The MTU of a tunnel's interface; repeat for several.") var tunnelMTU: [Int] = [1412]
        @Option(help: "Addresses and ports of the servers that TLS is allowed with; without one there may be none.")
        var tlsServer: [String] = []

        func run() throws {
            let canaries = try canary.map { text in
                guard let bytes = Hex.decode(text), !bytes.isEmpty else {
                    throw ValidationError("--canary: “\(text)” is not hex")
                }
                return bytes
            }
            let servers = try tlsServer.map { text in
                guard let endpoint = Endpoint(text) else {
                    throw ValidationError("--tls-server: “\(text)” is not an address and port, such as 192.0.2.1:8443")
                }
                return EndpointPattern(endpoint)
            }
            var rules = CaptureRules.fabric(canaries: canaries, tunnelMTUs: Set(tunnelMTU))
            for kind in [PacketKind.tls, .tcpControl] { rules.allowed[kind] = servers.isEmpty ? nil : .with(servers) }
            let verdict: CaptureVerdict
            do { verdict = try CaptureVerifier.verify(path: file, rules: rules) } catch {
                complain("\(error)")
                throw ExitCode(1)
            }
            tell("\(verdict)")
            if !verdict.held { throw ExitCode(1) }
        }
    }
}

/// One line on the standard output, at once: scripts wait for it.
private func tell(_ line: String) { try? FileHandle.standardOutput.write(contentsOf: Data("\(line)\n".utf8)) }
