internal import CFabricOpenSSL
internal import FabricCore

/// OpenSSL's cipher, looked up once for the process: a fetch per call would cost more than the encryption of a packet.
///
/// An `EVP_CIPHER` is immutable and reference-counted by OpenSSL itself, so that threads may share it.
enum ChaChaCipher {
    nonisolated(unsafe) static let shared: OpaquePointer = {
        guard let cipher = EVP_CIPHER_fetch(nil, "ChaCha20-Poly1305", nil) else {
            preconditionFailure("OpenSSL's default provider has no ChaCha20-Poly1305")
        }
        return cipher
    }()
}

/// RFC 8439's 12-byte nonce with its first 4 bytes zero.
struct ChaChaNonce {
    let counter: UInt64

    @inline(__always) init(counter: UInt64) { self.counter = counter }

    /// `bytes` are the 8 that follow the zeros.
    init(lastBytes bytes: ArraySlice<UInt8>) {
        precondition(bytes.count == 8)
        counter = bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// The nonce in memory, valid during `body`.
    @inline(__always) func withBytes<Result>(_ body: (UnsafePointer<UInt8>) -> Result) -> Result {
        let little = counter.littleEndian
        var words = (
            UInt32(0), UInt32(truncatingIfNeeded: little), UInt32(truncatingIfNeeded: little >> 32)
        )
        return withUnsafeBytes(of: &words) { body($0.baseAddress!.assumingMemoryBound(to: UInt8.self)) }
    }
}

/// One reused cipher context of one direction.
final class ChaChaContext {
    enum Direction: Int32 { case open = 0, seal = 1 }

    static let tagLength = 16

    private let context: OpaquePointer

    init(direction: Direction) {
        context = EVP_CIPHER_CTX_new()
        let done = EVP_CipherInit_ex2(context, ChaChaCipher.shared, nil, nil, direction.rawValue, nil)
        precondition(done == 1, "OpenSSL refused a ChaCha20-Poly1305 context")
    }

    deinit { EVP_CIPHER_CTX_free(context) }

    func setKey(_ key: [UInt8]) {
        precondition(key.count == 32)
        key.withUnsafeBufferPointer { setKey($0.baseAddress!) }
    }

    /// 32 bytes.
    func setKey(_ key: UnsafePointer<UInt8>) {
        let done = EVP_CipherInit_ex2(context, nil, key, nil, -1, nil)
        precondition(done == 1, "OpenSSL refused a key of 32 bytes")
    }

    /// Encrypts in place with the key set before, and writes the tag behind.
    @inline(__always)
    func seal(_ bytes: UnsafeMutableRawPointer, count: Int, nonce: ChaChaNonce) {
        let pointer = bytes.assumingMemoryBound(to: UInt8.self)
        var written: Int32 = 0
        let done =
            nonce.withBytes { EVP_CipherInit_ex2(context, nil, nil, $0, -1, nil) }
            & (count == 0
                ? 1 : EVP_EncryptUpdate(context, pointer, &written, pointer, Int32(truncatingIfNeeded: count)))
            & EVP_EncryptFinal_ex(context, pointer + count, &written)
            & EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, bytes + count)
        precondition(done == 1, "OpenSSL failed to encrypt")
    }

    /// Decrypts in place with the key set before; the tag stands behind the `count` bytes.
    @inline(__always)
    func open(_ bytes: UnsafeMutableRawPointer, count: Int, nonce: ChaChaNonce) -> Bool {
        let pointer = bytes.assumingMemoryBound(to: UInt8.self)
        var written: Int32 = 0
        let ready =
            nonce.withBytes { EVP_CipherInit_ex2(context, nil, nil, $0, -1, nil) }
            & EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, 16, bytes + count)
            & (count == 0
                ? 1 : EVP_DecryptUpdate(context, pointer, &written, pointer, Int32(truncatingIfNeeded: count)))
        precondition(ready == 1, "OpenSSL failed to decrypt")
        return EVP_DecryptFinal_ex(context, pointer + count, &written) == 1
    }

    // MARK: Whole arrays, for handshakes

    func seal(key: [UInt8], nonce: ChaChaNonce, _ plaintext: [UInt8], authenticating: [UInt8]) -> [UInt8] {
        setKey(key)
        var sealed = plaintext + [UInt8](repeating: 0, count: ChaChaContext.tagLength)
        let count = plaintext.count
        sealed.withUnsafeMutableBytes { buffer in
            guard let base = buffer.baseAddress else { return }
            authenticate(authenticating, nonce: nonce)
            var written: Int32 = 0
            let pointer = base.assumingMemoryBound(to: UInt8.self)
            let done =
                (count == 0 ? 1 : EVP_EncryptUpdate(context, pointer, &written, pointer, Int32(count)))
                & EVP_EncryptFinal_ex(context, pointer + count, &written)
                & EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, base + count)
            precondition(done == 1, "OpenSSL failed to encrypt")
        }
        return sealed
    }

    func open(key: [UInt8], nonce: ChaChaNonce, _ sealed: [UInt8], authenticating: [UInt8]) -> [UInt8]? {
        guard sealed.count >= ChaChaContext.tagLength else { return nil }
        setKey(key)
        var opened = sealed
        let count = sealed.count - ChaChaContext.tagLength
        let genuine = opened.withUnsafeMutableBytes { buffer in
            guard let base = buffer.baseAddress else { return false }
            authenticate(authenticating, nonce: nonce)
            var written: Int32 = 0
            let pointer = base.assumingMemoryBound(to: UInt8.self)
            let done =
                EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, 16, base + count)
                & (count == 0 ? 1 : EVP_DecryptUpdate(context, pointer, &written, pointer, Int32(count)))
            precondition(done == 1, "OpenSSL failed to decrypt")
            return EVP_DecryptFinal_ex(context, pointer + count, &written) == 1
        }
        guard genuine else { return nil }
        opened.removeLast(ChaChaContext.tagLength)
        return opened
    }

    private func authenticate(_ data: [UInt8], nonce: ChaChaNonce) {
        var written: Int32 = 0
        let done =
            nonce.withBytes { EVP_CipherInit_ex2(context, nil, nil, $0, -1, nil) }
            & (data.isEmpty ? 1 : EVP_CipherUpdate(context, nil, &written, data, Int32(data.count)))
        precondition(done == 1, "OpenSSL failed to authenticate data")
    }
}

