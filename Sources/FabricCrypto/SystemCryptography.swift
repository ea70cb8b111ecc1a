internal import Crypto
public import FabricCore

/// The primitives as this machine has them: BLAKE2s and ChaCha20-Poly1305 from Debian's OpenSSL, the rest from
/// swift-crypto.
///
/// Contexts are kept and reused between calls, so an instance belongs to one thread at a time. Its packet keys seal on
/// one thread at a time, all of them, and open on one; these may be two others. A key that is let go is wiped, by a
/// thread that may use it.
public final class SystemCryptography: Cryptography {
    private let digests = BLAKE2sContext()
    private let sealing = ChaChaContext(direction: .seal)
    private let opening = ChaChaContext(direction: .open)

    private let packetCipher: any PacketCipher

    /// Packets are sealed by `packetCipher`; all else is as above.
    public init(packetCipher: any PacketCipher = OpenSSLCipher()) { self.packetCipher = packetCipher }

    public func sha256(_ data: [UInt8]) -> [UInt8] { Array(SHA256.hash(data: data)) }

    public func hmacSHA256(key: [UInt8], _ data: [UInt8]) -> [UInt8] {
        Array(HMAC<SHA256>.authenticationCode(for: data, using: SymmetricKey(data: key)))
    }

    // MARK: Ed25519

    public func ed25519PublicKey(seed: [UInt8]) throws(CryptographyError) -> [UInt8] {
        Array(try signingKey(seed).publicKey.rawRepresentation)
    }

    /// BoringSSL derives the nonce from seed and message (RFC 8032), so signatures repeat.
    public func ed25519Sign(seed: [UInt8], _ message: [UInt8]) throws(CryptographyError) -> [UInt8] {
        let key = try signingKey(seed)
        do {
            return Array(try key.signature(for: message))
        } catch {
            throw .malformedKey
        }
    }

    public func ed25519Verify(publicKey: [UInt8], signature: [UInt8], _ message: [UInt8]) -> Bool {
        guard signature.count == 64, let key = try? Curve25519.Signing.PublicKey(rawRepresentation: publicKey) else {
            return false
        }
        return key.isValidSignature(signature, for: message)
    }

    private func signingKey(_ seed: [UInt8]) throws(CryptographyError) -> Curve25519.Signing.PrivateKey {
        guard seed.count == 32, let key = try? Curve25519.Signing.PrivateKey(rawRepresentation: seed) else {
            throw .malformedKey
        }
        return key
    }

    // MARK: X25519

    public func agreementKey(_ privateKey: [UInt8]) throws(CryptographyError) -> any AgreementKey {
        try X25519Key(privateKey)
    }

    public func x25519PublicKey(privateKey: [UInt8]) throws(CryptographyError) -> [UInt8] {
        try X25519Key(privateKey).publicKey
    }

    public func x25519(privateKey: [UInt8], publicKey: [UInt8]) throws(CryptographyError) -> [UInt8] {
        try X25519Key(privateKey).agree(with: publicKey)
    }

    // MARK: BLAKE2s

    public func blake2s(_ data: [UInt8]) -> [UInt8] { digests.hash(data) }
    public func blake2sMAC(key: [UInt8], _ data: [UInt8]) -> [UInt8] { digests.mac(key: key, data) }
    public func hmacBLAKE2s(key: [UInt8], _ data: [UInt8]) -> [UInt8] { digests.hmac(key: key, data) }

    // MARK: ChaCha20-Poly1305

    public func chachaSeal(key: [UInt8], counter: UInt64, _ plaintext: [UInt8], authenticating: [UInt8]) -> [UInt8] {
        sealing.seal(key: key, nonce: ChaChaNonce(counter: counter), plaintext, authenticating: authenticating)
    }

    public func chachaOpen(key: [UInt8], counter: UInt64, _ sealed: [UInt8], authenticating: [UInt8]) -> [UInt8]? {
        opening.open(key: key, nonce: ChaChaNonce(counter: counter), sealed, authenticating: authenticating)
    }

    public func xchachaSeal(key: [UInt8], nonce: [UInt8], _ plaintext: [UInt8], authenticating: [UInt8]) -> [UInt8] {
        precondition(key.count == 32 && nonce.count == 24)
        return sealing.seal(
            key: hChaCha20(key: key, nonce: nonce[..<16]), nonce: ChaChaNonce(lastBytes: nonce[16...]), plaintext,
            authenticating: authenticating)
    }

    public func xchachaOpen(key: [UInt8], nonce: [UInt8], _ sealed: [UInt8], authenticating: [UInt8]) -> [UInt8]? {
        precondition(key.count == 32 && nonce.count == 24)
        return opening.open(
            key: hChaCha20(key: key, nonce: nonce[..<16]), nonce: ChaChaNonce(lastBytes: nonce[16...]), sealed,
            authenticating: authenticating)
    }

    public func packetKey(_ key: [UInt8]) -> any PacketKey { packetCipher.key(key) }
}

/// swift-crypto's key, which works out its public key when it is made: a third of what an agreement costs.
final class X25519Key: AgreementKey {
    private let key: Curve25519.KeyAgreement.PrivateKey
    let publicKey: [UInt8]

    init(_ bytes: [UInt8]) throws(CryptographyError) {
        guard bytes.count == 32, let key = try? Curve25519.KeyAgreement.PrivateKey(rawRepresentation: bytes) else {
            throw .malformedKey
        }
        self.key = key
        publicKey = Array(key.publicKey.rawRepresentation)
    }

    func agree(with publicKey: [UInt8]) throws(CryptographyError) -> [UInt8] {
        guard let peer = try? Curve25519.KeyAgreement.PublicKey(rawRepresentation: publicKey),
            let secret = try? key.sharedSecretFromKeyAgreement(with: peer)
        else { throw .malformedKey }
        let bytes = secret.withUnsafeBytes { Array($0) }
        // swift-crypto returns the all-zero secret of a low-order point as any other.
        guard bytes.reduce(0, |) != 0 else { throw .lowOrderPoint }
        return bytes
    }
}
