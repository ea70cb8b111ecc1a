import FabricControl
import FabricCore
import FabricDocument
import FabricOperator
import FabricTestSupport
import FabricWire
import Testing

@Suite("Control service")
struct ServiceTests {
    private func pendingHost(_ bench: Bench) throws -> (TestHost, JoinToken) {
        try bench.activateCluster()
        let (token, _) = try bench.makeToken()
        let host = try bench.host("node")
        try bench.apply(host, token)
        return (host, token)
    }

    private func status(_ reply: HTTPReply?) throws -> ControlAPI.EnrolmentStatus {
        try JSON.decode(ControlAPI.EnrolmentStatus.self, from: try #require(reply).body)
    }

    @Test func `a parked host is answered when its request is approved`() throws {
        let bench = try Bench()
        let (host, token) = try pendingHost(bench)
        let id = bench.send(host.status(token, wait: 60))
        bench.advance(.seconds(59))
        #expect(bench.replies[id] == nil)
        #expect(bench.service.parkedNow == 1)
        try bench.approve(host)
        #expect(try status(bench.replies[id]).status == "approved")
        #expect(bench.service.parkedNow == 0)
    }

    @Test(arguments: [FaultyStore.Fault.unknownButCommitted, .unknownAndLost])
    func `an approval of unknown outcome answers nobody with success, and those who wait find out`(
        fault: FaultyStore.Fault
    ) throws {
        let bench = try Bench()
        let (host, token) = try pendingHost(bench)
        let id = bench.send(host.status(token, wait: 60))
        let view = try bench.ask(bench.calls.joinRequest(try #require(host.request), in: host.cluster))
        let approval = try bench.person.approve(view, in: bench.cluster, now: bench.now.wall)
        bench.store.next = fault
        #expect(try bench.refusal(bench.calls.approve(view.id, in: host.cluster, approval).request) == .unavailable)
        guard fault == .unknownButCommitted else {
            #expect(bench.replies[id] == nil && bench.service.parkedNow == 1)
            return
        }
        #expect(try status(bench.replies[id]).status == "approved")
        // Nobody asks again, and its snapshot is made all the same.
        try host.accept(try #require(try status(bench.replies[id]).grant), token, now: bench.now.wall)
        bench.advance(.seconds(2))
        #expect(try bench.updates(of: host).snapshot != nil)
    }

    @Test(arguments: [FaultyStore.Fault.unknownButCommitted, .unknownAndLost])
    func `a snapshot whose making has an unknown outcome reaches the node that waits for it`(
        fault: FaultyStore.Fault
    ) throws {
        let bench = try Bench()
        let (host, token) = try pendingHost(bench)
        try bench.approve(host)
        try bench.fetchGrant(host, token)
        let id = bench.send(host.updates(snapshot: 0, records: 0, wait: 60), peer: host.facts)
        #expect(bench.replies[id] == nil)
        bench.store.next = fault
        bench.advance(.seconds(5))
        let updates = try JSON.decode(ControlAPI.Updates.self, from: try #require(bench.replies[id]).body)
        #expect(updates.snapshot != nil)
    }

    @Test func `a parked host is answered when its request is rejected, with the reason`() throws {
        let bench = try Bench()
        let (host, token) = try pendingHost(bench)
        let id = bench.send(host.status(token, wait: 60))
        let calls = bench.calls
        let rejected = try bench.ask(calls.reject(host.request!, in: host.cluster, reason: "who are you?"))
        #expect(rejected.status == "rejected")
        #expect(try status(bench.replies[id]).rejectionReason == "who are you?")
        #expect(try bench.ask(calls.reject(host.request!, in: host.cluster, reason: "who are you?")) == rejected)
        #expect(try bench.ask(calls.joinRequests(host.cluster, status: "rejected")).items == [rejected])
        #expect(try bench.ask(calls.joinRequests(host.cluster, status: "pending")).items == [])
    }

    @Test func `a park whose time is up is answered with nothing new`() throws {
        let bench = try Bench()
        let (host, token) = try pendingHost(bench)
        let id = bench.send(host.status(token, wait: 7))
        bench.advance(.milliseconds(6_999))
        #expect(bench.replies[id] == nil)
        let asked = bench.store.statements
        bench.advance(.milliseconds(1))
        #expect(try status(bench.replies[id]).status == "pending")
        #expect(bench.store.statements == asked)
        let zero = bench.send(host.status(token, wait: 0))
        #expect(try status(bench.replies[zero]).status == "pending")
        #expect(try bench.refusal(host.status(token, wait: 61)) == .malformedRequest)
    }

    @Test func `whoever hangs up is forgotten`() throws {
        let bench = try Bench()
        let (host, token) = try pendingHost(bench)
        let id = bench.send(host.status(token, wait: 60))
        bench.disconnect(id)
        #expect(bench.service.parkedNow == 0)
        try bench.approve(host)
        bench.advance(.seconds(61))
        #expect(bench.replies[id] == nil)
    }

    @Test func `past the limit of parked requests the answer is 503, past a topic's limit its oldest leaves`() throws {
        let bench = try Bench {
            $0.parkedRequests = 3
            $0.parkedPerTopic = 2
        }
        let (host, token) = try pendingHost(bench)
        let other = try bench.host("other")
        try bench.apply(other, token)
        let first = bench.send(host.status(token, wait: 60))
        let second = bench.send(host.status(token, wait: 60))
        let third = bench.send(host.status(token, wait: 60))
        #expect(try status(bench.replies[first]).status == "pending")
        #expect(bench.replies[second] == nil && bench.replies[third] == nil)
        let fourth = bench.send(other.status(token, wait: 60))
        #expect(bench.replies[fourth] == nil)
        #expect(try bench.refusal(other.status(token, wait: 60)) == .unavailable)
        #expect(bench.service.parkedNow == 3)
        #expect(bench.service.counters.parksRefused == 1 && bench.service.counters.parksDisplaced == 1)
    }

    @Test func `a request that wakes while the store is away gets 503`() throws {
        let bench = try Bench()
        let (host, token) = try pendingHost(bench)
        let id = bench.send(host.status(token, wait: 5))
        let view = try bench.ask(bench.calls.joinRequest(try #require(host.request), in: host.cluster))
        let approval = try bench.person.approve(view, in: bench.cluster, now: bench.now.wall)
        bench.store.afterNext = .unavailable
        #expect(try bench.ask(bench.calls.approve(view.id, in: host.cluster, approval)).status == "approved")
        #expect(try Bench.refusal(try #require(bench.replies[id])) == .unavailable)
        #expect(bench.service.parkedNow == 0)
    }

    @Test func `paths, methods, parameters and the operators' token are checked`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        let bearer = Bench.adminToken
        func refusal(_ method: HTTPMethod, _ path: String, _ query: [HTTPRequest.QueryItem] = [], bearer: String?)
            throws -> Problem.Code?
        {
            try bench.refusal(HTTPRequest(method, path, query: query, bearer: bearer))
        }
        #expect(try refusal(.get, "/v1/health", bearer: nil) == nil)
        #expect(try refusal(.get, "/v1/clusters", bearer: bearer) == nil)
        #expect(try refusal(.get, "/v1/clusters", bearer: nil) == .unauthenticated)
        #expect(try refusal(.get, "/v1/clusters", bearer: "test-operatoR") == .unauthenticated)
        for path in [
            "", "/", "v1/clusters", "/v1/clusters/", "/v1/nothing", "/v1/clusters/beta", "/v1/clusters/%00",
            "/v1/clusters/alpha/x",
            "/v1/clusters/alpha/join-requests/none", "/" + String(repeating: "x", count: 5000),
        ] {
            #expect(try refusal(.get, path, bearer: bearer) == .notFound, "\(path.prefix(40))")
        }
        #expect(try refusal(.delete, "/v1/clusters", bearer: bearer) == .methodNotAllowed)
        #expect(try refusal(.get, "/v1/enrolments", bearer: bearer) == .methodNotAllowed)
        for (name, value) in [
            ("limit", "0"), ("limit", "1001"), ("limit", "-1"), ("limit", "x"),
            ("after", String(repeating: "a", count: 65)), ("color", "red"),
        ] {
            #expect(try refusal(.get, "/v1/clusters", [.init(name, value)], bearer: bearer) == .malformedRequest)
        }
        let twice = [HTTPRequest.QueryItem("limit", "1"), .init("limit", "2")]
        #expect(try refusal(.get, "/v1/clusters", twice, bearer: bearer) == .malformedRequest)
        #expect(try refusal(.get, "/v1/clusters", Array(twice.prefix(1)), bearer: bearer) == nil)
    }

    @Test func `lists come in pages`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        let (token, _) = try bench.makeToken()
        for index in 0..<5 { try bench.join("n\(index)", token) }
        var names: [String] = []
        var after: String?
        var pages = 0
        repeat {
            let page = try bench.ask(bench.calls.nodes(bench.cluster.cluster, PageQuery(after: after, limit: 2)))
            names += page.items.map(\.name)
            after = page.next
            pages += 1
        } while after != nil
        #expect(names.sorted() == ["n0", "n1", "n2", "n3", "n4"])
        #expect(pages == 3)
        try bench.verifyAudit()
    }

    @Test func `a change of the audited past shows in the chain`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        _ = try bench.makeToken()
        try bench.store.transaction {
            _ = try $0.execute("UPDATE cluster_audit_events SET actor = 'nobody' WHERE sequence = 2", [])
        }
        let event = try bench.audit()[1]
        let first = try bench.audit()[0]
        #expect(
            event.hash.bytes
                != event.chainHash(previous: first.hash.bytes, cluster: bench.cluster.cluster, bench.cryptography))
    }

    @Test func `requests that a fuzzer bent are refused, and break nothing`() throws {
        let bench = try Bench()
        let (host, token) = try pendingHost(bench)
        let (other, _) = (try bench.host("other"), ())
        let approval = try bench.person.approve(
            try bench.ask(bench.calls.joinRequest(host.request!, in: host.cluster)), in: bench.cluster,
            now: bench.now.wall)
        let bearer = Bench.adminToken
        let requests: [HTTPRequest] = [
            try other.enrolment(token),
            bench.calls.approve(host.request!, in: host.cluster, approval).request,
            bench.calls.create(bench.person.newCluster(bench.cluster, name: "x", peerDegree: 2)).request,
            try JSON.decode(ControlAPI.Proof.self, from: Array("{\"proofs\":[]}".utf8)).proofs.isEmpty
                ? HTTPRequest(
                    .post, "/v1/enrolments/\(host.request!)/proof", bearer: token.bearer,
                    body: Array("{\"proofs\":[]}".utf8))
                : host.status(token, wait: 0),
            HTTPRequest(.put, "/v1/clusters/alpha/trust", bearer: bearer, body: Array("{\"metadata\":{}}".utf8)),
        ]
        for (index, request) in requests.enumerated() {
            try Fuzz.run(corpus: [request.body], seed: UInt64(index + 1), iterations: 150) { body in
                var bent = request
                bent.body = body
                let reply = try bench.reply(bent)
                #expect(reply.status < 500)
            }
        }
        #expect(try bench.refusal(HTTPRequest(.get, "/v1/health")) == nil)
        try bench.verifyAudit()
    }
}
