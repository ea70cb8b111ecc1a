public import FabricCore
internal import FabricWire

/// The control plane's own TLS identity: a root that join tokens pin, and a server SVID under it.
public struct ControlIdentity: Hashable, Sendable {
    /// DER; the same for the life of the vault.
    public var rootCertificate: [UInt8]
    /// SHA-256 of the root certificate: what tokens and operators pin.
    public var pin: [UInt8]
    /// The server's SVID, DER. The root is sent behind it, so that a client that has only the pin can check it.
    public var serverCertificate: [UInt8]
    /// Ed25519 seed of the server's key.
    public var serverSeed: [UInt8]
    public var serverValidity: Range<WallTime>

    public static let rootName = "server-root-certificate"
    /// What the vault holds once there is an identity; without one of them another control plane would come about.
    public static let vaultNames = [masterName, rootName]
    public static let masterName = ControlKeys.masterName
    public static let masterBytes = ControlKeys.masterBytes
    static let rootLifetime = Duration.seconds(20 * 365 * 86_400)
    static let serverLifetime = Duration.seconds(90 * 86_400)
    static let backdating = Duration.seconds(86_400)

    public var chain: [[UInt8]] { [serverCertificate, rootCertificate] }

    /// Makes the root on first use and a fresh server certificate every time.
    ///
    /// - Parameter dnsNames: names under which stock HTTPS clients reach the server.
    public init(
        vault: any KeyVault, certificates: any CertificateProvider, cryptography: any Cryptography,
        random: any RandomSource, dnsNames: [String], now: WallTime
    ) throws {
        let keys = try ControlKeys(vault: vault, cryptography: cryptography, random: random)
        if let stored = try vault.read(Self.rootName) {
            rootCertificate = stored
        } else {
            rootCertificate = try certificates.makeRoot(
                seed: keys.serverRootSeed, trustDomain: FabricIdentifier.controlTrustDomain,
                serial: Serial.make(random.bytes(16)), validity: now - Self.backdating..<now + Self.rootLifetime)
            try vault.write(Self.rootName, rootCertificate)
        }
        pin = cryptography.sha256(rootCertificate)
        serverSeed = keys.serverSeed
        serverValidity = now - Self.backdating..<now + Self.serverLifetime
        serverCertificate = try certificates.issueLeaf(
            issuer: rootCertificate, issuerSeed: keys.serverRootSeed,
            publicKey: try cryptography.ed25519PublicKey(seed: serverSeed), spiffeID: FabricIdentifier.control,
            dnsNames: dnsNames, serial: Serial.make(random.bytes(16)), validity: serverValidity)
    }
}

enum Serial {
    /// A positive DER INTEGER of 16 bytes without a leading zero (RFC 5280 section 4.1.2.2 allows up to 20).
    static func make(_ random: [UInt8]) -> [UInt8] {
        var serial = Array(random.prefix(16))
        serial[0] = serial[0] & 0x7F | 0x40
        return serial
    }
}
