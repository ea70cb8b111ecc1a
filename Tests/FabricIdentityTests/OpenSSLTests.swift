import FabricCore
import Foundation
import Testing

@testable import FabricIdentity

/// Our certificates before OpenSSL, and OpenSSL's requests before us.
@Suite struct OpenSSLTests {
    let directory: URL

    init() throws {
        directory = FileManager.default.temporaryDirectory.appending(
            path: "rap-identity-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    }

    @Test("OpenSSL verifies a chain of ours and reads it as we do")
    func verify() throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        let fixture = try Fixture()
        for (name, der) in [
            ("root", fixture.root), ("issuing", fixture.issuing), ("leaf", fixture.leaf),
        ] {
            try pem(der, "CERTIFICATE").write(
                to: directory.appending(path: name), atomically: true, encoding: .utf8)
        }
        let at = ["-attime", String(Fixture.now.seconds)]
        for purpose in ["sslserver", "sslclient"] {
            let (status, output) = try openssl(
                ["verify", "-x509_strict", "-purpose", purpose, "-CAfile", "root", "-untrusted", "issuing"]
                    + at + ["leaf"])
            #expect(status == 0, "\(output)")
        }
        #expect(try openssl(["verify", "-CAfile", "root"] + at + ["leaf"]).status != 0)
        #expect(
            try openssl([
                "verify", "-CAfile", "root", "-untrusted", "issuing", "-attime",
                String(Fixture.threeDays.upperBound.seconds), "leaf",
            ]).status != 0)
        let text = try openssl(["x509", "-in", "leaf", "-noout", "-text"]).output
        for expected in [
            "Version: 3", "ED25519",
            "URI:spiffe://north.rap/node/a1, DNS:a1.example, IP Address:192.0.2.7", "CA:FALSE",
            "X509v3 Key Usage: critical", "Digital Signature\n",
            "TLS Web Server Authentication, TLS Web Client Authentication",
        ] {
            #expect(text.contains(expected), "\(expected) in \(text)")
        }
        let authority = try openssl(["x509", "-in", "issuing", "-noout", "-text"]).output
        for expected in [
            "CA:TRUE, pathlen:0", "X509v3 Basic Constraints: critical", "Certificate Sign, CRL Sign",
            "URI:spiffe://north.rap\n",
        ] {
            #expect(authority.contains(expected), "\(expected) in \(authority)")
        }
    }

