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

    private let world: World
    private let services: ActorServices
    private let settings: ControlSettings
    /// Its own keys stand on a medium apart, which survives.
    private let vault = MemoryKeyVault()
    private(set) var host: HostID!
    private var service: ControlService?
    private var store: SQLiteStore?
    private var actions: [ControlService.Action] = []
    /// Which connection waits for the answer of a request. Looked up by key only, as are the next two.
    private var waiting: [UInt64: Waiting] = [:]
    private var nextRequest: UInt64 = 1
    private var connections: [StreamID: Connection] = [:]
    /// Answers on their way through the disk's latency, by timer token.
    private var delayed: [UInt64: (stream: StreamID, bytes: [UInt8])] = [:]
    private var nextToken: UInt64 = 1
    private var lostAnswers: [LostAnswers] = []
    private(set) var failure: String?
    /// SHA-256 of its root certificate.
    private(set) var pin: [UInt8]?

    private struct Waiting {
        var stream: StreamID
        var number: UInt64
        var path: String
    }

    private struct Connection {
        var remote: Endpoint
        var peer: CertificateFacts?
        /// Requests without an answer, ascending.
        var open: [UInt64] = []
    }

    init(world: World, services: ActorServices, settings: ControlSettings) {
        self.world = world
        self.services = services
        self.settings = settings
    }

    func attach(_ host: HostID) { self.host = host }

    /// Reads the records for an observer; nil while the control plane is down.
    func query(_ sql: String) -> [SQLRow]? {
        try? store?.transaction { try $0.query(sql, []) }
    }

    /// The next `count` answers of a kind are lost after their transaction.
    func lose(_ kind: RequestKind, _ count: Int) { lostAnswers.append(LostAnswers(kind: kind, remaining: count)) }

    var endpoint: Endpoint { Endpoint(address: world.network.address(of: host), port: Self.port) }

    func boot(_ now: Now) {
        do {
            let random = world.random(of: host, "control")
            let identity = try ControlIdentity(
                vault: vault, certificates: services.certificates, cryptography: services.cryptography, random: random,
                dnsNames: [], now: now.wall)
            pin = identity.pin
            let store = try SQLiteStore(
                disk: world.disk(of: host), name: "control.db", random: world.random(of: host, "sqlite"))
            let environment = ControlEnvironment(
                store: store, vault: vault, certificates: services.certificates, cryptography: services.cryptography,
                random: random, controlPin: identity.pin)
            self.store = store
            let service = ControlService(try ControlPlane(environment, settings: settings))
            self.service = service
            service.handle(.started, now: now, into: &actions)
            world.streams.listen(
                host, port: Self.port,
                StreamListener(
                    identity: StreamIdentity(chain: identity.chain), clientCertificate: .optional,
                    verify: { [unowned self] chain, now in verifyClient(chain, now) }))
            settle()
        } catch {
            failure = "the control plane did not come up: \(error)"
            world.note(host, failure!)
        }
    }

    func crashed() {
        service = nil
        store?.abandon()
        store = nil
        actions = []
        waiting = [:]
        connections = [:]
        delayed = [:]
    }

    func handle(_ event: HostEvent, now: Now) {
        guard let service else { return }
        switch event {
        case .wake: service.handleDeadline(now: now, into: &actions)
        case .stream(let stream, let event): handle(stream, event, service, now)
        case .timer(let token): release(token)
        case .datagram, .persisted: break
        }
        settle()
    }

    private func handle(_ stream: StreamID, _ event: StreamEvent, _ service: ControlService, _ now: Now) {
        switch event {
        case .accepted(_, let from, let chain):
            let facts = chain.isEmpty ? nil : try? service.plane.verifyClient(chain: chain, now: now)
            connections[stream] = Connection(remote: from, peer: facts)
        case .received(let bytes):
            guard let connection = connections[stream] else { return }
            let (number, request) = VirtualHTTP.decodeRequest(bytes)
            let id = nextRequest
            nextRequest += 1
            waiting[id] = Waiting(stream: stream, number: number, path: request.path)
            connections[stream]!.open.append(id)
            service.handle(
                .request(.init(id), ControlRequest(request, peer: connection.peer, source: connection.remote)),
                now: now,
                into: &actions)
        case .closed:
            for id in connections.removeValue(forKey: stream)?.open ?? [] {
                waiting[id] = nil
                service.handle(.disconnected(.init(id)), now: now, into: &actions)
            }
        case .opened, .writable: break
        }
    }

    private func verifyClient(_ chain: [[UInt8]], _ now: Now) -> TLSRefusal? {
        guard let service else { return TLSRefusal(.accessDenied, "not up") }
        do {
            _ = try service.plane.verifyClient(chain: chain, now: now)
            return nil
        } catch let error as CertificateError {
            return TLSRefusal(error)
        } catch {
            return TLSRefusal(.accessDenied, "\(error)")
        }
    }

    private func settle() {
        guard let service else { return }
        while !actions.isEmpty {
            let batch = actions
            actions.removeAll(keepingCapacity: true)
            // What the disk took for the transactions of this turn delays every answer that they gave.
            let latency = world.disk(of: host).takeElapsed()
            for case .reply(let id, let reply) in batch { answer(id.number, reply, after: latency) }
        }
        world.setDeadline(host, service.nextDeadline()?.instant)
    }

    private func answer(_ id: UInt64, _ reply: HTTPReply, after latency: Duration) {
        guard let entry = waiting.removeValue(forKey: id) else { return }
        connections[entry.stream]?.open.removeAll { $0 == id }
        if reply.isSuccess, let lost = lostAnswers.firstIndex(where: { $0.kind == RequestKind(path: entry.path) }) {
            lostAnswers[lost].remaining -= 1
            if lostAnswers[lost].remaining == 0 { lostAnswers.remove(at: lost) }
            world.note(host, "answer lost: \(entry.path)")
            world.streams.reset(entry.stream)
            return
        }
        let token = nextToken
        nextToken += 1
        delayed[token] = (entry.stream, VirtualHTTP.encode(reply, number: entry.number))
        world.setTimer(host, after: latency, token: token)
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
