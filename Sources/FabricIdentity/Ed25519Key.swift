internal import Crypto
internal import FabricCore
internal import SwiftASN1

/// Ed25519 (RFC 8032) as X.509 knows it (RFC 8410). BoringSSL signs without drawing randomness, so signatures repeat.
enum Ed25519Key {
    static let length = 32
    static let signatureLength = 64
    static let algorithm: ASN1ObjectIdentifier = [1, 3, 101, 112]

    static func publicKey(seed: [UInt8]) throws(CertificateError) -> [UInt8] {
        Array(try privateKey(seed).publicKey.rawRepresentation)
    }

    static func sign(seed: [UInt8], _ message: [UInt8]) throws(CertificateError) -> [UInt8] {
        let key = try privateKey(seed)
        guard let signature = try? key.signature(for: message) else {
            throw .unsupportedKey("the seed cannot sign")
        }
        return Array(signature)
    }

    static func verify(publicKey: [UInt8], signature: [UInt8], _ message: ArraySlice<UInt8>) -> Bool {
        guard signature.count == signatureLength,
            let key = try? Curve25519.Signing.PublicKey(rawRepresentation: publicKey)
        else { return false }
        return key.isValidSignature(signature, for: message)
    }

    /// Refuses keys of the wrong length and the points of small order: for those, anyone can make signatures that verify,
    /// so that a request would prove possession of nothing.
    static func check(publicKey: [UInt8]) throws(CertificateError) {
        guard publicKey.count == length else { throw .unsupportedKey("an Ed25519 key has 32 bytes") }
        var y = publicKey
        y[31] &= 0x7F
        guard !smallOrder.contains(y) else { throw .unsupportedKey("an Ed25519 point of small order") }
    }

    /// RFC 7093 section 2, method 1: the leftmost 160 bits of the SHA-256 of the key.
    static func identifier(publicKey: [UInt8]) -> [UInt8] {
        Array(SHA256.hash(data: publicKey).prefix(20))
    }

    private static func privateKey(_ seed: [UInt8]) throws(CertificateError)
        -> Curve25519.Signing.PrivateKey
    {
        guard seed.count == length,
            let key = try? Curve25519.Signing.PrivateKey(rawRepresentation: seed)
        else {
            throw .unsupportedKey("an Ed25519 seed has 32 bytes")
        }
        return key
    }

    /// The y coordinates (little-endian, sign bit cleared) of the eight points of small order, with y = p and p + 1, the
    /// encodings of 0 and 1 that are not canonical.
    private static let smallOrder: [[UInt8]] = {
        let middle = [UInt8](repeating: 0xFF, count: 30)
        return [
            [UInt8](repeating: 0, count: 32),
            [1] + [UInt8](repeating: 0, count: 31),
            [0xEC] + middle + [0x7F],
            [0xED] + middle + [0x7F],
            [0xEE] + middle + [0x7F],
            Hex.decode("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")!,
            Hex.decode("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")!,
        ]
    }()
}
