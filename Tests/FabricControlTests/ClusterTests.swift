import FabricControl
import FabricCore
import FabricDocument
import FabricOperator
import FabricWire
import Testing

@Suite("Clusters and trust")
struct ClusterTests {
    @Test func `a cluster's wish may be repeated, and changed contents are a conflict`() throws {
        let bench = try Bench()
        let body = bench.person.newCluster(bench.cluster, name: "Alpha", peerDegree: 4)
        let keys = try bench.ask(bench.calls.create(body))
        #expect(try bench.ask(bench.calls.create(body)) == keys)
        #expect(try bench.ask(bench.calls.keys(body.id)) == keys)
        var other = body
        other.peerDegree = 6
        #expect(try bench.refusal(bench.calls.create(other).request) == .conflict)
        #expect(try bench.ask(bench.calls.cluster(body.id)).status == "preparing")
    }

    @Test(arguments: [-2, 0, 1, 3, 66, Int.max])
    func `a peer degree is even and bounded`(degree: Int) throws {
        let bench = try Bench()
        let body = bench.person.newCluster(bench.cluster, name: "Alpha", peerDegree: degree)
        #expect(try bench.refusal(bench.calls.create(body).request) == .malformedRequest)
    }

    @Test func `a root of another trust domain, a leaf and noise are no root`() throws {
        let bench = try Bench()
        var body = bench.person.newCluster(bench.cluster, name: "Alpha", peerDegree: 4)
        body.rootCertificate = try bench.person.makeCluster(
            ClusterID("beta")!, random: bench.random, now: bench.now.wall
        ).rootCertificate
        #expect(try bench.refusal(bench.calls.create(body).request) == .requestUnacceptable)
        body.rootCertificate = Blob(bench.random.bytes(300))
        #expect(try bench.refusal(bench.calls.create(body).request) == .requestUnacceptable)
        let seed = bench.random.bytes(32)
        body.rootCertificate = Blob(
            try bench.certificates.issueLeaf(
                issuer: bench.cluster.rootCertificate.bytes, issuerSeed: bench.cluster.rootSeed.bytes,
                publicKey: try bench.cryptography.ed25519PublicKey(seed: seed),
                spiffeID: FabricIdentifier.node(NodeID("ab")!, in: bench.cluster.cluster), dnsNames: [], serial: [1],
                validity: bench.now.wall..<bench.now.wall + .seconds(60)))
        #expect(try bench.refusal(bench.calls.create(body).request) == .requestUnacceptable)
    }

    @Test func `nothing is issued before the trust is set`() throws {
        let bench = try Bench()
        _ = try bench.ask(bench.calls.create(bench.person.newCluster(bench.cluster, name: "Alpha", peerDegree: 4)))
        let view = try bench.ask(bench.calls.cluster(bench.cluster.cluster))
        let (_, body) = try bench.person.makeToken(
            name: "t", maximumUses: 1, lifetime: .seconds(60), scope: .init(domains: [.fabric]), for: view,
            of: bench.cluster, random: bench.random)
        #expect(try bench.refusal(bench.calls.create(body, in: view.id).request) == .conflict)
    }

