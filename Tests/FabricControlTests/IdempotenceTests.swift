import FabricControl
import FabricCore
import FabricDocument
import FabricOperator
import FabricWire
import Testing

@Suite("Lost answers and conflicts")
struct IdempotenceTests {
    @Test func `a repeated enrolment gets the same request and uses the token once, even when it is used up`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        let (token, id) = try bench.makeToken(uses: 1)
        let host = try bench.host("node")
        let first = try bench.reply(try host.enrolment(token))
        let second = try bench.reply(try host.enrolment(token))
        #expect(first.isSuccess && first == second)
        bench.advance(.seconds(4000))
        #expect(try bench.reply(try host.enrolment(token)) == first, "the token has expired meanwhile")
        #expect(try bench.ask(bench.calls.token(id, in: bench.cluster.cluster)).used == 1)
        let other = try host.enrolment(token) { $0.name = "renamed" }
        #expect(try bench.refusal(other) == .conflict)
    }

    /// Every call is made first with a commit whose outcome is unknown, then again.
    @Test(arguments: [FaultyStore.Fault.unknownButCommitted, .unknownAndLost, .unavailable])
    func `every call can be repeated after a commit of unknown outcome`(fault: FaultyStore.Fault) throws {
        let bench = try Bench()
        let calls = bench.calls
        let cluster = bench.cluster.cluster
        func twice<Answer>(_ call: OperatorCall<Answer>) throws -> Answer {
            bench.store.next = fault
            #expect(try bench.refusal(call.request) == .unavailable)
            return try bench.ask(call)
        }
        func twice(_ request: HTTPRequest, peer: CertificateFacts? = nil) throws -> HTTPReply {
            bench.store.next = fault
            #expect(try bench.refusal(request, peer: peer) == .unavailable)
            return try bench.reply(request, peer: peer)
        }
        let keys = try twice(calls.create(bench.person.newCluster(bench.cluster, name: "Alpha", peerDegree: 4)))
        let trust = try bench.person.signTrust(keys, for: &bench.cluster, random: bench.random, now: bench.now.wall)
        #expect(try twice(calls.setTrust(trust, of: cluster)).status == "active")
        let view = try bench.ask(calls.cluster(cluster))
        let (token, body) = try bench.person.makeToken(
            name: "t", maximumUses: 1, lifetime: .seconds(60),
            scope: .init(domains: [.fabric, RoutingDomainID("blue")!]),
            for: view, of: bench.cluster, random: bench.random)
        #expect(try twice(calls.create(body, in: cluster)).used == 0)
        let host = try bench.host("node")
        let challenge = try JSON.decode(ControlAPI.Challenge.self, from: try twice(try host.enrolment(token)).body)
        host.request = challenge.request
        #expect(try twice(try host.proof(challenge, token)).isSuccess)
        let request = try bench.ask(calls.joinRequest(challenge.request, in: cluster))
        let approval = try bench.person.approve(request, in: bench.cluster, now: bench.now.wall)
        #expect(try twice(calls.approve(request.id, in: cluster, approval)).status == "approved")
        try bench.fetchGrant(host, token)
        // Its snapshot is made.
        bench.advance(.seconds(2))
        let record = try host.record(sequence: 1)
        #expect(try twice(host.heartbeat(at: bench.now.wall, record: record), peer: host.facts).isSuccess)
        // One that waits for others.
        #expect(try twice(host.heartbeat(at: bench.now.wall), peer: host.facts).isSuccess)
        #expect(try bench.ask(calls.token(body.id, in: cluster)).used == 1)
        #expect(try bench.ask(calls.tokens(cluster)).items.count == 1)
        #expect(try bench.ask(calls.revoke(body.id, in: cluster)).revokedAt != nil)

        let events = try bench.audit().map(\.event)
        for event in [
            "cluster created", "join token created", "join request received", "join request approved",
            "node certificate issued",
        ] {
            #expect(events.filter { $0 == event }.count == 1, "\(event)")
        }
    }

    @Test func `a transaction that runs twice does what one run does`() throws {
        let bench = try Bench()
        bench.store.runsTwice = true
        try bench.activateCluster()
        let (token, id) = try bench.makeToken()
        let host = try bench.join("node", token)
        try bench.join("other", token)
        #expect(try bench.refusal(host.heartbeat(at: bench.now.wall), peer: host.facts) == nil)
        bench.advance(.seconds(1))
        #expect(try bench.ask(bench.calls.token(id, in: bench.cluster.cluster)).used == 2)
        #expect(try bench.snapshot(of: host).version == 1)
        try bench.verifyAudit()
    }

    @Test func `a restarted control plane goes on with parked and half-done work`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        let (token, _) = try bench.makeToken()
        let host = try bench.host("node")
        let first = try bench.reply(try host.enrolment(token))
        try bench.restart()
        #expect(try bench.reply(try host.enrolment(token)) == first, "the challenge is derived, not remembered")
        try bench.apply(host, token)
        try bench.approve(host)
        // The snapshot was not made yet.
        try bench.restart()
        bench.advance(.milliseconds(1))
        try bench.fetchGrant(host, token)
        #expect(try bench.snapshot(of: host).version == 1)
    }

    @Test func `a repeated approval is the same approval, another one is a conflict`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        let (token, _) = try bench.makeToken()
        let host = try bench.host("node")
        try bench.apply(host, token)
        let cluster = bench.cluster.cluster
        let view = try bench.ask(bench.calls.joinRequest(host.request!, in: cluster))
        let approval = try bench.person.approve(view, in: bench.cluster, now: bench.now.wall)
        let first = try bench.ask(bench.calls.approve(view.id, in: cluster, approval))
        #expect(try bench.ask(bench.calls.approve(view.id, in: cluster, approval)) == first)
        let later = try bench.person.approve(view, in: bench.cluster, now: bench.now.wall + .seconds(5))
        #expect(try bench.refusal(bench.calls.approve(view.id, in: cluster, later).request) == .conflict)
        #expect(try bench.refusal(bench.calls.reject(view.id, in: cluster, reason: "no").request) == .conflict)
    }

    @Test func `a node that lost its certificate joins again with a new token and the same key`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        let host = try bench.join("node", try bench.makeToken().token)
        let before = host.facts?.serial
        bench.advance(.seconds(10 * 86_400))
        #expect(try bench.refusal(host.heartbeat(at: bench.now.wall), peer: host.facts) == .unauthenticated)
        let (token, _) = try bench.makeToken()
        try bench.apply(host, token)
        try bench.approve(host)
        try bench.fetchGrant(host, token)
        #expect(host.facts?.serial != before)
        #expect(try bench.refusal(host.heartbeat(at: bench.now.wall), peer: host.facts) == nil)
        #expect(try bench.ask(bench.calls.nodes(host.cluster)).items.count == 1)
    }

    @Test func `a grant that nobody fetched in time comes with a fresh certificate`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        let (token, _) = try bench.makeToken()
        let host = try bench.host("node")
        try bench.apply(host, token)
        try bench.approve(host)
        bench.advance(.seconds(10 * 86_400))
        try bench.fetchGrant(host, token)
        #expect(try bench.refusal(host.heartbeat(at: bench.now.wall), peer: host.facts) == nil)
    }
}
