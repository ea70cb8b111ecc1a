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
struct KeyPairs {
    private(set) var previous: KeyPairPointer?
    private(set) var current: KeyPairPointer?
    private(set) var next: KeyPairPointer?

    /// Takes a session that this side initiated. Returns those that are over. The other side may come to send under `next`
    /// yet, and sends under `current` until it has this one.
    mutating func addInitiated(_ new: KeyPairPointer, now: Instant) -> (KeyPairPointer?, KeyPairPointer?) {
        defer { (previous, current) = (current, new) }
        return (previous, Self.takeIfDead(&next, now))
    }

    /// Takes a session that the other side initiated. Returns those that are over. Until it has our response, which may be
    /// lost, the other side sends under `current`, or under `previous` if it initiated when we did.
    mutating func addResponded(_ new: KeyPairPointer, now: Instant) -> (KeyPairPointer?, KeyPairPointer?) {
        defer { next = new }
        return (next, Self.takeIfDead(&previous, now))
    }

    /// The first packet came under `next`. Returns the session that is over, and whether `next` is the current one now: when one
    /// of ours is newer, that stays. The packet may have been long on its way.
    mutating func confirmNext() -> (over: KeyPairPointer?, isCurrent: Bool) {
        defer { next = nil }
        if let current, let next, current.pointee.isInitiator, current.pointee.createdAt > next.pointee.createdAt {
            if let previous, previous.pointee.createdAt > next.pointee.createdAt { return (next, false) }
            defer { previous = next }
            return (previous, false)
        }
        defer { (previous, current) = (current, next) }
        return (previous, true)
    }

    private static func takeIfDead(_ place: inout KeyPairPointer?, _ now: Instant) -> KeyPairPointer? {
        guard let session = place, session.pointee.age(now) >= TunnelTimes.rejectAfter else { return nil }
        place = nil
        return session
    }

    /// Empties the place of the previous session, and returns it.
    mutating func takePrevious() -> KeyPairPointer? {
        defer { previous = nil }
        return previous
    }

    /// Empties all. Returns those that are over.
    mutating func removeAll() -> [KeyPairPointer] {
        defer { (previous, current, next) = (nil, nil, nil) }
        return [previous, current, next].compactMap { $0 }
    }
}
