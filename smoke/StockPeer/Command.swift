import ArgumentParser
import FabricCapture
import FabricCore
import FabricLinux
import FabricTunnel
import Glibc

@main
struct FabricWG: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fabric-wg",
        abstract: "A bare tunnel endpoint, and captures, for smoke tests against other WireGuard implementations.",
        subcommands: [Up.self, Record.self, Verify.self])
}

extension FabricWG {
    struct Up: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Runs one tunnel with one peer in this network namespace until SIGINT or SIGTERM.")

        @Option(help: "The TUN device's name.") var interface: String
        @Option(help: "The UDP address to listen on, such as 0.0.0.0:51820.") var listen: String
        @Option(help: "A file with our private key in base64, as wg genkey writes it.") var privateKey: String
        @Option(help: "Our address inside the tunnel.") var address: String
        @Option(help: "The peer's public key in base64.") var peer: String
        @Option(help: "A file with the preshared key in base64.") var presharedKey: String?
        @Option(help: "Where the peer is; without it we wait for the peer.") var endpoint: String?
        @Option(help: "A prefix that belongs to the peer; may be repeated.") var allowedIP: [String] = []
        @Option(help: "The MTU of the TUN device.") var mtu = 1420
        @Option(help: "Where to append the keys of each handshake, for Wireshark's wg.keylog_file. A secret.")
        var keyLog: String?

        func run() throws {
            let prefixes = try allowedIP.map { try parse(IPPrefix($0), "allowed-ip", $0) }
            let configuration = PeerConfiguration(
                publicKey: try key(peer, "peer"),
                presharedKey: try presharedKey.map { try key(try contents($0), "preshared-key") },
                allowedIPs: prefixes, endpoint: try endpoint.map { try parse(Endpoint($0), "endpoint", $0) },
                persistentKeepalive: nil)
            let settings = TunnelProbe.Settings(
                interface: interface, listen: try parse(Endpoint(listen), "listen", listen),
                privateKey: try key(try contents(privateKey), "private-key"),
                address: try parse(IPAddress(address), "address", address), peer: configuration, mtu: mtu,
                keyLogPath: keyLog)
            try TunnelProbe(settings).run()
        }

        private func parse<Value>(_ value: Value?, _ option: String, _ text: String) throws -> Value {
            guard let value else { throw ValidationError("--\(option): “\(text)” is not what it should be") }
            return value
        }

        /// 32 bytes from RFC 4648 section 4, as wg(8) has them.
        private func key(_ text: String, _ option: String) throws -> [UInt8] {
            let unpadded = text.filter { !$0.isWhitespace && $0 != "=" }
            let url = String(unpadded.map { $0 == "+" ? "-" : $0 == "/" ? "_" : $0 })
            guard let bytes = Base64URL.decode(url), bytes.count == 32 else {
                throw ValidationError("--\(option): not 32 bytes in base64")
            }
            return bytes
        }

        private func contents(_ path: String) throws -> String {
            guard let file = fopen(path, "r") else { throw SystemError("open \(path)", code: errno) }
            defer { fclose(file) }
            var bytes = [UInt8](repeating: 0, count: 256)
            return String(decoding: bytes[..<fread(&bytes, 1, bytes.count, file)], as: UTF8.self)
        }
    }

    struct Record: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Records an interface of this network namespace until SIGINT or SIGTERM.")

        @Argument(help: "The interface.") var interface: String
        @Argument(help: "The pcap file to write.") var file: String

        func run() throws {
            let loop = try EventLoop()
            for signal in [SIGINT, SIGTERM] { try loop.onSignal(signal) { loop.stop() } }
            let recorder = try CaptureRecorder(interface: interface, path: file, options: .init())
            report("ready \(interface)")
            try loop.run()
            let outcome = try recorder.stop()
            report("recorded \(outcome.frames) frames, lost \(outcome.statistics.dropped)")
            if outcome.statistics.dropped > 0 { throw ExitCode.failure }
        }
    }

    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Checks that a capture holds WireGuard and nothing else, and no canary.")

        @Argument(help: "The pcap or pcapng file.") var file: String
        @Option(help: "Bytes, in hex, that must occur nowhere; may be repeated.") var canary: [String] = []

        @Option(help: "The MTU of the tunnel's interfaces.") var tunnelMTU = 1420

        func run() throws {
            let canaries = try canary.map { text in
                guard let bytes = Hex.decode(text), !bytes.isEmpty else {
                    throw ValidationError("--canary: “\(text)” is not hex")
                }
                return bytes
            }
            var rules = CaptureRules.fabric(canaries: canaries, tunnelMTUs: [tunnelMTU])
            for kind in [PacketKind.tls, .tcpControl] { rules.allowed[kind] = nil }
            let verdict = try CaptureVerifier.verify(path: file, rules: rules)
            report("\(verdict)")
            if !verdict.held { throw ExitCode.failure }
        }
    }
}
