internal import FabricCore

/// Cryptography that is another's. What a subclass wants to see or to do otherwise it overrides.
class ForwardingCryptography: Cryptography {
    let base: any Cryptography

    init(_ base: any Cryptography) { self.base = base }

    func sha256(_ data: [UInt8]) -> [UInt8] { base.sha256(data) }
    func hmacSHA256(key: [UInt8], _ data: [UInt8]) -> [UInt8] { base.hmacSHA256(key: key, data) }
    func ed25519PublicKey(seed: [UInt8]) throws(CryptographyError) -> [UInt8] { try base.ed25519PublicKey(seed: seed) }
    func ed25519Sign(seed: [UInt8], _ message: [UInt8]) throws(CryptographyError) -> [UInt8] {
        try base.ed25519Sign(seed: seed, message)
    }
    func ed25519Verify(publicKey: [UInt8], signature: [UInt8], _ message: [UInt8]) -> Bool {
        base.ed25519Verify(publicKey: publicKey, signature: signature, message)
    }
    func agreementKey(_ privateKey: [UInt8]) throws(CryptographyError) -> any AgreementKey {
        try base.agreementKey(privateKey)
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
