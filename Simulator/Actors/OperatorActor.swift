internal import FabricControl
internal import FabricCore
internal import FabricNode
internal import FabricOperator
internal import FabricWire

/// A virtual host where a person works: it runs the production operator code and does the scenario's steps through the control
/// API, again and again until each has succeeded.
final class OperatorActor: SimulatedHost {
    static let requestTimeout = Duration.seconds(10)
    static let retryDelay = Duration.milliseconds(500)
    /// What a decision is to be.
    enum Decision: Hashable {
        case approve
        case reject(reason: String)
    }

    struct TokenOrder {
        var name: String
        var uses: Int
        var lifetime: Duration
        var scope: ControlAPI.TokenScope
    }

    private let world: World
    private let services: ActorServices
    private let control: () -> ControlActor
    private let clusterID: ClusterID
    private let peerDegree: Int
    private let calls = OperatorCalls(bearer: ControlActor.adminToken)
    private(set) var host: HostID!
    private var client: VirtualControlClient!
    private var random: (any RandomSource)!
    private var now = Now(monotonic: .zero, wall: WallTime(nanoseconds: 0))

    // What this person keeps.
    private var cluster: OperatorCluster?
    private var view: ControlAPI.Cluster?
    private var tokens: [(name: String, id: JoinTokenID, token: JoinToken)] = []

    /// Jobs run one after the other: each calls `finish` when it is done.
    private var jobs: [() -> Void] = []
    private var isBusy = false
    private var completions: [UInt64: (Result<HTTPReply, ControlFailure>) -> Void] = [:]
    private var nextNumber: UInt64 = 1
    private(set) var refusals: [String] = []
    /// Requests of which a decision is under way: nobody signs twice because the answer takes long. Looked up only.
    private var deciding: Set<JoinRequestID> = []
    /// Requests whose decision was answered, by the next call's number then: a list that was asked for before says nothing of
    /// them any more. Looked up only.
    private var decided: [JoinRequestID: UInt64] = [:]

    init(
        world: World, services: ActorServices, cluster: ClusterID, peerDegree: Int,
        control: @escaping () -> ControlActor
    ) {
        self.world = world
        self.services = services
        clusterID = cluster
        self.peerDegree = peerDegree
        self.control = control
    }

    func attach(_ host: HostID) { self.host = host }

    private var person: Operator { Operator(certificates: services.certificates, cryptography: services.cryptography) }

    // MARK: Steps

    func createCluster() { enqueue { [unowned self] in makeCluster() } }

    func createToken(_ order: TokenOrder, then: @escaping () -> Void) {
        enqueue { [unowned self] in makeToken(order, then) }
    }

    func revokeToken(_ name: String) {
        enqueue { [unowned self] in
            guard let token = tokens.last(where: { $0.name == name }) else { return finish() }
            perform(calls.revoke(token.id, in: clusterID)) { [unowned self] _ in finish() }
        }
    }

    /// Decides the requests of these nodes that wait now.
    func decideWaiting(_ names: [String], _ decision: Decision) {
        guard client != nil else { return }
        let names = Set(names)
        let asked = nextNumber
        perform(calls.joinRequests(clusterID, status: "pending", PageQuery(limit: 1000))) { [unowned self] page in
            for request in page.items
            where names.contains(request.name) && !deciding.contains(request.id) && decided[request.id] ?? 0 <= asked {
                decide(request, decision)
            }
        }
    }

    /// Disables the membership of nodes with these names that are members now, or enables it again.
    func setMembership(_ names: [String], active: Bool) {
        guard client != nil else { return }
        let names = Set(names)
        perform(calls.nodes(clusterID, PageQuery(limit: 1000))) { [unowned self] page in
            for node in page.items where names.contains(node.name) {
                perform(active ? calls.enable(node.id, in: clusterID) : calls.disable(node.id, in: clusterID)) { _ in }
            }
        }
    }

    /// Who may admit, by what this person has signed.
    private(set) var trust: AdmittedPeersOnly.Trust?

    private func remember(_ envelope: SignedEnvelope?) {
        guard let metadata = try? envelope?.unverified(TrustMetadata.self) else { return }
        trust = AdmittedPeersOnly.Trust(
            cluster: metadata.cluster, approvers: metadata.approverKeys.map(\.bytes),
            threshold: metadata.approvalThreshold)
    }

    func token(_ name: String) -> JoinToken? { tokens.last { $0.name == name }?.token }

    // MARK: Jobs

    private func enqueue(_ job: @escaping () -> Void) {
        jobs.append(job)
        startNext()
    }

    private func startNext() {
        guard !isBusy, client != nil, !jobs.isEmpty else { return }
        isBusy = true
        jobs.removeFirst()()
    }

    private func finish() {
        isBusy = false
        startNext()
    }

