internal import FabricControl
internal import FabricCore
internal import FabricScenario
internal import FabricStoreSQLite
internal import FabricWire

/// A virtual host that runs the production control plane over SQLite on its virtual disk.
final class ControlActor: SimulatedHost {
    static let port: UInt16 = 8443
    static let adminToken = "simulated-operator"

    /// A reply that the control plane has given and the network is to lose, after the commit.
    struct LostAnswers {
        var kind: RequestKind
        var remaining: Int
    }

    let world: World
    let services: ActorServices
    private let settings: ControlSettings
    /// Its own keys stand on a medium apart, which survives.
    let vault = MemoryKeyVault()
    private static let databaseName = "control.db"
    private let observer = SQLiteObserver()
    /// Of its disk, when the observer looked.
    private var looked: (changes: UInt64, upheavals: UInt64) = (0, 0)
    private(set) var host: HostID!
    private(set) var service: ControlService?
    private var store: SQLiteStore?
    private var database: FaultyStore?
    /// The faults of its database, which outlast its crashes.
    private(set) var databaseConditions: DatabaseConditions!
    /// World time at which the database has done what was asked of it.
    private var databaseFreeAt = Instant.zero
    /// Of this boot, the control plane's and SQLite's: asked for once, since asking again gives the same numbers again.
    private var randomness: (SeededRandom, SeededRandom)?
    /// By name.
    private var backups: [String: DiskImage] = [:]
    var actions: [ControlService.Action] = []
    /// Which connection waits for the answer of a request. Looked up by key only, as are the next two.
    private(set) var waiting: [UInt64: Waiting] = [:]
    private var nextRequest: UInt64 = 1
    private(set) var connections: [StreamID: Connection] = [:]
    /// Answers on their way through the disk's latency, by timer token.
    private var delayed: [UInt64: (stream: StreamID, bytes: [UInt8])] = [:]
    private var nextToken: UInt64 = 1
    private var lostAnswers: [LostAnswers] = []
    /// What it does in foreign hands; see ControlActor+Capture.swift.
    var captures: [ControlCapture] = []
    /// What it has sent before; kept only in runs in which it comes into foreign hands.
    var past: ControlPast?
    /// Of each cluster; looked up by key only.
    private var roots: [ClusterID: [UInt8]] = [:]
    /// Why it is not up, when it should be.
    private(set) var failure: String?
    private(set) var watch: ControlWatch!
    /// SHA-256 of its root certificate.
    private(set) var pin: [UInt8]?

    struct Waiting {
        var stream: StreamID
        var number: UInt64
        var path: String
        /// The journal's entry of its arrival: whatever sets off the transaction, the answer comes of the request.
        var arrival: Int32
    }

    struct Connection {
        var remote: Endpoint
        var peer: CertificateFacts?
        /// Requests without an answer, ascending.
        var open: [UInt64] = []
    }

    init(world: World, services: ActorServices, settings: ControlSettings) {
        self.world = world
        self.services = services
        self.settings = settings
        watch = ControlWatch(
            services.checks, cluster: ScenarioRun.clusterOfRuns, host: { [unowned self] in host },
            query: { [unowned self] in query($0) })
    }

    /// Now and then: what its records must be, and what they must not hold.
    func sweep() {
        let history =
            "SELECT COUNT(*) AS n FROM node_heartbeat_history GROUP BY cluster_id, node_id ORDER BY n DESC LIMIT 1"
        watch.sweep(limits: [
            QueuesBounded.Table(what: "heartbeats of one node", sql: history, limit: settings.heartbeatHistory)
        ])
        guard let service else { return }
        services.checks.judge(
            .queuesBounded, host,
            service.parkedNow > settings.parkedRequests
                ? "\(service.parkedNow) requests are parked; the limit is \(settings.parkedRequests)" : nil)
        services.checks.judge(
            .queuesBounded, host,
            service.heartbeatsNow > settings.waitingHeartbeats
                ? "\(service.heartbeatsNow) heartbeats wait; the limit is \(settings.waitingHeartbeats)" : nil)
    }

    /// Looks for secrets in the files of the database.
    func scanDisk() {
        let disk = world.disk(of: host)
        for name in disk.names { if let content = disk.content(name) { watch.scan(content, name) } }
    }

    func attach(_ host: HostID) {
        self.host = host
        databaseConditions = DatabaseConditions(
            random: SeededRandom(seed: world.seed, stream: "control/database-faults"))
        world.disk(of: host).boundary = { [unowned self] isSync, file in
            world.passInCall(isSync ? .sync : .write, of: self.host, file)
        }
    }

    /// Reads the records for an observer; nil while the control plane is down. It reads the bytes of the files: the control
    /// plane's own store would open the database anew after a failure, draw faults and pass boundaries.
    func query(_ sql: String) -> [SQLRow]? {
        guard let changes = recordChanges else { return nil }
        let disk = world.disk(of: host)
        if changes != looked.changes {
            observer.look(
                main: disk.content(Self.databaseName) ?? [], log: disk.content(Self.databaseName + "-wal") ?? [],
                anew: disk.upheavals != looked.upheavals)
            looked = (changes, disk.upheavals)
        }
        return try? observer.query(sql)
    }

