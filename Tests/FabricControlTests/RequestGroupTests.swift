import FabricControl
import FabricCore
import FabricDocument
import FabricOperator
import FabricWire
import Testing

/// Requests that share a transaction. Whoever sends one must not be able to tell.
@Suite("Requests in one transaction")
struct RequestGroupTests {
    /// A cluster, and hosts that ask to join it all at once.
    private func crowd(_ count: Int, _ bench: Bench) throws -> (hosts: [TestHost], token: JoinToken, asked: [UInt64]) {
        try bench.activateCluster()
        let (token, _) = try bench.makeToken()
        let hosts = try (0..<count).map { try bench.host("node-\($0)") }
        let requests = try hosts.map { try $0.enrolment(token) }
        bench.isCollecting = true
        let asked = requests.map { bench.send($0) }
        return (hosts, token, asked)
    }

    private func together(_ bench: Bench, _ requests: [HTTPRequest]) -> [UInt64] {
        bench.isCollecting = true
        let ids = requests.map { bench.send($0) }
        bench.isCollecting = false
        bench.advance(bench.settings.requestWait)
        return ids
    }

    @Test func `those that wait run in one transaction, and those that are refused undo nothing of the others`() throws
    {
        let bench = try Bench()
        let (hosts, token, asked) = try crowd(5, bench)
        let writes = bench.store.writes
        var foreign = token
        foreign.secret = bench.random.bytes(32)
        let stranger = bench.send(try hosts[0].enrolment(foreign))
        let nowhere = bench.send(HTTPRequest(.get, "/v1/nowhere"))
        #expect(bench.replies.keys.filter { $0 >= asked[0] }.isEmpty && bench.store.writes == writes)
        bench.isCollecting = false
        bench.advance(bench.settings.requestWait)
        #expect(bench.store.writes == writes + 1)
        #expect(try Bench.refusal(try #require(bench.replies[stranger])) == .tokenUnknown)
        #expect(try Bench.refusal(try #require(bench.replies[nowhere])) == .notFound)
        for (host, id) in zip(hosts, asked) {
            let reply = try #require(bench.replies[id])
            host.request = try JSON.decode(ControlAPI.Challenge.self, from: reply.body).request
        }
        #expect(Set(hosts.map(\.request)).count == 5)
        let requests = try bench.ask(bench.calls.joinRequests(hosts[0].cluster)).items
        #expect(Set(requests.map(\.name)) == Set((0..<5).map { "node-\($0)" }))
        try bench.verifyAudit()
    }

    @Test func `a token's limit holds within one transaction`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        let (token, _) = try bench.makeToken(uses: 3)
        let hosts = try (0..<5).map { try bench.host("node-\($0)") }
        let ids = together(bench, try hosts.map { try $0.enrolment(token) })
        let codes = try ids.map { try Bench.refusal(try #require(bench.replies[$0])) }
        #expect(codes == [nil, nil, nil, .tokenUsedUp, .tokenUsedUp])
        try bench.verifyAudit()
    }

    @Test func `as many as share a transaction wait no longer`() throws {
        let bench = try Bench {
            $0.requestWait = .seconds(1)
            $0.requestsPerTransaction = 3
        }
        bench.isCollecting = true
        let ids = (0..<4).map { _ in bench.send(HTTPRequest(.get, "/v1/health")) }
        #expect(ids.map { bench.replies[$0] != nil } == [true, true, true, false])
        bench.advance(.seconds(1))
        #expect(bench.replies[ids[3]]?.status == 200)
    }

    @Test func `on a full disk those who only read are answered`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        let (token, _) = try bench.makeToken()
        let host = try bench.host("node")
        let enrolment = try host.enrolment(token)
        bench.store.isFull = true
        bench.store.transactions = 0
        let ids = together(
            bench, [enrolment, bench.calls.cluster(host.cluster).request, bench.calls.nodes(host.cluster).request])
        #expect(try Bench.refusal(try #require(bench.replies[ids[0]])) == .unavailable)
        #expect(ids.dropFirst().allSatisfy { bench.replies[$0]?.status == 200 })
        #expect(bench.store.transactions == 2, "a store that lets everyone wait is not asked for each")
    }

