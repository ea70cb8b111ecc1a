package import FabricCore

/// Where the control plane's own secrets are kept, apart from its database: a 0600 file on Linux, memory that survives
/// its crashes in the simulator. Few, small, written once.
public protocol KeyVault: AnyObject {
    /// Nil when nothing stands under the name.
    func read(_ name: String) throws(KeyVaultError) -> [UInt8]?
    /// When this returns, the secret is durable.
    func write(_ name: String, _ secret: [UInt8]) throws(KeyVaultError)
}

public struct KeyVaultError: Error, Hashable, Sendable, CustomStringConvertible {
    public var description: String
    public init(_ description: String) { self.description = description }
}

/// A vault in memory.
public final class MemoryKeyVault: KeyVault {
    private var secrets: [String: [UInt8]] = [:]
    public init() {}
    public func read(_ name: String) throws(KeyVaultError) -> [UInt8]? { secrets[name] }
    public func write(_ name: String, _ secret: [UInt8]) throws(KeyVaultError) { secrets[name] = secret }
}

/// The control plane's keys. One master secret stands in the vault; every other secret is derived from it by
/// HMAC-SHA256 over a purpose and, for a cluster's keys, the salt of its row. So no transaction has to span both.
package struct ControlKeys {
    private let master: [UInt8]
    private let cryptography: any Cryptography

    static let masterName = "master-secret"
    static let masterBytes = 32

    /// Makes the master secret on first use.
    package init(vault: any KeyVault, cryptography: any Cryptography, random: any RandomSource) throws(KeyVaultError) {
        self.cryptography = cryptography
        if let stored = try vault.read(Self.masterName) {
            guard stored.count == Self.masterBytes else {
                throw KeyVaultError("the master secret has \(stored.count) bytes, not \(Self.masterBytes)")
            }
            master = stored
        } else {
            master = random.bytes(Self.masterBytes)
            try vault.write(Self.masterName, master)
        }
    }

    private func derive(_ purpose: String, _ context: [UInt8] = []) -> [UInt8] {
        cryptography.hmacSHA256(key: master, Array("rap control \(purpose)\n".utf8) + context)
    }

    /// Ed25519 seed of the issuing CA of the cluster whose row has this salt.
    func issuingSeed(salt: [UInt8]) -> [UInt8] { derive("issuing authority", salt) }
    /// Ed25519 seed of the key that signs the cluster's snapshots.
    package func snapshotSeed(salt: [UInt8]) -> [UInt8] { derive("snapshots", salt) }
    /// X25519 private key of the challenge of one join request.
    func challengeKey(_ request: JoinRequestID) -> [UInt8] { derive("challenge", Array(request.text.utf8)) }
    /// Ed25519 seeds of the control plane's own TLS identity.
    var serverRootSeed: [UInt8] { derive("server root") }
    var serverSeed: [UInt8] { derive("server") }
}
