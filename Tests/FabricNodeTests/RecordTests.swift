import FabricCore
import FabricDocument
import FabricMesh
import FabricTunnel
import FabricWire
import Testing

@testable import FabricNode

/// Where a node is, as it tells the others.
@Suite struct RecordTests {
    func records(_ host: NodeHost, _ bench: NodeBench) throws -> [Int64?] {
        try host.heartbeats.map { bytes in
            try JSON.decode(ControlAPI.Heartbeat.self, from: bytes).record?.unverified(PeerRecord.self).sequence
        }
    }

    /// The control plane's answer to a heartbeat with another `recordSequence`.
    func telling(_ sequence: Int64?) -> NodeHost.Course {
        .rewriteAnswer { reply in
            guard var answer = try? JSON.decode(ControlAPI.HeartbeatReply.self, from: reply.body) else { return reply }
            answer.recordSequence = sequence
            return HTTPReply(status: 200, body: JSON.encodeOwn(answer))
        }
    }

    func isHeartbeat(_ request: HTTPRequest) -> Bool { request.path == "/v1/node/heartbeat" }

    @Test func `a record is sent until it is acknowledged, and then no more`() throws {
        let bench = try NodeBench()
        let host = bench.addHost("a", token: try bench.makeToken().token)
        var mute = 3
        host.course = { [self] request in
            guard isHeartbeat(request), mute > 0 else { return .pass }
            mute -= 1
            return telling(nil)
        }
        bench.start(host)
        try #require(bench.run { host.agent.phase == .active })
        bench.run(.seconds(100))
        let sent = try records(host, bench)
        let first = try #require(sent.first ?? nil)
        #expect(sent.prefix(4) == [first, first, first, first])
        #expect(sent.count > 5 && sent.dropFirst(4).allSatisfy { $0 == nil })
    }

    @Test func `a number below ours acknowledges nothing`() throws {
        let bench = try NodeBench()
        let host = try bench.join("a")
        bench.run(.seconds(20))
        host.course = { [self] in isHeartbeat($0) ? telling(3) : .pass }
        bench.tell(host, .endpointsChanged([Endpoint("203.0.113.1:1")!]))
        bench.run(.seconds(60))
        #expect(!host.agent.ownRecordAcknowledged)
        #expect(host.heartbeats.count < 15)
    }

    @Test func `a count that fell behind goes on from the control plane's, at once`() throws {
        let bench = try NodeBench()
        let (a, b) = try bench.joinPair()
        // The disk is restored from long ago, and so is the clock.
        let held = a.agent.ownRecordSequence
        a.clockError = .seconds(-5 * 86_400)
        bench.reboot(a, starts: false)
        a.setFile(.floors, nil)
        bench.start(a)
        #expect(a.agent.ownRecordSequence < held)
        bench.tell(a, .endpointsChanged([Endpoint("203.0.113.7:51820")!]))
        #expect(bench.run(until: { a.agent.ownRecordAcknowledged }, limit: .seconds(3)))
        #expect(a.agent.ownRecordSequence > held)
        // Its number was reserved before it was sent.
        let floors = try StateFrame.open(FloorsState.self, a.file(.floors)!, bench.cryptography)
        #expect(a.agent.ownRecordSequence < floors.recordSequence)
        let record = { b.agent.directory?.member(a.agent.nodeID!)?.record }
        #expect(bench.run(until: { record()?.sequence == a.agent.ownRecordSequence }, limit: .seconds(3)))
        #expect(record()?.endpoints == [Endpoint("203.0.113.7:51820")!])
    }

    @Test(arguments: [Int64.max, .max - 1, .max / 2, .min, -1, 0])
    func `absurd numbers are not followed`(_ absurd: Int64) throws {
        let bench = try NodeBench()
        let host = try bench.join("a")
        let own = host.agent.ownRecordSequence
        host.course = { [self] in isHeartbeat($0) ? telling(absurd) : .pass }
        bench.tell(host, .endpointsChanged([Endpoint("203.0.113.1:1")!]))
        bench.run(.seconds(120))
        #expect(host.agent.ownRecordSequence == own + 1)
    }

    @Test func `a record that changed while a heartbeat was under way does not wait for the interval`() throws {
        let bench = try NodeBench()
        let host = try bench.join("a")
        bench.run(.seconds(20))
        try #require(bench.run { host.agent.heartbeatCall.outstanding != nil })
        bench.tell(host, .endpointsChanged([Endpoint("203.0.113.1:1")!]))
        #expect(bench.run(until: { host.agent.ownRecordAcknowledged }, limit: .seconds(1)))
    }

