import FabricControl
import FabricCore
import FabricCrypto
import FabricDocument
import FabricIdentity
import FabricOperator
import FabricPostgresTestSupport
import FabricStoreSQLite
import FabricTestSupport
import FabricWire
import Glibc
import Testing

/// A control plane over SQLite in memory, an operator and as many hosts as a test wants.
final class Bench {
    let cryptography: any Cryptography = SystemCryptography()
    let certificates: any CertificateProvider = X509Identity()
    let random: SeededRandom
    let vault = MemoryKeyVault()
    private let schema: ScratchSchema?
    let store: FaultyStore
    var settings: ControlSettings
    private(set) var service: ControlService
    let controlPin: [UInt8]
    let person: Operator
    let calls = OperatorCalls(bearer: Bench.adminToken)
    var cluster: OperatorCluster
    var now = Now(monotonic: Instant(nanoseconds: 5_000_000_000), wall: WallTime(seconds: 1_800_000_000))
    /// Replies that have left, by request.
    var replies: [UInt64: HTTPReply] = [:]
    private var nextID: UInt64 = 1
    /// Requests are handed in one after the other and wait for each other.
    var isCollecting = false

    static let adminToken = "test-operator"
    static let clusterID = ClusterID("alpha")!

    init(seed: UInt64 = 1, settings change: (inout ControlSettings) -> Void = { _ in }) throws {
        random = SeededRandom(seed: seed, stream: "bench")
        schema = getenv("RAP_CONTROL_STORE").map { String(cString: $0) } == "postgres" ? try ScratchSchema() : nil
        store = FaultyStore(try Bench.makeStore(seed, schema))
        settings = ControlSettings(adminTokenHash: cryptography.sha256(Array(Self.adminToken.utf8)))
        settings.requestWait = .zero
        change(&settings)
        let identity = try ControlIdentity(
            vault: vault, certificates: certificates, cryptography: cryptography, random: random,
            dnsNames: ["localhost"],
            now: now.wall)
        controlPin = identity.pin
        person = Operator(certificates: certificates, cryptography: cryptography)
        cluster = try person.makeCluster(Self.clusterID, random: random, now: now.wall)
        service = try Bench.makeService(
            store, vault, certificates, cryptography, SeededRandom(seed: seed, stream: "control"), controlPin, settings)
        start()
    }

    /// SQLite in memory, or PostgreSQL when RAP_CONTROL_STORE says so: the same tests on both.
    private static func makeStore(_ seed: UInt64, _ schema: ScratchSchema?) throws -> any Store {
        if let schema { return try schema.connect() }
        return try SQLiteStore(
            disk: MemoryDisk(), name: "control.db", random: SeededRandom(seed: seed, stream: "sqlite"))
    }

    private static func makeService(
        _ store: any Store, _ vault: any KeyVault, _ certificates: any CertificateProvider,
        _ cryptography: any Cryptography, _ random: any RandomSource, _ pin: [UInt8], _ settings: ControlSettings
    ) throws -> ControlService {
        ControlService(
            try ControlPlane(
                ControlEnvironment(
                    store: store, vault: vault, certificates: certificates, cryptography: cryptography, random: random,
                    controlPin: pin), settings: settings))
    }

    private func start() {
        var actions: [ControlService.Action] = []
        service.handle(.started, now: now, into: &actions)
        #expect(actions.isEmpty)
    }

    /// As after a crash: parked requests are gone, the database and the vault stay.
    func restart() throws {
        service = try Bench.makeService(
            store, vault, certificates, cryptography, SeededRandom(seed: nextID, stream: "restarted"), controlPin,
            settings)
        start()
    }

    // MARK: Requests

    /// Hands in a request; its reply may come at once or later, into `replies`.
    func send(_ request: HTTPRequest, peer: CertificateFacts? = nil) -> UInt64 {
        let id = nextID
        nextID += 1
        perform { $0.handle(.request(.init(id), ControlRequest(request, peer: peer)), now: now, into: &$1) }
        if !isCollecting { advance(.zero) }
        return id
    }

    func disconnect(_ id: UInt64) { perform { $0.handle(.disconnected(.init(id)), now: now, into: &$1) } }

    private func perform(_ body: (ControlService, inout [ControlService.Action]) -> Void) {
        var actions: [ControlService.Action] = []
        body(service, &actions)
        for case .reply(let id, let reply) in actions {
            #expect(replies[id.number] == nil, "a request is answered once")
            replies[id.number] = reply
        }
    }

    /// The reply of a request that is answered at once, or of a heartbeat, which may wait for others.
    func reply(_ request: HTTPRequest, peer: CertificateFacts? = nil) throws -> HTTPReply {
        let id = send(request, peer: peer)
        if replies[id] == nil, request.path == "/v1/node/heartbeat" { advance(settings.heartbeatWait) }
        return try #require(replies[id], "no reply to \(request.method) \(request.path)")
    }

    func ask<Answer>(_ call: OperatorCall<Answer>) throws -> Answer { try call.decode(try reply(call.request)) }

    /// The problem code with which a request is refused; nil when it is not.
    func refusal(_ request: HTTPRequest, peer: CertificateFacts? = nil) throws -> Problem.Code? {
        try Self.refusal(try reply(request, peer: peer))
    }

