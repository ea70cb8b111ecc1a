internal import FabricCore

/// One routing domain of the endpoint: one interface, one static key of ours, its peers and their prefixes.
struct TunnelDomain: ~Copyable {
    let id: RoutingDomainID
    let generation: UInt32
    let identity: Handshake.Identity
    let mac1Key: [UInt8]
    let cookieKey: [UInt8]
    /// Padding never makes a packet longer than this.
    let mtu: Int
    var allowedIPs = AllowedIPs()
    /// By public key. Looked up, never iterated.
    var peersByKey: [[UInt8]: Int] = [:]
    var cookies = CookieChecker()
}

/// A node in one routing domain: its sessions, timers and what waits for them.
struct TunnelPeer: ~Copyable {
    let handle: PeerHandle
    let domainSlot: Int
    let publicKey: [UInt8]
    let mac1Key: [UInt8]
    let cookieKey: [UInt8]
    var presharedKey: [UInt8]
    var allowedIPs: [IPPrefix]
    private(set) var endpoint: Endpoint?
    /// The largest IP packet that fits a datagram to `endpoint`; no limit while nobody knows.
    private(set) var largestPacket = Int.max
    /// The number of the newest authentic datagram, which tells where the peer is.
    var newestDatagram: UInt64 = 0
    var persistentKeepalive: Duration?
    var copiesECN = false
    var timestamps: PeerTimestamps

    /// DH of both static keys, computed when first needed.
    var staticStatic: [UInt8]?
    /// Our initiation that waits for a response.
    var initiated: SentInitiation?
    /// The peer's, which met ours on the way, and is answered only if ours is not.
    var crossing: Handshake.OpenedInitiation?
    var keyPairs = KeyPairs()
    var cookies = CookieJar()
    var staged: BoundedQueue<[UInt8]>
    /// `nextTransmit` knows that staged packets can go.
    var isFlushing = false

    var timers = TimerTable()
    /// This peer's entry in the heap of deadlines; never later than its earliest timer.
    var scheduledAt = Int64.max
    var handshakeAttempts = 0
    var lastSentHandshake: Instant?
    /// An initiation to it waits for a higher ceiling of time stamps.
    var isHeld = false
    var lastInitiationReceived: Instant?
    var hasRekeyedOnReceive = false
    var needsAnotherKeepalive = false
    /// Drawn once per session, for the timer that nearly every packet sets.
    var newHandshakeJitter = Duration.zero

    var lastHandshake: Instant?
    var handshakes: UInt64 = 0
    var traffic = PeerTraffic()
    /// By reason; empty before the first.
    private(set) var drops: [UInt64] = []

    var slot: Int { Int(handle.slot) }

    mutating func countDrop(_ reason: DropReason, _ count: UInt64 = 1) {
        if drops.isEmpty { drops = [UInt64](repeating: 0, count: DropReason.allCases.count) }
        drops[Int(reason.rawValue)] &+= count
    }

    var dropped: [PeerDrops] {
        drops.indices.filter { drops[$0] > 0 }.map {
            PeerDrops(reason: DropReason(rawValue: UInt8($0))!, count: drops[$0])
        }
    }

    /// Another endpoint is another path.
    mutating func move(to endpoint: Endpoint) {
        guard endpoint != self.endpoint else { return }
        self.endpoint = endpoint
        largestPacket = .max
    }

    /// The path to the endpoint takes underlay packets of so many bytes. Below IPv6's 1,280 the underlay fragments: routers that
    /// ask for less are rare, and messages that claim to be of one are easily forged.
    mutating func limit(toPathMTU bytes: Int) {
        guard let endpoint else { return }
        largestPacket = max(bytes, InnerPacket.leastMTUv6) - TransportHeader.underlay(endpoint)
    }

    /// Padding makes no packet longer than the interface's MTU, nor than what the path takes.
    @inline(__always)
    func paddingLimit(_ count: Int, mtu: Int) -> Int { count <= largestPacket ? min(mtu, largestPacket) : mtu }
}

/// An initiation of ours: when it went out, and where to.
struct SentInitiation {
    let handshake: Handshake.Initiated
    let at: Instant
    let to: Endpoint
}

typealias PeerPointer = UnsafeMutablePointer<TunnelPeer>
typealias DomainPointer = UnsafeMutablePointer<TunnelDomain>

/// When each timer of a peer is due, in nanoseconds; `Int64.max` for one that is not set.
struct TimerTable {
    private var due = InlineArray<6, Int64>(repeating: .max)

    @inline(__always)
    subscript(timer: TunnelTimer) -> Int64 {
        get { due[timer.rawValue] }
        set { due[timer.rawValue] = newValue }
    }

    @inline(__always)
    func isSet(_ timer: TunnelTimer) -> Bool { due[timer.rawValue] != .max }

    /// The earliest; of equal ones the first in the enumeration. Nil when none is set.
    var earliest: (timer: TunnelTimer, nanoseconds: Int64)? {
        var best = 0
        for index in 1..<6 where due[index] < due[best] { best = index }
        return due[best] == .max ? nil : (TunnelTimer(rawValue: best)!, due[best])
    }

    mutating func clearAll() { due = InlineArray(repeating: .max) }
}
