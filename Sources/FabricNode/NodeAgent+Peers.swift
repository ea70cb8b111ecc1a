public import FabricCore
internal import FabricDocument
public import FabricMesh
public import FabricTunnel
internal import FabricWire

/// One of the node's routing domains: its interface and its own tunnel key.
struct DomainState {
    var id: RoutingDomainID
    /// The even address is the host's, the odd one the agent's.
    var overlay: IPPrefix
    /// What is the fabric's own or another domain's: static peers may neither have it nor send to it.
    var reserved: [IPPrefix] = []
    /// Why its interface is not as it should be.
    var interfaceFailure: String?
    /// What static peers may take from the fabric, as told last; see `warnOfShadows`.
    var shadows: [String] = []
}

/// A tunnel peer: a node in a routing domain.
public struct NodePeer {
    public let node: NodeID
    public let domain: RoutingDomainID
    public let overlay: IPPrefix
    public let handle: PeerHandle
    /// X25519, of the peer in this domain.
    public let publicKey: [UInt8]
    public internal(set) var health: PeerHealth
    var reportedUp = false
    /// Where it may be; see NodeAgent+Endpoints.swift.
    var endpoints: EndpointRotation
}

/// Which peers are probed together: fewer wakes, and no burst that would hold up packets.
private struct ProbeTurns {
    static let mostPeers = 16

    /// In the order in which they came.
    private var turns: [(origin: Instant, peers: Int)] = []
    private var places: [Instant: Int] = [:]
    /// All turns before this one are full.
    private var firstOpen = 0

    init(_ origins: some Sequence<Instant>) { for origin in origins { add(origin) } }

    private mutating func add(_ origin: Instant) {
        if let place = places[origin] {
            turns[place].peers += 1
        } else {
            places[origin] = turns.count
            turns.append((origin, 1))
        }
    }

    /// The time of the next peer's probes; `draw` makes that of a new turn.
    mutating func place(_ draw: () -> Instant) -> Instant {
        while firstOpen < turns.count, turns[firstOpen].peers >= Self.mostPeers { firstOpen += 1 }
        let origin = firstOpen < turns.count ? turns[firstOpen].origin : draw()
        add(origin)
        return origin
    }
}

/// What a tunnel of the fabric is: another key is another peer.
private struct PeerName: Hashable {
    var node: NodeID
    var domain: RoutingDomainID
    var publicKey: [UInt8]
}

/// Snapshots and peer records become tunnels.
extension NodeAgent {
    func openDomains(_ actions: inout [NodeAction]) {
        guard let membership, let identity else { return }
        for key in identity.tunnelKeys where !domains.contains(where: { $0.id == key.domain }) {
            tunnels.addDomain(id: key.domain, privateKey: key.privateKey.bytes, mtu: configuration.interfaceMTU)
            domains.append(DomainState(id: key.domain, overlay: overlay(of: membership.node, in: key.domain)))
        }
        reserveNetworks()
        placeStaticPeers(&actions)
        configureInterfaces(&actions)
    }

    private func overlay(of node: NodeID, in domain: RoutingDomainID) -> IPPrefix {
        FabricIdentifier.overlayPrefix(cluster: membership!.cluster, domain: domain, node: node, cryptography)
    }

    // MARK: Interfaces

    private func configureInterfaces(_ actions: inout [NodeAction]) {
        for domain in domains { actions.append(.configureInterface(interface(of: domain))) }
    }

    private func interface(of domain: DomainState) -> InterfaceConfiguration {
        InterfaceConfiguration(
            domain: domain.id, address: IPPrefix(host: domain.overlay.overlayHost), addresses: staticAddresses(domain),
            routes: (peers.filter { $0.domain == domain.id }.map(\.overlay) + staticRoutes(domain)).sorted(),
            mtu: configuration.interfaceMTU)
    }

    /// What failed is asked for again, less and less often: a device may be busy, a module may not be loaded yet.
    func noteInterface(of id: RoutingDomainID, failure: String?, _ now: Now, _ actions: inout [NodeAction]) {
        guard let index = domains.firstIndex(where: { $0.id == id }) else { return }
        let former = domains[index].interfaceFailure
        if let failure, former != failure { actions.append(.report(.interfaceFailed(id, failure))) }
        if failure == nil, former != nil { actions.append(.report(.interfaceMended(id))) }
        domains[index].interfaceFailure = failure
        if domains.allSatisfy({ $0.interfaceFailure == nil }) {
            interfaceCall.cancel()
        } else if failure != nil, interfaceCall.due == nil {
            // Somebody who undoes it again and again gets as few repetitions as what fails again and again.
            if let last = interfaceFailedAt, now.monotonic - last >= Self.interfaceCalm {
                interfaceCall.succeeded(nextAt: nil)
            }
            interfaceFailedAt = now.monotonic
            interfaceCall.failed(now: now.monotonic, random: random)
        }
    }

    /// After so long without a fault of an interface the next one is mended as fast as a first one.
    static var interfaceCalm: Duration { .seconds(60) }