    @Test(arguments: [FaultyStore.Fault.unavailable, .unknownButCommitted, .unknownAndLost])
    func `when the store fails all are told, and asking again costs nothing`(fault: FaultyStore.Fault) throws {
        let bench = try Bench()
        try bench.activateCluster()
        let (token, _) = try bench.makeToken(uses: 3)
        let hosts = try (0..<3).map { try bench.host("node-\($0)") }
        let requests = try hosts.map { try $0.enrolment(token) }
        var foreign = token
        foreign.secret = bench.random.bytes(32)
        let stranger = try bench.host("stranger").enrolment(foreign)
        bench.store.next = fault
        let failed = bench.service.counters.storeErrors
        // The stranger's refusal may rest on what the others wrote.
        for id in together(bench, requests + [stranger]) {
            #expect(try Bench.refusal(try #require(bench.replies[id])) == .unavailable)
        }
        #expect(bench.service.counters.storeErrors == failed + 1, "it is not asked for each")
        for id in together(bench, requests) { #expect(bench.replies[id]?.isSuccess == true) }
        #expect(try bench.ask(bench.calls.joinRequests(hosts[0].cluster)).items.count == 3)
        try bench.verifyAudit()
    }

    @Test func `a transaction that runs twice does the same`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        let (token, _) = try bench.makeToken(uses: 2)
        let hosts = try (0..<3).map { try bench.host("node-\($0)") }
        let requests = try hosts.map { try $0.enrolment(token) }
        bench.store.runsTwice = true
        let codes = try together(bench, requests).map { try Bench.refusal(try #require(bench.replies[$0])) }
        #expect(codes == [nil, nil, .tokenUsedUp])
        try bench.verifyAudit()
    }

    @Test func `parked requests that one change wakes run together`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        let (token, _) = try bench.makeToken()
        let hosts = try (0..<4).map { try bench.join("node-\($0)", token) }
        bench.advance(.seconds(2))
        let parked = try hosts.map { host in
            let version = try bench.snapshot(of: host).version
            return bench.send(host.updates(snapshot: version, wait: 60), peer: host.facts)
        }
        #expect(bench.service.parkedNow == 4)
        try bench.join("node-4", token)
        bench.store.transactions = 0
        bench.advance(.seconds(2))
        #expect(bench.store.transactions == 2, "the snapshots, and all who wait for them")
        for id in parked {
            let updates = try JSON.decode(ControlAPI.Updates.self, from: try #require(bench.replies[id]).body)
            #expect(updates.snapshot != nil)
        }
    }

    @Test func `who hangs up while its request waits has asked all the same, and who was parked has not`() throws {
        let bench = try Bench()
        let (hosts, token, asked) = try crowd(2, bench)
        bench.disconnect(asked[0])
        bench.isCollecting = false
        bench.advance(.zero)
        #expect(bench.replies[asked[0]] == nil && bench.replies[asked[1]]?.isSuccess == true)
        #expect(try bench.ask(bench.calls.joinRequests(hosts[0].cluster)).items.count == 2)
        try bench.apply(hosts[0], token)
        let parked = bench.send(hosts[0].status(token, wait: 60))
        let view = try bench.ask(bench.calls.joinRequest(try #require(hosts[0].request), in: hosts[0].cluster))
        let approval = try bench.person.approve(view, in: bench.cluster, now: bench.now.wall)
        bench.isCollecting = true
        _ = bench.send(bench.calls.approve(view.id, in: hosts[0].cluster, approval).request)
        bench.turn()
        #expect(bench.service.parkedNow == 0 && bench.replies[parked] == nil)
        bench.disconnect(parked)
        bench.advance(.seconds(1))
        #expect(bench.replies[parked] == nil)
    }

    @Test func `heartbeats of one node are stored in their order, whichever way they go`() throws {
        let bench = try Bench { $0.heartbeatsPerBatch = 1 }
        try bench.activateCluster()
        let (token, _) = try bench.makeToken()
        let host = try bench.join("node", token)
        #expect(try bench.reply(host.heartbeat(at: bench.now.wall), peer: host.facts).isSuccess)
        bench.isCollecting = true
        let record = try host.record(sequence: 1)
        _ = bench.send(host.heartbeat(at: bench.now.wall, record: record), peer: host.facts)
        _ = bench.send(host.heartbeat(at: bench.now.wall), peer: host.facts)
        bench.advance(.seconds(1))
        let kept = try bench.store.transaction { try $0.query("SELECT sequence FROM node_heartbeats", []) }
        #expect(try kept.map { try $0.integer("sequence") } == [3])
    }
}
