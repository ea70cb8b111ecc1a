public import FabricCore

/// WireGuard for one UDP socket: several routing domains, each with a static key and peers of its own, on one address.
///
/// It performs no I/O. The host hands it packets and datagrams in buffers, and after each call
///  1. uses the outcome and, where it says so, the buffer;
///  2. drains `nextTransmit` until it is nil, then `nextEvent` likewise;
///  3. asks `nextDeadline` and arranges to call `handleDeadline`.
///
/// A host that has several datagrams hands in all of them before 2, and takes in what has arrived meanwhile before a deadline
/// that is due: so handshakes that wait stay behind packets.
///
/// Calls never overlap; the instance belongs to one thread at a time. Sessions are made lazily: the first packet to a
/// peer starts the handshake and waits for it. Which domain a datagram belongs to is told by the receiver index, unique
/// across the endpoint, or for an initiation by the static key under which its mac1 is valid.
public final class TunnelEndpoint {
    /// Behind a pointer, so that the packet path pays no exclusivity checks.
    let state: UnsafeMutablePointer<EndpointState>

    public init(cryptography: any Cryptography, random: any RandomSource, limits: TunnelLimits) {
        state = .allocate(capacity: 1)
        state.initialize(to: EndpointState(cryptography: cryptography, random: random, limits: limits))
    }

    deinit {
        state.deinitialize(count: 1)
        state.deallocate()
    }

    // MARK: Domains and peers

    /// Adds a domain with its X25519 private key (32 bytes). `mtu` is the interface's; padding never passes it. Nil for
    /// a malformed key, a domain or key that is there already, or when `TunnelLimits.maximumDomains` is reached.
    @discardableResult
    public func addDomain(id: RoutingDomainID, privateKey: [UInt8], mtu: Int = .max) -> DomainHandle? {
        state.pointee.addDomain(id, privateKey, mtu)
    }

    /// Removes a domain with all its peers.
    public func removeDomain(_ id: RoutingDomainID) { state.pointee.removeDomain(id) }

    public func domain(_ id: RoutingDomainID) -> DomainHandle? { state.pointee.domainHandle(id) }

    /// The X25519 public key of a domain.
    public func publicKey(of id: RoutingDomainID) -> [UInt8]? { state.pointee.publicKey(of: id) }

    /// Adds a peer. Nil for an unknown domain, a malformed or our own key, a peer that is there already, a persistent
    /// keepalive below 1 s, or when `TunnelLimits.maximumPeers` is reached. A prefix that another peer of the domain
    /// has moves to the new one.
    public func addPeer(domain: RoutingDomainID, _ configuration: PeerConfiguration) -> PeerHandle? {
        state.pointee.addPeer(domain, configuration)
    }

    /// Changes a peer; its sessions stay. A nil endpoint leaves the known one, time stamps only rise. False for a
    /// removed peer, another public key, or what `addPeer` refuses.
    @discardableResult
    public func updatePeer(_ peer: PeerHandle, _ configuration: PeerConfiguration) -> Bool {
        state.pointee.updatePeer(peer, configuration)
    }

    /// Forgets a peer, its keys and what waits for it.
    public func removePeer(_ peer: PeerHandle) { state.pointee.removePeer(peer) }

    /// Sends to a new address from now on; the session stays. No event tells of it.
    public func setEndpoint(_ peer: PeerHandle, _ endpoint: Endpoint) { state.pointee.setEndpoint(peer, endpoint) }

    /// The path to this endpoint takes underlay packets of so many bytes, with their IP header. Larger packets to the peer that may
    /// not be fragmented are refused, until it moves elsewhere. Nothing happens when it is elsewhere already.
    public func setPathMTU(_ peer: PeerHandle, at endpoint: Endpoint, _ bytes: Int) {
        state.pointee.setPathMTU(peer, endpoint, bytes)
    }

    /// The largest IP packet that fits a datagram to a peer, as far as known; nil for a removed peer.
    public func largestPacket(to peer: PeerHandle) -> Int? { state.pointee.resolve(peer)?.pointee.largestPacket }

    /// The same of the peer that a destination belongs to.
    public func largestPacket(domain: RoutingDomainID, to destination: IPAddress) -> Int? {
        state.pointee.largestPacket(domain, to: destination)
    }

    /// Starts a handshake without a packet, unless a message of one was sent within 5 s. One that doesn't repeat is a single
    /// initiation, and none while another handshake still repeats.
    public func startHandshake(_ peer: PeerHandle, repeats: Bool, now: Now) {
        state.pointee.startHandshake(peer, repeats: repeats, now)
    }

