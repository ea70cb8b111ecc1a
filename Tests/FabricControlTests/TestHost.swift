import FabricCore
import FabricCrypto
import FabricDocument
import FabricWire
import Testing

/// A host that joins, as the agent does it.
final class TestHost {
    let name: String
    let cluster: ClusterID
    let identitySeed: [UInt8]
    let identityKey: [UInt8]
    let node: NodeID
    var tunnelPrivateKeys: [(domain: RoutingDomainID, key: [UInt8])]
    var request: JoinRequestID?
    var chain: [[UInt8]] = []
    /// What the host knows about its TLS peer once this node's certificate was verified.
    var facts: CertificateFacts?
    var beat: Int64 = 0
    private let cryptography: any Cryptography
    private let certificates: any CertificateProvider

    init(
        _ name: String, domains: [RoutingDomainID], cluster: ClusterID, _ random: any RandomSource,
        _ cryptography: any Cryptography, _ certificates: any CertificateProvider
    ) throws {
        self.name = name
        self.cluster = cluster
        self.cryptography = cryptography
        self.certificates = certificates
        identitySeed = random.bytes(32)
        identityKey = try cryptography.ed25519PublicKey(seed: identitySeed)
        node = FabricIdentifier.nodeID(identityKey: identityKey, cryptography)
        tunnelPrivateKeys = domains.map { ($0, random.bytes(32)) }
    }

    var spiffeID: String { FabricIdentifier.node(node, in: cluster) }

    func body() throws -> ControlAPI.NewEnrolment {
        ControlAPI.NewEnrolment(
            name: name,
            certificateRequest: Blob(try certificates.makeRequest(seed: identitySeed, spiffeID: spiffeID)),
            tunnelKeys: try tunnelPrivateKeys.map {
                TunnelKey(domain: $0.domain, publicKey: Blob(try cryptography.x25519PublicKey(privateKey: $0.key)))
            },
            facts: NodeFacts(os: "Debian 12", architecture: "x86-64", version: "0.1"),
            capabilities: ["can_route_mesh"], requestedRoles: ["relay-node"])
    }

    func enrolment(_ token: JoinToken, _ change: (inout ControlAPI.NewEnrolment) throws -> Void = { _ in }) throws
        -> HTTPRequest
    {
        var body = try body()
        try change(&body)
        return HTTPRequest(.post, "/v1/enrolments", bearer: token.bearer, body: JSON.encodeOwn(body))
    }

    func proof(_ challenge: ControlAPI.Challenge, _ token: JoinToken) throws -> HTTPRequest {
        let proofs = try tunnelPrivateKeys.map { entry in
            let publicKey = try cryptography.x25519PublicKey(privateKey: entry.key)
            let secret = try cryptography.x25519(privateKey: entry.key, publicKey: challenge.challengeKey.bytes)
            let message = ControlAPI.Proof.message(
                request: challenge.request, domain: entry.domain, publicKey: publicKey)
            return ControlAPI.Proof.DomainProof(
                domain: entry.domain, mac: Blob(cryptography.hmacSHA256(key: secret, message)))
        }
        return HTTPRequest(
            .post, "/v1/enrolments/\(challenge.request)/proof", bearer: token.bearer,
            body: JSON.encodeOwn(ControlAPI.Proof(proofs: proofs)))
    }

    func status(_ token: JoinToken, wait: Int) -> HTTPRequest {
        HTTPRequest(
            .get, "/v1/enrolments/\(request!)", query: [.init("wait", "\(wait)")], bearer: token.bearer)
    }

    /// Checks a grant as a node must, from the token's pin up.
    func accept(_ grant: ControlAPI.Grant, _ token: JoinToken, now: WallTime) throws {
        let unverified = try grant.trust.unverified(TrustMetadata.self)
        #expect(cryptography.sha256(unverified.rootCertificate.bytes) == token.clusterPin)
        let rootKey = try certificates.inspect(unverified.rootCertificate.bytes).publicKey
        let trust = try grant.trust.open(TrustMetadata.self, keys: [rootKey], threshold: 1, cryptography)
        let admission = try grant.admission.open(
            Admission.self, keys: trust.approverKeys.map(\.bytes), threshold: trust.approvalThreshold, cryptography)
        #expect(admission.node == node && admission.name == name && admission.cluster == cluster)
        chain = grant.certificateChain.map(\.bytes)
        facts = try certificates.validate(chain: chain, roots: [trust.rootCertificate.bytes], time: now)
        #expect(facts?.spiffeID == spiffeID && facts?.publicKey == identityKey)
    }

    func heartbeat(
        at wall: WallTime, applied: Int64 = 0, hash: [UInt8]? = nil, record: SignedEnvelope? = nil
    ) -> HTTPRequest {
        beat += 1
        let body = ControlAPI.Heartbeat(
            sequence: beat, appliedVersion: applied, appliedHash: hash.map { Blob($0) }, peersUp: 0,
            clockMilliseconds: wall.nanoseconds / 1_000_000,
            record: record)
        return HTTPRequest(.post, "/v1/node/heartbeat", body: JSON.encodeOwn(body))
    }

    func updates(snapshot: Int64 = 0, records: Int64 = 0, trust: Int64 = 1, wait: Int = 0) -> HTTPRequest {
        HTTPRequest(
            .get, "/v1/node/updates",
            query: [
                .init("snapshot", "\(snapshot)"), .init("records", "\(records)"), .init("trust", "\(trust)"),
                .init("wait", "\(wait)"),
            ])
    }

    func record(sequence: Int64, endpoint: String = "192.0.2.1:51820", lifetime: Int64 = 600) throws -> SignedEnvelope {
        try SignedEnvelope.sign(
            PeerRecord(
                cluster: cluster, node: node, sequence: sequence, endpoints: [Endpoint(endpoint)!],
                lifetimeSeconds: lifetime), seeds: [identitySeed], cryptography)
    }
}
