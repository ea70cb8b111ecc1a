public import FabricControl
public import FabricCore
internal import FabricCrypto
internal import FabricIdentity
internal import FabricLinux
internal import FabricStorePostgres
internal import FabricStoreSQLite
internal import FabricWire
public import Logging

/// Where a control plane keeps what it knows.
public enum ControlDatabase: Sendable {
    /// In the state directory.
    case sqlite
    /// A libpq connection string or URI; passwords belong into libpq's password file.
    case postgres(String)
}

public struct ControlHostSettings: Sendable {
    public var listen: Endpoint
    /// Names and addresses under which stock HTTPS clients reach the server; our own know it by its pin.
    public var names: [String]
    public var control: ControlSettings
    public var database: ControlDatabase

    public init(
        listen: Endpoint, names: [String] = [], control: ControlSettings, database: ControlDatabase = .sqlite
    ) {
        self.listen = listen
        self.names = names
        self.control = control
        self.database = database
    }
}

/// The Linux host of a control plane: an event loop that moves requests in and replies out. It decides nothing.
///
/// One thread runs the service and its database. HTTPS has a thread of its own: it checks client chains against the
/// clusters' roots in `ClientRoots`, at the handshake and again at every request, and posts whole requests here.
public final class ControlHost {
    /// Requests get this long to be answered when the host stops; those that are parked are told to come again.
    static let drainTime = Duration.seconds(1)
    /// The server's certificate is looked at this often, and replaced when less than `renewBefore` of it is left.
    static let certificateCheck = Duration.seconds(86_400)
    static let renewBefore = Duration.seconds(30 * 86_400)

    private let installation: ControlInstallation
    private let settings: ControlHostSettings
    private let logger: Logger
    private let loop: EventLoop
    private let closeStore: () -> Void
    private let service: ControlService
    private let roots = ClientRoots()
    private let network = HTTPLoop()
    private var server: HTTPSServer?
    private var serverCertificateEnds: WallTime
    private var certificateCheckAt = Instant.zero
    private var isStopping = false
    /// Requests that may make a cluster: its root must be known before its creator hears of it.
    private var creations: Set<ControlService.RequestID> = []
    private var actions: [ControlService.Action] = []
    /// Failures of the store that have been logged, and when last: a full disk fails every write.
    private var loggedStoreErrors: UInt64 = 0
    private var storeErrorsLoggedAt: Instant?
    static let storeErrorPause = Duration.seconds(10)

    /// SHA-256 of the control plane's root certificate.
    public let pin: [UInt8]
    /// Where it listens; the port that the kernel chose when `listen` had port 0.
    public var endpoint: Endpoint { server?.endpoint ?? settings.listen }

    /// Opens all that the control plane needs, and listens: requests wait until `run`.
    public init(_ installation: ControlInstallation, settings: ControlHostSettings, logger: Logger) throws {
        self.installation = installation
        self.settings = settings
        self.logger = logger
        loop = try EventLoop()
        let now = LinuxClock.now()
        let identity = try installation.makeIdentity(names: settings.names, now: now.wall)
        pin = identity.pin
        serverCertificateEnds = identity.serverValidity.upperBound
        let store: any Store
        (store, closeStore) = try Self.openStore(settings.database, installation)
        let plane = try ControlPlane(
            ControlEnvironment(
                store: store, vault: installation.vault, certificates: X509Identity(),
                cryptography: SystemCryptography(), random: KernelRandom(), controlPin: identity.pin),
            settings: settings.control)
        try plane.prepare(now: now.wall)
        if case .sqlite = settings.database { try installation.noteDatabase() }
        roots.update(try plane.clusterRoots())
        service = ControlService(plane)
        certificateCheckAt = now.monotonic + Self.certificateCheck
        server = try listen(identity)
    }

    private static func openStore(
        _ database: ControlDatabase, _ installation: ControlInstallation
    ) throws -> (store: any Store, close: () -> Void) {
        switch database {
        case .sqlite:
            try installation.checkDatabase()
            let store = try SQLiteStore(
                disk: DirectoryDisk(path: installation.path + "/db"), name: ControlInstallation.databaseName,
                random: KernelRandom())
            return (store, store.close)
        case .postgres(let address):
            let store = try PostgresStore(address: address, random: KernelRandom())
            return (store, store.close)
        }
    }

