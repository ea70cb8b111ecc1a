import FabricControl
import FabricCore
import FabricCrypto
import FabricDocument
import FabricIdentity
import FabricMesh
import FabricOperator
import FabricStoreSQLite
import FabricTestSupport
import FabricTunnel
import FabricWire
import Testing

@testable import FabricNode

/// A control plane over SQLite in memory, its operator, agents on hosts of their own, and one clock for all.
final class NodeBench {
    let seed: UInt64
    let cryptography: any Cryptography = SystemCryptography()
    let certificates: any CertificateProvider = X509Identity()
    let random: SeededRandom
    let service: ControlService
    let person: Operator
    var cluster: OperatorCluster
    let calls = OperatorCalls(bearer: "operator")
    var now = Now(monotonic: Instant(nanoseconds: 1_000_000_000), wall: WallTime(seconds: 1_800_000_000))
    var hosts: [NodeHost] = []
    var isControlPlaneAway = false
    /// Join requests are approved as they come.
    var approves = true
    /// What stands at addresses that are no host's: it is given the datagram and where it came from.
    var strangers: [Endpoint: (_ datagram: [UInt8], _ source: Endpoint) -> Void] = [:]

    private struct Event {
        var at: Instant
        var order: Int
        var run: () -> Void
    }
    private var events: [Event] = []
    private var order = 0
    private var waiting: [UInt64: (HTTPReply) -> Void] = [:]
    private var nextRequest: UInt64 = 1

    init(
        seed: UInt64 = 1, peerDegree: Int = 4, settings change: (inout ControlSettings) -> Void = { _ in }
    ) throws {
        self.seed = seed
        random = SeededRandom(seed: seed, stream: "bench")
        var settings = ControlSettings(adminTokenHash: cryptography.sha256(Array("operator".utf8)))
        settings.requestWait = .zero
        change(&settings)
        let vault = MemoryKeyVault()
        let identity = try ControlIdentity(
            vault: vault, certificates: certificates, cryptography: cryptography, random: random,
            dnsNames: ["localhost"], now: now.wall)
        person = Operator(certificates: certificates, cryptography: cryptography)
        cluster = try person.makeCluster(ClusterID("alpha")!, random: random, now: now.wall)
        let store = try SQLiteStore(
            disk: MemoryDisk(), name: "control.db", random: SeededRandom(seed: seed, stream: "sqlite"))
        service = ControlService(
            try ControlPlane(
                ControlEnvironment(
                    store: store, vault: vault, certificates: certificates, cryptography: cryptography,
                    random: SeededRandom(seed: seed, stream: "control"), controlPin: identity.pin),
                settings: settings))
        var actions: [ControlService.Action] = []
        service.handle(.started, now: now, into: &actions)
        let keys = try ask(calls.create(person.newCluster(cluster, name: "Alpha", peerDegree: peerDegree)))
        _ = try ask(
            calls.setTrust(
                try person.signTrust(keys, for: &cluster, random: random, now: now.wall), of: cluster.cluster))
    }

    // MARK: The control plane

    func ask(_ request: HTTPRequest, peer: CertificateFacts?, then: @escaping (HTTPReply) -> Void) {
        let id = nextRequest
        nextRequest += 1
        waiting[id] = then
        serve { $0.handle(.request(.init(id), ControlRequest(request, peer: peer)), now: now, into: &$1) }
        // Requests wait for no others here.
        while service.nextDeadline()?.reason == .requests { serve { $0.handleDeadline(now: now, into: &$1) } }
        if approves, request.method == .post, request.path.hasPrefix("/v1/enrolments/") {
            schedule(after: .milliseconds(1)) { [self] in try? approveAll() }
        }
    }

    private func serve(_ body: (ControlService, inout [ControlService.Action]) -> Void) {
        var actions: [ControlService.Action] = []
        body(service, &actions)
        for case .reply(let id, let reply) in actions { waiting.removeValue(forKey: id.number)?(reply) }
    }

