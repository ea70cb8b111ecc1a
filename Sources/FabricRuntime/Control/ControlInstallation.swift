internal import FabricControl
public import FabricCore
internal import FabricCrypto
internal import FabricIdentity
internal import FabricLinux
internal import Glibc

/// A control plane's state directory:
///
/// ```
/// STATE         0700
/// STATE/keys    its secrets, one file each, and the hash of the operators' token
/// STATE/db      its database
/// ```
/// `keys` and `db` are each locked by the process that runs.
public struct ControlInstallation {
    public let path: String
    let vault: FileKeyVault

    static let tokenHashName = "admin-token-hash"
    static let databaseName = "control.sqlite"

    private init(path: String, create: Bool) throws {
        self.path = path
        if create {
            try SecretFile.makeDirectory(path)
        } else if access(path + "/keys", F_OK) != 0 {
            throw ControlInstallationError(
                "\(path) is no control plane's state: make it with “rap-control init --state \(path) --listen IP:PORT”")
        }
        vault = try FileKeyVault(path: path + "/keys", create: create)
    }

    /// Opens what `initialise` made.
    public static func open(_ path: String) throws -> ControlInstallation {
        let installation = try ControlInstallation(path: path, create: false)
        _ = try installation.adminTokenHash()
        for name in try ControlIdentity.vaultNames.filter({ try installation.vault.read($0) == nil }) {
            throw ControlInstallationError(
                "\(path)/keys/\(name) is missing: put it back from a backup. A new one would make another control plane, "
                    + "which no node and no operator knows")
        }
        try installation.checkKeys()
        return installation
    }

    /// Makes keys and an operators' token. The token goes to the operator's file alone; here stays its hash.
    ///
    /// - Parameter endpoint: where operators reach the control plane.
    public static func initialise(
        _ path: String, endpoint: ServerAddress, operatorFile: String
    ) throws -> (installation: ControlInstallation, context: OperatorContext) {
        let installation = try ControlInstallation(path: path, create: true)
        guard try installation.vault.read(tokenHashName) == nil else {
            throw ControlInstallationError("\(path) is a control plane's state already; its operators have their file")
        }
        guard try SecretFile.read(operatorFile) == nil else {
            throw ControlInstallationError("\(operatorFile) exists: move it away, or name another file")
        }
        let identity = try installation.makeIdentity(names: [], now: LinuxClock.now().wall)
        let token = Base64URL.encode(KernelRandom().bytes(32))
        let context = OperatorContext(endpoint: endpoint, controlPin: Blob(identity.pin), adminToken: token)
        // The hash comes last: until it stands, a crash leaves something that can be initialised again.
        try context.save(operatorFile)
        try installation.vault.write(tokenHashName, SystemCryptography().sha256(Array(token.utf8)))
        return (installation, context)
    }

    public func adminTokenHash() throws -> [UInt8] {
        guard let hash = try vault.read(Self.tokenHashName) else {
            throw ControlInstallationError("\(path) was not initialised to its end: run rap-control init again")
        }
        guard hash.count == 32 else {
            throw damaged(Self.tokenHashName, "it has \(hash.count) bytes, not 32")
        }
        return hash
    }

    /// A fresh server certificate under the same root.
    func makeIdentity(names: [String], now: WallTime) throws -> ControlIdentity {
        do {
            return try ControlIdentity(
                vault: vault, certificates: X509Identity(), cryptography: SystemCryptography(), random: KernelRandom(),
                dnsNames: names, now: now)
        } catch CertificateError.unsupportedKey {
            throw ControlInstallationError(
                "\(path)/keys: \(ControlIdentity.masterName) and \(ControlIdentity.rootName) don't belong together: put "
                    + "both back from the same backup")
        }
    }
}

public struct ControlInstallationError: Error, Hashable, Sendable, CustomStringConvertible {
    public var description: String
    init(_ description: String) { self.description = description }
}