    /// The interface is to be as was asked, whoever changes it. One that is to be asked for again needs no second reason.
    func judgeInterface(of id: RoutingDomainID, _ state: InterfaceState, _ now: Now, _ actions: inout [NodeAction]) {
        guard let domain = domains.first(where: { $0.id == id }), domain.interfaceFailure == nil,
            let found = interface(of: domain).shortcomings(of: state)
        else { return }
        noteInterface(of: id, failure: "changed from outside: \(found)", now, &actions)
    }

    func retryInterfaces(_ actions: inout [NodeAction]) {
        interfaceCall.cancel()
        for domain in domains where domain.interfaceFailure != nil {
            actions.append(.configureInterface(interface(of: domain)))
        }
    }

    // MARK: Snapshots

    func restore(_ state: SnapshotState, _ now: Now, _ actions: inout [NodeAction]) {
        guard takeSnapshot(state.snapshot, now, &actions) else { return }
        durableSnapshotVersion = snapshotVersion
        for record in state.records { _ = takeRecord(record, now, &actions) }
    }

    func persistSnapshot(_ actions: inout [NodeAction]) {
        guard let snapshotEnvelope, let directory, !planted(.snapshotNotPersisted) else { return }
        let state = SnapshotState(
            snapshot: snapshotEnvelope, records: directory.members.compactMap { $0.recordEnvelope })
        persist(.snapshot, state, snapshotVersion: snapshotVersion, &actions)
    }

    /// Applies a snapshot that proves true and newer; otherwise says why not. True when it was applied.
    func takeSnapshot(_ envelope: SignedEnvelope, _ now: Now, _ actions: inout [NodeAction]) -> Bool {
        do {
            guard let next = try openSnapshot(envelope, now) else { return false }
            try directory!.replaceMembers(next, trust: trust!)
            snapshot = next
            snapshotEnvelope = envelope
            snapshotHash = envelope.payloadHash(cryptography)
        } catch {
            actions.append(.report(.snapshotRefused("\(error)")))
            return false
        }
        reconcileTunnels(now, &actions)
        configureInterfaces(&actions)
        warnOfShadows(&actions)
        actions.append(.report(.snapshotApplied(version: snapshotVersion, peers: peers.count)))
        return true
    }

    /// Nil for the snapshot that is applied already.
    private func openSnapshot(_ envelope: SignedEnvelope, _ now: Now) throws -> Snapshot? {
        guard let trust, let membership else { throw MembershipError("there is no membership") }
        if envelope == snapshotEnvelope { return nil }
        let next = try envelope.open(Snapshot.self, keys: trust.snapshotKeys.map(\.bytes), threshold: 1, cryptography)
        guard next.cluster == membership.cluster else { throw MembershipError("it is for cluster \(next.cluster)") }
        guard next.audience == membership.node || planted(.foreignSnapshotAccepted) else {
            throw MembershipError("it is for node \(next.audience)")
        }
        if let snapshot {
            guard next.authorityTerm >= snapshot.authorityTerm else {
                throw MembershipError("authority term \(next.authorityTerm) is older than \(snapshot.authorityTerm)")
            }
            guard next.version > snapshot.version || planted(.olderSnapshotAccepted) else {
                throw MembershipError("version \(next.version) is not newer than \(snapshot.version)")
            }
            if next.version == snapshot.version + 1, next.authorityTerm == snapshot.authorityTerm,
                next.previousHash != snapshotEnvelope?.payloadHash(cryptography)
            {
                throw MembershipError("version \(next.version) does not follow from \(snapshot.version)")
            }
        }
        // The time that the control plane itself has told is the judge: a wrong local clock locks nobody out.
        let heard = WallTime(nanoseconds: floors.wallNanoseconds)
        guard heard.seconds < next.hardExpiry else { throw MembershipError("it expired at \(next.hardExpiry)") }
        return next
    }

    /// Makes the tunnels' peers those of the snapshot, and leaves alone the ones that stay.
    private func reconcileTunnels(_ now: Now, _ actions: inout [NodeAction]) {
        guard let snapshot, let directory else { return }
        let change = Reconciliation(
            former: peers.map { PeerName(node: $0.node, domain: $0.domain, publicKey: $0.publicKey) },
            wanted: wantedPeers(snapshot, directory))
        // The old go first: they make room, and a prefix belongs to one peer at a time.
        if !planted(.formerPeersKept) { for place in change.gone { tunnels.removePeer(peers[place].handle) } }
        placeStaticPeers(&actions)
        var next: [NodePeer] = []
        next.reserveCapacity(change.wanted.count)
        let leaving = Set(change.gone)
        var turns = ProbeTurns(peers.indices.filter { !leaving.contains($0) }.map { peers[$0].health.origin })
        var newcomers = 0
        for (name, place) in change.wanted {
            if let place {
                next.append(peers[place])
                continue
            }
            let overlay = overlay(of: name.node, in: name.domain)
            let endpoints = directory.member(name.node)?.record?.endpoints ?? []
            let handle = tunnels.addPeer(
                domain: name.domain,
                PeerConfiguration(
                    publicKey: name.publicKey, presharedKey: nil, allowedIPs: [overlay], endpoint: endpoints.first,
                    persistentKeepalive: nil))
            guard let handle else { continue }
            newcomers += 1
            next.append(
                NodePeer(
                    node: name.node, domain: name.domain, overlay: overlay, handle: handle, publicKey: name.publicKey,
                    health: PeerHealth(
                        probeInterval: configuration.probeInterval, firstProbe: firstProbe(newcomers, now),
                        origin: turns.place { now.monotonic + random.jitter(configuration.probeInterval) },
                        clockOffset: Int64(random.uint64() >> 2)),
                    endpoints: EndpointRotation(endpoints, now: now.monotonic)))
        }
        setPeers(next)
    }