    private func makeCluster() {
        do {
            if cluster == nil {
                cluster = try person.makeCluster(clusterID, random: random, now: now.wall)
                services.checks.secrets.add("the cluster's root key", cluster!.rootSeed.bytes)
                services.checks.secrets.add("an approver's key", cluster!.approverSeed.bytes)
            }
        } catch {
            return refuse("the cluster can't be made: \(error)")
        }
        let body = person.newCluster(cluster!, name: clusterID.text, peerDegree: peerDegree)
        perform(calls.create(body)) { [unowned self] keys in
            do {
                let trust = try person.signTrust(keys, for: &cluster!, random: random, now: now.wall)
                remember(cluster?.trust)
                perform(calls.setTrust(trust, of: clusterID)) { [unowned self] view in
                    self.view = view
                    finish()
                }
            } catch {
                refuse("the cluster's trust can't be signed: \(error)")
            }
        }
    }

    private func makeToken(_ order: TokenOrder, _ then: @escaping () -> Void) {
        guard let view, let cluster else { return refuse("there is no cluster for token \(order.name)") }
        do {
            let (token, body) = try person.makeToken(
                name: order.name, maximumUses: order.uses, lifetime: order.lifetime, scope: order.scope, for: view,
                of: cluster, random: random)
            services.checks.secrets.add("the secret of token \(order.name)", token.secret)
            perform(calls.create(body, in: clusterID)) { [unowned self] issued in
                tokens.append((order.name, issued.id, token))
                then()
                finish()
            }
        } catch {
            refuse("token \(order.name) can't be made: \(error)")
        }
    }

    // MARK: Decisions

    private func decide(_ request: ControlAPI.JoinRequestView, _ decision: Decision) {
        switch decision {
        case .approve:
            guard let cluster else { return }
            do {
                let approval = try person.approve(request, in: cluster, now: now.wall)
                deciding.insert(request.id)
                perform(calls.approve(request.id, in: clusterID, approval)) { [unowned self] _ in
                    isDecided(request.id)
                }
            } catch {
                refusals.append("\(request.name): \(error)")
            }
        case .reject(let reason):
            deciding.insert(request.id)
            perform(calls.reject(request.id, in: clusterID, reason: reason)) { [unowned self] _ in
                isDecided(request.id)
            }
        }
    }

    private func isDecided(_ request: JoinRequestID) {
        deciding.remove(request)
        decided[request] = nextNumber
    }

    // MARK: Calls

    /// Repeats the call until it has an answer; every call of operators may be repeated.
    private func perform<Answer>(_ call: OperatorCall<Answer>, then: @escaping (Answer) -> Void) {
        send(call.request) { [unowned self] result in
            switch result {
            case .success(let reply):
                do throws(OperatorCallError) { then(try call.decode(reply)) } catch {
                    if case .refused(let problem) = error, problem.code?.isTransient == true {
                        retry(call, then)
                    } else {
                        refuse("\(call.request.method.rawValue) \(call.request.path): \(error)")
                    }
                }
            case .failure: retry(call, then)
            }
        }
    }

    private func retry<Answer>(_ call: OperatorCall<Answer>, _ then: @escaping (Answer) -> Void) {
        let token = nextNumber
        nextNumber += 1
        retries[token] = { [unowned self] in perform(call, then: then) }
        world.setTimer(host, after: Self.retryDelay, token: token)
    }

    private var retries: [UInt64: () -> Void] = [:]

    private func send(_ request: HTTPRequest, completion: @escaping (Result<HTTPReply, ControlFailure>) -> Void) {
        let number = nextNumber
        nextNumber += 1
        completions[number] = completion
        client.send(request, number: number, timeout: Self.requestTimeout)
    }

    /// The control plane has another address, which the operator knows.
    func controlMoved() {
        client.use(control().endpoint, connectTimeout: VirtualControlClient.connectTimeout)
        for outcome in client.reconnect() { complete(outcome) }
    }

    private func refuse(_ what: String) {
        refusals.append(what)
        world.note(host, what)
        finish()
    }

    // MARK: SimulatedHost

    func boot(_ now: Now) {
        self.now = now
        random = world.random(of: host, "operator")
        let control = control()
        client = VirtualControlClient(
            world: world, host: host, server: control.endpoint, identity: nil,
            verifyServer: { [unowned self] chain, now in
                // A person's context holds the control plane's pin, handed over when it was set up.
                guard let pin = control.pin else { return TLSRefusal(.unknownAuthority, "no pin") }
                do throws(CertificateError) {
                    _ = try ControlPin.verify(
                        chain: chain, pin: pin, time: now.wall, services.certificates, services.cryptography)
                    return nil
                } catch {
                    return TLSRefusal(error)
                }
            })
        startNext()
    }

    func crashed() {}

    func handle(_ event: HostEvent, now: Now) {
        self.now = now
        switch event {
        case .stream(let stream, let event):
            for outcome in client.handle(stream, event) { complete(outcome) }
        case .timer(let token) where token & VirtualControlClient.timerFlag != 0:
            for outcome in client.timerFired(token) { complete(outcome) }
        case .timer(let token): retries.removeValue(forKey: token)?()
        case .wake, .datagram, .persisted: break
        }
    }

    private func complete(_ outcome: VirtualControlClient.Outcome) {
        switch outcome {
        case .reply(let number, let reply): completions.removeValue(forKey: number)?(.success(reply))
        case .failure(let number, let failure): completions.removeValue(forKey: number)?(.failure(failure))
        }
    }
}