    @Test func `when an address is gone, all that is under way is asked again at once over new connections`() throws {
        let bench = try NodeBench()
        let host = try bench.join("a")
        bench.run(.seconds(20))
        try #require(bench.run { host.agent.updatesCall.outstanding != nil })
        let old = host.agent.updatesCall.outstanding
        let updates = host.requests("/v1/node/updates")
        bench.tell(host, .endpointsChanged([Endpoint("203.0.113.1:1")!]))
        #expect(host.reconnects == 1)
        #expect(bench.run(until: { host.agent.ownRecordAcknowledged }, limit: .seconds(1)))
        #expect(host.requests("/v1/node/updates") == updates + 1)
        #expect(host.agent.updatesCall.outstanding != old)
        // The outcome of what was given up comes late, and disturbs nothing.
        bench.run(.seconds(70))
        #expect(host.agent.phase == .active && host.requests("/v1/node/updates") <= updates + 3)
    }

    @Test func `an address more ends no connection`() throws {
        let bench = try NodeBench()
        let host = try bench.join("a")
        bench.tell(host, .endpointsChanged([host.endpoint, Endpoint("203.0.113.1:1")!]))
        bench.tell(host, .endpointsChanged([Endpoint("203.0.113.1:1")!, host.endpoint]))
        #expect(host.reconnects == 0)
        bench.tell(host, .endpointsChanged([host.endpoint]))
        #expect(host.reconnects == 1)
    }

    @Test func `an enrolment goes on when the address changes in its middle`() throws {
        let bench = try NodeBench()
        let host = bench.addHost("a", token: try bench.makeToken().token)
        bench.start(host)
        for index in 1...6 {
            bench.run(.milliseconds(7))
            bench.tell(host, .endpointsChanged([Endpoint("203.0.113.\(index):1")!]))
        }
        #expect(bench.run { host.agent.phase == .active })
        #expect(try bench.joinRequests().count == 1)
    }

    @Test func `records are told again at half of their life, with a higher number`() throws {
        let bench = try NodeBench()
        let host = try bench.join("a")
        bench.run(.seconds(700))
        let sent = try records(host, bench).compactMap { $0 }
        #expect((2...4).contains(sent.count))
        #expect(sent == sent.sorted() && Set(sent).count == sent.count)
    }

    // MARK: Peers' records

    struct Case: CustomTestStringConvertible {
        var testDescription: String
        var change: @Sendable (inout PeerRecord) -> Void = { _ in }
        var tamper: @Sendable (inout SignedEnvelope) -> Void = { _ in }
        var isReported = true
    }

    static let cases = [
        Case(testDescription: "older", change: { $0.sequence -= 2 }, isReported: false),
        Case(testDescription: "the same number", change: { $0.sequence -= 1 }, isReported: false),
        Case(testDescription: "of another cluster", change: { $0.cluster = ClusterID("beta")! }),
        Case(testDescription: "of a stranger", change: { $0.node = NodeID("stranger")! }, isReported: false),
        Case(
            testDescription: "too many endpoints",
            change: { $0.endpoints = Array(repeating: $0.endpoints[0], count: PeerRecord.maximumEndpoints + 1) }),
        Case(testDescription: "a bad signature", tamper: { $0.signatures[0].sig.bytes[5] ^= 1 }),
        Case(testDescription: "no signature", tamper: { $0.signatures = [] }),
        Case(testDescription: "another payload", tamper: { $0.payload.bytes[10] ^= 1 }),
        Case(testDescription: "another type", tamper: { $0.payloadType = Snapshot.payloadType }),
        Case(
            testDescription: "larger than the limit",
            tamper: { $0.signatures += Array(repeating: $0.signatures[0], count: 8) }),
    ]

    @Test(arguments: cases) func `a peer's record that is not right is refused, and the old one kept`(_ wrong: Case)
        throws
    {
        let bench = try NodeBench()
        let (a, b) = try bench.joinPair()
        let known = try #require(a.agent.directory?.member(b.agent.nodeID!)?.record)
        var record = known
        record.sequence += 1
        record.endpoints = [Endpoint("203.0.113.9:9")!]
        wrong.change(&record)
        var envelope = try SignedEnvelope.sign(
            record, seeds: [b.agent.identity!.identitySeed.bytes], bench.cryptography)
        wrong.tamper(&envelope)
        try bench.offer(.init(snapshot: nil, records: [envelope], recordsVersion: 99, trust: nil), a)
        #expect(a.agent.directory?.member(b.agent.nodeID!)?.record == known)
        #expect(a.agent.tunnelStatus(a.agent.peers[0])?.endpoint == b.endpoint)
        let reported = a.reports.contains { if case .recordRefused = $0 { true } else { false } }
        #expect(reported == wrong.isReported)
    }

