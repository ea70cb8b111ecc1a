public import FabricCore
internal import NIOCore
internal import NIOSSL
internal import Synchronization

/// What this side of a TLS connection proves itself with.
public struct TLSIdentity: Hashable, Sendable {
    /// DER, the leaf first, then its intermediates; the root is not sent.
    public var chain: [[UInt8]]
    /// The leaf's Ed25519 seed, 32 bytes.
    public var seed: [UInt8]

    public init(chain: [[UInt8]], seed: [UInt8]) {
        self.chain = chain
        self.seed = seed
    }

    /// The seed as PKCS#8 (RFC 5958) in the DER of RFC 8410 section 7: 48 bytes. Nil for a seed that isn't 32 bytes.
    var pkcs8: [UInt8]? {
        guard seed.count == 32 else { return nil }
        // SEQUENCE { INTEGER 0, SEQUENCE { OID 1.3.101.112 }, OCTET STRING { OCTET STRING seed } }
        return [0x30, 0x2E, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20] + seed
    }
}

/// Why an identity can't be used for TLS.
public enum TLSIdentityError: Error, Hashable, Sendable, CustomStringConvertible {
    case seedLength(Int)
    case noCertificate
    /// The TLS library refused the chain or the key, or they don't belong together.
    case unusable(String)

    public var description: String {
        switch self {
        case .seedLength(let count): "an Ed25519 seed has 32 bytes, not \(count)"
        case .noCertificate: "the identity has no certificate"
        case .unusable(let why): "the certificate and key can't be used for TLS: \(why)"
        }
    }
}

/// Why a peer's certificates were refused.
public enum PeerRefusal: Error, Hashable, Sendable, CustomStringConvertible {
    case certificate(CertificateError)
    case unexpectedIdentity(presented: String, expected: String)
    case chainTooLong(Int)

    public var description: String {
        switch self {
        case .certificate(let error): error.description
        case .unexpectedIdentity(let presented, let expected): "the peer is \(presented), expected \(expected)"
        case .chainTooLong(let count): "\(count) certificates presented, at most \(PeerVerifier.longestChain) are read"
        }
    }
}

/// Decides on the chain that a peer presents. It runs on the event loop during the handshake, so it must neither block
/// nor take long, and it replaces every check of the TLS library but the proof that the peer has the leaf's key.
public struct PeerVerifier: Sendable {
    /// The most certificates that a peer may present.
    public static let longestChain = 6

    private let verifyChain: @Sendable ([[UInt8]]) throws(PeerRefusal) -> CertificateFacts

    /// `verify` is handed DER, the leaf first, as presented and otherwise unchecked.
    public init(_ verify: @escaping @Sendable ([[UInt8]]) throws(PeerRefusal) -> CertificateFacts) {
        verifyChain = verify
    }

    /// Validates up to `roots()` at `time()` by the X.509-SVID rules; both are asked anew each time. The provider is
    /// this verifier's alone, since it may remember what it parsed.
    public init(
        _ provider: sending any CertificateProvider, roots: @escaping @Sendable () -> [[UInt8]],
        time: @escaping @Sendable () -> WallTime
    ) {
        let guarded = GuardedProvider(provider)
        self.init { chain throws(PeerRefusal) in
            switch guarded.validate(chain: chain, roots: roots(), time: time()) {
            case .success(let facts): return facts
            case .failure(let error): throw .certificate(error)
            }
        }
    }

    /// This verifier, and the leaf must be `spiffeID`.
    public func requiring(spiffeID: String) -> PeerVerifier {
        PeerVerifier { chain throws(PeerRefusal) in
            let facts = try verify(chain)
            guard facts.spiffeID == spiffeID else {
                throw .unexpectedIdentity(presented: facts.spiffeID, expected: spiffeID)
            }
            return facts
        }
    }

    public func verify(_ chain: [[UInt8]]) throws(PeerRefusal) -> CertificateFacts {
        guard chain.count <= Self.longestChain else { throw .chainTooLong(chain.count) }
        return try verifyChain(chain)
    }
}

/// Servers and clients may share a verifier, and their loops may differ.
private final class GuardedProvider: Sendable {
    private let provider: Mutex<any CertificateProvider>

    init(_ provider: sending any CertificateProvider) { self.provider = Mutex(provider) }

    func validate(chain: [[UInt8]], roots: [[UInt8]], time: WallTime) -> Result<CertificateFacts, CertificateError> {
        provider.withLock { provider in
            Result { () throws(CertificateError) in
                try provider.validate(chain: chain, roots: roots, time: time)
            }
        }
    }
}

