import FabricCore
import FabricDocument
import FabricMesh
import FabricOperator
import FabricTestSupport
import FabricTunnel
import FabricWire
import Testing

@testable import FabricNode

/// Two members, of which one is offered snapshots that the test signs: the operator has added the test's key.
struct Forge {
    let bench: NodeBench
    let host: NodeHost
    let peer: NodeHost
    static let seed = [UInt8](repeating: 0x5A, count: 32)
    static let strangerSeed = [UInt8](repeating: 0xA5, count: 32)

    init() throws {
        bench = try NodeBench()
        (host, peer) = try bench.joinPair()
        var trust = try #require(host.agent.trust)
        trust.version += 1
        trust.snapshotKeys.append(Blob(try bench.cryptography.ed25519PublicKey(seed: Self.seed)))
        let envelope = try bench.person.sign(trust, for: &bench.cluster)
        try bench.offer(.init(snapshot: nil, records: [], recordsVersion: 0, trust: envelope), host)
        #expect(host.agent.trust == trust)
    }

    /// The next snapshot of the host, right in everything.
    func next() throws -> Snapshot {
        var snapshot = try #require(host.agent.snapshot)
        snapshot.version += 1
        snapshot.previousHash = host.agent.snapshotEnvelope!.payloadHash(bench.cryptography)
        return snapshot
    }

    func sign(_ snapshot: Snapshot, seed: [UInt8] = Forge.seed) throws -> SignedEnvelope {
        try .sign(snapshot, seeds: [seed], bench.cryptography)
    }

    func offer(_ envelope: SignedEnvelope) throws {
        try bench.offer(.init(snapshot: envelope, records: [], recordsVersion: 0, trust: nil), host)
    }

    func admission(
        of member: NodeHost, seed: [UInt8]? = nil, _ change: (inout Admission) throws -> Void
    ) throws -> SignedEnvelope {
        var admission = try #require(member.agent.membership).admission.unverified(Admission.self)
        try change(&admission)
        return try .sign(admission, seeds: [seed ?? bench.cluster.approverSeed.bytes], bench.cryptography)
    }
}

@Suite struct SnapshotTests {
    @Test func `a snapshot that follows is applied and made durable`() throws {
        let forge = try Forge()
        let next = try forge.next()
        try forge.offer(try forge.sign(next))
        #expect(forge.host.agent.snapshot == next)
        #expect(forge.host.refusedSnapshots.isEmpty)
        forge.bench.run(.milliseconds(10))
        #expect(forge.host.agent.durableSnapshotVersion == next.version)
    }

    struct Case: CustomTestStringConvertible {
        var testDescription: String
        /// What the report must say.
        var words: String
        var make: @Sendable (Forge, inout Snapshot) throws -> SignedEnvelope?
        init(
            _ name: String, _ words: String,
            _ make: @escaping @Sendable (Forge, inout Snapshot) throws -> SignedEnvelope?
        ) {
            (testDescription, self.words, self.make) = (name, words, make)
        }
    }

