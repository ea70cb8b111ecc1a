import FabricControl
import FabricCore
import FabricDocument
import FabricOperator
import FabricWire
import Testing

/// A way to spoil an enrolment, and the refusal that it earns.
struct BadEnrolment: CustomTestStringConvertible {
    var testDescription: String
    var code: Problem.Code
    var spoil: @Sendable (Bench, TestHost, inout ControlAPI.NewEnrolment) throws -> Void

    init(
        _ testDescription: String, _ code: Problem.Code = .requestUnacceptable,
        _ spoil: @escaping @Sendable (Bench, TestHost, inout ControlAPI.NewEnrolment) throws -> Void
    ) {
        self.testDescription = testDescription
        self.code = code
        self.spoil = spoil
    }

    private static func key(_ bench: Bench) throws -> Blob {
        Blob(try bench.cryptography.x25519PublicKey(privateKey: bench.random.bytes(32)))
    }

    static let all = [
        BadEnrolment("a CSR for another node's SPIFFE id") { bench, host, body in
            let foreign = FabricIdentifier.node(NodeID(random: bench.random), in: host.cluster)
            body.certificateRequest = Blob(
                try bench.certificates.makeRequest(seed: host.identitySeed, spiffeID: foreign))
        },
        BadEnrolment("a CSR for another cluster") { bench, host, body in
            let foreign = FabricIdentifier.node(host.node, in: ClusterID("beta")!)
            body.certificateRequest = Blob(
                try bench.certificates.makeRequest(seed: host.identitySeed, spiffeID: foreign))
        },
        BadEnrolment("a CSR that asks to be a CA") { bench, host, body in
            let authority = FabricIdentifier.authority(host.cluster)
            body.certificateRequest = Blob(
                try bench.certificates.makeRequest(seed: host.identitySeed, spiffeID: authority))
        },
        BadEnrolment("a CSR whose signature is broken") { _, _, body in
            body.certificateRequest.bytes[body.certificateRequest.bytes.count - 1] ^= 1
        },
        BadEnrolment("a CSR that is noise") { bench, _, body in body.certificateRequest = Blob(bench.random.bytes(200))
        },
        BadEnrolment("an empty CSR") { _, _, body in body.certificateRequest = Blob([]) },
        BadEnrolment("a name with capitals") { _, _, body in body.name = "Node" },
        BadEnrolment("an empty name") { _, _, body in body.name = "" },
        BadEnrolment("a name of 64 characters") { _, _, body in body.name = String(repeating: "a", count: 64) },
        BadEnrolment("a name that ends in a hyphen") { _, _, body in body.name = "node-" },
        BadEnrolment("facts that are too long") { _, _, body in body.facts.os = String(repeating: "x", count: 121) },
        BadEnrolment("facts with an escape sequence") { _, _, body in body.facts.os = "\u{1B}[2J" },
        BadEnrolment("facts that turn the line around") { _, _, body in body.facts.os = "\u{202E}naibed" },
        BadEnrolment("facts of two lines") { _, _, body in body.facts.os = "linux\u{2028}approved" },
        BadEnrolment("an unknown capability") { _, _, body in body.capabilities = ["can_fly"] },
        BadEnrolment("a capability twice") { _, _, body in body.capabilities = ["can_route_mesh", "can_route_mesh"] },
        BadEnrolment("an unknown role") { _, _, body in body.requestedRoles = ["king"] },
        BadEnrolment("no tunnel keys") { _, _, body in body.tunnelKeys = [] },
        BadEnrolment("no key for the fabric domain") { _, _, body in body.tunnelKeys.removeAll { $0.domain == .fabric }
        },
        BadEnrolment("a domain twice") { bench, _, body in
            body.tunnelKeys.append(TunnelKey(domain: .fabric, publicKey: try key(bench)))
        },
        BadEnrolment("one key for two domains") { _, _, body in
            body.tunnelKeys[1].publicKey = body.tunnelKeys[0].publicKey
        },
        BadEnrolment("seventeen domains") { bench, _, body in
            for index in 0..<16 {
                body.tunnelKeys.append(TunnelKey(domain: RoutingDomainID("d\(index)")!, publicKey: try key(bench)))
            }
        },
        BadEnrolment("a tunnel key of 31 bytes") { _, _, body in body.tunnelKeys[0].publicKey.bytes.removeLast() },
        BadEnrolment("a tunnel key of zeros") { _, _, body in
            body.tunnelKeys[0].publicKey = Blob([UInt8](repeating: 0, count: 32))
        },
        BadEnrolment("a tunnel key of low order") { _, _, body in
            body.tunnelKeys[0].publicKey = Blob([1] + [UInt8](repeating: 0, count: 31))
        },
        BadEnrolment("a domain outside the token's scope", .tokenScope) { bench, _, body in
            body.tunnelKeys.append(TunnelKey(domain: RoutingDomainID("red")!, publicKey: try key(bench)))
        },
        BadEnrolment("a name outside the token's scope", .tokenScope) { _, _, body in body.name = "other" },
    ]
}

