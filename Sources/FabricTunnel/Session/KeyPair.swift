internal import FabricCore

/// A session: what one handshake yields. It lives behind a pointer, because the index table points at it.
struct KeyPair: ~Copyable {
    let peerSlot: Int
    let localIndex: UInt32
    let isInitiator: Bool
    let createdAt: Instant
    var send: SendHalf
    var receive: ReceiveHalf
    /// False once the key was found too old or exhausted to seal.
    var maySend = true

    init(
        _ session: Handshake.Session, peerSlot: Int, isInitiator: Bool, now: Instant, limits: TunnelLimits,
        _ cryptography: any Cryptography
    ) {
        self.peerSlot = peerSlot
        self.isInitiator = isInitiator
        localIndex = session.localIndex
        createdAt = now
        send = SendHalf(
            key: cryptography.packetKey(session.sendKey), receiverIndex: session.remoteIndex,
            rejectAfterMessages: limits.rejectAfterMessages)
        receive = ReceiveHalf(
            key: cryptography.packetKey(session.receiveKey), rejectAfterMessages: limits.rejectAfterMessages)
    }

    @inline(__always)
    func age(_ now: Instant) -> Duration { now - createdAt }
}

typealias KeyPairPointer = UnsafeMutablePointer<KeyPair>

/// A peer's sessions. During a rekey packets of the old one are still under way, and a responder has no proof that its
/// new one is known to the other side until a packet comes under it.
///
/// ```
/// initiator:  new -> current -> previous
/// responder:  new -> next, and on the first packet under it: next -> current -> previous
/// ```
///
/// When both sides initiate at once there are two new sessions, and each side has its own as current. They settle on one, or
/// they would both initiate again at each rekey: the initiator with the smaller public key prevails, and the other goes over
/// to its session when a packet comes under that. An implementation that knows nothing of this stays with its own, and is
/// understood all the same.
struct KeyPairs {
    /// What becomes of `next` when a packet comes under it.
    private enum Rank {
        /// It becomes the current session, and that the previous one.
        case newest
        /// It crossed the current one, and takes its place.
        case prevails
        /// A session of ours overtook it. That stays, and this is what the other side sends under, for a moment or for long.
        case yields
        /// It yields, and a packet has come.
        case inUse
    }

    private(set) var previous: KeyPairPointer?
    private(set) var current: KeyPairPointer?
    private(set) var next: KeyPairPointer?
    private var nextRank = Rank.newest

    /// Takes a session that this side initiated at `initiatedAt`. Returns one that is over, and whether the new one is the
    /// current one now. `peerPrevails` says whose session counts if the other side initiated one meanwhile.
    mutating func addInitiated(
        _ new: KeyPairPointer, initiatedAt: Instant, peerPrevails: Bool
    ) -> (over: KeyPairPointer?, isCurrent: Bool) {
        func prevails(_ rival: KeyPairPointer) -> Bool {
            peerPrevails && !rival.pointee.isInitiator && rival.pointee.createdAt >= initiatedAt
        }
        if let current, prevails(current) { return (new, false) }
        if let next, nextRank != .inUse { nextRank = prevails(next) ? .prevails : .yields }
        defer { (previous, current) = (current, new) }
        return (previous, true)
    }

    /// Takes a session that the other side initiated. Returns one that is over. What the other side sends under now stays:
    /// should our response be lost, it goes on with that.
    mutating func addResponded(_ new: KeyPairPointer) -> KeyPairPointer? {
        defer { (next, nextRank) = (new, .newest) }
        guard nextRank == .inUse else { return next }
        defer { previous = next }
        return previous
    }

    /// Whether a packet under this session is the first of one that we responded to.
    @inline(__always)
    func isUnconfirmed(_ session: KeyPairPointer) -> Bool { next == session && nextRank != .inUse }

    /// The first packet came under `next`. Returns one that is over, and whether `next` is the current one now.
    mutating func confirmNext() -> (over: KeyPairPointer?, isCurrent: Bool) {
        switch nextRank {
        case .newest:
            defer { (previous, current, next) = (current, next, nil) }
            return (previous, true)
        case .prevails:
            defer { (current, next) = (next, nil) }
            return (current, true)
        case .yields, .inUse:
            nextRank = .inUse
            return (nil, false)
        }
    }

    /// Empties the place of the previous session, and returns it.
    mutating func takePrevious() -> KeyPairPointer? {
        defer { previous = nil }
        return previous
    }

    /// Empties all. Returns those that are over.
    mutating func removeAll() -> [KeyPairPointer] {
        defer { (previous, current, next, nextRank) = (nil, nil, nil, .newest) }
        return [previous, current, next].compactMap { $0 }
    }
}