    static let cases = [
        Case("for another audience", "it is for node") { forge, next in
            next.audience = forge.peer.agent.nodeID!
            return nil
        },
        Case("of another cluster", "it is for cluster beta") { _, next in
            next.cluster = ClusterID("beta")!
            return nil
        },
        Case("of the same version", "is not newer than") { _, next in
            next.version -= 1
            return nil
        },
        Case("of an older version", "is not newer than") { _, next in
            next.version = 0
            return nil
        },
        Case("of an older term", "authority term 0 is older than 1") { _, next in
            next.authorityTerm = 0
            return nil
        },
        Case("that does not follow", "does not follow from") { _, next in
            next.previousHash = Blob([UInt8](repeating: 0, count: 32))
            return nil
        },
        Case("that follows nothing", "does not follow from") { _, next in
            next.previousHash = nil
            return nil
        },
        Case("signed by a stranger", "0 valid signature(s)") { forge, next in
            try forge.sign(next, seed: Forge.strangerSeed)
        },
        Case("signed by the approver", "0 valid signature(s)") { forge, next in
            try forge.sign(next, seed: forge.bench.cluster.approverSeed.bytes)
        },
        Case("with a bad signature", "0 valid signature(s)") { forge, next in
            var envelope = try forge.sign(next)
            envelope.signatures[0].sig.bytes[0] ^= 1
            return envelope
        },
        Case("of another type", "it is a application/vnd.rap.peer-record+json") { forge, next in
            var envelope = try forge.sign(next)
            envelope.payloadType = PeerRecord.payloadType
            return envelope
        },
        Case("with a peer that was not admitted", "peer stranger has no admission") { _, next in
            next.domains[0].peers.append(NodeID("stranger")!)
            return nil
        },
        Case("without the peer's admission", "has no admission") { _, next in
            next.members = []
            return nil
        },
        Case("with an admission of another cluster", "is for another cluster") { forge, next in
            next.members = [try forge.admission(of: forge.peer) { $0.cluster = ClusterID("beta")! }]
            return nil
        },
        Case("with an admission that no approver signed", "0 valid signature(s)") { forge, next in
            next.members = [try forge.admission(of: forge.peer, seed: Forge.seed) { $0.name = "x" }]
            return nil
        },
        Case("with an admission whose key does not make its id", "does not make that id") { forge, next in
            next.members = [
                try forge.admission(of: forge.peer) {
                    $0.identityKey = Blob(try forge.bench.cryptography.ed25519PublicKey(seed: Forge.seed))
                }
            ]
            return nil
        },
        Case("with more members than the limit", "members are more than") { _, next in
            next.members = Array(repeating: next.members[0], count: Snapshot.maximumMembers + 1)
            return nil
        },
        Case("that has expired", "it expired at") { forge, next in
            next.hardExpiry = forge.bench.now.wall.seconds - 3600
            return nil
        },
    ]

    @Test(arguments: cases) func `a snapshot that is not right is reported, and the old one kept`(_ wrong: Case) throws
    {
        let forge = try Forge()
        let (before, peers) = (forge.host.agent.snapshotEnvelope, forge.host.agent.peers.map(\.handle))
        var next = try forge.next()
        let envelope = try wrong.make(forge, &next) ?? forge.sign(next)
        try forge.offer(envelope)
        let reports = forge.host.refusedSnapshots
        #expect(reports.count == 1 && reports[0].contains(wrong.words), "\(reports)")
        #expect(forge.host.agent.snapshotEnvelope == before)
        #expect(forge.host.agent.peers.map(\.handle) == peers)
        #expect(forge.bench.isUp(forge.host))
        // The right one is taken after it.
        try forge.offer(try forge.sign(try forge.next()))
        #expect(forge.host.agent.snapshotEnvelope != before)
    }