    /// Initiations from now on carry time stamps later than `floor`, whatever the wall clock says.
    public func raiseTimestampFloor(_ floor: WallTime) { state.pointee.raiseTimestampFloor(floor) }

    /// Initiations from now on carry time stamps earlier than `ceiling`; nil for any. One that would not is held until the
    /// ceiling is set again, and then leaves at once if it may.
    public func setTimestampCeiling(_ ceiling: WallTime?, now: Now) { state.pointee.setTimestampCeiling(ceiling, now) }

    /// Initiations wait for a higher ceiling.
    public var isHoldingInitiations: Bool { state.pointee.isHoldingInitiations }

    /// Of all initiations, to whomever; rounded down to the label's grain.
    public var greatestTimestampSent: WallTime? { state.pointee.greatestTimestampSent?.wall }

    /// Nil for a removed peer.
    public func peerStatus(_ peer: PeerHandle) -> PeerStatus? { state.pointee.peerStatus(peer) }

    /// Where datagrams to a peer go now; nil for a removed peer, and while nobody knows.
    public func endpoint(of peer: PeerHandle) -> Endpoint? { state.pointee.resolve(peer)?.pointee.endpoint }

    public func publicKey(of peer: PeerHandle) -> [UInt8]? { state.pointee.resolve(peer)?.pointee.publicKey }

    public func peer(domain: RoutingDomainID, publicKey: [UInt8]) -> PeerHandle? {
        state.pointee.findPeer(domain, publicKey)
    }

    // MARK: Packets

    /// Sends the IP packet in the buffer to the peer that its destination belongs to. The datagram's IP header is to have the
    /// buffer's `ecn`.
    public func send(domain: DomainHandle, _ packet: inout PacketBuffer, now: Now) -> SendOutcome {
        state.pointee.send(domain, &packet, isProbe: false, now)
    }

    /// `isProbe`: where others wait for the session this packet does not join them. It would only take their room.
    public func send(
        domain: RoutingDomainID, _ packet: inout PacketBuffer, isProbe: Bool = false, now: Now
    ) -> SendOutcome {
        guard let handle = state.pointee.domainHandle(domain) else {
            state.pointee.counters[.unknownDomain] += 1
            return .dropped(.unknownDomain)
        }
        return state.pointee.send(handle, &packet, isProbe: isProbe, now)
    }

    /// Takes a datagram from the socket, with its IP header's mark in the buffer's `ecn`. Unless the outcome is `packet`, the contents of the buffer are undefined
    /// after.
    public func receive(_ datagram: inout PacketBuffer, from source: Endpoint, now: Now) -> ReceiveOutcome {
        state.pointee.receive(&datagram, from: source, now)
    }

    /// The next datagram of the endpoint's own: handshakes, keepalives, cookie replies, staged packets. The buffer
    /// holds it when the result is not nil. Call it until it is nil.
    public func nextTransmit(into buffer: inout PacketBuffer) -> Endpoint? { state.pointee.nextTransmit(into: &buffer) }

    public func nextEvent() -> TunnelEvent? { state.pointee.events.popFirst() }

    // MARK: Time

    /// When a timer is next due. It takes no search through the peers.
    public func nextDeadline() -> Deadline<TunnelDeadline>? { state.pointee.nextDeadline() }

    /// Runs the timers that are due. An early or superfluous call does nothing.
    public func handleDeadline(now: Now) { state.pointee.handleDeadline(now) }

    // MARK: For observers

    public var counters: TunnelCounters { state.pointee.counters }

    public var peerCount: Int { state.pointee.peers.count - state.pointee.freeSlots.count }

    /// What waits in the queues now.
    public var queues: TunnelQueues {
        var staged = 0
        for peer in state.pointee.peers { staged = max(staged, peer?.pointee.staged.count ?? 0) }
        return TunnelQueues(
            transmits: state.pointee.transmits.count, events: state.pointee.events.count,
            handshakes: waitingHandshakes, longestStaged: staged)
    }

    /// Handshake messages that wait for a later turn.
    public var waitingHandshakes: Int { state.pointee.waiting.count }

    /// Set by a host that has reasons of its own to ask for cookies; the endpoint also tells load by itself.
    public var isUnderLoad: Bool {
        get { state.pointee.isUnderLoad }
        set { state.pointee.isUnderLoad = newValue }
    }

    /// Off unless set. Then every handshake yields an entry with private keys, for decrypting a capture while
    /// debugging.
    public var isKeyLogging: Bool {
        get { state.pointee.isKeyLogging }
        set { state.pointee.isKeyLogging = newValue }
    }

    public func nextKeyLogEntry() -> KeyLogEntry? { state.pointee.keyLog.popFirst() }
}