    /// Ends `run`, gracefully. Any thread may call it while the host lives.
    public var stopper: @Sendable () -> Void {
        let mailbox = loop.mailbox
        let host = Unowned(self)
        return { mailbox.post { host.value.stop() } }
    }

    /// Runs until SIGINT, SIGTERM or `stopper`. A second signal does not wait for requests.
    public func run() throws {
        for signal in [2, 15] as [Int32] {
            try loop.onSignal(signal) { [unowned self] in
                logger.info("stopping", metadata: ["signal": "\(signal)"])
                stop()
            }
        }
        loop.onDeadline = { [unowned self] in
            let now = LinuxClock.now()
            service.handleDeadline(now: now, into: &actions)
            if certificateCheckAt <= now.monotonic { checkCertificate(now) }
            settle()
        }
        feed(.started)
        try loop.run()
        network.shutdown()
        closeStore()
    }

    private func listen(_ identity: ControlIdentity) throws -> HTTPSServer {
        let mailbox = loop.mailbox
        let host = Unowned(self)
        // What a full mailbox drops, the server answers itself when the request's time is up.
        return try HTTPSServer(
            loop: network, bind: settings.listen,
            identity: TLSIdentity(chain: identity.chain, seed: identity.serverSeed), verifyClient: roots.verifier,
            limits: HTTPServerLimits(), logger: logger,
            handlers: HTTPServerHandlers(
                onRequest: { request in mailbox.post { host.value.take(request) } },
                onClosed: { id in
                    mailbox.post { host.value.feed(.disconnected(ControlService.RequestID(id.number))) }
                }))
    }

    private func take(_ request: ServerRequest) {
        let id = ControlService.RequestID(request.id.number)
        if request.request.method == .post, request.request.path == "/v1/clusters" { creations.insert(id) }
        feed(
            .request(
                id, ControlRequest(request.request, peer: request.peer?.facts, source: request.remote)))
    }

    private func feed(_ event: ControlService.Event) {
        service.handle(event, now: LinuxClock.now(), into: &actions)
        settle()
    }

    /// After every call of the service: perform its actions, note when to wake it.
    private func settle() {
        for action in actions { perform(action) }
        actions.removeAll(keepingCapacity: true)
        logStoreErrors()
        let deadline = service.nextDeadline()?.instant
        loop.setDeadline(min(deadline ?? .distantFuture, certificateCheckAt))
    }

    private func logStoreErrors() {
        let failures = service.plane.counters.storeErrors
        guard failures != loggedStoreErrors, let error = service.plane.lastStoreError else { return }
        let now = LinuxClock.now().monotonic
        if let storeErrorsLoggedAt, now - storeErrorsLoggedAt < Self.storeErrorPause { return }
        logger.error(
            "records could not be read or written; who asked is told to ask again",
            metadata: ["error": "\(error)", "requests": "\(failures - loggedStoreErrors)"])
        loggedStoreErrors = failures
        storeErrorsLoggedAt = now
    }

    private func perform(_ action: ControlService.Action) {
        switch action {
        case .reply(let id, let reply):
            if creations.remove(id) != nil, reply.isSuccess { refreshRoots() }
            server?.reply(RequestID(number: id.number), reply)
        }
    }

    private func refreshRoots() {
        do {
            roots.update(try service.plane.clusterRoots())
        } catch {
            // Nodes of the new cluster are refused until the next time; that is the safe side.
            logger.error("the clusters' roots can't be read", metadata: ["error": "\(error)"])
            certificateCheckAt = LinuxClock.now().monotonic + .seconds(1)
        }
    }

    private func checkCertificate(_ now: Now) {
        certificateCheckAt = now.monotonic + Self.certificateCheck
        refreshRoots()
        guard serverCertificateEnds - now.wall < Self.renewBefore else { return }
        do {
            let identity = try installation.makeIdentity(names: settings.names, now: now.wall)
            try server?.update(identity: TLSIdentity(chain: identity.chain, seed: identity.serverSeed))
            serverCertificateEnds = identity.serverValidity.upperBound
            logger.notice("server certificate renewed", metadata: ["until": "\(serverCertificateEnds)"])
        } catch {
            logger.error("the server's certificate can't be renewed", metadata: ["error": "\(error)"])
        }
    }

    private func stop() {
        guard !isStopping else { return loop.stop() }
        isStopping = true
        let mailbox = loop.mailbox
        let host = Unowned(self)
        server?.shutdown(answerWithin: Self.drainTime) { mailbox.post { host.value.loop.stop() } }
    }
}