    @Test func `as many members as may be, with the longest admissions and records, are taken, and read from disk`()
        throws
    {
        let forge = try Forge()
        let (bench, host) = (forge.bench, forge.host)
        func longest(_ index: Int, _ length: Int) -> String {
            String(repeating: "x", count: length - 3) + String(100 + index)
        }
        let domains =
            [RoutingDomainID.fabric] + (1..<TunnelKey.maximumDomains).map { RoutingDomainID(longest($0, 64))! }
        var next = try forge.next()
        next.members = []
        next.domains[0].peers = []
        var records: [SignedEnvelope] = []
        for index in 0..<Snapshot.maximumMembers {
            let seed = bench.random.bytes(32)
            let key = try bench.cryptography.ed25519PublicKey(seed: seed)
            let node = FabricIdentifier.nodeID(identityKey: key, bench.cryptography)
            var admission = try forge.admission(of: forge.peer) {
                $0.node = node
                $0.name = longest(index, ControlAPI.NewEnrolment.longestName)
                $0.identityKey = Blob(key)
                $0.tunnelKeys = domains.map { TunnelKey(domain: $0, publicKey: Blob(bench.random.bytes(32))) }
            }
            while admission.signatures.count < SignedEnvelope.maximumSignatures {
                var other = admission.signatures[0]
                other.keyid = Hex.encode(bench.random.bytes(32))
                admission.signatures.append(other)
            }
            next.members.append(admission)
            next.domains[0].peers.append(node)
            let endpoint = Endpoint("[2001:db8:ffff:ffff:ffff:ffff:ffff:\(100 + index)]:51820")!
            let record = PeerRecord(
                cluster: next.cluster, node: node, sequence: .max / 4,
                endpoints: Array(repeating: endpoint, count: PeerRecord.maximumEndpoints), lifetimeSeconds: 86_400)
            records.append(try .sign(record, seeds: [seed], bench.cryptography))
        }
        next.domains[0].peers.sort()
        let updates = ControlAPI.Updates(
            snapshot: try forge.sign(next), records: records, recordsVersion: 7, trust: nil)
        // More than documents have as a rule, and no more than a client reads.
        let bytes = JSON.encodeOwn(updates).count
        #expect(bytes > DocumentLimits.default.maximumBytes && bytes <= HTTPLimits.replyBody)
        try bench.offer(updates, host)
        #expect(host.refusedSnapshots.isEmpty)
        #expect(host.agent.peers.count == Snapshot.maximumMembers)
        #expect(host.agent.members.allSatisfy { $0.record?.endpoints.count == PeerRecord.maximumEndpoints })
        bench.run(.milliseconds(10))
        #expect(host.agent.durableSnapshotVersion == next.version)
        bench.isControlPlaneAway = true
        bench.reboot(host)
        #expect(host.refusedFiles.isEmpty && host.agent.snapshot == next)
        #expect(host.agent.peers.count == Snapshot.maximumMembers)
        #expect(host.agent.members.allSatisfy { $0.record != nil })
    }

    @Test func `a higher term needs no chain, and versions may be skipped`() throws {
        let forge = try Forge()
        var next = try forge.next()
        next.version += 5
        next.previousHash = nil
        try forge.offer(try forge.sign(next))
        #expect(forge.host.agent.snapshot == next)
        next = try forge.next()
        next.authorityTerm += 1
        next.previousHash = nil
        try forge.offer(try forge.sign(next))
        #expect(forge.host.agent.snapshot == next)
        #expect(forge.host.refusedSnapshots.isEmpty)
    }

    @Test func `a peer that leaves loses its tunnel, and those that stay keep theirs`() throws {
        let forge = try Forge()
        let third = try forge.bench.join("c")
        try #require(forge.bench.run { forge.host.agent.peers.count == 2 && forge.bench.isUp(forge.host) })
        let staying = forge.host.agent.peers.first { $0.node == third.agent.nodeID }!.handle
        var next = try forge.next()
        next.domains[0].peers.removeAll { $0 == forge.peer.agent.nodeID }
        try forge.offer(try forge.sign(next))
        #expect(forge.host.agent.peers.map(\.handle) == [staying])
        let sent = forge.host.sent.count
        forge.bench.inject(Packets.udp(from: forge.host, to: forge.peer, [1]), forge.host)
        #expect(forge.host.sent.count == sent)
        #expect(forge.host.interfaces[0].routes.count == 1)
        #expect(forge.bench.isUp(forge.host))
    }

    @Test func `a peer that is named twice is one peer`() throws {
        let forge = try Forge()
        var next = try forge.next()
        next.domains[0].peers += next.domains[0].peers
        next.domains.append(next.domains[0])
        next.members += next.members
        try forge.offer(try forge.sign(next))
        #expect(forge.host.agent.peers.count == 1)
        #expect(forge.bench.isUp(forge.host))
    }

