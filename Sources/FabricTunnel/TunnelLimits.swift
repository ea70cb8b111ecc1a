/// The sizes of an endpoint's tables and queues, and the message counts of a key. Timers are the protocol's own and
/// fixed.
public struct TunnelLimits: Sendable {
    /// The protocol's own: 2^60.
    public static let protocolRekeyAfterMessages: UInt64 = 1 << 60
    /// The protocol's own: 2^64 - 2^13 - 1, so that the replay window never wraps.
    public static let protocolRejectAfterMessages: UInt64 = UInt64.max - (1 << 13)

    public var maximumDomains = 64
    public var maximumPeers = 65_536
    /// Packets that wait for a handshake, per peer; the oldest goes.
    public var stagedPacketsPerPeer = 32
    /// Handshake messages, keepalives and peers with staged packets that wait for `nextTransmit`; a new one is dropped,
    /// and the protocol's timers try again.
    public var pendingTransmits = 4096
    /// Events that wait for `nextEvent`; the oldest goes.
    public var pendingEvents = 4096
    /// Key-log entries that wait for `nextKeyLogEntry`; the oldest goes.
    public var pendingKeyLogEntries = 1024
    /// More handshake messages than this in a second, and the endpoint asks for cookies.
    public var handshakesPerSecondBeforeCookies = 500
    /// What is spent on handshakes in a turn of the host before the others must wait. A message that is refused without public
    /// keys costs 1, one that is opened 8: four of those.
    public var handshakeWorkPerTurn = 32
    /// Handshake messages that wait for a later turn; a new one is dropped, and who sent it tries again. The kernel's number.
    public var waitingHandshakes = 4096
    /// When so many wait, the endpoint asks for cookies: an eighth, as in the kernel.
    public var waitingHandshakesBeforeCookies = 512
    /// When the first of them has waited so long, the endpoint asks for cookies, however few wait: the processor is slow.
    public var handshakeWaitBeforeCookies = Duration.milliseconds(250)
    /// Sources that the rate limiter knows at once, under load.
    public var rateLimitedSources = 8192
    /// Packets under one key after which a new handshake is started.
    public var rekeyAfterMessages = protocolRekeyAfterMessages
    /// Packets under one key after which it is not used.
    public var rejectAfterMessages = protocolRejectAfterMessages

    public init() {}

    public static let `default` = TunnelLimits()
}

/// How full an endpoint's queues are; `TunnelLimits` bounds each.
public struct TunnelQueues: Hashable, Sendable {
    public var transmits: Int
    public var events: Int
    public var handshakes: Int
    /// Of one peer.
    public var longestStaged: Int

    public init(transmits: Int, events: Int, handshakes: Int, longestStaged: Int) {
        self.transmits = transmits
        self.events = events
        self.handshakes = handshakes
        self.longestStaged = longestStaged
    }
}
