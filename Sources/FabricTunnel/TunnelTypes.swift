public import FabricCore

/// A peer of an endpoint: a place in its table and how often the place has been used. A handle of a removed peer
/// matches nothing.
public struct PeerHandle: Hashable, Comparable, Sendable, CustomStringConvertible {
    let slot: UInt32
    let generation: UInt32

    public static func < (a: PeerHandle, b: PeerHandle) -> Bool {
        a.slot != b.slot ? a.slot < b.slot : a.generation < b.generation
    }

    public var description: String { "\(slot).\(generation)" }
}

/// A domain of an endpoint, for the packet path: it spares the search for the name.
public struct DomainHandle: Hashable, Sendable {
    let slot: UInt32
    let generation: UInt32
}

/// A peer is a node in one routing domain.
public struct PeerConfiguration: Sendable {
    /// X25519, 32 bytes. It names the peer within its domain.
    public var publicKey: [UInt8]
    /// 32 bytes that both sides know, mixed into the handshake; nil is 32 zeros on the wire.
    public var presharedKey: [UInt8]?
    /// Destinations that go to the peer, and the sources that it may use.
    public var allowedIPs: [IPPrefix]
    /// Where the peer was last known to be. Authenticated packets from elsewhere change it.
    public var endpoint: Endpoint?
    /// How long nothing may be sent before a keepalive is; nil for never. At least 1 s.
    public var persistentKeepalive: Duration?
    /// Whether its datagrams carry the marks of the packets in them (RFC 6040's normal mode): where the other side takes a
    /// congestion mark in, as every node does. Otherwise they say that nobody speaks ECN (compatibility mode), which loses no mark.
    public var copiesECN: Bool
    /// What a former run knew; see `PeerTimestamps`.
    public var timestamps: PeerTimestamps

    public init(
        publicKey: [UInt8], presharedKey: [UInt8]?, allowedIPs: [IPPrefix], endpoint: Endpoint?,
        persistentKeepalive: Duration?, copiesECN: Bool = true, timestamps: PeerTimestamps = PeerTimestamps()
    ) {
        self.publicKey = publicKey
        self.presharedKey = presharedKey
        self.allowedIPs = allowedIPs
        self.endpoint = endpoint
        self.persistentKeepalive = persistentKeepalive
        self.copiesECN = copiesECN
        self.timestamps = timestamps
    }
}

/// The greatest time stamps of initiations sent to a peer and received from it. Persisted and given back, they keep a
/// restart with a wrong clock from being refused, and old initiations from being taken.
public struct PeerTimestamps: Hashable, Sendable {
    public var greatestSent: TAI64N?
    public var greatestReceived: TAI64N?

    public init(greatestSent: TAI64N? = nil, greatestReceived: TAI64N? = nil) {
        self.greatestSent = greatestSent
        self.greatestReceived = greatestReceived
    }
}

/// What became of an IP packet that the host sent.
public enum SendOutcome: Hashable, Sendable {
    /// The buffer holds the datagram for this address.
    case transmit(Endpoint)
    /// The packet was copied and waits for the handshake; it will come out of `nextTransmit`. A probe is left out where others wait.
    case staged(PeerHandle)
    /// The path to the peer takes IP packets of so many bytes, and this one may not be fragmented: its sender is to be told. It
    /// counts as dropped, and the buffer is as it was.
    case tooBig(largest: Int)
    case dropped(DropReason)
}

/// What became of a datagram that the host received. Answers come out of `nextTransmit`.
public enum ReceiveOutcome: Hashable, Sendable {
    /// The buffer holds an IP packet, trimmed to its own length, from this peer of this domain.
    case packet(RoutingDomainID, PeerHandle)
    case keepalive(PeerHandle)
    /// A handshake message or a cookie reply, taken.
    case handshake
    /// A handshake message, kept until its turn: `nextDeadline` is due at once.
    case waiting
    case dropped(DropReason)
}

/// What a host may want to know; nothing waits for it.
public enum TunnelEvent: Hashable, Sendable {
    /// There are new keys that both sides have. `initiator` tells whether this side began.
    case sessionEstablished(PeerHandle, initiator: Bool)
    /// The peer has roamed: an authenticated packet came from elsewhere.
    case endpointChanged(PeerHandle, Endpoint)
    /// No answer for 90 s. The next packet to send starts anew.
    case handshakeGaveUp(PeerHandle)
    /// No new session for 540 s: the keys are gone.
    case keysZeroed(PeerHandle)
}