    func ask<Answer>(_ call: OperatorCall<Answer>) throws -> Answer {
        var reply: HTTPReply?
        ask(call.request, peer: nil) { reply = $0 }
        return try call.decode(try #require(reply))
    }

    func joinRequests() throws -> [ControlAPI.JoinRequestView] {
        try ask(calls.joinRequests(cluster.cluster)).items
    }

    func approveAll() throws {
        for view in try joinRequests() where view.status == "pending" {
            let approval = try person.approve(view, in: cluster, now: now.wall)
            _ = try ask(calls.approve(view.id, in: cluster.cluster, approval))
        }
    }

    func makeToken(
        uses: Int = 100, domains: [RoutingDomainID] = [.fabric], lifetime: Duration = .seconds(3600)
    ) throws -> (token: JoinToken, id: JoinTokenID) {
        let view = try ask(calls.cluster(cluster.cluster))
        let (token, body) = try person.makeToken(
            name: "test", maximumUses: uses, lifetime: lifetime, scope: .init(domains: domains), for: view, of: cluster,
            random: random)
        _ = try ask(calls.create(body, in: cluster.cluster))
        return (token, body.id)
    }

    // MARK: Time

    func schedule(after delay: Duration, _ run: @escaping () -> Void) {
        order += 1
        events.append(Event(at: now.monotonic + delay, order: order, run: run))
    }

    /// Keeps every appointment up to then.
    func run(_ duration: Duration) {
        let end = now.monotonic + duration
        while step(until: end) {}
        pass(to: end)
    }

    /// Runs until something holds; false when it does not within `limit`.
    func run(until holds: () -> Bool, limit: Duration = .seconds(60)) -> Bool {
        let end = now.monotonic + limit
        while !holds() { guard step(until: end) else { return false } }
        return true
    }

    private func step(until end: Instant) -> Bool {
        let event = events.indices.min { (events[$0].at, events[$0].order) < (events[$1].at, events[$1].order) }
        let due = hosts.compactMap { host in nextDeadline(of: host).map { (at: $0, host: host) } }.min { $0.at < $1.at }
        let served = service.nextDeadline()?.instant
        let next = min(
            event.map { events[$0].at } ?? .distantFuture, due?.at ?? .distantFuture, served ?? .distantFuture)
        guard next <= end else { return false }
        pass(to: max(next, now.monotonic))
        if let event, events[event].at <= next {
            events.remove(at: event).run()
        } else if let due, due.at <= next {
            wake(due.host)
        } else {
            serve { $0.handleDeadline(now: now, into: &$1) }
        }
        return true
    }

    /// Time passes and nobody wakes; afterwards everything is overdue.
    func skip(to wall: WallTime) { pass(to: now.monotonic + (wall - now.wall)) }

    private func pass(to instant: Instant) {
        now.wall = now.wall + (instant - now.monotonic)
        now.monotonic = instant
    }

    // MARK: The usual course

    /// A host that is enrolled, with its first snapshot durable.
    func join(_ name: String, domains: [RoutingDomainID] = [.fabric], clockError: Duration = .zero) throws -> NodeHost {
        let host = addHost(
            name, token: try makeToken(domains: domains).token, domains: domains, clockError: clockError)
        start(host)
        try #require(run { host.agent.phase == .active && host.agent.durableSnapshotVersion > 0 })
        return host
    }

    /// Two members whose agents hear each other's echoes.
    func joinPair(domains: [RoutingDomainID] = [.fabric]) throws -> (NodeHost, NodeHost) {
        let a = try join("a", domains: domains)
        let b = try join("b", domains: domains)
        try #require(run { isUp(a) && isUp(b) })
        return (a, b)
    }

    func isUp(_ host: NodeHost) -> Bool {
        let peers = host.agent.peers.filter { $0.domain == .fabric }
        return !peers.isEmpty && peers.allSatisfy { $0.health.isUp(at: time(of: host).monotonic) }
    }

    /// Answers the updates request that is under way with this, whatever the control plane would say.
    func offer(_ updates: ControlAPI.Updates, _ host: NodeHost) throws {
        try #require(run { host.agent.updatesCall.outstanding != nil })
        let reply = HTTPReply(status: 200, body: JSON.encodeOwn(updates))
        tell(host, .replied(host.agent.updatesCall.outstanding!, reply))
    }
}
