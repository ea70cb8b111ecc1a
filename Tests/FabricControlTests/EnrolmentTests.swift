import FabricControl
import FabricCore
import FabricDocument
import FabricOperator
import FabricWire
import Testing

@Suite("Enrolment")
struct EnrolmentTests {
    @Test(arguments: [(64, 4), (40, 6), (16, 16), (2, 16)])
    func `a node may be in so many domains as its snapshot has room for their peers`(degree: Int, most: Int) throws {
        #expect(degree * most <= Snapshot.maximumMembers)
        let bench = try Bench()
        try bench.activateCluster(degree: degree)
        let domains = ["fabric"] + (1..<TunnelKey.maximumDomains).map { "tenant-\($0)" }
        let (token, _) = try bench.makeToken(domains: domains)
        try bench.join("fits", token, domains: Array(domains.prefix(most)))
        guard most < domains.count else { return }
        let host = try bench.host("too-wide", domains: Array(domains.prefix(most + 1)))
        let reply = try bench.reply(try host.enrolment(token))
        #expect(try Bench.refusal(reply) == .requestUnacceptable)
        let problem = try JSON.decode(Problem.self, from: reply.body)
        #expect(problem.detail.contains("at most \(most) domains"))
    }

    @Test func `a host joins, from cluster and token to certificate, snapshot and heartbeat`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        let (token, tokenID) = try bench.makeToken()
        let first = try bench.join("first", token)
        let second = try bench.join("second", token)
        bench.advance(.seconds(1))

        let updates = try JSON.decode(
            ControlAPI.Updates.self, from: try bench.reply(first.updates(trust: 0), peer: first.facts).body)
        let trust = try #require(updates.trust).unverified(TrustMetadata.self)
        let snapshot = try #require(updates.snapshot).open(
            Snapshot.self, keys: trust.snapshotKeys.map(\.bytes), threshold: 1, bench.cryptography)
        #expect(snapshot.audience == first.node)
        #expect(snapshot.domains.map(\.id.text) == ["blue", "fabric"])
        #expect(snapshot.domains.allSatisfy { $0.peers == [second.node] })
        #expect(snapshot.members.count == 1)
        let admission = try snapshot.members[0].open(
            Admission.self, keys: trust.approverKeys.map(\.bytes), threshold: 1, bench.cryptography)
        #expect(admission.node == second.node)

        let beat = try JSON.decode(
            ControlAPI.HeartbeatReply.self,
            from: try bench.reply(
                first.heartbeat(at: bench.now.wall, applied: snapshot.version, record: try first.record(sequence: 7)),
                peer: first.facts
            ).body)
        #expect(beat.snapshotVersion == snapshot.version)
        #expect(beat.recordSequence == 7)
        let seen = try JSON.decode(
            ControlAPI.Updates.self, from: try bench.reply(second.updates(), peer: second.facts).body)
        #expect(try seen.records.map { try $0.unverified(PeerRecord.self).node } == [first.node])

        let node = try bench.ask(bench.calls.node(first.node, in: bench.cluster.cluster))
        #expect(node.health == "online")
        #expect(node.name == "first")
        #expect(node.capabilities == ["can_route_mesh"])
        #expect(node.certificateSerial?.bytes == first.facts?.serial)
        #expect(try bench.ask(bench.calls.token(tokenID, in: bench.cluster.cluster)).used == 2)
        #expect(try bench.ask(bench.calls.cluster(bench.cluster.cluster)).nodes == 2)
    }
}