    static func refusal(_ reply: HTTPReply) throws -> Problem.Code? {
        if reply.isSuccess { return nil }
        #expect(reply.contentType == HTTPReply.problemJSON)
        let problem = try JSON.decode(Problem.self, from: reply.body)
        #expect(problem.status == reply.status)
        #expect(!problem.detail.isEmpty)
        let code: Problem.Code = try #require(problem.code)
        return code
    }

    /// Lets time pass, with every deadline kept.
    func advance(_ duration: Duration) {
        let end = now.monotonic + duration
        while let deadline = service.nextDeadline(), deadline.instant <= end {
            pass(to: max(deadline.instant, now.monotonic))
            perform { $0.handleDeadline(now: now, into: &$1) }
        }
        pass(to: end)
    }

    /// One turn of the service, whose deadline is due.
    func turn() { perform { $0.handleDeadline(now: now, into: &$1) } }

    private func pass(to instant: Instant) {
        now.wall = now.wall + (instant - now.monotonic)
        now.monotonic = instant
    }

    // MARK: The usual course

    func activateCluster(degree: Int = 4) throws {
        let keys = try ask(calls.create(person.newCluster(cluster, name: "Alpha", peerDegree: degree)))
        let trust = try person.signTrust(keys, for: &cluster, random: random, now: now.wall)
        #expect(try ask(calls.setTrust(trust, of: cluster.cluster)).status == "active")
    }

    func makeToken(
        uses: Int = 100, lifetime: Duration = .seconds(3600), domains: [String] = ["fabric", "blue"],
        prefix: String = ""
    ) throws -> (token: JoinToken, id: JoinTokenID) {
        let view = try ask(calls.cluster(cluster.cluster))
        let (token, body) = try person.makeToken(
            name: "test", maximumUses: uses, lifetime: lifetime,
            scope: .init(domains: domains.map { RoutingDomainID($0)! }, namePrefix: prefix), for: view, of: cluster,
            random: random)
        #expect(try ask(calls.create(body, in: cluster.cluster)).used == 0)
        return (token, body.id)
    }

    func host(_ name: String, domains: [String] = ["fabric", "blue"]) throws -> TestHost {
        try TestHost(
            name, domains: domains.map { RoutingDomainID($0)! }, cluster: cluster.cluster, random, cryptography,
            certificates)
    }

    /// Takes a host up to `pending`.
    func apply(_ host: TestHost, _ token: JoinToken) throws {
        let challenge = try JSON.decode(ControlAPI.Challenge.self, from: try reply(try host.enrolment(token)).body)
        host.request = challenge.request
        let proof = try reply(try host.proof(challenge, token))
        #expect(proof.status == 200)
    }

    func approve(_ host: TestHost) throws {
        let view = try ask(calls.joinRequest(try #require(host.request), in: cluster.cluster))
        let approval = try person.approve(view, in: cluster, now: now.wall)
        #expect(try ask(calls.approve(view.id, in: cluster.cluster, approval)).status == "approved")
    }

    /// The whole enrolment, with the host's checks of what it was granted.
    @discardableResult
    func join(_ name: String, _ token: JoinToken, domains: [String] = ["fabric", "blue"]) throws -> TestHost {
        let host = try host(name, domains: domains)
        try apply(host, token)
        try approve(host)
        try fetchGrant(host, token)
        return host
    }

    func fetchGrant(_ host: TestHost, _ token: JoinToken) throws {
        let status = try JSON.decode(
            ControlAPI.EnrolmentStatus.self, from: try reply(host.status(token, wait: 0)).body)
        #expect(status.status == "approved")
        try host.accept(try #require(status.grant), token, now: now.wall)
    }
}

// MARK: Looking

extension Bench {
    func audit() throws -> [ControlAPI.AuditEvent] {
        var events: [ControlAPI.AuditEvent] = []
        var after: String?
        repeat {
            let page = try ask(calls.audit(cluster.cluster, PageQuery(after: after, limit: 7)))
            events += page.items
            after = page.next
        } while after != nil
        return events
    }

    /// Recomputes the chain of hashes, as an operator would.
    func verifyAudit() throws {
        var previous = ControlAPI.AuditEvent.firstPrevious
        for (index, event) in try audit().enumerated() {
            #expect(event.sequence == Int64(index + 1))
            previous = event.chainHash(previous: previous, cluster: cluster.cluster, cryptography)
            #expect(event.hash.bytes == previous)
        }
    }

    func updates(
        of host: TestHost, snapshot: Int64 = 0, records: Int64 = 0
    ) throws -> ControlAPI.Updates {
        try JSON.decode(
            ControlAPI.Updates.self,
            from: try reply(host.updates(snapshot: snapshot, records: records), peer: host.facts).body)
    }

    /// The node's newest snapshot, verified.
    func snapshot(of host: TestHost) throws -> Snapshot {
        let trust = try #require(cluster.trust).unverified(TrustMetadata.self)
        return try #require(try updates(of: host).snapshot).open(
            Snapshot.self, keys: trust.snapshotKeys.map(\.bytes), threshold: 1, cryptography)
    }
}