/// The contexts in which all packet keys of one provider work, one for each direction. A context is told its key only
/// when that changes: some 30 ns, while a context for each key would be 1.2 KiB of memory that a cache has to fetch.
final class PacketContexts {
    fileprivate struct Slot {
        let context: ChaChaContext
        /// The key that the context holds; 0 for none. Never used twice.
        var holder: UInt64 = 0
    }

    /// By direction. Outside the object, so that the packet path pays no exclusivity checks.
    fileprivate let slots: UnsafeMutablePointer<Slot>
    private var keys: UInt64 = 0

    init() {
        slots = .allocate(capacity: 2)
        for direction in [ChaChaContext.Direction.open, .seal] {
            (slots + Int(direction.rawValue)).initialize(to: Slot(context: ChaChaContext(direction: direction)))
        }
    }

    deinit {
        slots.deinitialize(count: 2)
        slots.deallocate()
    }

    func key(_ bytes: [UInt8]) -> OpenSSLPacketKey {
        keys += 1
        return OpenSSLPacketKey(bytes, number: keys, self)
    }
}

/// A key of the packet path.
final class OpenSSLPacketKey: PacketKey {
    private struct State {
        var key: (UInt64, UInt64, UInt64, UInt64)
        /// By direction: whether the key has been in that context.
        var used: (open: Bool, seal: Bool) = (false, false)
    }

    private let state: UnsafeMutablePointer<State>
    private let number: UInt64
    private let contexts: PacketContexts

    fileprivate init(_ bytes: [UInt8], number: UInt64, _ contexts: PacketContexts) {
        precondition(bytes.count == 32)
        self.number = number
        self.contexts = contexts
        state = .allocate(capacity: 1)
        state.initialize(
            to: State(key: bytes.withUnsafeBytes { $0.loadUnaligned(as: (UInt64, UInt64, UInt64, UInt64).self) }))
    }

    /// Wipes the key, in the contexts too. It looks at those only where the key was used: another direction may be
    /// another thread's.
    deinit {
        let used = (state.pointee.used.open, state.pointee.used.seal)
        OPENSSL_cleanse(state, MemoryLayout<State>.size)
        if used.0 { wipe(.open) }
        if used.1 { wipe(.seal) }
        state.deallocate()
    }

    func seal(_ bytes: UnsafeMutableRawPointer, count: Int, counter: UInt64) {
        let slot = contexts.slots + Int(ChaChaContext.Direction.seal.rawValue)
        if slot.pointee.holder != number {
            state.pointee.used.seal = true
            take(slot)
        }
        slot.pointee.context.seal(bytes, count: count, nonce: ChaChaNonce(counter: counter))
    }

    func open(_ bytes: UnsafeMutableRawPointer, count: Int, counter: UInt64) -> Bool {
        let slot = contexts.slots + Int(ChaChaContext.Direction.open.rawValue)
        if slot.pointee.holder != number {
            state.pointee.used.open = true
            take(slot)
        }
        return slot.pointee.context.open(bytes, count: count, nonce: ChaChaNonce(counter: counter))
    }

    @inline(never)
    private func take(_ slot: UnsafeMutablePointer<PacketContexts.Slot>) {
        slot.pointee.context.setKey(UnsafeRawPointer(state).assumingMemoryBound(to: UInt8.self))
        slot.pointee.holder = number
    }

    private func wipe(_ direction: ChaChaContext.Direction) {
        let slot = contexts.slots + Int(direction.rawValue)
        guard slot.pointee.holder == number else { return }
        slot.pointee.context.setKey([UInt8](repeating: 0, count: 32))
        slot.pointee.holder = 0
    }
}
