internal import FabricCore

/// The product's cryptography for a whole world, in which one process plays all parts: what both ends of a handshake
/// work out, and what each reader of a signed document finds, is worked out once.
///
/// An X25519 secret of two public keys is the same from either end, and whether a signature is good is the same for
/// everybody, so that nothing can depend on who asked first. Only results that were computed are kept: secrets under
/// both whole keys, signatures under the SHA-256 of key, signature and message. Refusals are not kept.
final class WorldCryptography: ForwardingCryptography {
    fileprivate var secrets = RecentTable<KeyPairName, Bytes32>(generation: 4096)
    private var goodSignatures = RecentTable<Bytes32, Bool>(generation: 16_384)

    override func agreementKey(_ privateKey: [UInt8]) throws(CryptographyError) -> any AgreementKey {
        WorldAgreementKey(try base.agreementKey(privateKey), self)
    }

    override func ed25519Verify(publicKey: [UInt8], signature: [UInt8], _ message: [UInt8]) -> Bool {
        guard publicKey.count == 32, signature.count == 64 else { return false }
        let name = Bytes32(base.sha256(publicKey + signature + message))
        if goodSignatures[name] == true { return true }
        guard base.ed25519Verify(publicKey: publicKey, signature: signature, message) else { return false }
        goodSignatures[name] = true
        return true
    }
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