public struct PeerStatus: Hashable, Sendable {
    public var endpoint: Endpoint?
    /// When the last session was established.
    public var lastHandshake: Instant?
    /// How many sessions have been established.
    public var handshakes: UInt64
    /// Packets could be sent now without a handshake.
    public var hasSession: Bool
    public var traffic: PeerTraffic
    public var timestamps: PeerTimestamps
    /// What of the peer and for it was dropped; the reasons that occurred, in their own order.
    public var drops: [PeerDrops]
}

public struct PeerDrops: Hashable, Sendable {
    public var reason: DropReason
    public var count: UInt64
}

/// A peer's traffic; bytes are those of inner IP packets.
public struct PeerTraffic: Hashable, Sendable {
    public var packetsSent: UInt64 = 0
    public var packetsReceived: UInt64 = 0
    public var bytesSent: UInt64 = 0
    public var bytesReceived: UInt64 = 0

    public init() {}
}

/// The timers of a peer (whitepaper, section 6; the kernel's `timers.c`).
public enum TunnelTimer: Int, CaseIterable, Hashable, Sendable, CustomStringConvertible {
    /// An initiation has had no response.
    case retransmitHandshake
    /// A packet was received and nothing sent since: a keepalive tells the other side that it arrived.
    case sendKeepalive
    /// A packet was sent and nothing received since: the session may be dead.
    case newHandshake
    /// No new session for three times its life.
    case zeroKeyMaterial
    case persistentKeepalive
    /// An initiation of ours has had no response, and one of the peer that crossed it waits for the answer.
    case answerCrossing

    public var description: String {
        switch self {
        case .retransmitHandshake: "retransmit handshake"
        case .sendKeepalive: "send keepalive"
        case .newHandshake: "new handshake"
        case .zeroKeyMaterial: "zero key material"
        case .persistentKeepalive: "persistent keepalive"
        case .answerCrossing: "answer the initiation that crossed"
        }
    }
}

/// Why an endpoint wants to be woken.
public enum TunnelDeadline: Hashable, Sendable, CustomStringConvertible {
    case timer(TunnelTimer, PeerHandle)
    /// Handshake messages that had to wait.
    case waitingHandshakes

    public var description: String {
        switch self {
        case .timer(let timer, let peer): "\(timer) (peer \(peer))"
        case .waitingHandshakes: "waiting handshakes"
        }
    }
}

/// The protocol's times (whitepaper, section 6.1, and the kernel's `messages.h`).
public enum TunnelTimes {
    public static let rekeyAfter = Duration.seconds(120)
    public static let rejectAfter = Duration.seconds(180)
    public static let rekeyAttempt = Duration.seconds(90)
    public static let rekeyTimeout = Duration.seconds(5)
    public static let keepaliveTimeout = Duration.seconds(10)
    /// Added to timers that start handshakes, so that two sides don't keep colliding.
    public static let rekeyTimeoutJitter = Duration.milliseconds(333)
    /// An initiator that receives under a session of this age starts a handshake before it is too late.
    public static let rekeyOnReceiveAfter = rejectAfter - keepaliveTimeout - rekeyTimeout
    /// For so long the answer to our initiation may take before one of the peer that crossed it is answered.
    public static let crossingPatience = Duration.seconds(1)
    public static let zeroKeysAfter = rejectAfter * 3
    /// Initiations of one peer that come closer are a flood.
    public static let initiationInterval = Duration.milliseconds(20)
    static let maximumAttempts = 18
}

/// What Wireshark needs to decrypt a session: lines of the file that its `wg.keylog_file` names.
public struct KeyLogEntry: Sendable {
    public var localStaticPrivateKey: [UInt8]
    public var remoteStaticPublicKey: [UInt8]
    public var localEphemeralPrivateKey: [UInt8]
    public var presharedKey: [UInt8]

    /// Four lines, each ended by a newline.
    public var text: String {
        func line(_ name: String, _ key: [UInt8]) -> String { "\(name) = \(Base64.encode(key))\n" }
        return line("LOCAL_STATIC_PRIVATE_KEY", localStaticPrivateKey)
            + line("REMOTE_STATIC_PUBLIC_KEY", remoteStaticPublicKey)
            + line("LOCAL_EPHEMERAL_PRIVATE_KEY", localEphemeralPrivateKey) + line("PRESHARED_KEY", presharedKey)
    }
}