    /// As long as it stays the same, so do the records; nil while the control plane is down.
    var recordChanges: UInt64? { store == nil ? nil : world.disk(of: host).changes }

    /// The next `count` answers of a kind are lost after their transaction.
    func lose(_ kind: RequestKind, _ count: Int) { lostAnswers.append(LostAnswers(kind: kind, remaining: count)) }

    var endpoint: Endpoint { Endpoint(address: world.network.address(of: host), port: Self.port) }

    /// What starts it tries again after this, as the machine's service manager does.
    static let startDelay = Duration.seconds(1)
    static let startToken = UInt64(1) << 61

    func boot(_ now: Now) {
        randomness = (world.random(of: host, "control"), world.random(of: host, "sqlite"))
        start(now)
    }

    private func start(_ now: Now) {
        come(up: now)
        if world.crashIfDue(host) { return }
        if service == nil { world.setTimer(host, after: Self.startDelay, token: Self.startToken) }
    }

    private func come(up now: Now) {
        do {
            guard let (random, storeRandom) = randomness else { return }
            let identity = try ControlIdentity(
                vault: vault, certificates: services.certificates, cryptography: services.cryptography, random: random,
                dnsNames: [], now: now.wall)
            pin = identity.pin
            var options = SQLiteStore.Options()
            // Of some thousand nodes each heartbeat would read pages anew.
            options.pageCacheBytes = 32 << 20
            let store = try SQLiteStore(
                disk: world.disk(of: host), name: Self.databaseName, random: storeRandom, options: options)
            let database = FaultyStore(store, databaseConditions)
            self.store = store
            self.database = database
            let environment = ControlEnvironment(
                store: database, vault: vault, certificates: services.certificates, cryptography: services.cryptography,
                random: random, controlPin: identity.pin)
            let service = ControlService(try ControlPlane(environment, settings: settings))
            self.service = service
            service.handle(.started, now: now, into: &actions)
            world.streams.listen(
                host, port: Self.port,
                StreamListener(
                    identity: StreamIdentity(chain: identity.chain), clientCertificate: .optional,
                    verify: { [unowned self] chain, now in verifyClient(chain, now) }))
            failure = nil
            settle()
            watch.booted()
        } catch {
            failure = "the control plane did not come up: \(error)"
            world.note(host, failure!)
            store?.abandon()
            store = nil
            database = nil
        }
    }

    // MARK: Backups

    /// Copies the disk as it is, as a snapshot of its volume would.
    func backUp(_ name: String) { backups[name] = world.disk(of: host).image() }

    /// The disk becomes what it was. A control plane that runs is started anew.
    func restore(_ name: String) {
        guard let image = backups[name] else { preconditionFailure("the plan restores what it backed up") }
        let runs = world.isRunning(host)
        world.crash(host, .process)
        world.disk(of: host).restore(image)
        watch.databaseReplaced()
        if runs { world.start(host, at: world.now) }
    }

    func crashed() {
        service = nil
        store?.abandon()
        store = nil
        database = nil
        databaseFreeAt = .zero
        actions = []
        waiting = [:]
        connections = [:]
        delayed = [:]
        roots = [:]
    }

    func handle(_ event: HostEvent, now: Now) {
        if case .timer(Self.startToken) = event { return start(now) }
        guard let service else { return }
        switch event {
        case .wake: service.handleDeadline(now: now, into: &actions)
        case .stream(let stream, let event):
            if case .received(let bytes) = event, passRequest(bytes) { return }
            handle(stream, event, service, now)
        case .timer(let token): release(token)
        case .datagram, .persisted: break
        }
        settle()
    }

    private func handle(_ stream: StreamID, _ event: StreamEvent, _ service: ControlService, _ now: Now) {
        switch event {
        case .accepted(_, let from, let chain):
            let facts = chain.isEmpty ? nil : try? judge(chain, now)
            connections[stream] = Connection(remote: from, peer: facts)
        case .received(let bytes):
            guard let connection = connections[stream] else { return }
            let (number, request) = VirtualHTTP.decodeRequest(bytes)
            if lie(to: connection, on: stream, number, request) { return }
            let id = nextRequest
            nextRequest += 1
            waiting[id] = Waiting(
                stream: stream, number: number, path: request.path, arrival: world.journal?.current ?? -1)
            connections[stream]!.open.append(id)
            let call = ControlRequest(request, peer: connection.peer, source: connection.remote)
            watch.received(id, call, now.wall)
            service.handle(.request(.init(id), call), now: now, into: &actions)
        case .closed:
            for id in connections.removeValue(forKey: stream)?.open ?? [] {
                waiting[id] = nil
                watch.disconnected(id)
                service.handle(.disconnected(.init(id)), now: now, into: &actions)
            }
        case .opened, .writable: break
        }
    }

