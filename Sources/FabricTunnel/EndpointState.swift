internal import FabricCore

/// What an endpoint owns, and the functions on its tables. Extensions hold the rest: packets, handshakes, timers.
struct EndpointState: ~Copyable {
    /// What waits for `nextTransmit`.
    enum PendingTransmit {
        case message([UInt8], Endpoint)
        case keepalive(PeerHandle)
        /// A peer whose staged packets can go.
        case staged(PeerHandle)
    }

    let cryptography: any Cryptography
    let random: any RandomSource
    let limits: TunnelLimits

    var domains: [DomainPointer?] = []
    var domainGeneration: UInt32 = 0
    var peers: [PeerPointer?] = []
    var generations: [UInt32] = []
    var freeSlots: [Int] = []
    var indexes = IndexTable()
    var deadlines = DeadlineHeap()

    var transmits: BoundedQueue<PendingTransmit>
    var events: BoundedQueue<TunnelEvent>
    var keyLog: BoundedQueue<KeyLogEntry>
    var isKeyLogging = false
    var counters = TunnelCounters()
    var isUnderLoad = false
    var load: LoadEstimator
    var sources: SourceRateLimiter
    var waiting: BoundedQueue<WaitingHandshake>
    /// Of this turn; see EndpointState+Waiting.swift.
    var handshakeWorkLeft: Int
    /// Datagrams that were received.
    var datagramsReceived: UInt64 = 0
    /// Of the datagram that is worked on: handshakes that waited are older than those before them.
    var datagramNumber: UInt64 = 0
    /// Initiations carry later time stamps.
    var timestampFloor: TAI64N?
    /// Initiations carry earlier time stamps; those that can't are held.
    var timestampCeiling: TAI64N?
    var greatestTimestampSent: TAI64N?
    /// Some peer's initiation is held.
    var isHoldingInitiations = false
    /// Of the call before; `nextTransmit` belongs to it.
    var lastNow = Now(monotonic: .zero, wall: WallTime(nanoseconds: 0))

    init(cryptography: any Cryptography, random: any RandomSource, limits: TunnelLimits) {
        self.cryptography = cryptography
        self.random = random
        self.limits = limits
        transmits = BoundedQueue(limit: limits.pendingTransmits)
        events = BoundedQueue(limit: limits.pendingEvents)
        keyLog = BoundedQueue(limit: limits.pendingKeyLogEntries)
        load = LoadEstimator(handshakesPerSecond: limits.handshakesPerSecondBeforeCookies)
        sources = SourceRateLimiter(maximumSources: limits.rateLimitedSources)
        waiting = BoundedQueue(limit: limits.waitingHandshakes)
        handshakeWorkLeft = limits.handshakeWorkPerTurn
    }

    deinit {
        for peer in peers {
            guard let peer else { continue }
            for keyPair in peer.pointee.keyPairs.removeAll() {
                keyPair.deinitialize(count: 1)
                keyPair.deallocate()
            }
            peer.deinitialize(count: 1)
            peer.deallocate()
        }
        for domain in domains {
            domain?.deinitialize(count: 1)
            domain?.deallocate()
        }
    }

    // MARK: Domains

    func domainHandle(_ id: RoutingDomainID) -> DomainHandle? {
        for slot in domains.indices {
            if let domain = domains[slot], domain.pointee.id == id {
                return DomainHandle(slot: UInt32(slot), generation: domain.pointee.generation)
            }
        }
        return nil
    }

    func domainPointer(_ id: RoutingDomainID) -> (slot: Int, DomainPointer)? {
        guard let handle = domainHandle(id), let domain = domains[Int(handle.slot)] else { return nil }
        return (Int(handle.slot), domain)
    }

    func publicKey(of id: RoutingDomainID) -> [UInt8]? { domainPointer(id)?.1.pointee.identity.publicKey }

    mutating func addDomain(_ id: RoutingDomainID, _ privateKey: [UInt8], _ mtu: Int) -> DomainHandle? {
        guard domainHandle(id) == nil, mtu > 0, domains.count(where: { $0 != nil }) < limits.maximumDomains,
            let identity = try? Handshake.Identity(privateKey: privateKey, cryptography),
            !domains.contains(where: { $0?.pointee.identity.publicKey == identity.publicKey })
        else { return nil }
        let publicKey = identity.publicKey
        domainGeneration &+= 1
        let domain = DomainPointer.allocate(capacity: 1)
        domain.initialize(
            to: TunnelDomain(
                id: id, generation: domainGeneration,
                identity: identity,
                mac1Key: MessageMACs.mac1Key(of: publicKey, cryptography),
                cookieKey: MessageMACs.cookieKey(of: publicKey, cryptography), mtu: mtu))
        if let free = domains.firstIndex(where: { $0 == nil }) {
            domains[free] = domain
        } else {
            domains.append(domain)
        }
        return domainHandle(id)
    }

