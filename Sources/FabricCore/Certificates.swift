/// X.509 for SPIFFE identities. The adapter (FabricIdentity) is synchronous and keeps nothing; both hosts link it.
///
/// Certificates and requests travel as DER. Keys are Ed25519 seeds of 32 bytes.
public protocol CertificateProvider: AnyObject {
    /// A self-signed CA certificate (path length 1) for `trustDomain`.
    func makeRoot(seed: [UInt8], trustDomain: String, serial: [UInt8], validity: Range<WallTime>)
        throws(CertificateError) -> [UInt8]
    /// PKCS#10 (RFC 2986) for a leaf with `spiffeID` as its one URI SAN, or for a CA when `spiffeID` is a bare trust domain.
    func makeRequest(seed: [UInt8], spiffeID: String) throws(CertificateError) -> [UInt8]
    /// What a request asks for; its signature (proof of possession) is verified.
    func inspectRequest(_ request: [UInt8]) throws(CertificateError) -> CertificateRequestFacts
    /// Issues a CA certificate (path length 0) for the key of `request`.
    func issueAuthority(
        issuer: [UInt8], issuerSeed: [UInt8], request: [UInt8], serial: [UInt8], validity: Range<WallTime>
    ) throws(CertificateError) -> [UInt8]
    /// Issues an X.509-SVID (leaf, digitalSignature critical, one URI SAN) for `publicKey` (Ed25519, 32 bytes).
    func issueLeaf(
        issuer: [UInt8], issuerSeed: [UInt8], publicKey: [UInt8], spiffeID: String, dnsNames: [String],
        serial: [UInt8], validity: Range<WallTime>
    ) throws(CertificateError) -> [UInt8]
    /// Validates leaf, then intermediates, up to one of `roots`, at `time`, by the SPIFFE X.509-SVID rules.
    func validate(chain: [[UInt8]], roots: [[UInt8]], time: WallTime) throws(CertificateError) -> CertificateFacts
    /// What a certificate says, with nothing verified.
    func inspect(_ certificate: [UInt8]) throws(CertificateError) -> CertificateFacts
}

public struct CertificateRequestFacts: Hashable, Sendable {
    /// Ed25519, 32 bytes.
    public var publicKey: [UInt8]
    public var spiffeIDs: [String]
    public var asksForAuthority: Bool

    public init(publicKey: [UInt8], spiffeIDs: [String], asksForAuthority: Bool) {
        self.publicKey = publicKey
        self.spiffeIDs = spiffeIDs
        self.asksForAuthority = asksForAuthority
    }
}

public struct CertificateFacts: Hashable, Sendable {
    public var spiffeID: String
    /// Ed25519, 32 bytes.
    public var publicKey: [UInt8]
    public var serial: [UInt8]
    public var validity: Range<WallTime>

    public init(spiffeID: String, publicKey: [UInt8], serial: [UInt8], validity: Range<WallTime>) {
        self.spiffeID = spiffeID
        self.publicKey = publicKey
        self.serial = serial
        self.validity = validity
    }
}

public enum CertificateError: Error, Hashable, Sendable, CustomStringConvertible {
    case malformed(String)
    case badSignature
    case unsupportedKey(String)
    case notYetValid(WallTime)
    case expired(WallTime)
    case untrustedRoot
    case violates(String)

    public var description: String {
        switch self {
        case .malformed(let what): "malformed certificate data: \(what)"
        case .badSignature: "the signature does not verify"
        case .unsupportedKey(let what): "unsupported key: \(what)"
        case .notYetValid(let from): "not valid before \(from)"
        case .expired(let to): "expired at \(to)"
        case .untrustedRoot: "no chain to a trusted root"
        case .violates(let rule): "violates the X.509-SVID rules: \(rule)"
        }
    }
}
