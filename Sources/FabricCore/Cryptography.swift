/// The primitives that deciding code asks for. One provider serves both hosts; tests may hand in another.
///
/// Keys are raw bytes: 32 for Ed25519 seeds and public keys, X25519 private and public keys and AEAD keys.
public protocol Cryptography: AnyObject {
    func sha256(_ data: [UInt8]) -> [UInt8]
    func hmacSHA256(key: [UInt8], _ data: [UInt8]) -> [UInt8]

    /// RFC 8032. Repeatable: the same seed and message give the same 64 bytes.
    func ed25519PublicKey(seed: [UInt8]) throws(CryptographyError) -> [UInt8]
    func ed25519Sign(seed: [UInt8], _ message: [UInt8]) throws(CryptographyError) -> [UInt8]
    func ed25519Verify(publicKey: [UInt8], signature: [UInt8], _ message: [UInt8]) -> Bool

    /// A private key that is to be used more than once: its public key is worked out here and now.
    func agreementKey(_ privateKey: [UInt8]) throws(CryptographyError) -> any AgreementKey
    /// RFC 7748.
    func x25519PublicKey(privateKey: [UInt8]) throws(CryptographyError) -> [UInt8]
    /// Throws `.lowOrderPoint` when the result is all zero.
    func x25519(privateKey: [UInt8], publicKey: [UInt8]) throws(CryptographyError) -> [UInt8]

    /// RFC 7693, unkeyed, 32 bytes.
    func blake2s(_ data: [UInt8]) -> [UInt8]
    /// RFC 7693, keyed (key of 1 to 32 bytes), 16 bytes: WireGuard's MAC().
    func blake2sMAC(key: [UInt8], _ data: [UInt8]) -> [UInt8]
    /// HMAC over BLAKE2s-256: WireGuard's HMAC().
    func hmacBLAKE2s(key: [UInt8], _ data: [UInt8]) -> [UInt8]

    /// RFC 8439 over whole arrays, for handshakes: returns ciphertext and tag.
    func chachaSeal(key: [UInt8], counter: UInt64, _ plaintext: [UInt8], authenticating: [UInt8]) -> [UInt8]
    /// Nil when the tag does not match.
    func chachaOpen(key: [UInt8], counter: UInt64, _ sealed: [UInt8], authenticating: [UInt8]) -> [UInt8]?
    /// XChaCha20-Poly1305 with a 24-byte nonce, for cookie replies.
    func xchachaSeal(key: [UInt8], nonce: [UInt8], _ plaintext: [UInt8], authenticating: [UInt8]) -> [UInt8]
    func xchachaOpen(key: [UInt8], nonce: [UInt8], _ sealed: [UInt8], authenticating: [UInt8]) -> [UInt8]?

    /// A key prepared for the packet path, so that sealing allocates nothing.
    func packetKey(_ key: [UInt8]) -> any PacketKey
}

/// An X25519 private key (RFC 7748), prepared.
public protocol AgreementKey: AnyObject {
    var publicKey: [UInt8] { get }
    /// Throws `.lowOrderPoint` when the result is all zero.
    func agree(with publicKey: [UInt8]) throws(CryptographyError) -> [UInt8]
}

/// ChaCha20-Poly1305 (RFC 8439) with a 64-bit counter as the nonce's last 8 bytes, little-endian, no associated data, in place.
public protocol PacketKey: AnyObject {
    /// Encrypts `count` bytes at `bytes` in place and writes the 16-byte tag behind them.
    func seal(_ bytes: UnsafeMutableRawPointer, count: Int, counter: UInt64)
    /// Decrypts `count` bytes (the tag not counted) in place; the tag stands behind them. False, and the bytes are
    /// undefined, when the tag does not match.
    func open(_ bytes: UnsafeMutableRawPointer, count: Int, counter: UInt64) -> Bool
}

public enum CryptographyError: Error, Equatable {
    /// A key of the wrong length or otherwise not a key.
    case malformedKey
    /// A Diffie-Hellman result of all zeros: the other side's key is of low order.
    case lowOrderPoint
}