    mutating func removeDomain(_ id: RoutingDomainID) {
        guard let (slot, domain) = domainPointer(id) else { return }
        for peer in peers {
            if let peer, peer.pointee.domainSlot == slot { removePeer(peer.pointee.handle) }
        }
        domains[slot] = nil
        domain.deinitialize(count: 1)
        domain.deallocate()
    }

    // MARK: Peers

    @inline(__always)
    func resolve(_ handle: PeerHandle) -> PeerPointer? {
        guard Int(handle.slot) < peers.count, let peer = peers[Int(handle.slot)], peer.pointee.handle == handle else {
            return nil
        }
        return peer
    }

    func findPeer(_ domain: RoutingDomainID, _ publicKey: [UInt8]) -> PeerHandle? {
        guard let slot = domainPointer(domain)?.1.pointee.peersByKey[publicKey] else { return nil }
        return peers[slot]?.pointee.handle
    }

    private func isSound(_ configuration: PeerConfiguration) -> Bool {
        configuration.publicKey.count == 32 && (configuration.presharedKey?.count ?? 32) == 32
            && (configuration.persistentKeepalive ?? .seconds(1)) >= .seconds(1)
    }

    mutating func addPeer(_ id: RoutingDomainID, _ configuration: PeerConfiguration) -> PeerHandle? {
        guard let (domainSlot, domain) = domainPointer(id), isSound(configuration),
            configuration.publicKey != domain.pointee.identity.publicKey,
            domain.pointee.peersByKey[configuration.publicKey] == nil,
            peers.count - freeSlots.count < limits.maximumPeers
        else { return nil }
        let slot: Int
        if let free = freeSlots.popLast() {
            slot = free
        } else {
            slot = peers.count
            peers.append(nil)
            generations.append(0)
        }
        generations[slot] &+= 1
        let peer = PeerPointer.allocate(capacity: 1)
        peer.initialize(
            to: TunnelPeer(
                handle: PeerHandle(slot: UInt32(slot), generation: generations[slot]), domainSlot: domainSlot,
                publicKey: configuration.publicKey,
                mac1Key: MessageMACs.mac1Key(of: configuration.publicKey, cryptography),
                cookieKey: MessageMACs.cookieKey(of: configuration.publicKey, cryptography),
                presharedKey: configuration.presharedKey ?? [UInt8](repeating: 0, count: 32), allowedIPs: [],
                endpoint: nil, persistentKeepalive: nil, timestamps: PeerTimestamps(),
                staged: BoundedQueue(limit: limits.stagedPacketsPerPeer)))
        peers[slot] = peer
        domain.pointee.peersByKey[configuration.publicKey] = slot
        apply(configuration, to: peer, domain)
        return peer.pointee.handle
    }

    mutating func updatePeer(_ handle: PeerHandle, _ configuration: PeerConfiguration) -> Bool {
        guard let peer = resolve(handle), let domain = domains[peer.pointee.domainSlot], isSound(configuration),
            configuration.publicKey == peer.pointee.publicKey
        else { return false }
        apply(configuration, to: peer, domain)
        return true
    }

    private mutating func apply(_ configuration: PeerConfiguration, to peer: PeerPointer, _ domain: DomainPointer) {
        peer.pointee.presharedKey = configuration.presharedKey ?? [UInt8](repeating: 0, count: 32)
        for prefix in peer.pointee.allowedIPs where !configuration.allowedIPs.contains(prefix) {
            domain.pointee.allowedIPs.remove(prefix, peer: peer.pointee.slot)
        }
        peer.pointee.allowedIPs = configuration.allowedIPs
        for prefix in configuration.allowedIPs { domain.pointee.allowedIPs.insert(prefix, peer: peer.pointee.slot) }
        if let endpoint = configuration.endpoint { peer.pointee.move(to: endpoint) }
        peer.pointee.copiesECN = configuration.copiesECN
        func later(_ a: TAI64N?, _ b: TAI64N?) -> TAI64N? {
            guard let a, let b else { return a ?? b }
            return max(a, b)
        }
        let timestamps = peer.pointee.timestamps
        peer.pointee.timestamps = PeerTimestamps(
            greatestSent: later(timestamps.greatestSent, configuration.timestamps.greatestSent),
            greatestReceived: later(timestamps.greatestReceived, configuration.timestamps.greatestReceived))
        if peer.pointee.persistentKeepalive != configuration.persistentKeepalive {
            peer.pointee.persistentKeepalive = configuration.persistentKeepalive
            // The first one goes at once: it makes the session.
            if configuration.persistentKeepalive == nil {
                clear(peer, .persistentKeepalive)
            } else {
                set(peer, .persistentKeepalive, lastNow.monotonic)
            }
        }
    }