    /// True when the host has crashed before it looked at the request.
    private func passRequest(_ bytes: [UInt8]) -> Bool {
        guard world.isWatched(host) else { return false }
        let request = VirtualHTTP.decodeRequest(bytes).request
        return world.pass(.request, of: host, "\(request.method.rawValue) \(request.path)")
    }

    /// As the Linux host does it: by roots that it keeps, so that a database that is away ends no node's connection. A
    /// cluster that it does not know may be new.
    private func judge(_ chain: [[UInt8]], _ now: Now) throws -> CertificateFacts {
        guard let service else { throw CertificateError.untrustedRoot }
        func judged() throws(CertificateError) -> CertificateFacts {
            try ControlPlane.verifyClient(chain: chain, roots: roots, time: now.wall, services.certificates)
        }
        do { return try judged() } catch .untrustedRoot {
            if let known = try? service.plane.clusterRoots() { roots = known }
            return try judged()
        }
    }

    private func verifyClient(_ chain: [[UInt8]], _ now: Now) -> TLSRefusal? {
        guard service != nil else { return TLSRefusal(.accessDenied, "not up") }
        do {
            _ = try judge(chain, now)
            return nil
        } catch let error as CertificateError {
            return TLSRefusal(error)
        } catch {
            return TLSRefusal(.accessDenied, "\(error)")
        }
    }

    /// The call is over: what it wrote is durable, and its answers may leave.
    private func settle() {
        if world.crashIfDue(host) { return }
        guard let service else { return }
        while !actions.isEmpty {
            let batch = actions
            actions.removeAll(keepingCapacity: true)
            // What the disk took for the transactions of this turn delays every answer that they gave.
            var latency = world.disk(of: host).takeElapsed()
            if let taken = database?.takeElapsed(), taken > .zero {
                databaseFreeAt = max(databaseFreeAt, world.now) + taken
                latency += databaseFreeAt - world.now
            }
            if world.pass(.commit, of: host, "\(batch.count) answers") { return }
            for case .reply(let id, let reply) in batch { answer(id.number, reply, after: latency) }
        }
        let deadline = service.nextDeadline()
        world.journal?.deadline(of: host.index, deadline?.instant, deadline.map { "\($0.reason)" } ?? "")
        world.setDeadline(host, deadline?.instant)
    }

    private func answer(_ id: UInt64, _ reply: HTTPReply, after latency: Duration) {
        guard let entry = waiting.removeValue(forKey: id) else { return }
        if world.pass(.answer, of: host, "\(reply.status) to \(entry.path)") { return }
        connections[entry.stream]?.open.removeAll { $0 == id }
        watch.answered(id, reply)
        past?.keep(reply, path: entry.path, for: connections[entry.stream]?.peer)
        if reply.isSuccess, let lost = lostAnswers.firstIndex(where: { $0.kind == RequestKind(path: entry.path) }) {
            lostAnswers[lost].remaining -= 1
            if lostAnswers[lost].remaining == 0 { lostAnswers.remove(at: lost) }
            world.note(host, "answer lost: \(entry.path)")
            world.streams.reset(entry.stream)
            return
        }
        let token = delay(reply, on: entry.stream, entry.number)
        guard let journal = world.journal else { return world.setTimer(host, after: latency, token: token) }
        journal.count(.transactions)
        let peer = world.streams.remote(entry.stream).flatMap { world.network.owner(of: $0.address) }?.index ?? -1
        let transaction = journal.add(
            .transaction, host: host.index, peer: peer, "control plane answers \(reply.status) to \(entry.path)",
            outcome: "after \(latency.nanoseconds / 1000) µs of disk", cause: entry.arrival)
        journal.causing(transaction) { world.setTimer(host, after: latency, token: token) }
    }

    /// Keeps an answer until the timer with this token fires.
    func delay(_ reply: HTTPReply, on stream: StreamID, _ number: UInt64) -> UInt64 {
        let token = nextToken
        nextToken += 1
        delayed[token] = (stream, VirtualHTTP.encode(reply, number: number))
        return token
    }

    /// A request that waits is answered by somebody else: the service hears that nobody wants its answer.
    func takeAway(_ id: UInt64, now: Now) {
        guard let entry = waiting.removeValue(forKey: id) else { return }
        connections[entry.stream]?.open.removeAll { $0 == id }
        watch.disconnected(id)
        service?.handle(.disconnected(.init(id)), now: now, into: &actions)
    }

    private func release(_ token: UInt64) {
        guard let answer = delayed.removeValue(forKey: token) else { return }
        _ = world.streams.send(answer.stream, answer.bytes)
    }
}

extension RequestKind {
    /// The kind of a call of the control API; nil for operators' calls.
    init?(path: String) {
        switch path {
        case "/v1/enrolments": self = .join
        case "/v1/node/heartbeat": self = .heartbeat
        case "/v1/node/updates": self = .updates
        case "/v1/node/certificate": self = .certificate
        case let path where path.hasPrefix("/v1/enrolments/"): self = path.hasSuffix("/proof") ? .proof : .status
        default: return nil
        }
    }
}