    @Test func `a peer that was admitted anew with another tunnel key gets a new tunnel`() throws {
        let forge = try Forge()
        let before = forge.host.agent.peers[0].handle
        let key = try forge.bench.cryptography.x25519PublicKey(privateKey: [UInt8](repeating: 3, count: 32))
        var next = try forge.next()
        next.members = [try forge.admission(of: forge.peer) { $0.tunnelKeys[0].publicKey = Blob(key) }]
        try forge.offer(try forge.sign(next))
        let peers = forge.host.agent.peers
        #expect(peers.count == 1 && peers[0].handle != before)
        #expect(forge.host.agent.tunnels.publicKey(of: peers[0].handle) == key)
    }

    @Test func `a stored snapshot that does not prove true is reported, and another one fetched`() throws {
        let forge = try Forge()
        let stored = SnapshotState(
            snapshot: try forge.sign(try forge.next(), seed: Forge.strangerSeed), records: [])
        let host = forge.host
        forge.bench.reboot(host, starts: false)
        host.setFile(.snapshot, StateFrame.seal(stored, forge.bench.cryptography))
        forge.bench.start(host)
        #expect(host.refusedSnapshots.count == 1)
        #expect(host.agent.phase == .active && host.agent.snapshot == nil)
        #expect(forge.bench.run(until: { forge.bench.isUp(host) }, limit: .seconds(20)))
    }

    // MARK: Trust

    @Test func `trust metadata that is older, of another cluster or not signed by the root changes nothing`() throws {
        let forge = try Forge()
        let bench = forge.bench
        let known = try #require(forge.host.agent.trust)
        let root = bench.cluster.rootSeed.bytes
        func offer(_ seed: [UInt8], _ change: (inout TrustMetadata) -> Void) throws {
            var trust = known
            trust.version += 1
            change(&trust)
            let envelope = try SignedEnvelope.sign(trust, seeds: [seed], bench.cryptography)
            try bench.offer(.init(snapshot: nil, records: [], recordsVersion: 0, trust: envelope), forge.host)
            #expect(forge.host.agent.trust == known)
        }
        try offer(root) { $0.version = 1 }
        #expect(forge.host.refusedSnapshots.isEmpty)
        try offer(Forge.seed) { _ in }
        try offer(root) { $0.cluster = ClusterID("beta")! }
        try offer(root) { $0.approvalThreshold = 0 }
        try offer(root) { $0.rootCertificate.bytes[40] ^= 1 }
        try offer(root) { $0.approverKeys = Array(repeating: $0.approverKeys[0], count: 33) }
        #expect(forge.host.refusedSnapshots.count == 5)
        forge.bench.run(.milliseconds(100))
        forge.bench.reboot(forge.host)
        #expect(forge.host.agent.trust == known)
    }

    // MARK: Fuzz