@Suite("Enrolment refusals")
struct EnrolmentRefusalTests {
    @Test(arguments: BadEnrolment.all)
    func `what can't be accepted is refused and uses nothing up`(bad: BadEnrolment) throws {
        let bench = try Bench()
        try bench.activateCluster()
        let (token, id) = try bench.makeToken(uses: 1, prefix: "node")
        let host = try bench.host("node-1")
        let request = try host.enrolment(token) { try bad.spoil(bench, host, &$0) }
        #expect(try bench.refusal(request) == bad.code)
        #expect(try bench.ask(bench.calls.token(id, in: bench.cluster.cluster)).used == 0)
        // The token's only use is still there for the right request.
        try bench.apply(host, token)
    }

    @Test(
        arguments: [
            "", "{", "[]", "null", "{}", "{\"name\":1}", "{\"name\":\"a\"} x", "\u{FEFF}{}",
            "{\"name\":\"a\",\"name\":\"b\"}", String(repeating: "[", count: 500),
        ])
    func `a malformed body is refused with its place`(body: String) throws {
        let bench = try Bench()
        try bench.activateCluster()
        let (token, _) = try bench.makeToken()
        let request = HTTPRequest(.post, "/v1/enrolments", bearer: token.bearer, body: Array(body.utf8))
        #expect(try bench.refusal(request) == .malformedRequest)
    }