    @Test func `trust must be signed by the root, for this cluster, for this control plane's keys, and sound`() throws {
        let bench = try Bench()
        let cluster = bench.cluster.cluster
        let keys = try bench.ask(
            bench.calls.create(bench.person.newCluster(bench.cluster, name: "Alpha", peerDegree: 4)))
        let good = try bench.person.signTrust(keys, for: &bench.cluster, random: bench.random, now: bench.now.wall)
        let metadata = try good.metadata.unverified(TrustMetadata.self)
        func refusal(
            _ issuing: Blob? = nil, seed: Blob? = nil, _ change: (inout TrustMetadata) -> Void = { _ in }
        ) throws -> Problem.Code? {
            var metadata = metadata
            change(&metadata)
            let envelope = try SignedEnvelope.sign(
                metadata, seeds: [(seed ?? bench.cluster.rootSeed).bytes], bench.cryptography)
            let trust = ControlAPI.ClusterTrust(
                metadata: envelope, issuingCertificate: issuing ?? good.issuingCertificate)
            return try bench.refusal(bench.calls.setTrust(trust, of: cluster).request)
        }
        #expect(try refusal(seed: bench.cluster.approverSeed) == .requestUnacceptable)
        #expect(try refusal { $0.cluster = ClusterID("beta")! } == .requestUnacceptable)
        #expect(try refusal { $0.version = 0 } == .requestUnacceptable)
        #expect(try refusal { $0.rootCertificate.bytes[40] ^= 1 } == .requestUnacceptable)
        #expect(try refusal { $0.approverKeys = [] } == .requestUnacceptable)
        #expect(try refusal { $0.approverKeys.append($0.approverKeys[0]) } == .requestUnacceptable)
        #expect(try refusal { $0.approvalThreshold = 2 } == .requestUnacceptable)
        #expect(try refusal { $0.approvalThreshold = 0 } == .requestUnacceptable)
        #expect(try refusal { $0.snapshotKeys = $0.approverKeys } == .requestUnacceptable)
        // Issuing certificates: the root itself, one for another key, one of another root.
        #expect(try refusal(bench.cluster.rootCertificate) == .requestUnacceptable)
        let request = try bench.certificates.makeRequest(
            seed: bench.random.bytes(32), spiffeID: FabricIdentifier.authority(cluster))
        let validity = bench.now.wall..<bench.now.wall + .seconds(1000)
        let foreignKey = try bench.certificates.issueAuthority(
            issuer: bench.cluster.rootCertificate.bytes, issuerSeed: bench.cluster.rootSeed.bytes, request: request,
            serial: [1], validity: validity)
        #expect(try refusal(Blob(foreignKey)) == .requestUnacceptable)
        let other = try bench.person.makeCluster(cluster, random: bench.random, now: bench.now.wall)
        let foreignRoot = try bench.certificates.issueAuthority(
            issuer: other.rootCertificate.bytes, issuerSeed: other.rootSeed.bytes, request: keys.issuingRequest.bytes,
            serial: [1], validity: validity)
        #expect(try refusal(Blob(foreignRoot)) == .requestUnacceptable)
        #expect(try refusal() == nil)
        #expect(try bench.ask(bench.calls.cluster(cluster)).status == "active")
        #expect(try refusal { $0.approverKeys = $0.snapshotKeys } == .conflict, "the version must grow")
    }

    @Test func `new approvers reach the nodes, and then only they admit`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        let (token, _) = try bench.makeToken()
        let member = try bench.join("member", token)
        bench.advance(.seconds(1))
        let version = try bench.snapshot(of: member).version
        let parked = bench.send(member.updates(snapshot: version, wait: 60), peer: member.facts)

        var metadata = try #require(bench.cluster.trust).unverified(TrustMetadata.self)
        let second = bench.random.bytes(32)
        metadata.version = 2
        metadata.approverKeys.append(Blob(try bench.cryptography.ed25519PublicKey(seed: second)))
        metadata.approvalThreshold = 2
        let issuing = try JSON.decode(
            ControlAPI.EnrolmentStatus.self, from: try bench.reply(member.status(token, wait: 0)).body
        ).grant!.certificateChain[1]
        let envelope = try bench.person.sign(metadata, for: &bench.cluster)
        _ = try bench.ask(
            bench.calls.setTrust(.init(metadata: envelope, issuingCertificate: issuing), of: bench.cluster.cluster))
        let updates = try JSON.decode(ControlAPI.Updates.self, from: try #require(bench.replies[parked]).body)
        #expect(updates.trust == envelope)

        let host = try bench.host("next")
        try bench.apply(host, token)
        let view = try bench.ask(bench.calls.joinRequest(host.request!, in: host.cluster))
        let alone = try bench.person.approve(view, in: bench.cluster, now: bench.now.wall)
        #expect(try bench.refusal(bench.calls.approve(view.id, in: host.cluster, alone).request) == .admissionInvalid)
        let admission = try alone.admission.unverified(Admission.self)
        let together = ControlAPI.Approval(
            admission: try SignedEnvelope.sign(
                admission, seeds: [bench.cluster.approverSeed.bytes, second], bench.cryptography))
        #expect(try bench.ask(bench.calls.approve(view.id, in: host.cluster, together)).status == "approved")
    }

