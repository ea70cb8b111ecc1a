package import FabricCore

/// WireGuard's handshake, Noise_IKpsk2, as functions of keys, bytes and given randomness. It holds no clock and no
/// table.
///
/// ```
/// initiator                                responder
///   initiate  ---- HandshakeInitiation --->  open, then OpenedInitiation.readTimestamp
///   finish    <--- HandshakeResponse ------  respond
/// ```
/// Both then hold the same two keys. Source: the whitepaper, sections 5.4.2 to 5.4.5.
package enum Handshake {
    package enum Failure: Error, Equatable {
        /// A Diffie-Hellman result of all zeros, or a key that is none.
        case weakKey
        /// A field did not decrypt: a wrong key, a changed byte, or another transcript.
        case notAuthentic
    }

    /// A static key pair of ours.
    package struct Identity {
        package let privateKey: [UInt8]
        let key: any AgreementKey
        package var publicKey: [UInt8] { key.publicKey }

        /// Throws `weakKey` for a malformed key.
        package init(privateKey: [UInt8], _ cryptography: any Cryptography) throws(Failure) {
            self.privateKey = privateKey
            key = try prepare(privateKey, cryptography)
        }
    }

    /// What an initiator keeps until the response comes.
    package struct Initiated {
        package let senderIndex: UInt32
        let ephemeral: any AgreementKey
        let state: SymmetricState
    }

    /// The keys of a session and its two indexes.
    package struct Session: Equatable {
        package let localIndex: UInt32
        package let remoteIndex: UInt32
        package let sendKey: [UInt8]
        package let receiveKey: [UInt8]
    }

    /// DH of both static keys; the same for every handshake of a pair, so callers keep it.
    package static func staticStatic(_ identity: Identity, peer: [UInt8]) throws(Failure) -> [UInt8] {
        try agree(identity.key, peer)
    }

    package static func initiate(
        _ identity: Identity, peer: [UInt8], staticStatic: [UInt8], ephemeralPrivateKey: [UInt8], senderIndex: UInt32,
        timestamp: TAI64N, _ cryptography: any Cryptography
    ) throws(Failure) -> (HandshakeInitiation, Initiated) {
        var state = SymmetricState(responder: peer, cryptography)
        let ephemeral = try prepare(ephemeralPrivateKey, cryptography)
        state.mixKey(ephemeral.publicKey, cryptography)
        state.mixHash(ephemeral.publicKey, cryptography)
        var key = state.mixKeyAndDerive(try agree(ephemeral, peer), cryptography)
        let encryptedStatic = state.encryptAndHash(identity.publicKey, key: key, cryptography)
        key = state.mixKeyAndDerive(staticStatic, cryptography)
        let encryptedTimestamp = state.encryptAndHash(timestamp.bytes, key: key, cryptography)
        let message = HandshakeInitiation(
            senderIndex: senderIndex, ephemeral: ephemeral.publicKey, encryptedStatic: encryptedStatic,
            encryptedTimestamp: encryptedTimestamp)
        return (message, Initiated(senderIndex: senderIndex, ephemeral: ephemeral, state: state))
    }

    /// An initiation whose sender's static key is read, but not yet proven: only the time stamp's key needs the
    /// sender's private key.
    package struct OpenedInitiation {
        package let peer: [UInt8]
        package let remoteIndex: UInt32
        let remoteEphemeral: [UInt8]
        private var state: SymmetricState
        private let encryptedTimestamp: [UInt8]

        package init(_ message: HandshakeInitiation, _ identity: Identity, _ cryptography: any Cryptography)
            throws(Failure)
        {
            state = SymmetricState(responder: identity.publicKey, cryptography)
            state.mixKey(message.ephemeral, cryptography)
            state.mixHash(message.ephemeral, cryptography)
            let key = state.mixKeyAndDerive(try agree(identity.key, message.ephemeral), cryptography)
            guard let peer = state.decryptAndHash(message.encryptedStatic, key: key, cryptography) else {
                throw .notAuthentic
            }
            self.peer = peer
            remoteIndex = message.senderIndex
            remoteEphemeral = message.ephemeral
            encryptedTimestamp = message.encryptedTimestamp
        }

        /// Proves the sender, and returns when it says that it sent.
        package mutating func readTimestamp(staticStatic: [UInt8], _ cryptography: any Cryptography)
            throws(Failure) -> TAI64N
        {
            let key = state.mixKeyAndDerive(staticStatic, cryptography)
            guard let bytes = state.decryptAndHash(encryptedTimestamp, key: key, cryptography),
                let timestamp = TAI64N(bytes: bytes)
            else { throw .notAuthentic }
            return timestamp
        }

        /// Answers, after `readTimestamp`.
        package func respond(
            presharedKey: [UInt8], ephemeralPrivateKey: [UInt8], senderIndex: UInt32, _ cryptography: any Cryptography
        ) throws(Failure) -> (HandshakeResponse, Session) {
            var state = state
            let ephemeral = try prepare(ephemeralPrivateKey, cryptography)
            state.mixKey(ephemeral.publicKey, cryptography)
            state.mixHash(ephemeral.publicKey, cryptography)
            state.mixKey(try agree(ephemeral, remoteEphemeral), cryptography)
            state.mixKey(try agree(ephemeral, peer), cryptography)
            let key = state.mixKeyAndHash(presharedKey, cryptography)
            let message = HandshakeResponse(
                senderIndex: senderIndex, receiverIndex: remoteIndex, ephemeral: ephemeral.publicKey,
                encryptedNothing: state.encryptAndHash([], key: key, cryptography))
            let keys = state.split(cryptography)
            return (
                message,
                Session(
                    localIndex: senderIndex, remoteIndex: remoteIndex, sendKey: keys.fromResponder,
                    receiveKey: keys.fromInitiator)
            )
        }
    }

    package static func finish(
        _ initiated: Initiated, _ message: HandshakeResponse, _ identity: Identity, presharedKey: [UInt8],
        _ cryptography: any Cryptography
    ) throws(Failure) -> Session {
        var state = initiated.state
        state.mixKey(message.ephemeral, cryptography)
        state.mixHash(message.ephemeral, cryptography)
        state.mixKey(try agree(initiated.ephemeral, message.ephemeral), cryptography)
        state.mixKey(try agree(identity.key, message.ephemeral), cryptography)
        let key = state.mixKeyAndHash(presharedKey, cryptography)
        guard state.decryptAndHash(message.encryptedNothing, key: key, cryptography) != nil else {
            throw .notAuthentic
        }
        let keys = state.split(cryptography)
        return Session(
            localIndex: initiated.senderIndex, remoteIndex: message.senderIndex, sendKey: keys.fromInitiator,
            receiveKey: keys.fromResponder)
    }

    private static func agree(_ key: any AgreementKey, _ publicKey: [UInt8]) throws(Failure) -> [UInt8] {
        do {
            return try key.agree(with: publicKey)
        } catch {
            throw .weakKey
        }
    }

    private static func prepare(_ privateKey: [UInt8], _ cryptography: any Cryptography) throws(Failure)
        -> any AgreementKey
    {
        do {
            return try cryptography.agreementKey(privateKey)
        } catch {
            throw .weakKey
        }
    }
}