    @Test func `mutated answers of the control plane never trap`() throws {
        let forge = try Forge()
        let (bench, host) = (forge.bench, forge.host)
        let grant = ControlAPI.Grant(
            admission: host.agent.membership!.admission, trust: host.agent.membership!.trust,
            certificateChain: host.agent.membership!.certificateChain)
        let record = forge.peer.agent.ownRecord!
        let corpus = [
            JSON.encodeOwn(
                ControlAPI.Updates(
                    snapshot: try forge.sign(try forge.next()), records: [record], recordsVersion: 7,
                    trust: host.agent.membership!.trust)),
            JSON.encodeOwn(
                ControlAPI.HeartbeatReply(
                    snapshotVersion: 3, clockMilliseconds: 1_800_000_000_000, intervalSeconds: 15, recordSequence: 12)),
            JSON.encodeOwn(ControlAPI.RenewedCertificate(certificateChain: grant.certificateChain)),
            JSON.encodeOwn(ControlAPI.EnrolmentStatus(status: "approved", grant: grant)),
            JSON.encodeOwn(
                ControlAPI.Challenge(
                    request: JoinRequestID("r1")!, challengeKey: Blob([UInt8](repeating: 9, count: 32)))),
            Problem(.notFound, "none").reply.body,
        ]
        let statuses = [200, 204, 404, 503]
        let token = try bench.makeToken().token
        let stranger = bench.addHost("stranger", token: token)
        stranger.setFile(.identity, StateFrame.seal(forge.peer.agent.identity, bench.cryptography))
        bench.start(stranger)
        var count = 0
        try Fuzz.run(corpus: corpus, seed: 81, iterations: 700) { bytes in
            count += 1
            let reply = HTTPReply(status: statuses[count % 16 < 12 ? 0 : count % 4], body: bytes)
            // Each is taken for the answer to every request that is under way.
            host.agent.certificateRenewalAt = .init(seconds: 0)
            host.agent.heartbeatCall.schedule(at: .zero)
            host.agent.updatesCall.schedule(at: .zero)
            bench.wake(host)
            for call in [host.agent.heartbeatCall, host.agent.updatesCall, host.agent.renewalCall] {
                if let number = call.outstanding { bench.tell(host, .replied(number, reply)) }
            }
            if stranger.agent.enrolmentCall.outstanding == nil { bench.wake(stranger) }
            if let number = stranger.agent.enrolmentCall.outstanding { bench.tell(stranger, .replied(number, reply)) }
            if case .refused = stranger.agent.phase { bench.reboot(stranger) }
            if stranger.agent.phase == .active { bench.reboot(stranger) }
        }
        #expect(host.agent.phase == .active)
        bench.reboot(stranger, starts: false)
        #expect(bench.run(until: { bench.isUp(host) }, limit: .seconds(60)))
    }

    @Test func `a control plane's clock far ahead raises the time floor no further than the certificate lives`() throws
    {
        let bench = try NodeBench()
        let host = try bench.join("a")
        try #require(bench.run { host.agent.heartbeatCall.outstanding != nil })
        let centuryAhead = bench.time(of: host).wall.nanoseconds / 1_000_000 + 3_155_760_000_000
        let answer = ControlAPI.HeartbeatReply(
            snapshotVersion: 0, clockMilliseconds: centuryAhead, intervalSeconds: 15, recordSequence: nil)
        let number = try #require(host.agent.heartbeatCall.outstanding)
        bench.tell(host, .replied(number, HTTPReply(status: 200, body: JSON.encodeOwn(answer))))
        let notAfter = try #require(host.agent.certificateNotAfter)
        #expect(host.agent.floors.wallNanoseconds > bench.time(of: host).wall.nanoseconds)
        #expect(host.agent.floors.wallNanoseconds < notAfter.nanoseconds)
    }

    @Test(arguments: [Int64.min, -1, 0, 1, .max]) func `extreme numbers in a heartbeat's answer never trap`(
        _ extreme: Int64
    )
        throws
    {
        let bench = try NodeBench()
        let host = try bench.join("a")
        for clock in [extreme, 1_800_000_000_000] {
            for interval in [extreme, 15] {
                let answer = ControlAPI.HeartbeatReply(
                    snapshotVersion: extreme, clockMilliseconds: clock, intervalSeconds: interval,
                    recordSequence: extreme)
                try #require(bench.run { host.agent.heartbeatCall.outstanding != nil })
                bench.tell(
                    host,
                    .replied(
                        host.agent.heartbeatCall.outstanding!, HTTPReply(status: 200, body: JSON.encodeOwn(answer))))
                let due = try #require(host.agent.heartbeatCall.due) - bench.time(of: host).monotonic
                #expect((Duration.milliseconds(40)...Duration.seconds(3600)).contains(due))
                // Bring it near, whatever was asked for.
                host.agent.heartbeatCall.schedule(at: bench.time(of: host).monotonic)
            }
        }
    }
}
