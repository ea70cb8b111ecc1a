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

/// The control plane's decisions: each request is a transaction, or a part of one that it shares (`RequestGroup.swift`; plain
/// heartbeats have statements in common, `HeartbeatBatch.swift`), and everything that lasts is in the store.
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
    let auditText = ManyRows(columns: 8) { values in
        """
        INSERT INTO cluster_audit_events (cluster_id, sequence, at, actor, event, subject, detail, hash)
        SELECT DISTINCT k.column1, k.column2, k.column3, k.column4, k.column5, k.column6, k.column7, k.column8
        FROM (VALUES \(values)) AS k
        """
    }
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
        precondition(settings.requestsPerTransaction >= 1)
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
