internal import FabricCore

/// Noise's chaining key and transcript hash, with WireGuard's KDF (HKDF over HMAC-BLAKE2s).
struct SymmetricState {
    private static let construction = Array("Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s".utf8)
    private static let identifier = Array("WireGuard v1 zx2c4 Jason@zx2c4.com".utf8)

    private(set) var chainingKey: [UInt8]
    private(set) var hash: [UInt8]

    /// The state before the first message to the one whose static key is `responder`.
    init(responder: [UInt8], _ cryptography: any Cryptography) {
        chainingKey = cryptography.blake2s(SymmetricState.construction)
        hash = cryptography.blake2s(chainingKey + SymmetricState.identifier)
        mixHash(responder, cryptography)
    }

    mutating func mixHash(_ data: [UInt8], _ cryptography: any Cryptography) {
        hash = cryptography.blake2s(hash + data)
    }

    /// KDF1: into the chaining key alone.
    mutating func mixKey(_ input: [UInt8], _ cryptography: any Cryptography) {
        chainingKey = derive(input, outputs: 1, cryptography)[0]
    }

    /// KDF2: into the chaining key, and a key for the next field.
    mutating func mixKeyAndDerive(_ input: [UInt8], _ cryptography: any Cryptography) -> [UInt8] {
        let outputs = derive(input, outputs: 2, cryptography)
        chainingKey = outputs[0]
        return outputs[1]
    }

    /// KDF3: into the chaining key, the hash, and a key for the next field.
    mutating func mixKeyAndHash(_ input: [UInt8], _ cryptography: any Cryptography) -> [UInt8] {
        let outputs = derive(input, outputs: 3, cryptography)
        chainingKey = outputs[0]
        mixHash(outputs[1], cryptography)
        return outputs[2]
    }

    mutating func encryptAndHash(_ plaintext: [UInt8], key: [UInt8], _ cryptography: any Cryptography) -> [UInt8] {
        let sealed = cryptography.chachaSeal(key: key, counter: 0, plaintext, authenticating: hash)
        mixHash(sealed, cryptography)
        return sealed
    }

    /// Nil, and the state is as it was, when the tag does not match.
    mutating func decryptAndHash(_ sealed: [UInt8], key: [UInt8], _ cryptography: any Cryptography) -> [UInt8]? {
        guard let plaintext = cryptography.chachaOpen(key: key, counter: 0, sealed, authenticating: hash) else {
            return nil
        }
        mixHash(sealed, cryptography)
        return plaintext
    }

    /// The session's keys: of initiator to responder, then of responder to initiator.
    func split(_ cryptography: any Cryptography) -> (fromInitiator: [UInt8], fromResponder: [UInt8]) {
        let outputs = derive([], outputs: 2, cryptography)
        return (outputs[0], outputs[1])
    }

    private func derive(_ input: [UInt8], outputs count: UInt8, _ cryptography: any Cryptography) -> [[UInt8]] {
        let secret = cryptography.hmacBLAKE2s(key: chainingKey, input)
        var outputs: [[UInt8]] = []
        for number in 1...count {
            outputs.append(cryptography.hmacBLAKE2s(key: secret, (outputs.last ?? []) + [number]))
        }
        return outputs
    }
}
