import FabricCore
import FabricWire
import Foundation
import Testing

@testable import FabricRuntime

extension HTTPTests {
    /// Debian's curl and OpenSSL as clients.
    @Suite struct ForeignPeers {
        let pki: TestPKI
        private let temporary: TemporaryDirectory
        private var directory: String { temporary.path }

        init() throws {
            pki = try TestPKI()
            temporary = try TemporaryDirectory()
            let node = try pki.identity("node/a")
            try write("root.pem", pem("CERTIFICATE", pki.root))
            try write("node.pem", node.chain.map { pem("CERTIFICATE", $0) }.joined())
            try write("node.key", pem("PRIVATE KEY", try #require(node.pkcs8)))
        }

        private func write(_ name: String, _ text: String) throws {
            try Data(text.utf8).write(to: URL(fileURLWithPath: "\(directory)/\(name)"))
        }

        /// curl checks validity by its own clock, so these certificates are valid by that.
        private func currentPKI() throws -> (TestPKI, PeerVerifier) {
            let now = WallTime(seconds: Int64(Date().timeIntervalSince1970))
            let pki = try TestPKI("current", validity: (now - .hours(1))..<(now + .hours(1)))
            return (pki, pki.verifier(at: { now }))
        }

        private func curl(_ arguments: [String]) throws -> (status: Int32, output: String) {
            try run("/usr/bin/curl", ["-sS", "-m", "10"] + arguments)
        }

        @Test func `curl talks to the server, with and without a client certificate`() throws {
            let now = WallTime(seconds: Int64(Date().timeIntervalSince1970))
            let validity = (now - .hours(1))..<(now + .hours(1))
            let (pki, verifier) = try currentPKI()
            let server = try TestServer(identity: pki.identity("control", validity: validity), verifyClient: verifier)
            defer { server.stop() }
            try write("root.pem", pem("CERTIFICATE", pki.root))
            let node = try pki.identity("node/a", validity: validity)
            try write("node.pem", node.chain.map { pem("CERTIFICATE", $0) }.joined())
            try write("node.key", pem("PRIVATE KEY", try #require(node.pkcs8)))
            let url = "https://\(server.endpoint)/v1/x?a=b"
            let trusted = ["--cacert", "\(directory)/root.pem"]
            #expect(try curl(trusted + [url]).output == "GET /v1/x [a=b] - 0 anonymous")
            let mutual = trusted + ["--cert", "\(directory)/node.pem", "--key", "\(directory)/node.key"]
            #expect(try curl(mutual + [url]).output == "GET /v1/x [a=b] - 0 spiffe://test.rap/node/a")
            // Two requests on one connection, and a body that curl announces with Expect: 100-continue.
            try write("body.json", String(repeating: " ", count: 60_000))
            let post = [
                "-H", "Authorization: Bearer t0ken", "-H", "Content-Type: application/json", "-H",
                "Expect: 100-continue", "--data-binary", "@\(directory)/body.json",
            ]
            let accepted = server.server.counters.connectionsAccepted
            #expect(
                try curl(trusted + post + [url, url]).output
                    == String(repeating: "POST /v1/x [a=b] t0ken 60000 anonymous", count: 2))
            #expect(server.server.counters.connectionsAccepted == accepted + 1)
            // A body that is too large, sent without asking first, still gets its refusal.
            try write("large.json", String(repeating: " ", count: 3_000_000))
            let large = try curl(
                trusted + ["-H", "Content-Type: application/json", "-H", "Expect:", "-w", " %{http_code}"]
                    + ["--data-binary", "@\(directory)/large.json", url])
            #expect(large.output.contains("urn:rap:problem:too-large"))
            #expect(large.output.contains(" 413"))
        }

        @Test func `curl refuses the server when it trusts another root`() throws {
            let server = try TestServer(pki)
            defer { server.stop() }
            try write("other.pem", pem("CERTIFICATE", TestPKI("foreign").root))
            let result = try curl(["--cacert", "\(directory)/other.pem", "https://\(server.endpoint)/x"])
            #expect(result.status == 60)
            #expect(server.record.value.requests.isEmpty)
        }

        @Test func `plain HTTP gets nothing`() throws {
            let server = try TestServer(pki)
            defer { server.stop() }
            let result = try curl(["http://\(server.endpoint)/x"])
            #expect(result.status != 0 && !result.output.contains("GET /x"))
            #expect(server.record.value.requests.isEmpty)
        }

        @Test func `a TLS 1.2 client is refused, the same one with TLS 1.3 is not`() throws {
            let server = try TestServer(pki)
            defer { server.stop() }
            func connect(_ version: String) throws -> (status: Int32, output: String) {
                try run("/usr/bin/openssl", ["s_client", "-connect", "\(server.endpoint)", version])
            }
            let old = try connect("-tls1_2")
            #expect(old.status != 0)
            #expect(old.output.contains("alert protocol version"))
            server.waitForCounters { $0.handshakesFailed == 1 }
            let new = try connect("-tls1_3")
            #expect(new.output.contains("New, TLSv1.3, Cipher is TLS_"))
            #expect(new.output.contains("Peer signature type: ed25519"))
        }

        @Test func `a resumed session is anonymous: its certificate was not judged again`() throws {
            let server = try TestServer(pki)
            defer { server.stop() }
            func request(_ extra: [String]) throws -> String {
                let command =
                    "(printf 'GET /x HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n'; sleep 1) | "
                    + "openssl s_client -quiet -connect \(server.endpoint) \(extra.joined(separator: " ")) 2>&1"
                return try run("/bin/sh", ["-c", command]).output
            }
            let session = "\(directory)/session.pem"
            let first = try request([
                "-cert", "\(directory)/node.pem", "-cert_chain", "\(directory)/node.pem", "-key",
                "\(directory)/node.key", "-sess_out", session,
            ])
            #expect(first.contains("GET /x [] - 0 spiffe://test.rap/node/a"))
            let second = try request(["-sess_in", session])
            #expect(second.contains("GET /x [] - 0 anonymous"))
        }
    }
}