    /// In the order of the snapshot's domains, then by node.
    private func wantedPeers(_ snapshot: Snapshot, _ directory: PeerDirectory) -> [PeerName] {
        var wanted: [PeerName] = []
        for domain in snapshot.domains where domains.contains(where: { $0.id == domain.id }) {
            for node in domain.peers.sorted() {
                guard let key = directory.member(node)?.admission.tunnelKey(in: domain.id) else { continue }
                wanted.append(PeerName(node: node, domain: domain.id, publicKey: key))
            }
        }
        return wanted
    }

    private func setPeers(_ next: [NodePeer]) {
        peers = next
        placeOfHandle = [:]
        placesOfNode = [:]
        for (place, peer) in next.enumerated() {
            placeOfHandle[peer.handle] = place
            placesOfNode[peer.node, default: []].append(place)
        }
    }

    /// True when the record told something new, which is to be kept.
    func takeRecord(_ envelope: SignedEnvelope, _ now: Now, _ actions: inout [NodeAction]) -> Bool {
        guard directory != nil else { return false }
        switch directory!.take(envelope) {
        case .accepted(let node, let endpoints):
            takeEndpoints(endpoints, of: node, now)
            for index in placesOfNode[node] ?? [] { encourage(index, atOnce: false, now) }
            warnOfShadows(&actions)
            return true
        case .renewed(let node, let endpoints):
            // The record on disk says the same, and so do all between the two: nothing is lost with this one.
            takeEndpoints(endpoints, of: node, now)
            return false
        case .older, .notAPeer: return false
        case .refused(let why):
            actions.append(.report(.recordRefused(why)))
            return false
        }
    }

    // MARK: Probes

    /// The first probe, and with it the handshake, of one of some new peers: soon, since somebody may wait for the path, but
    /// not of all at once.
    private func firstProbe(_ newcomers: Int, _ now: Now) -> Instant {
        now.monotonic
            + random.jitter(min(configuration.probeInterval, .milliseconds(100) * min(newcomers, 1_000)))
    }

    // Every tunnel is probed, in whatever domain: its keys, its session and its endpoint are its own, and two nodes that share a
    // tenant's domain need not be neighbours in the fabric.

    /// When the first peer's next probe is due.
    var probeDue: Instant? {
        guard tunnelsReady, probeCursor == nil else { return nil }
        if earliestProbe == nil {
            var due = Instant.distantFuture
            // By index: iterating copies every peer.
            for index in peers.indices { due = min(due, peers[index].health.probeDue) }
            earliestProbe = due
        }
        return earliestProbe == .distantFuture ? nil : earliestProbe
    }

    /// Probes the peers that are due; `nextTransmit` builds the packets as the host takes them.
    func probePeers(_ now: Now, _ actions: inout [NodeAction]) {
        probeCursor = 0
        for index in peers.indices {
            let up = peers[index].health.isUp(at: now.monotonic)
            if !up, peers[index].reportedUp { peers[index].health.noticedDown(now: now.monotonic) }
            if !up, !peers[index].health.isResting(at: now.monotonic) { seekEndpoint(index, now) }
            guard up != peers[index].reportedUp else { continue }
            peers[index].reportedUp = up
            let (node, domain) = (peers[index].node, peers[index].domain)
            actions.append(.report(up ? .peerUp(node, domain) : .peerDown(node, domain)))
        }
        warnOfShadows(&actions)
        if now.wall.nanoseconds > floors.handshakeNanoseconds - Self.floorInterval.nanoseconds {
            // The wall clock has jumped ahead: reserve again before handshakes overtake the floor.
            raiseFloorsSoon(now)
        }
    }

    /// After calls of the tunnels that may have begun a handshake.
    func tunnelsUsed(_ now: Now) {
        while let event = tunnels.nextEvent() {
            switch event {
            case .sessionEstablished(let peer, _):
                askForPath(of: peer)
                guard let index = placeOfHandle[peer], !peers[index].health.isUp(at: now.monotonic) else { continue }
                peers[index].endpoints.answered(now: now.monotonic)
                encourage(index, atOnce: true, now)
            case .endpointChanged(let peer, _): askForPath(of: peer)
            case .handshakeGaveUp, .keysZeroed: break
            }
        }
        raiseFloorsForHeld(now)
    }
}