    @Test func `an admission must be the approvers' own, for just this request`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        let (token, _) = try bench.makeToken()
        let host = try bench.host("node")
        try bench.apply(host, token)
        let view = try bench.ask(bench.calls.joinRequest(host.request!, in: host.cluster))
        let good = try bench.person.approve(view, in: bench.cluster, now: bench.now.wall).admission.unverified(
            Admission.self)
        func refusal(seed: [UInt8]? = nil, _ change: (inout Admission) -> Void = { _ in }) throws -> Problem.Code? {
            var admission = good
            change(&admission)
            let envelope = try SignedEnvelope.sign(
                admission, seeds: [seed ?? bench.cluster.approverSeed.bytes], bench.cryptography)
            return try bench.refusal(
                bench.calls.approve(view.id, in: host.cluster, .init(admission: envelope)).request)
        }
        #expect(try refusal(seed: bench.random.bytes(32)) == .admissionInvalid)
        #expect(try refusal(seed: bench.cluster.rootSeed.bytes) == .admissionInvalid)
        #expect(try refusal { $0.cluster = ClusterID("beta")! } == .admissionInvalid)
        #expect(try refusal { $0.node = NodeID("ab")! } == .admissionInvalid)
        #expect(try refusal { $0.name = "other" } == .admissionInvalid)
        #expect(try refusal { $0.identityKey.bytes[0] ^= 1 } == .admissionInvalid)
        #expect(try refusal { $0.tunnelKeys.removeLast() } == .admissionInvalid)
        #expect(try refusal { $0.tunnelKeys[0].publicKey.bytes[0] ^= 1 } == .admissionInvalid)
        #expect(try refusal() == nil)
    }

    @Test func `a host that has not proven its keys can't be approved`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        let (token, _) = try bench.makeToken()
        let host = try bench.host("node")
        let challenge = try JSON.decode(
            ControlAPI.Challenge.self, from: try bench.reply(try host.enrolment(token)).body)
        let view = try bench.ask(bench.calls.joinRequest(challenge.request, in: host.cluster))
        #expect(view.status == "proving")
        let approval = try bench.person.approve(view, in: bench.cluster, now: bench.now.wall)
        #expect(try bench.refusal(bench.calls.approve(view.id, in: host.cluster, approval).request) == .conflict)
    }

    @Test func `the operator's machine signs nothing that does not add up`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        let (token, _) = try bench.makeToken()
        let host = try bench.host("node")
        try bench.apply(host, token)
        var view = try bench.ask(bench.calls.joinRequest(host.request!, in: host.cluster))
        view.identityKey.bytes[0] ^= 1
        #expect(throws: OperatorError.self) { try bench.person.approve(view, in: bench.cluster, now: bench.now.wall) }
        var cluster = try bench.ask(bench.calls.cluster(host.cluster))
        cluster.rootPin.bytes[0] ^= 1
        #expect(throws: OperatorError.self) {
            try bench.person.makeToken(
                name: "t", maximumUses: 1, lifetime: .seconds(1), scope: .init(domains: [.fabric]), for: cluster,
                of: bench.cluster, random: bench.random)
        }
        var keys = try bench.ask(bench.calls.keys(host.cluster))
        keys.issuingRequest = Blob(
            try bench.certificates.makeRequest(seed: bench.random.bytes(32), spiffeID: host.spiffeID))
        #expect(throws: OperatorError.self) {
            try bench.person.signTrust(keys, for: &bench.cluster, random: bench.random, now: bench.now.wall)
        }
    }

    @Test func `the control plane's own identity keeps its root over restarts`() throws {
        let bench = try Bench()
        func identity(_ now: WallTime) throws -> ControlIdentity {
            try ControlIdentity(
                vault: bench.vault, certificates: bench.certificates, cryptography: bench.cryptography,
                random: bench.random, dnsNames: ["control.example"], now: now)
        }
        let first = try identity(bench.now.wall)
        let second = try identity(bench.now.wall + .seconds(80 * 86_400))
        #expect(first.pin == bench.controlPin && second.pin == first.pin && second.serverSeed == first.serverSeed)
        let facts = try bench.certificates.validate(
            chain: second.chain, roots: [first.rootCertificate], time: bench.now.wall + .seconds(100 * 86_400))
        #expect(facts.spiffeID == FabricIdentifier.control)
    }
}
