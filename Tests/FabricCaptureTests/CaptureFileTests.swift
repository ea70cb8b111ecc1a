import FabricCapture
import FabricCore
import FabricLinux
import FabricTestSupport
import Glibc
import Testing

private func isInstalled(_ program: String) -> Bool {
    (try? ChildProcess.run(["sh", "-c", "command -v \(program)"]))?.status == 0
}

@Suite struct CaptureFileTests {
    /// A path of its own, removed with the test.
    final class Temporary {
        let path: String
        init(_ suffix: String = "pcap") {
            path = "/tmp/rap-capture-\(getpid())-\(Identifier<Int>(random: Kernel())).\(suffix)"
        }
        deinit { unlink(path) }

        private final class Kernel: RandomSource {
            func fill(_ buffer: UnsafeMutableRawBufferPointer) {
                for index in buffer.indices { buffer[index] = .random(in: 0...255) }
            }
        }
    }

    private func write(_ packets: [[UInt8]], to path: String, link: LinkType = .rawIP) throws {
        let writer = try CaptureWriter(path: path, link: link)
        for (index, packet) in packets.enumerated() {
            packet.withUnsafeBytes { writer.write($0, time: WallTime(nanoseconds: 1_000_000_007 * Int64(index + 1))) }
        }
        try writer.flush()
    }

    private var sample: [[UInt8]] {
        [
            Frames.udp(Frames.wireGuard(1, bytes: 148)),
            Frames.udp(Frames.wireGuard(2, bytes: 92), from: Frames.south, to: Frames.north),
        ]
            + (0..<7).map { _ in Frames.udp(Frames.wireGuard(4, bytes: 128)) }
            + [
                Frames.udp(Frames.wireGuard(3, bytes: 64)),
                Frames.ip(1, Frames.north, Frames.south, [8, 0, 0xF7, 0xFF, 0, 0, 0, 0]),
            ]
    }

    @Test(arguments: [LinkType.rawIP, .ethernet])
    func `what is written is read back, to the nanosecond`(link: LinkType) throws {
        let file = Temporary()
        let packets = link == .rawIP ? sample : sample.map { Frames.ethernet($0) }
        try write(packets, to: file.path, link: link)
        let reader = try CaptureFile(path: file.path)
        #expect(reader.link == link)
        var index = 0
        while try reader.next({ frame -> Void in
            #expect(Array(frame.bytes) == packets[index])
            #expect(frame.time.nanoseconds == 1_000_000_007 * Int64(index + 1))
            #expect(frame.originalLength == packets[index].count)
            index += 1
        }) != nil {}
        #expect(index == packets.count)
    }

    @Test func `a file is verified`() throws {
        let file = Temporary()
        try write(sample, to: file.path)
        let verdict = try CaptureVerifier.verify(path: file.path, rules: .fabric(canaries: [], tunnelMTUs: [1420]))
        #expect(verdict.violations.map(\.reason) == [.kindNotAllowed(.icmp)])
        #expect(verdict.count(.wireGuardTransport) == 7)
    }

