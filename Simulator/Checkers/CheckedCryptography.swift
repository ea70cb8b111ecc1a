internal import FabricCore

/// The product's cryptography with an eye on tunnel keys: which counters each seals and opens, for whom, and how long it
/// lives. One per boot of a node.
final class CheckedCryptography: Cryptography {
    private let base: any Cryptography
    private unowned let checks: SafetyChecks
    private let host: HostID

    init(_ base: any Cryptography, _ checks: SafetyChecks, host: HostID) {
        self.base = base
        self.checks = checks
        self.host = host
    }

    func packetKey(_ key: [UInt8]) -> any PacketKey {
        CheckedPacketKey(base.packetKey(key), checks.nonceOnce.use(of: key), checks, host)
    }

    // MARK: As they are

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
}

/// One key of a session, of either direction.
final class CheckedPacketKey: PacketKey {
    private let base: any PacketKey
    private let use: NonceOnce.KeyUse
    private unowned let checks: SafetyChecks
    private let host: HostID
    private let since: Instant
    private let slot: Int
    private var opened = InnerPacketsOnce()

    init(_ base: any PacketKey, _ use: NonceOnce.KeyUse, _ checks: SafetyChecks, _ host: HostID) {
        self.base = base
        self.use = use
        self.checks = checks
        self.host = host
        since = checks.monotonic(of: host)
        slot = checks.keysEnd.made(host: host.index, at: since)
    }

    deinit { checks.keysEnd.gone(slot) }

    func seal(_ bytes: UnsafeMutableRawPointer, count: Int, counter: UInt64) {
        checks.note(.nonceOnce)
        if !use.seal(counter, by: host.index) {
            checks.violated(.nonceOnce, host, "a tunnel key sealed with counter \(counter) twice")
        }
        base.seal(bytes, count: count, counter: counter)
    }

    func open(_ bytes: UnsafeMutableRawPointer, count: Int, counter: UInt64) -> Bool {
        guard base.open(bytes, count: count, counter: counter) else { return false }
        checks.note(.innerPacketsOnce)
        checks.lastSealer = use.sealer
        if !opened.take(counter) {
            checks.violated(.innerPacketsOnce, host, "a datagram with counter \(counter) was taken a second time")
        }
        let age = checks.monotonic(of: host) - since
        if KeysEnd.refusesPacket(atAge: age) {
            checks.violated(
                .keysEnd, host, "a packet was taken under a session of age \(Int(age.nanoseconds / 1_000_000_000)) s")
        }
        return true
    }
}
