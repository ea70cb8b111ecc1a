import FabricControl
import FabricCore
import FabricDocument
import FabricOperator
import FabricWire
import Testing

@Suite("Nodes")
struct NodeTests {
    private func fabric(_ names: [String], _ bench: Bench) throws -> [TestHost] {
        try bench.activateCluster()
        let (token, _) = try bench.makeToken()
        let hosts = try names.map { try bench.join($0, token) }
        bench.advance(.seconds(1))
        return hosts
    }

    @Test func `a node's call needs its own, current certificate`() throws {
        let bench = try Bench()
        let host = try fabric(["node"], bench)[0]
        let facts = try #require(host.facts)
        func refusal(_ change: (inout CertificateFacts) -> Void) throws -> Problem.Code? {
            var facts = facts
            change(&facts)
            return try bench.refusal(host.heartbeat(at: bench.now.wall), peer: facts)
        }
        #expect(try bench.refusal(host.heartbeat(at: bench.now.wall)) == .unauthenticated)
        #expect(try refusal { $0.spiffeID = FabricIdentifier.control } == .unauthenticated)
        #expect(try refusal { $0.spiffeID = FabricIdentifier.node(NodeID("ab")!, in: host.cluster) } == .forbidden)
        #expect(try refusal { $0.spiffeID = FabricIdentifier.node(host.node, in: ClusterID("beta")!) } == .forbidden)
        #expect(try refusal { $0.serial = [1, 2, 3] } == .certificateReplaced)
        #expect(try refusal { $0.publicKey[0] ^= 1 } == .forbidden)
        #expect(try refusal { _ in } == nil)
        bench.advance(.seconds(97 * 3600))
        #expect(try refusal { _ in } == .unauthenticated, "the certificate has expired, the connection has not")
    }