    @Test func `a missing file, foreign bytes and a file that ends early are errors`() throws {
        #expect(throws: CaptureError.self) { _ = try CaptureFile(path: "/nonexistent.pcap") }
        #expect(throws: CaptureError.self) { _ = try CaptureFile(path: "/etc/passwd") }
        #expect(throws: CaptureError.self) { _ = try CaptureWriter(path: "/nonexistent/x.pcap", link: .rawIP) }
        let file = Temporary()
        try write(sample, to: file.path)
        truncate(file.path, 24 + 16 + 176 + 20)
        #expect(throws: CaptureError.self) {
            _ = try CaptureVerifier.verify(path: file.path, rules: .fabric(canaries: [], tunnelMTUs: [1420]))
        }
    }

    @Test func `no file makes the reader trap`() throws {
        let file = Temporary()
        try write(sample, to: file.path)
        let original = try readFile(file.path)
        try Fuzz.run(corpus: [original], cost: 10, seed: 5, iterations: 300) { bytes in
            try writeFile(file.path, bytes)
            _ = try? CaptureVerifier.verify(path: file.path, rules: .fabric(canaries: [[1]], tunnelMTUs: [1420]))
        }
    }

    @Test(.enabled(if: isInstalled("tshark"), "needs tshark"))
    func `tshark counts the same messages, in pcap and in pcapng`() throws {
        let file = Temporary()
        try write(sample, to: file.path)
        for type in 1...4 {
            let result = try ChildProcess.run(["tshark", "-r", file.path, "-Y", "wg.type == \(type)"])
            try #require(result.status == 0, "\(result.errors)")
            let verdict = try CaptureVerifier.verify(path: file.path, rules: .fabric(canaries: [], tunnelMTUs: [1420]))
            let kinds: [PacketKind] = [.wireGuardInitiation, .wireGuardResponse, .wireGuardCookie, .wireGuardTransport]
            #expect(verdict.count(kinds[type - 1]) == UInt64(result.output.split(separator: "\n").count))
        }
        let converted = Temporary("pcapng")
        #expect(try ChildProcess.run(["tshark", "-r", file.path, "-F", "pcapng", "-w", converted.path]).status == 0)
        let verdict = try CaptureVerifier.verify(path: converted.path, rules: .fabric(canaries: [], tunnelMTUs: [1420]))
        #expect(verdict.packets == 11)
        #expect(verdict.first?.nanoseconds == 1_000_000_007)
    }

    private func readFile(_ path: String) throws -> [UInt8] {
        let file = try #require(fopen(path, "r"))
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        return Array(bytes[..<fread(&bytes, 1, bytes.count, file)])
    }

    private func writeFile(_ path: String, _ bytes: [UInt8]) throws {
        let file = try #require(fopen(path, "w"))
        defer { fclose(file) }
        _ = fwrite(bytes, 1, bytes.count, file)
    }
}

@Suite(
    .serialized,
    .enabled(if: NetworkNamespace.isSupported && isInstalled("openssl"), "needs root, ip(8) and openssl(1)"))
struct LiveCaptureTests {
    @Test(arguments: [("-tls1_3", true), ("-tls1_2", false)])
    func `real TLS is recorded and judged by its version`(version: String, isTLS13: Bool) throws {
        let file = CaptureFileTests.Temporary()
        let key = CaptureFileTests.Temporary("pem")
        let certificate = CaptureFileTests.Temporary("pem")
        let namespace = try NetworkNamespace.create("capture-test")
        defer { try? namespace.delete() }
        let made = try ChildProcess.run([
            "openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=test", "-keyout", key.path, "-out",
            certificate.path,
        ])
        try #require(made.status == 0, "\(made.errors)")
        let recorder = try namespace.withThread {
            try CaptureRecorder(interface: "lo", path: file.path, options: .init())
        }
        let server = try namespace.spawn(
            [
                "openssl", "s_server", "-quiet", "-accept", "127.0.0.1:8443", "-cert", certificate.path, "-key",
                key.path,
            ],
            output: .discard)
        defer { server.terminate(grace: .seconds(1)) }
        let client = try namespace.run([
            "sh", "-c",
            """
            for n in $(seq 100); do
              echo hello | timeout 2 openssl s_client -connect 127.0.0.1:8443 \(version) >/dev/null 2>&1 && exit 0
              sleep 0.1
            done
            exit 1
            """,
        ])
        #expect(client.status == 0)
        let outcome = try recorder.stop()
        #expect(outcome.statistics.dropped == 0)
        let verdict = try CaptureVerifier.verify(
            path: file.path, rules: .fabric(canaries: [Array("hello\n".utf8)], tunnelMTUs: [1420]))
        #expect(outcome.frames == verdict.packets)
        #expect(verdict.held == isTLS13, "\(verdict)")
        #expect(verdict.tlsConnections == (isTLS13 ? 1 : 0))
        if !isTLS13 { #expect(verdict.violations.map(\.reason).contains(.tls(.notTLS13))) }
    }

    @Test func `an interface that is not there is an error`() {
        #expect(throws: CaptureError.self) { _ = try LiveCapture(interface: "rap-none", options: .init()) }
        var options = LiveCapture.Options()
        options.filter = "no such filter"
        #expect(throws: CaptureError.self) { _ = try LiveCapture(interface: "lo", options: options) }
    }
}