    @Test func `unknown fields, wrong types, bad UTF-8 and oversized bodies are refused`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        let (token, _) = try bench.makeToken()
        let host = try bench.host("node")
        let good = String(decoding: try host.enrolment(token).body, as: UTF8.self)
        func refusal(_ body: [UInt8]) throws -> Problem.Code? {
            try bench.refusal(HTTPRequest(.post, "/v1/enrolments", bearer: token.bearer, body: body))
        }
        #expect(try refusal(Array(good.replacing("\"name\"", with: "\"nmae\"").utf8)) == .malformedRequest)
        #expect(
            try refusal(Array(good.replacing("{\"capabilities\"", with: "{\"admin\":true,\"capabilities\"").utf8))
                == .malformedRequest)
        #expect(try refusal(Array(good.replacing("\"node\"", with: "7").utf8)) == .malformedRequest)
        #expect(try refusal([0x22, 0xFF, 0x22]) == .malformedRequest)
        #expect(try refusal([UInt8](repeating: 0x20, count: HTTPLimits.requestBody + 1)) == .tooLarge)
        #expect(try refusal(Array(good.utf8)) == nil)
    }

    @Test func `unknown, expired, revoked and used-up tokens have their refusals, and they are audited`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        let cluster = bench.cluster.cluster
        var stranger = try bench.makeToken().token
        stranger.secret = bench.random.bytes(32)
        #expect(try bench.refusal(try bench.host("a").enrolment(stranger)) == .tokenUnknown)

        let (short, _) = try bench.makeToken(lifetime: .seconds(10))
        let (revoked, revokedID) = try bench.makeToken()
        let (single, _) = try bench.makeToken(uses: 1)
        _ = try bench.ask(bench.calls.revoke(revokedID, in: cluster))
        bench.advance(.seconds(11))
        #expect(try bench.refusal(try bench.host("b").enrolment(short)) == .tokenExpired)
        #expect(try bench.refusal(try bench.host("c").enrolment(revoked)) == .tokenRevoked)
        let first = try bench.host("d")
        try bench.apply(first, single)
        #expect(try bench.refusal(try bench.host("e").enrolment(single)) == .tokenUsedUp)

        let events = try bench.audit()
        #expect(
            events.filter { $0.event == "enrolment refused" }.map(\.detail) == [
                "token-expired", "token-revoked", "token-used-up",
            ])
        // A bearer that is no token, and none at all.
        var request = try bench.host("f").enrolment(single)
        request.bearer = "no token"
        #expect(try bench.refusal(request) == .tokenUnknown)
        request.bearer = nil
        #expect(try bench.refusal(request) == .unauthenticated)
    }

    @Test func `a flood of refused enrolments fills neither the audit nor the patience`() throws {
        let bench = try Bench { $0.auditedRefusalsPerMinute = 5 }
        try bench.activateCluster()
        let (token, _) = try bench.makeToken(uses: 1)
        try bench.apply(try bench.host("first"), token)
        for index in 0..<30 { #expect(try bench.refusal(try bench.host("n\(index)").enrolment(token)) == .tokenUsedUp) }
        #expect(try bench.audit().filter { $0.event == "enrolment refused" }.count == 5)
        bench.advance(.seconds(61))
        _ = try bench.reply(try bench.host("late").enrolment(token))
        let refusals = try bench.audit().filter { $0.event == "enrolment refused" }
        #expect(refusals.count == 7)
        #expect(refusals.contains { $0.detail.hasPrefix("25 more were refused") })
    }

    @Test func `a tunnel key of another node is refused, proven or admitted`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        let (token, _) = try bench.makeToken()
        let owner = try bench.host("owner")
        let thief = try bench.host("thief")
        thief.tunnelPrivateKeys = owner.tunnelPrivateKeys
        try bench.apply(owner, token)
        #expect(try bench.refusal(try thief.enrolment(token)) == .keyInUse)
        try bench.approve(owner)
        #expect(try bench.refusal(try thief.enrolment(token)) == .keyInUse)
    }

    @Test func `whoever can't use a tunnel key can't take it`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        let (token, _) = try bench.makeToken()
        let victim = try bench.host("victim")
        let thief = try bench.host("thief")
        // The thief names the victim's public keys, but proves with others.
        let stolen = try victim.body().tunnelKeys
        let challenge = try JSON.decode(
            ControlAPI.Challenge.self, from: try bench.reply(try thief.enrolment(token) { $0.tunnelKeys = stolen }).body
        )
        #expect(try bench.refusal(try thief.proof(challenge, token)) == .proofFailed)
        try bench.apply(victim, token)
    }

    @Test func `a proof must cover each domain once`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        let (token, _) = try bench.makeToken()
        let host = try bench.host("node")
        let challenge = try JSON.decode(
            ControlAPI.Challenge.self, from: try bench.reply(try host.enrolment(token)).body)
        let good = try host.proof(challenge, token)
        let proofs = try JSON.decode(ControlAPI.Proof.self, from: good.body).proofs
        for bad in [[], [proofs[0]], [proofs[0], proofs[0]], proofs + [proofs[0]]] {
            var request = good
            request.body = JSON.encodeOwn(ControlAPI.Proof(proofs: bad))
            #expect(try bench.refusal(request) == .proofFailed)
        }
        #expect(try bench.refusal(good) == nil)
        #expect(try bench.refusal(good) == nil, "a repeated proof is no error")
    }

    @Test func `a request is visible to its own token only`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        let (token, _) = try bench.makeToken()
        let (other, _) = try bench.makeToken()
        let host = try bench.host("node")
        try bench.apply(host, token)
        #expect(try bench.refusal(host.status(other, wait: 0)) == .notFound)
        #expect(try bench.refusal(host.status(token, wait: 0)) == nil)
    }

    @Test func `a taken name is refused`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        let (token, _) = try bench.makeToken()
        try bench.join("same", token)
        #expect(try bench.refusal(try bench.host("same").enrolment(token)) == .conflict)
    }

    @Test func `a clock ten minutes off keeps nobody out, and is recorded`() throws {
        let bench = try Bench { $0.reportAuditInterval = .zero }
        try bench.activateCluster()
        let (token, _) = try bench.makeToken()
        let host = try bench.host("late")
        try bench.apply(host, token)
        try bench.approve(host)
        let status = try JSON.decode(
            ControlAPI.EnrolmentStatus.self, from: try bench.reply(host.status(token, wait: 0)).body)
        let slow = bench.now.wall - .seconds(600)
        try host.accept(try #require(status.grant), token, now: slow)
        #expect(try bench.refusal(host.heartbeat(at: slow), peer: host.facts) == nil)
        #expect(
            try bench.audit().contains { $0.event == "node health changed" && $0.detail == "its clock is -600 s off" })
        #expect(try bench.ask(bench.calls.node(host.node, in: host.cluster)).clockOffsetMilliseconds == -600_000)
        #expect(try bench.refusal(host.heartbeat(at: bench.now.wall), peer: host.facts) == nil)
        #expect(try bench.audit().contains { $0.detail == "its clock is right again" })
    }
}
