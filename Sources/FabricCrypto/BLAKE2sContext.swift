internal import CFabricOpenSSL

/// BLAKE2s (RFC 7693) by OpenSSL, with the digest and MAC contexts kept between calls.
final class BLAKE2sContext {
    private static let blockLength = 64
    private static let hashLength = 32
    private static let macLength = 16

    private let algorithm: OpaquePointer
    private let context: OpaquePointer
    private let macAlgorithm: OpaquePointer
    private let macContext: OpaquePointer

    init() {
        guard let algorithm = EVP_MD_fetch(nil, "BLAKE2S-256", nil), let context = EVP_MD_CTX_new(),
            let macAlgorithm = EVP_MAC_fetch(nil, "BLAKE2SMAC", nil), let macContext = EVP_MAC_CTX_new(macAlgorithm)
        else { preconditionFailure("OpenSSL's default provider has no BLAKE2s") }
        self.algorithm = algorithm
        self.context = context
        self.macAlgorithm = macAlgorithm
        self.macContext = macContext
    }

    deinit {
        EVP_MAC_CTX_free(macContext)
        EVP_MAC_free(macAlgorithm)
        EVP_MD_CTX_free(context)
        EVP_MD_free(algorithm)
    }

    /// 32 bytes.
    func hash(_ data: [UInt8]) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: BLAKE2sContext.hashLength) { buffer, count in
            data.withUnsafeBytes {
                digest($0, UnsafeRawBufferPointer(start: nil, count: 0), into: UnsafeMutableRawBufferPointer(buffer))
            }
            count = BLAKE2sContext.hashLength
        }
    }

    /// HMAC (RFC 2104) with BLAKE2s-256: 32 bytes.
    func hmac(key: [UInt8], _ data: [UInt8]) -> [UInt8] {
        let key = key.count > BLAKE2sContext.blockLength ? hash(key) : key
        // Both blocks and the inner hash in one stretch of memory: nearly all of a handshake's hashing is this.
        let (block, size) = (BLAKE2sContext.blockLength, BLAKE2sContext.hashLength)
        return withUnsafeTemporaryAllocation(byteCount: 2 * block + size, alignment: 8) { area in
            for index in 0..<block {
                let byte = index < key.count ? key[index] : 0
                area[index] = byte ^ 0x36
                area[block + index] = byte ^ 0x5C
            }
            let inner = UnsafeMutableRawBufferPointer(rebasing: area[(2 * block)...])
            data.withUnsafeBytes { digest(UnsafeRawBufferPointer(rebasing: area[..<block]), $0, into: inner) }
            defer { OPENSSL_cleanse(area.baseAddress, area.count) }
            return [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
                let outer = UnsafeRawBufferPointer(rebasing: area[block..<2 * block])
                digest(outer, UnsafeRawBufferPointer(inner), into: UnsafeMutableRawBufferPointer(buffer))
                count = size
            }
        }
    }

    /// Keyed BLAKE2s of 16 bytes. The key has 1 to 32.
    func mac(key: [UInt8], _ data: [UInt8]) -> [UInt8] {
        precondition((1...32).contains(key.count))
        var size = BLAKE2sContext.macLength
        return withUnsafeMutablePointer(to: &size) { size in
            var parameters = [OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, size), OSSL_PARAM_construct_end()]
            return [UInt8](unsafeUninitializedCapacity: BLAKE2sContext.macLength) { buffer, count in
                let done =
                    EVP_MAC_init(macContext, key, key.count, &parameters)
                    & EVP_MAC_update(macContext, data, data.count)
                    & EVP_MAC_final(macContext, buffer.baseAddress, &count, buffer.count)
                precondition(done == 1 && count == BLAKE2sContext.macLength, "OpenSSL failed to compute BLAKE2SMAC")
            }
        }
    }

    /// The hash of both, one behind the other, into 32 bytes of memory.
    private func digest(
        _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer, into result: UnsafeMutableRawBufferPointer
    ) {
        var length: UInt32 = 0
        let done =
            EVP_DigestInit_ex2(context, algorithm, nil)
            & EVP_DigestUpdate(context, first.baseAddress, first.count)
            & (second.isEmpty ? 1 : EVP_DigestUpdate(context, second.baseAddress, second.count))
            & EVP_DigestFinal_ex(context, result.assumingMemoryBound(to: UInt8.self).baseAddress, &length)
        precondition(done == 1 && length == BLAKE2sContext.hashLength, "OpenSSL failed to compute BLAKE2s")
    }
}