/// A peer whose chain passed the verifier and who proved that it has the leaf's key.
public struct VerifiedPeer: Hashable, Sendable {
    /// DER, the leaf first.
    public var chain: [[UInt8]]
    public var facts: CertificateFacts

    public init(chain: [[UInt8]], facts: CertificateFacts) {
        self.chain = chain
        self.facts = facts
    }
}

/// Where one connection's handshake leaves what it learned of the peer. Confined to the connection's event loop.
///
/// A resumed session skips the verifier; such a peer stays unverified here, which is to say anonymous. NIOSSL's own
/// clients never resume.
final class HandshakeRecord {
    private(set) var peer: VerifiedPeer?
    private(set) var refusal: PeerRefusal?

    func callback(_ verifier: PeerVerifier) -> NIOSSLCustomVerificationCallback {
        { [weak self] certificates, promise in
            let chain: [[UInt8]]
            do {
                chain = try certificates.map { try $0.toDERBytes() }
            } catch {
                self?.refusal = .certificate(.malformed("a certificate can't be read"))
                return promise.succeed(.failed)
            }
            do throws(PeerRefusal) {
                self?.peer = VerifiedPeer(chain: chain, facts: try verifier.verify(chain))
                promise.succeed(.certificateVerified)
            } catch {
                self?.refusal = error
                promise.succeed(.failed)
            }
        }
    }
}

/// What a person can read of a TLS library's error: its reasons, without its codes and source lines.
func tlsReason(_ error: any Error) -> String {
    let text = "\(error)"
    let reasons = text.split(separator: "OPENSSL_internal:").dropFirst().compactMap {
        $0.split(separator: " at ").first
    }
    return reasons.isEmpty ? text : reasons.joined(separator: ", ")
}

enum TLSContexts {
    /// How long a close waits for the peer's close_notify; what the peer still sends meanwhile is dropped.
    static let shutdownTimeout = TimeAmount.seconds(1)

    /// TLS 1.3 with `identity`; a client may present a chain, and then it goes to the custom verifier.
    static func server(_ identity: TLSIdentity) throws(TLSIdentityError) -> NIOSSLContext {
        let (chain, key) = try sources(identity)
        var configuration = TLSConfiguration.makeServerConfiguration(certificateChain: chain, privateKey: key)
        configuration.certificateVerification = .optionalVerification
        return try context(&configuration)
    }

    /// TLS 1.3, presenting `identity` if there is one; the server's chain goes to the custom verifier.
    static func client(_ identity: TLSIdentity?) throws(TLSIdentityError) -> NIOSSLContext {
        var configuration = TLSConfiguration.makeClientConfiguration()
        // Names mean nothing here: the verifier judges the SPIFFE id.
        configuration.certificateVerification = .noHostnameVerification
        if let identity {
            let (chain, key) = try sources(identity)
            configuration.certificateChain = chain
            configuration.privateKey = key
        }
        return try context(&configuration)
    }

    private static func sources(_ identity: TLSIdentity) throws(TLSIdentityError)
        -> ([NIOSSLCertificateSource], NIOSSLPrivateKeySource)
    {
        guard let pkcs8 = identity.pkcs8 else { throw .seedLength(identity.seed.count) }
        guard !identity.chain.isEmpty else { throw .noCertificate }
        do {
            let chain = try identity.chain.map {
                NIOSSLCertificateSource.certificate(try NIOSSLCertificate(bytes: $0, format: .der))
            }
            return (chain, .privateKey(try NIOSSLPrivateKey(bytes: pkcs8, format: .der)))
        } catch {
            throw .unusable(tlsReason(error))
        }
    }

    private static func context(_ configuration: inout TLSConfiguration) throws(TLSIdentityError) -> NIOSSLContext {
        configuration.minimumTLSVersion = .tlsv13
        configuration.maximumTLSVersion = .tlsv13
        // Ed25519 is not among the library's defaults: without both lists the two sides find nothing in common.
        configuration.verifySignatureAlgorithms = [.ed25519]
        configuration.signingSignatureAlgorithms = [.ed25519]
        // The custom verifier decides; without this line the library would load the system's roots.
        configuration.trustRoots = .certificates([])
        configuration.applicationProtocols = ["http/1.1"]
        configuration.shutdownTimeout = shutdownTimeout
        do {
            return try NIOSSLContext(configuration: configuration)
        } catch {
            throw .unusable(tlsReason(error))
        }
    }
}