    @Test("OpenSSL verifies a request of ours")
    func request() throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        let request = try X509Identity().makeRequest(
            seed: Fixture.seed(3), spiffeID: "spiffe://north.rap/node/a1")
        try pem(request, "CERTIFICATE REQUEST")
            .write(to: directory.appending(path: "request"), atomically: true, encoding: .utf8)
        let (status, output) = try openssl(["req", "-in", "request", "-verify", "-noout", "-text"])
        #expect(status == 0 && output.contains("URI:spiffe://north.rap/node/a1"), "\(output)")
    }

    @Test(
        "An Ed25519 request made by OpenSSL is accepted; RSA, P-256 and Ed448 are named and refused")
    func foreignRequests() throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        func make(_ key: [String], _ extra: [String]) throws -> [UInt8] {
            let (made, output) = try openssl(["genpkey"] + key + ["-out", "key"])
            #expect(made == 0, "\(output)")
            let (status, text) = try openssl(
                ["req", "-new", "-key", "key", "-subj", "/CN=a1", "-outform", "DER", "-out", "csr"] + extra)
            #expect(status == 0, "\(text)")
            return [UInt8](try Data(contentsOf: directory.appending(path: "csr")))
        }
        let san = ["-addext", "subjectAltName=URI:spiffe://north.rap/node/a1"]
        let identity = X509Identity()
        let facts = try identity.inspectRequest(make(["-algorithm", "ed25519"], san))
        #expect(facts.spiffeIDs == ["spiffe://north.rap/node/a1"] && !facts.asksForAuthority)
        #expect(try identity.inspectRequest(make(["-algorithm", "ed25519"], [])).spiffeIDs == [])
        let withUsage =
            san + [
                "-addext", "keyUsage=critical,digitalSignature", "-addext",
                "basicConstraints=critical,CA:FALSE",
            ]
        #expect(
            try !identity.inspectRequest(make(["-algorithm", "ed25519"], withUsage)).asksForAuthority)
        #expect(throws: CertificateError.violates("an authority is named by its bare trust domain")) {
            try identity.inspectRequest(
                make(["-algorithm", "ed25519"], san + ["-addext", "basicConstraints=critical,CA:TRUE"]))
        }
        #expect(throws: CertificateError.violates("a request asks for one URI at most")) {
            try identity.inspectRequest(
                make(
                    ["-algorithm", "ed25519"],
                    [
                        "-addext",
                        "subjectAltName=URI:spiffe://north.rap/node/a1,URI:spiffe://north.rap/node/a2",
                    ]))
        }
        #expect(
            throws: CertificateError.violates(
                "a request asks for a URI and for no other names; ours would not carry them")
        ) {
            try identity.inspectRequest(
                make(
                    ["-algorithm", "ed25519"],
                    ["-addext", "subjectAltName=URI:spiffe://north.rap/node/a1,DNS:a1.example"]))
        }
        for (key, name) in [
            (["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], "RSA"),
            (["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], "elliptic curve (ECDSA)"),
            (["-algorithm", "ed448"], "Ed448"),
        ] {
            #expect(throws: CertificateError.unsupportedKey("\(name); identities use Ed25519")) {
                try identity.inspectRequest(make(key, san))
            }
        }
    }

    @Test("A leaf and an authority made by OpenSSL to the rules are accepted")
    func foreignChain() throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        func run(_ arguments: [String]) throws {
            let (status, output) = try openssl(arguments)
            #expect(status == 0, "\(output)")
        }
        try """
        [authority]
        basicConstraints=critical,CA:TRUE
        keyUsage=critical,keyCertSign
        subjectAltName=URI:spiffe://north.rap
        [leaf]
        basicConstraints=critical,CA:FALSE
        keyUsage=critical,digitalSignature
        extendedKeyUsage=serverAuth,clientAuth
        subjectAltName=URI:spiffe://north.rap/node/a1
        """.write(to: directory.appending(path: "ext"), atomically: true, encoding: .utf8)
        for name in ["root", "leaf"] {
            try run(["genpkey", "-algorithm", "ed25519", "-out", "\(name).key"])
            try run(["req", "-new", "-key", "\(name).key", "-subj", "/O=\(name)", "-out", "\(name).csr"])
        }
        try run([
            "x509", "-req", "-in", "root.csr", "-signkey", "root.key", "-extfile", "ext", "-extensions",
            "authority",
            "-days", "10", "-outform", "DER", "-out", "root.der",
        ])
        try run([
            "x509", "-req", "-in", "leaf.csr", "-CA", "root.der", "-CAkey", "root.key", "-set_serial",
            "77", "-extfile",
            "ext", "-extensions", "leaf", "-days", "3", "-outform", "DER", "-out", "leaf.der",
        ])
        func read(_ name: String) throws -> [UInt8] {
            [UInt8](try Data(contentsOf: directory.appending(path: name)))
        }
        let identity = X509Identity()
        let middle = try identity.inspect(read("leaf.der")).validity.lowerBound + .hours(1)
        let facts = try identity.validate(
            chain: [read("leaf.der")], roots: [read("root.der")], time: middle)
        #expect(facts.spiffeID == "spiffe://north.rap/node/a1" && facts.serial == [77])
    }

    private func pem(_ der: [UInt8], _ label: String) -> String {
        let body = Data(der).base64EncodedString(options: [
            .lineLength64Characters, .endLineWithLineFeed,
        ])
        return "-----BEGIN \(label)-----\n\(body)\n-----END \(label)-----\n"
    }

    private func openssl(_ arguments: [String]) throws -> (status: Int32, output: String) {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/openssl")
        process.arguments = arguments
        process.currentDirectoryURL = directory
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let data = try pipe.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: data, as: UTF8.self))
    }
}
