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

    /// Takes a session that this side initiated. Returns those that are over.
    mutating func addInitiated(_ new: KeyPairPointer) -> (KeyPairPointer?, KeyPairPointer?) {
        defer { current = new }
        if let unconfirmed = next {
            // The other side initiated at the same time, and may be sending under that session already.
            let over = (previous, current)
            previous = unconfirmed
            next = nil
            return over
        }
        let over = previous
        if planted(.oldSessionDroppedAtRekey) {
            previous = nil
            return (over, current)
        }
        previous = current
        return (over, nil)
    }

    /// Takes a session that the other side initiated. Returns those that are over.
    mutating func addResponded(_ new: KeyPairPointer) -> (KeyPairPointer?, KeyPairPointer?) {
        defer {
            next = new
            previous = nil
        }
        return (next, previous)
    }

    /// The first packet came under `next`. Returns the session that is over.
    mutating func confirmNext() -> KeyPairPointer? {
        let over = previous
        previous = current
        current = next
        next = nil
        return over
    }

    /// Empties all. Returns those that are over.
    mutating func removeAll() -> [KeyPairPointer] {
        defer { (previous, current, next) = (nil, nil, nil) }
        return [previous, current, next].compactMap { $0 }
    }
}
