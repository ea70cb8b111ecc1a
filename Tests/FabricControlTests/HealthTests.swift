import FabricControl
import FabricCore
import FabricOperator
import FabricWire
import Testing

@Suite("Health")
struct HealthTests {
    private let ready = HTTPRequest(.get, "/v1/health")
    private let alive = HTTPRequest(.get, ControlPlane.livenessPath)

    /// What comes of a change, whose transaction may have a fault.
    private func token(_ bench: Bench, _ fault: FaultyStore.Fault = .none) throws -> Problem.Code? {
        let view = try bench.ask(bench.calls.cluster(bench.cluster.cluster))
        let (_, body) = try bench.person.makeToken(
            name: "test", maximumUses: 1, lifetime: .seconds(3600), scope: .init(domains: [.fabric]), for: view,
            of: bench.cluster, random: bench.random)
        bench.store.next = fault
        return try bench.refusal(bench.calls.create(body, in: bench.cluster.cluster).request)
    }

    @Test func `a full disk is told, until it takes changes again`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        bench.store.isFull = true
        #expect(try bench.refusal(ready) == nil, "nobody wanted to change anything yet")
        #expect(try token(bench) == .unavailable)
        #expect(try bench.refusal(ready) == .unavailable)
        #expect(try bench.refusal(alive) == nil)
        // The control plane asks by itself, and not more often because strangers do.
        let before = bench.store.writes
        for _ in 0..<60 {
            #expect(try bench.refusal(ready) == .unavailable)
            bench.advance(.seconds(1))
        }
        #expect(bench.store.writes - before == 12)
        bench.store.isFull = false
        bench.advance(ControlService.probePause)
        #expect(try bench.refusal(ready) == nil)
        #expect(try token(bench) == nil)
        let after = bench.store.writes
        bench.advance(.seconds(60))
        #expect(bench.store.writes == after, "there is nothing left to find out")
    }

    @Test func `whoever changes something finds out that the disk has room again`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        bench.store.isFull = true
        #expect(try token(bench) == .unavailable)
        bench.store.isFull = false
        #expect(try token(bench) == nil)
        #expect(try bench.refusal(ready) == nil)
    }

    @Test(arguments: [FaultyStore.Fault.unavailable, .unknownAndLost, .unknownButCommitted])
    func `asking changes nothing, whatever the store does`(fault: FaultyStore.Fault) throws {
        let bench = try Bench()
        try bench.activateCluster()
        let before = bench.store.writes
        for request in [ready, alive] {
            bench.store.next = fault
            #expect(try bench.refusal(request) == (request == ready ? .unavailable : nil))
            bench.store.next = .none
            #expect(try bench.refusal(request) == nil)
        }
        bench.advance(.seconds(60))
        #expect(bench.store.writes == before)
    }

    @Test func `a commit without an answer counts as a failed change, and what is refused by right does not`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        #expect(try token(bench, .unknownButCommitted) == .unavailable)
        #expect(try bench.refusal(ready) == .unavailable)
        bench.advance(ControlService.probePause)
        #expect(try bench.refusal(ready) == nil)
        let cluster = bench.person.newCluster(bench.cluster, name: "Another", peerDegree: 2)
        #expect(try bench.refusal(bench.calls.create(cluster).request) == .conflict)
        #expect(try bench.refusal(ready) == nil)
    }

    @Test func `only a control plane that is stuck does not count as alive`() throws {
        #expect(ControlPlane.livenessReply(to: alive, busyFor: .zero)?.status == 200)
        #expect(ControlPlane.livenessReply(to: alive, busyFor: .seconds(60))?.status == 200)
        let stuck = try #require(ControlPlane.livenessReply(to: alive, busyFor: ControlPlane.stuckAfter))
        #expect(try Bench.refusal(stuck) == .unavailable)
        #expect(ControlPlane.livenessReply(to: ready, busyFor: .zero) == nil)
        #expect(ControlPlane.livenessReply(to: HTTPRequest(.post, ControlPlane.livenessPath), busyFor: .zero) == nil)
        let bench = try Bench()
        #expect(try bench.refusal(HTTPRequest(.post, ControlPlane.livenessPath)) == .methodNotAllowed)
    }

    @Test func `the log is given the store's own reason`() throws {
        let bench = try Bench()
        try bench.activateCluster()
        let reason = "the transaction's outcome is unknown: the test wants it"
        #expect(try token(bench, .unknownAndLost) == .unavailable)
        #expect(bench.service.plane.lastStoreError.map { "\($0)" } == reason)
        bench.store.next = .unavailable
        #expect(try bench.refusal(ready) == .unavailable)
        #expect(bench.service.plane.lastStoreError.map { "\($0)" } != reason)
        // Snapshots are made by a transaction that no request waits for.
        _ = try bench.join("node", try bench.makeToken().token)
        bench.store.next = .unknownButCommitted
        bench.advance(.milliseconds(300))
        #expect(bench.service.plane.lastStoreError.map { "\($0)" } == reason)
    }
}