    mutating func removePeer(_ handle: PeerHandle) {
        guard let peer = resolve(handle), let domain = domains[peer.pointee.domainSlot] else { return }
        for prefix in peer.pointee.allowedIPs { domain.pointee.allowedIPs.remove(prefix, peer: peer.pointee.slot) }
        domain.pointee.peersByKey[peer.pointee.publicKey] = nil
        counters[.stagedExpired] += UInt64(peer.pointee.staged.count)
        forgetKeys(peer)
        // It may come back, and may not have forgotten us: no handshake with it goes below, whatever the clock says then.
        if let sent = peer.pointee.timestamps.greatestSent {
            timestampFloor = timestampFloor.map { max($0, sent) } ?? sent
        }
        deadlines.remove(peer.pointee.slot)
        peers[peer.pointee.slot] = nil
        freeSlots.append(peer.pointee.slot)
        peer.deinitialize(count: 1)
        peer.deallocate()
    }

    mutating func setEndpoint(_ handle: PeerHandle, _ endpoint: Endpoint) {
        resolve(handle)?.pointee.move(to: endpoint)
    }

    mutating func setPathMTU(_ handle: PeerHandle, _ endpoint: Endpoint, _ bytes: Int) {
        guard let peer = resolve(handle), peer.pointee.endpoint == endpoint else { return }
        peer.pointee.limit(toPathMTU: bytes)
    }

    func largestPacket(_ id: RoutingDomainID, to destination: IPAddress) -> Int? {
        guard let slot = domainPointer(id)?.1.pointee.allowedIPs.lookup(destination) else { return nil }
        return peers[slot]?.pointee.largestPacket
    }

    func peerStatus(_ handle: PeerHandle) -> PeerStatus? {
        guard let peer = resolve(handle) else { return nil }
        return PeerStatus(
            endpoint: peer.pointee.endpoint, lastHandshake: peer.pointee.lastHandshake,
            handshakes: peer.pointee.handshakes, hasSession: usableSession(peer, lastNow.monotonic) != nil,
            traffic: peer.pointee.traffic, timestamps: peer.pointee.timestamps, drops: peer.pointee.dropped)
    }

    mutating func raiseTimestampFloor(_ floor: WallTime) {
        let label = TAI64N(floor)
        timestampFloor = timestampFloor.map { max($0, label) } ?? label
    }

    // MARK: Queues

    mutating func queue(_ transmit: PendingTransmit) {
        if !transmits.append(transmit) { counters[.transmitQueueFull] += 1 }
    }

    mutating func note(_ event: TunnelEvent) {
        if events.appendDroppingOldest(event) { counters[.eventQueueFull] += 1 }
    }

    // MARK: Sessions

    /// The session to send under, or nil when there is none, or it is too old or exhausted.
    @inline(__always)
    func usableSession(_ peer: PeerPointer, _ now: Instant) -> KeyPairPointer? {
        guard let current = peer.pointee.keyPairs.current, current.pointee.maySend,
            current.pointee.age(now) < TunnelTimes.rejectAfter, !current.pointee.send.isExhausted
        else { return nil }
        return current
    }

    mutating func discard(_ keyPair: KeyPairPointer?) {
        guard let keyPair else { return }
        indexes.remove(keyPair.pointee.localIndex)
        keyPair.deinitialize(count: 1)
        keyPair.deallocate()
    }

    /// Forgets the sessions and our initiation.
    mutating func forgetKeys(_ peer: PeerPointer) {
        forgetInitiated(peer)
        peer.pointee.crossing = nil
        for keyPair in peer.pointee.keyPairs.removeAll() { discard(keyPair) }
    }

    mutating func forgetInitiated(_ peer: PeerPointer) {
        guard let initiated = peer.pointee.initiated else { return }
        indexes.remove(initiated.handshake.senderIndex)
        peer.pointee.initiated = nil
    }

    /// An index that no handshake or session of the endpoint has.
    func freshIndex() -> UInt32 {
        while true {
            let index = UInt32(truncatingIfNeeded: random.uint64())
            if indexes.find(index) == nil { return index }
        }
    }
}
