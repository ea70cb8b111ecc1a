public import FabricCore
internal import FabricDocument
internal import FabricWire

/// What the control plane is built on.
public struct ControlEnvironment {
    public var store: any Store
    public var vault: any KeyVault
    public var certificates: any CertificateProvider
    public var cryptography: any Cryptography
    public var random: any RandomSource
    /// SHA-256 of the root certificate of its own TLS identity (`ControlIdentity.pin`).
    public var controlPin: [UInt8]

    public init(
        store: any Store, vault: any KeyVault, certificates: any CertificateProvider, cryptography: any Cryptography,
        random: any RandomSource, controlPin: [UInt8]
    ) {
        self.store = store
        self.vault = vault
        self.certificates = certificates
        self.cryptography = cryptography
        self.random = random
        self.controlPin = controlPin
    }
}

/// The control plane's decisions: each request is one transaction (plain heartbeats have one for many), and everything that
/// lasts is in the store.
///
/// It keeps nothing between calls but its keys and counters, so a new one over the same store and vault goes on where
/// another stopped. `ControlService` adds what lives in memory: parked requests and timers.
public final class ControlPlane {
    let store: WatchedStore
    let certificates: any CertificateProvider
    let cryptography: any Cryptography
    let random: any RandomSource
    let keys: ControlKeys
    let heartbeatTexts = HeartbeatTexts()
    let controlPin: [UInt8]
    public let settings: ControlSettings
    public internal(set) var counters = ControlCounters()
    /// The newest failure of the store, for the operator's log.
    public private(set) var lastStoreError: (any Error)?

    func note(_ storeError: any Error) {
        counters.storeErrors += 1
        lastStoreError = storeError
    }

    /// Makes the vault's master secret on first use.
    public init(_ environment: ControlEnvironment, settings: ControlSettings) throws {
        precondition(settings.certificateLifetime >= ControlSettings.shortestCertificateLifetime)
        precondition((1...ControlSettings.mostHeartbeatsPerBatch).contains(settings.heartbeatsPerBatch))
        store = WatchedStore(environment.store)
        certificates = environment.certificates
        cryptography = environment.cryptography
        random = environment.random
        controlPin = environment.controlPin
        self.settings = settings
        keys = try ControlKeys(
            vault: environment.vault, cryptography: environment.cryptography, random: environment.random)
    }

    /// Brings the database's schema up to date. `ControlService` does so when it starts and tries again while the
    /// store is away; a host calls it first to learn of a database that does not fit (`MigrationError`).
    public func prepare(now: WallTime) throws {
        try Migrator(ControlSchema.migrations).migrate(store, now: now)
    }

    /// Runs one request in one transaction. Never throws: whatever goes wrong is a reply.
    ///
    /// - Parameter parkedUntil: nil on the first run; afterwards the instant that `Outcome.park` named.
    public func handle(request: ControlRequest, now: Now, parkedUntil: Instant? = nil) -> Handled {
        if parkedUntil == nil { counters.requests += 1 } else { counters.resumed += 1 }
        let handled: Handled
        do {
            handled = try run(request, now: now, parkedUntil: parkedUntil)
        } catch let error as UnknownOutcome {
            note(StoreError.unknownOutcome(error.why))
            // It may have taken place: whoever waits looks again, in a transaction that finds out.
            handled = error.handled
        } catch let problem as Problem {
            handled = Handled(outcome: .reply(problem.reply))
            if problem.code == .unauthenticated { counters.unauthenticated += 1 }
            if problem.code == .tokenUnknown { counters.unknownTokens += 1 }
        } catch let error as StoreError {
            note(error)
            handled = Handled(outcome: .reply(Self.problem(for: error).reply))
        } catch {
            handled = Handled(outcome: .reply(Problem(.internalError, "\(error)").reply))
        }
        if case .reply(let reply) = handled.outcome {
            switch reply.status {
            case ..<400: counters.succeeded += 1
            case ..<500: counters.refused += 1
            default: counters.failed += 1
            }
        }
        return handled
    }

    private func run(_ request: ControlRequest, now: Now, parkedUntil: Instant?) throws -> Handled {
        guard request.http.body.count <= HTTPLimits.requestBody else {
            throw Problem(
                .tooLarge, "the body has \(request.http.body.count) bytes; the limit is \(HTTPLimits.requestBody)")
        }
        let (route, segments) = try Self.router.match(request.http)
        if let unknown = request.http.query.first(where: { !route.parameters.contains($0.name) }) {
            throw Problem(.malformedRequest, "unknown query parameter “\(unknown.name.prefix(40))”")
        }
        for name in route.parameters where request.http.query.count(where: { $0.name == name }) > 1 {
            throw Problem(.malformedRequest, "the query parameter “\(name)” stands twice; which one is meant?")
        }
        if let reply = Self.livenessReply(to: request.http, busyFor: .zero) { return Handled(outcome: .reply(reply)) }
        // Randomness is drawn outside: a transaction that runs again must write the same.
        let entropy = random.bytes(32)
        var given: Handled?
        do {
            return try transact(request, route, segments, now: now, parkedUntil: parkedUntil, entropy) { given = $0 }
        } catch StoreError.unknownOutcome(let why) {
            if planted(.replyDespiteFailedCommit), let given { return given }
            guard var handled = given else { throw StoreError.unknownOutcome(why) }
            handled.outcome = .reply(Self.problem(for: .unknownOutcome(why)).reply)
            throw UnknownOutcome(handled: handled, why: why)
        }
    }

    /// The transaction did everything but learn whether it took place. The reply says so; the rest is what to look at.
    private struct UnknownOutcome: Error {
        var handled: Handled
        /// The store's reason, for the log.
        var why: String
    }

    /// One request in one transaction. `given` hears of each run's end, before the commit.
    private func transact(
        _ request: ControlRequest, _ route: Route, _ segments: [String], now: Now, parkedUntil: Instant?,
        _ entropy: [UInt8], given: (Handled) -> Void
    ) throws -> Handled {
        try store.transaction { transaction in
            let call = Call(
                transaction, request, segments: segments, now: now, parkedUntil: parkedUntil, entropy: entropy,
                cryptography)
            try admit(call, route.access)
            var handled = Handled(outcome: try route.handler(self, call))
            try writeAudits(call)
            handled.touched = call.touched.sortedUnique()
            handled.snapshotsDirty = call.snapshotsDirty
            handled.heardFrom = call.heardFrom
            given(handled)
            return handled
        }
    }

    /// A refusal loses nothing: the client asks again, and every call may be repeated.
    static func problem(for error: StoreError) -> Problem {
        switch error {
        case .unavailable, .unknownOutcome:
            Problem(.unavailable, "the control plane can't reach its records now; ask again, nothing is lost")
        case .corrupt, .statement, .constraint:
            Problem(.internalError, "the control plane's records could not be read or changed")
        }
    }
}

extension Array where Element: Comparable {
    func sortedUnique() -> [Element] {
        var result: [Element] = []
        for element in sorted() where result.last != element { result.append(element) }
        return result
    }
}
