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

/// A key with a context for each direction, made when the direction is first used: most keys have one.
final class OpenSSLPacketKey: PacketKey {
    /// Until a context exists, the key; wiped with the object.
    private let key: UnsafeMutablePointer<UInt8>
    /// Two slots outside the object, so that the packet path pays no exclusivity checks.
    private let contexts: UnsafeMutablePointer<ChaChaContext?>

    init(_ bytes: [UInt8]) {
        precondition(bytes.count == 32)
        key = .allocate(capacity: 32)
        key.initialize(from: bytes, count: 32)
        contexts = .allocate(capacity: 2)
        contexts.initialize(repeating: nil, count: 2)
    }

    deinit {
        OPENSSL_cleanse(key, 32)
        key.deallocate()
        contexts.deinitialize(count: 2)
        contexts.deallocate()
    }

    func seal(_ bytes: UnsafeMutableRawPointer, count: Int, counter: UInt64) {
        context(.seal).seal(bytes, count: count, nonce: ChaChaNonce(counter: counter))
    }

    func open(_ bytes: UnsafeMutableRawPointer, count: Int, counter: UInt64) -> Bool {
        context(.open).open(bytes, count: count, nonce: ChaChaNonce(counter: counter))
    }

    @inline(__always)
    private func context(_ direction: ChaChaContext.Direction) -> ChaChaContext {
        contexts[Int(direction.rawValue)] ?? make(direction)
    }

    @inline(never)
    private func make(_ direction: ChaChaContext.Direction) -> ChaChaContext {
        let made = ChaChaContext(direction: direction)
        made.setKey(Array(UnsafeBufferPointer(start: key, count: 32)))
        contexts[Int(direction.rawValue)] = made
        return made
    }
}
