internal import FabricCore

/// The product's cryptography with an eye on tunnel keys: which counters each seals and opens, for whom, and how long it
/// lives. One per boot of a node.
final class CheckedCryptography: ForwardingCryptography {
    private unowned let checks: SafetyChecks
    private let host: HostID

    init(_ base: any Cryptography, _ checks: SafetyChecks, host: HostID) {
        self.checks = checks
        self.host = host
        super.init(base)
    }

    override func packetKey(_ key: [UInt8]) -> any PacketKey {
        CheckedPacketKey(base.packetKey(key), checks.nonceOnce.use(of: key), checks, host)
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
