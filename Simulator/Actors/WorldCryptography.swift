internal import FabricCore

/// The product's cryptography for a whole world, in which one process plays all parts: what both ends of a handshake
/// work out, and what each reader of a signed document finds, is worked out once.
///
/// An X25519 secret of two public keys is the same from either end, and whether a signature is good is the same for
/// everybody, so that nothing can depend on who asked first. Only results that were computed are kept: secrets under
/// both whole keys, signatures under the SHA-256 of key, signature and message. Refusals are not kept.
final class WorldCryptography: Cryptography {
    private let base: any Cryptography
    fileprivate var secrets = RecentTable<KeyPairName, Bytes32>(generation: 4096)
    private var goodSignatures = RecentTable<Bytes32, Bool>(generation: 16_384)

    init(_ base: any Cryptography) { self.base = base }

    func agreementKey(_ privateKey: [UInt8]) throws(CryptographyError) -> any AgreementKey {
        WorldAgreementKey(try base.agreementKey(privateKey), self)
    }

    func ed25519Verify(publicKey: [UInt8], signature: [UInt8], _ message: [UInt8]) -> Bool {
        guard publicKey.count == 32, signature.count == 64 else { return false }
        let name = Bytes32(base.sha256(publicKey + signature + message))
        if goodSignatures[name] == true { return true }
        guard base.ed25519Verify(publicKey: publicKey, signature: signature, message) else { return false }
        goodSignatures[name] = true
        return true
    }

    // MARK: As they are

    func sha256(_ data: [UInt8]) -> [UInt8] { base.sha256(data) }
    func hmacSHA256(key: [UInt8], _ data: [UInt8]) -> [UInt8] { base.hmacSHA256(key: key, data) }
    func ed25519PublicKey(seed: [UInt8]) throws(CryptographyError) -> [UInt8] { try base.ed25519PublicKey(seed: seed) }
    func ed25519Sign(seed: [UInt8], _ message: [UInt8]) throws(CryptographyError) -> [UInt8] {
        try base.ed25519Sign(seed: seed, message)
    }
    func x25519PublicKey(privateKey: [UInt8]) throws(CryptographyError) -> [UInt8] {
        try base.x25519PublicKey(privateKey: privateKey)
    }
    func x25519(privateKey: [UInt8], publicKey: [UInt8]) throws(CryptographyError) -> [UInt8] {
        try base.x25519(privateKey: privateKey, publicKey: publicKey)
    }
    func blake2s(_ data: [UInt8]) -> [UInt8] { base.blake2s(data) }
    func blake2sMAC(key: [UInt8], _ data: [UInt8]) -> [UInt8] { base.blake2sMAC(key: key, data) }
    func hmacBLAKE2s(key: [UInt8], _ data: [UInt8]) -> [UInt8] { base.hmacBLAKE2s(key: key, data) }
    func chachaSeal(key: [UInt8], counter: UInt64, _ plaintext: [UInt8], authenticating: [UInt8]) -> [UInt8] {
        base.chachaSeal(key: key, counter: counter, plaintext, authenticating: authenticating)
    }
    func chachaOpen(key: [UInt8], counter: UInt64, _ sealed: [UInt8], authenticating: [UInt8]) -> [UInt8]? {
        base.chachaOpen(key: key, counter: counter, sealed, authenticating: authenticating)
    }
    func xchachaSeal(key: [UInt8], nonce: [UInt8], _ plaintext: [UInt8], authenticating: [UInt8]) -> [UInt8] {
        base.xchachaSeal(key: key, nonce: nonce, plaintext, authenticating: authenticating)
    }
    func xchachaOpen(key: [UInt8], nonce: [UInt8], _ sealed: [UInt8], authenticating: [UInt8]) -> [UInt8]? {
        base.xchachaOpen(key: key, nonce: nonce, sealed, authenticating: authenticating)
    }
    func packetKey(_ key: [UInt8]) -> any PacketKey { base.packetKey(key) }
}

private final class WorldAgreementKey: AgreementKey {
    private let base: any AgreementKey
    private let world: WorldCryptography
    let publicKey: [UInt8]

    init(_ base: any AgreementKey, _ world: WorldCryptography) {
        self.base = base
        self.world = world
        publicKey = base.publicKey
    }

    func agree(with peer: [UInt8]) throws(CryptographyError) -> [UInt8] {
        guard peer.count == 32 else { return try base.agree(with: peer) }
        let name = KeyPairName(publicKey, peer)
        if let known = world.secrets[name] { return known.bytes }
        let secret = try base.agree(with: peer)
        world.secrets[name] = Bytes32(secret)
        return secret
    }
}

/// 32 bytes.
struct Bytes32: Hashable {
    private let words: InlineWords

    private struct InlineWords: Hashable {
        var a: UInt64
        var b: UInt64
        var c: UInt64
        var d: UInt64
    }

    init(_ bytes: [UInt8]) {
        precondition(bytes.count == 32)
        words = bytes.withUnsafeBytes { area in
            func word(_ index: Int) -> UInt64 { area.loadUnaligned(fromByteOffset: 8 * index, as: UInt64.self) }
            return InlineWords(a: word(0), b: word(1), c: word(2), d: word(3))
        }
    }

    var bytes: [UInt8] { withUnsafeBytes(of: words) { Array($0) } }
}

/// Two public keys, whichever is whose.
struct KeyPairName: Hashable {
    private let first: Bytes32
    private let second: Bytes32

    init(_ one: [UInt8], _ other: [UInt8]) {
        let inOrder = one.lexicographicallyPrecedes(other)
        first = Bytes32(inOrder ? one : other)
        second = Bytes32(inOrder ? other : one)
    }
}

/// What was put in or asked for lately: two generations, of which the older is forgotten when the younger is full.
struct RecentTable<Key: Hashable, Value> {
    private let generation: Int
    /// Looked up by key only.
    private var younger: [Key: Value] = [:]
    private var older: [Key: Value] = [:]

    init(generation: Int) { self.generation = generation }

    var count: Int { younger.count + older.count }

    subscript(_ key: Key) -> Value? {
        get { younger[key] ?? older[key] }
        set {
            if younger.count >= generation {
                older = younger
                younger = [:]
            }
            younger[key] = newValue
        }
    }
}