    /// A record of `peer` with these endpoints, newer than what `host` knows, and offered to it.
    func tell(_ endpoints: [String], of peer: NodeHost, to host: NodeHost, _ bench: NodeBench) throws -> PeerRecord {
        var record = try #require(host.agent.directory?.member(peer.agent.nodeID!)?.record)
        record.sequence += 1
        record.endpoints = endpoints.map { Endpoint($0)! }
        let envelope = try SignedEnvelope.sign(
            record, seeds: [peer.agent.identity!.identitySeed.bytes], bench.cryptography)
        try bench.offer(.init(snapshot: nil, records: [envelope], recordsVersion: 99, trust: nil), host)
        return record
    }

    @Test func `a record that only renews what is known writes nothing to disk, one that moves does`() throws {
        let bench = try NodeBench()
        let (a, b) = try bench.joinPair()
        bench.isControlPlaneAway = true
        bench.run(.seconds(5))
        let known = try #require(a.agent.directory?.member(b.agent.nodeID!)?.record)
        let before = a.file(.snapshot)
        let renewed = try tell(known.endpoints.map(\.description), of: b, to: a, bench)
        bench.run(.seconds(5))
        #expect(renewed.sequence == known.sequence + 1)
        #expect(a.agent.directory?.member(b.agent.nodeID!)?.record == renewed)
        #expect(a.file(.snapshot) == before)
        _ = try tell(["203.0.113.9:9"], of: b, to: a, bench)
        bench.run(.seconds(5))
        #expect(a.file(.snapshot) != before)
    }

    @Test func `a newer record leaves a path that works, and moves the tunnel once it does not`() throws {
        let bench = try NodeBench()
        let (a, b) = try bench.joinPair()
        bench.isControlPlaneAway = true
        let record = try tell(["203.0.113.9:9"], of: b, to: a, bench)
        bench.run(.seconds(30))
        #expect(a.agent.tunnelStatus(a.agent.peers[0])?.endpoint == b.endpoint && bench.isUp(a))
        // What comes from the peer would bring the endpoint back: nothing may have gone elsewhere.
        #expect(!a.steps.contains(.datagram(record.endpoints[0])))
        b.losesDatagrams = true
        #expect(
            bench.run(
                until: { a.agent.tunnelStatus(a.agent.peers[0])?.endpoint == record.endpoints[0] },
                limit: .seconds(10)))
        // Nobody is there: the endpoint that worked has its turn again.
        b.losesDatagrams = false
        #expect(bench.run(until: { bench.isUp(a) }, limit: .seconds(15)))
        #expect(a.agent.tunnelStatus(a.agent.peers[0])?.endpoint == b.endpoint)
    }

    @Test func `a record that comes while the path is down moves the tunnel at once`() throws {
        let bench = try NodeBench()
        let (a, b) = try bench.joinPair(domains: [.fabric, PacketTests.blue])
        bench.isControlPlaneAway = true
        b.losesDatagrams = true
        bench.run(.seconds(10))
        let record = try tell(["203.0.113.9:9"], of: b, to: a, bench)
        // In each domain: it is the same host.
        #expect(a.agent.peers.count == 2)
        for peer in a.agent.peers { #expect(a.agent.tunnelStatus(peer)?.endpoint == record.endpoints[0]) }
    }

    @Test func `all endpoints of a record have their turns until one answers`() throws {
        let bench = try NodeBench()
        let a = try bench.join("a")
        let b = bench.addHost("b", token: try bench.makeToken().token)
        bench.tell(
            b,
            .started(
                files: [], endpoints: [Endpoint("203.0.113.1:1")!, Endpoint("203.0.113.2:2")!, b.endpoint]))
        // It must be found by its record, not by what it sends.
        b.losesDatagrams = true
        try #require(bench.run { a.agent.peers.first.flatMap { a.agent.tunnelStatus($0) }?.endpoint != nil })
        var tried: [Endpoint?] = []
        for _ in 0..<80 {
            bench.run(.milliseconds(500))
            let endpoint = a.agent.tunnelStatus(a.agent.peers[0])?.endpoint
            if tried.last != endpoint { tried.append(endpoint) }
        }
        #expect(tried.count >= 3)
        #expect(Set(tried.prefix(3)) == Set(["203.0.113.1:1", "203.0.113.2:2", "\(b.endpoint)"].map { Endpoint($0) }))
        b.losesDatagrams = false
        #expect(bench.run(until: { bench.isUp(a) && bench.isUp(b) }, limit: .seconds(40)))
    }

    @Test func `a newer record is kept across a reboot, and says where to begin`() throws {
        let bench = try NodeBench()
        let (a, b) = try bench.joinPair()
        bench.isControlPlaneAway = true
        let record = try tell(["203.0.113.9:9"], of: b, to: a, bench)
        bench.run(.milliseconds(100))
        bench.reboot(a)
        #expect(a.agent.directory?.member(b.agent.nodeID!)?.record == record)
        #expect(a.agent.tunnelStatus(a.agent.peers[0])?.endpoint == record.endpoints[0])
    }
}
