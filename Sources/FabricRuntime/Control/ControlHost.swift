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
    private let database: Database
    private let service: ControlService
    private let roots = ClientRoots()
    private let turns = TurnWatch()
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
        let opened = try Self.openDatabase(settings.database, installation)
        database = opened
        let plane = try ControlPlane(
            ControlEnvironment(
                store: TurnStore(opened.store, turns) { LinuxClock.now().monotonic }, vault: installation.vault,
                certificates: X509Identity(),
                cryptography: SystemCryptography(), random: KernelRandom(), controlPin: identity.pin),
            settings: settings.control)
        var unusable: [UnusableIssuer] = []
        let known = roots
        try opened.explaining {
            try plane.prepare(now: now.wall)
            known.update(try plane.clusterRoots())
            unusable = try plane.unusableIssuers(now: now.wall)
        }
        if case .sqlite = settings.database { try installation.noteDatabase() }
        for issuer in unusable {
            logger.error(
                "a cluster's nodes can't be given certificates: renew its issuing certificate, or put keys and database back from one backup",
                metadata: [
                    "cluster": "\(issuer.cluster)", "error": "\(issuer.reason)", "database": "\(opened.name)",
                    "keys": "\(installation.path)/keys",
                ])
        }
        service = ControlService(plane)
        certificateCheckAt = now.monotonic + Self.certificateCheck
        server = try listen(identity)
    }

    /// The store, and what its kind can do beside.
    private struct Database {
        var store: any Store
        /// For the log.
        var name: String
        var close: () -> Void
        /// Runs what may find the database unfit, and says then which it is and the mend.
        var explaining: (() throws -> Void) throws -> Void = { try $0() }
        /// Whoever waits for the store hurries once the descriptor is readable.
        var watch: (_ interrupt: Int32?) -> Void = { _ in }
        /// From here on nothing waits long for the store.
        var windDown: () -> Void = {}
    }

    private static func openDatabase(
        _ database: ControlDatabase, _ installation: ControlInstallation
    ) throws -> Database {
        switch database {
        case .sqlite:
            try installation.checkWritable()
            try installation.checkDatabase()
            let store = try installation.withDatabase {
                try SQLiteStore(
                    disk: DirectoryDisk(path: installation.path + "/db"), name: ControlInstallation.databaseName,
                    random: KernelRandom())
            }
            return Database(
                store: store, name: installation.databaseFile, close: store.close,
                explaining: installation.withDatabase)
        case .postgres(let address):
            let store = try PostgresStore(address: address, random: KernelRandom())
            return Database(
                store: store, name: "PostgreSQL", close: store.close, watch: store.watch(interrupt:),
                windDown: store.windDown)
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
            turns.begin(now.monotonic)
            service.handleDeadline(now: now, into: &actions)
            if certificateCheckAt <= now.monotonic { checkCertificate(now) }
            settle()
        }
        // A server that hangs must not keep the process from ending.
        database.watch(loop.signalDescriptor)
        defer { database.watch(nil) }
        feed(.started)
        try loop.run()
        network.shutdown()
        database.close()
    }

    private func listen(_ identity: ControlIdentity) throws -> HTTPSServer {
        let mailbox = loop.mailbox
        let host = Unowned(self)
        // What a full mailbox drops, the server answers itself when the request's time is up.
        var handlers = HTTPServerHandlers(
            onRequest: { request in mailbox.post { host.value.take(request) } },
            onClosed: { id in
                mailbox.post { host.value.feed(.disconnected(ControlService.RequestID(id.number))) }
            })
        // Not by the loop: that may wait for a store, and is alive for all that.
        handlers.replyAtOnce = { [turns] request in
            ControlPlane.livenessReply(to: request.request, busyFor: turns.busyFor(LinuxClock.now().monotonic))
        }
        return try HTTPSServer(
            loop: network, bind: settings.listen,
            identity: TLSIdentity(chain: identity.chain, seed: identity.serverSeed), verifyClient: roots.verifier,
            limits: HTTPServerLimits(), logger: logger, handlers: handlers)
    }

    private func take(_ request: ServerRequest) {
        let id = ControlService.RequestID(request.id.number)
        if request.request.method == .post, request.request.path == "/v1/clusters" { creations.insert(id) }
        feed(
            .request(
                id, ControlRequest(request.request, peer: request.peer?.facts, source: request.remote)))
    }

    private func feed(_ event: ControlService.Event) {
        let now = LinuxClock.now()
        turns.begin(now.monotonic)
        service.handle(event, now: now, into: &actions)
        settle()
    }

    /// After every call of the service: perform its actions, note when to wake it.
    private func settle() {
        for action in actions { perform(action) }
        actions.removeAll(keepingCapacity: true)
        logStoreErrors()
        turns.end()
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
            metadata: [
                "error": "\(error)", "requests": "\(failures - loggedStoreErrors)", "database": "\(database.name)",
            ])
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
        database.windDown()
        let mailbox = loop.mailbox
        let host = Unowned(self)
        server?.shutdown(answerWithin: Self.drainTime) { mailbox.post { host.value.loop.stop() } }
    }
}