    @Test func `a client's chain is checked up to its cluster's root`() throws {
        let bench = try Bench()
        let host = try fabric(["node"], bench)[0]
        #expect(try bench.service.plane.verifyClient(chain: host.chain, now: bench.now) == host.facts)
        #expect(throws: CertificateError.self) {
            try bench.service.plane.verifyClient(chain: [host.chain[0]], now: bench.now)
        }
        #expect(throws: CertificateError.self) { try bench.service.plane.verifyClient(chain: [], now: bench.now) }
        // Another authority that calls itself by the cluster's name.
        let forged = try bench.person.makeCluster(host.cluster, random: bench.random, now: bench.now.wall)
        let leaf = try bench.certificates.issueLeaf(
            issuer: forged.rootCertificate.bytes, issuerSeed: forged.rootSeed.bytes, publicKey: host.identityKey,
            spiffeID: host.spiffeID, dnsNames: [], serial: [1], validity: host.facts!.validity)
        #expect(throws: CertificateError.self) {
            try bench.service.plane.verifyClient(chain: [leaf, forged.rootCertificate.bytes], now: bench.now)
        }
    }

    @Test func `certificates rotate, the one before stays good, the one before that does not`() throws {
        let bench = try Bench()
        let host = try fabric(["node"], bench)[0]
        func renew(as caller: CertificateFacts? = nil) throws -> CertificateFacts {
            let body = ControlAPI.CertificateRenewal(
                certificateRequest: Blob(
                    try bench.certificates.makeRequest(seed: host.identitySeed, spiffeID: host.spiffeID)))
            let reply = try bench.reply(
                HTTPRequest(.post, "/v1/node/certificate", body: JSON.encodeOwn(body)), peer: caller ?? host.facts)
            let chain = try JSON.decode(ControlAPI.RenewedCertificate.self, from: reply.body).certificateChain.map(
                \.bytes)
            return try bench.certificates.validate(
                chain: chain, roots: [bench.cluster.rootCertificate.bytes], time: bench.now.wall)
        }
        let first = try #require(host.facts)
        #expect(first.validity.upperBound - first.validity.lowerBound >= .seconds(72 * 3600))
        bench.advance(.seconds(60 * 3600))
        // Answers that are lost again and again must not cut the node off.
        for _ in 0..<2 {
            _ = try renew()
            bench.advance(.seconds(61))
        }
        let second = try renew()
        #expect(try renew().serial == second.serial, "asked for again at once, it is the same")
        #expect(second.serial != first.serial && second.publicKey == first.publicKey)
        #expect(second.validity.upperBound > first.validity.upperBound)
        #expect(try bench.refusal(host.heartbeat(at: bench.now.wall), peer: first) == nil)
        host.facts = second
        bench.advance(.seconds(61))
        let third = try renew()
        #expect(try bench.refusal(host.heartbeat(at: bench.now.wall), peer: second) == nil)
        #expect(try bench.refusal(host.heartbeat(at: bench.now.wall), peer: third) == nil)
        #expect(try bench.refusal(host.heartbeat(at: bench.now.wall), peer: first) == .certificateReplaced)
        let rotations = { try bench.audit().filter { $0.event == "node certificate rotated" }.map(\.detail) }
        #expect(try rotations().count == 4)
        // A host whose disk was restored holds the first one still: it serves to fetch another, which the audit tells.
        bench.advance(.seconds(61))
        let fourth = try renew(as: first)
        #expect(try rotations().count == 5)
        #expect(try rotations().last?.contains("restored or copied") == true)
        #expect(try bench.refusal(host.heartbeat(at: bench.now.wall), peer: fourth) == nil)
        #expect(try bench.refusal(host.heartbeat(at: bench.now.wall), peer: third) == nil)
        #expect(try bench.refusal(host.heartbeat(at: bench.now.wall), peer: second) == .certificateReplaced)
    }

    @Test func `a renewal is for the same key and name only`() throws {
        let bench = try Bench()
        let host = try fabric(["node"], bench)[0]
        for (seed, name) in [
            (bench.random.bytes(32), host.spiffeID),
            (host.identitySeed, FabricIdentifier.node(NodeID("ab")!, in: host.cluster)),
            (host.identitySeed, FabricIdentifier.authority(host.cluster)),
        ] {
            let body = ControlAPI.CertificateRenewal(
                certificateRequest: Blob(try bench.certificates.makeRequest(seed: seed, spiffeID: name)))
            let request = HTTPRequest(.post, "/v1/node/certificate", body: JSON.encodeOwn(body))
            #expect(try bench.refusal(request, peer: host.facts) == .requestUnacceptable)
        }
    }

    @Test func `a silent node is offline after three missed heartbeats, and online again with the next`() throws {
        let bench = try Bench { $0.reportAuditInterval = .zero }
        let host = try fabric(["node"], bench)[0]
        func health() throws -> String { try bench.ask(bench.calls.node(host.node, in: host.cluster)).health }
        #expect(try health() == "new")
        for _ in 0..<5 {
            #expect(try bench.refusal(host.heartbeat(at: bench.now.wall), peer: host.facts) == nil)
            bench.advance(.seconds(15))
        }
        // A jump of the control plane's own wall clock makes nobody silent.
        bench.now.wall = bench.now.wall + .seconds(600)
        bench.advance(.seconds(20))
        #expect(try health() == "online")
        bench.advance(.seconds(16))
        #expect(try health() == "offline")
        #expect(try bench.refusal(host.heartbeat(at: bench.now.wall), peer: host.facts) == nil)
        #expect(try health() == "online")
        let details = try bench.audit().filter { $0.event == "node health changed" }.map(\.detail)
        #expect(details == ["new → online", "online → offline: 3 heartbeats missing", "offline → online"])
        try bench.restart()
        bench.advance(.seconds(61))
        #expect(try health() == "offline", "a restarted control plane watches those who were online")
    }

    @Test func `a disabled node is refused, its parked request included, and its neighbours forget it`() throws {
        let bench = try Bench()
        let hosts = try fabric(["a", "b", "c"], bench)
        let versions = try hosts.map { try bench.snapshot(of: $0).version }
        let parked = bench.send(hosts[0].updates(snapshot: versions[0], wait: 60), peer: hosts[0].facts)
        #expect(bench.replies[parked] == nil)
        let cluster = bench.cluster.cluster
        #expect(try bench.ask(bench.calls.disable(hosts[0].node, in: cluster)).membership == "disabled")
        #expect(try Bench.refusal(try #require(bench.replies[parked])) == .nodeDisabled)
        #expect(try bench.refusal(hosts[0].heartbeat(at: bench.now.wall), peer: hosts[0].facts) == .nodeDisabled)
        bench.advance(.seconds(1))
        let after = try bench.snapshot(of: hosts[1])
        #expect(after.version == versions[1] + 1)
        #expect(after.domains.allSatisfy { $0.peers == [hosts[2].node] } && after.members.count == 1)
        _ = try bench.ask(bench.calls.disable(hosts[0].node, in: cluster))
        #expect(try bench.ask(bench.calls.enable(hosts[0].node, in: cluster)).tunnelKeys.count == 2)
        bench.advance(.seconds(1))
        #expect(try bench.snapshot(of: hosts[1]).members.count == 2)
        #expect(try bench.refusal(hosts[0].heartbeat(at: bench.now.wall), peer: hosts[0].facts) == nil)
    }

    @Test func `a peer record wakes the peers, and a stale one changes nothing`() throws {
        let bench = try Bench()
        let hosts = try fabric(["a", "b"], bench)
        let version = try bench.snapshot(of: hosts[1]).version
        func beat(_ record: SignedEnvelope) throws -> HTTPReply {
            try bench.reply(hosts[0].heartbeat(at: bench.now.wall, record: record), peer: hosts[0].facts)
        }
        let parked = bench.send(hosts[1].updates(snapshot: version, wait: 60), peer: hosts[1].facts)
        #expect(try beat(try hosts[0].record(sequence: 5)).isSuccess)
        let woken = try JSON.decode(ControlAPI.Updates.self, from: try #require(bench.replies[parked]).body)
        #expect(woken.records.count == 1 && woken.snapshot == nil)
        let stale = try JSON.decode(
            ControlAPI.HeartbeatReply.self, from: try beat(try hosts[0].record(sequence: 4)).body)
        #expect(stale.recordSequence == 5)
        #expect(try bench.updates(of: hosts[1], snapshot: version, records: woken.recordsVersion).records == [])
        #expect(try beat(try hosts[0].record(sequence: 6, endpoint: "[2001:db8::1]:1")).isSuccess)
        let newer = try bench.updates(of: hosts[1], snapshot: version, records: woken.recordsVersion)
        #expect(try newer.records.map { try $0.unverified(PeerRecord.self).sequence } == [6])
        // A count from before a restore of the database starts anew.
        #expect(try bench.updates(of: hosts[1], snapshot: version, records: 900).recordsVersion == newer.recordsVersion)
        bench.advance(.seconds(601))
        #expect(try bench.updates(of: hosts[1], snapshot: version).records == [], "the record has expired")
    }

    @Test func `a renewed record wakes nobody, unless the former one is about to expire`() throws {
        let bench = try Bench()
        let hosts = try fabric(["a", "b"], bench)
        let version = try bench.snapshot(of: hosts[1]).version
        func beat(_ sequence: Int64) throws {
            let record = try hosts[0].record(sequence: sequence)
            let beat = hosts[0].heartbeat(at: bench.now.wall, record: record)
            #expect(try bench.reply(beat, peer: hosts[0].facts).isSuccess)
        }
        try beat(1)
        let first = try bench.updates(of: hosts[1], snapshot: version)
        func park(_ records: Int64) -> UInt64 {
            bench.send(hosts[1].updates(snapshot: version, records: records, wait: 60), peer: hosts[1].facts)
        }
        let unwoken = park(first.recordsVersion)
        try beat(2)
        #expect(bench.replies[unwoken] == nil)
        // Whoever asks, hears of it.
        let next = try bench.updates(of: hosts[1], snapshot: version, records: first.recordsVersion)
        #expect(try next.records.map { try $0.unverified(PeerRecord.self).sequence } == [2])
        bench.advance(.seconds(541))
        let woken = park(next.recordsVersion)
        try beat(3)
        #expect(bench.replies[woken] != nil)
    }

    @Test func `a record that the node did not sign, or that is not its own, is refused`() throws {
        let bench = try Bench()
        let hosts = try fabric(["a", "b"], bench)
        func refusal(_ record: SignedEnvelope) throws -> Problem.Code? {
            try bench.refusal(hosts[0].heartbeat(at: bench.now.wall, record: record), peer: hosts[0].facts)
        }
        #expect(try refusal(try hosts[1].record(sequence: 1)) == .requestUnacceptable)
        var forged = try hosts[0].record(sequence: 1)
        forged.payload.bytes[0] ^= 1
        #expect(try refusal(forged) == .requestUnacceptable)
        let foreign = PeerRecord(
            cluster: hosts[0].cluster, node: hosts[1].node, sequence: 1, endpoints: [], lifetimeSeconds: 60)
        #expect(
            try refusal(try SignedEnvelope.sign(foreign, seeds: [hosts[0].identitySeed], bench.cryptography))
                == .requestUnacceptable)
        var large = try hosts[0].record(sequence: 1)
        large.signatures = Array(repeating: large.signatures[0], count: 9)
        #expect(try refusal(large) == .tooLarge)
        let wide = PeerRecord(
            cluster: hosts[0].cluster, node: hosts[0].node, sequence: 1,
            endpoints: Array(repeating: Endpoint("192.0.2.1:1")!, count: 5), lifetimeSeconds: 60)
        #expect(
            try refusal(try SignedEnvelope.sign(wide, seeds: [hosts[0].identitySeed], bench.cryptography))
                == .requestUnacceptable)
    }
}
