internal import CFabricOpenSSL

/// BLAKE2s (RFC 7693) by OpenSSL, with the digest and MAC contexts kept between calls.
final class BLAKE2sContext {
    private static let blockLength = 64
    private static let hashLength = 32
    private static let macLength = 16

    private let algorithm: OpaquePointer
    private let digest: OpaquePointer
    private let macAlgorithm: OpaquePointer
    private let macContext: OpaquePointer

    init() {
        guard let algorithm = EVP_MD_fetch(nil, "BLAKE2S-256", nil), let digest = EVP_MD_CTX_new(),
            let macAlgorithm = EVP_MAC_fetch(nil, "BLAKE2SMAC", nil), let macContext = EVP_MAC_CTX_new(macAlgorithm)
        else { preconditionFailure("OpenSSL's default provider has no BLAKE2s") }
        self.algorithm = algorithm
        self.digest = digest
        self.macAlgorithm = macAlgorithm
        self.macContext = macContext
    }

    deinit {
        EVP_MAC_CTX_free(macContext)
        EVP_MAC_free(macAlgorithm)
        EVP_MD_CTX_free(digest)
        EVP_MD_free(algorithm)
    }

    /// 32 bytes.
    func hash(_ data: [UInt8]) -> [UInt8] { hash(data, data[..<0]) }

    /// HMAC (RFC 2104) with BLAKE2s-256: 32 bytes.
    func hmac(key: [UInt8], _ data: [UInt8]) -> [UInt8] {
        var block = key.count > BLAKE2sContext.blockLength ? hash(key) : key
        block += [UInt8](repeating: 0, count: BLAKE2sContext.blockLength - block.count)
        let inner = hash(block.map { $0 ^ 0x36 }, data[...])
        return hash(block.map { $0 ^ 0x5C }, inner[...])
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

    private func hash(_ first: [UInt8], _ second: ArraySlice<UInt8>) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: BLAKE2sContext.hashLength) { buffer, count in
            var length: UInt32 = 0
            let done =
                EVP_DigestInit_ex2(digest, algorithm, nil)
                & EVP_DigestUpdate(digest, first, first.count)
                & second.withUnsafeBytes { EVP_DigestUpdate(digest, $0.baseAddress, $0.count) }
                & EVP_DigestFinal_ex(digest, buffer.baseAddress, &length)
            precondition(done == 1 && length == BLAKE2sContext.hashLength, "OpenSSL failed to compute BLAKE2s")
            count = BLAKE2sContext.hashLength
        }
    }
}
