internal import FabricCore
internal import FabricMesh
internal import FabricTunnel
internal import FabricWire

/// Hand-configured peers: WireGuard implementations beyond the fabric that reach this host alone.
///
/// They need no control plane. What the fabric has given to somebody they never get: neither an overlay address nor the
/// place of a member with the same key, whom people have admitted. Packets from them go to this host, by its overlay
/// address or any other that is not reserved; where they go from there the host's own routing and firewall say.
extension NodeAgent {
    /// Notes for each domain what is not for its static peers, once the domains are known.
    func reserveNetworks() {
        let overlays = domains.map { FabricIdentifier.overlayNetwork(of: $0.overlay) }
        for index in domains.indices {
            let others = configuration.staticPeers.filter { $0.domain != domains[index].id }
            domains[index].reserved =
                overlays + others.flatMap { $0.configuration.peers.flatMap(\.allowedIPs) }
                + others.flatMap { $0.configuration.addresses.map { IPPrefix(host: $0.address) } }
        }
    }

    /// Gives the static peers that may have one their tunnel, and takes it from those that may not any more. Called before the
    /// members of a snapshot get theirs.
    func placeStaticPeers(_ actions: inout [NodeAction]) {
        defer { staticHandles = Set(staticPeers.compactMap(\.handle)) }
        var owners: [RoutingDomainID: [[UInt8]: NodeID]] = [:]
        for index in staticPeers.indices {
            guard let domain = domains.first(where: { $0.id == staticPeers[index].domain }) else { continue }
            if owners[domain.id] == nil { owners[domain.id] = nodesByKey(domain) }
            var why = refusal(staticPeers[index].configuration, domain, owners[domain.id] ?? [:])
            if why == nil, staticPeers[index].handle == nil {
                let peer = staticPeers[index].configuration
                staticPeers[index].handle = tunnels.addPeer(
                    domain: domain.id,
                    PeerConfiguration(
                        publicKey: peer.publicKey, presharedKey: peer.presharedKey, allowedIPs: peer.allowedIPs,
                        endpoint: peer.endpoint, persistentKeepalive: peer.persistentKeepalive,
                        // Nobody knows what implementation it is, and some lose a mark.
                        copiesECN: false))
                if staticPeers[index].handle == nil { why = "the tunnel does not take it" }
            } else if why != nil, let handle = staticPeers[index].handle {
                tunnels.removePeer(handle)
                staticPeers[index].handle = nil
            }
            guard why != staticPeers[index].refusal else { continue }
            staticPeers[index].refusal = why
            guard let why else { continue }
            let name = "peer \(Base64.encode(staticPeers[index].configuration.publicKey))"
            actions.append(.report(.staticRefused(domain.id, name, why: why)))
        }
        for file in configuration.staticPeers {
            guard let domain = domains.first(where: { $0.id == file.domain }) else { continue }
            for address in file.configuration.addresses where isReserved(address.network, domain) {
                let report = NodeReport.staticRefused(
                    domain.id, "address \(address)", why: "the addresses of the fabric are derived, and in its network")
                if refusedAddresses.insert(address).inserted { actions.append(.report(report)) }
            }
        }
    }

    private func isReserved(_ network: IPPrefix, _ domain: DomainState) -> Bool {
        domain.reserved.contains { $0.overlaps(network) }
    }

    /// The nodes that the snapshot names in a domain, by their keys there.
    private func nodesByKey(_ domain: DomainState) -> [[UInt8]: NodeID] {
        guard let named = snapshot?.domains.first(where: { $0.id == domain.id })?.peers else { return [:] }
        var owners: [[UInt8]: NodeID] = [:]
        for node in named.sorted() {
            guard let key = directory?.member(node)?.admission.tunnelKey(in: domain.id), owners[key] == nil else {
                continue
            }
            owners[key] = node
        }
        return owners
    }

    private func refusal(
        _ peer: WireGuardConfiguration.Peer, _ domain: DomainState, _ owners: [[UInt8]: NodeID]
    ) -> String? {
        if peer.publicKey == tunnels.publicKey(of: domain.id) { return "the key is this node's own in the domain" }
        if let prefix = peer.allowedIPs.first(where: { isReserved($0, domain) }) {
            return "AllowedIPs \(prefix) overlaps the network of the fabric's own addresses"
        }
        return owners[peer.publicKey].map { "the key is that of node \($0), which the snapshot names as a peer" }
    }

    // MARK: The underlay

    /// Says where networks that lead to static peers hold the underlay address of a node: the host's routing may then send the
    /// node's datagrams into the static tunnel. A route of the host's own, to the node or its network, keeps them out, so
    /// that nothing is refused; nodes come, go and move, and nobody could have known when the configuration was written.
    func warnOfShadows(_ actions: inout [NodeAction]) {
        if staticPeers.isEmpty { return }
        // Asked for with every round of probes, and seldom another.
        let basis = ShadowBasis(
            peers: peers.map { PathPlace(peer: $0.handle, endpoint: tunnels.endpoint(of: $0.handle)) },
            staticPeers: staticHandles)
        guard basis != shadowBasis else { return }
        shadowBasis = basis
        for index in domains.indices {
            let shadows = shadows(in: domains[index])
            guard shadows != domains[index].shadows else { continue }
            for shadow in shadows where !domains[index].shadows.contains(shadow) {
                actions.append(.report(.staticShadows(domains[index].id, shadow)))
            }
            domains[index].shadows = shadows
        }
    }

    private func shadows(in domain: DomainState) -> [String] {
        let networks = staticRoutes(domain) + staticAddresses(domain).map(\.network)
        // The routes of static peers don't overlap, so that one lookup finds the one there may be.
        var routes = AllowedIPs()
        let routeCount = networks.count - staticAddresses(domain).count
        for place in 0..<routeCount { routes.insert(networks[place], peer: place) }
        var found: [(network: Int, peer: Int, endpoint: Endpoint)] = []
        for index in peers.indices {
            guard let endpoint = tunnels.endpoint(of: peers[index].handle) else { continue }
            if let network = routes.lookup(endpoint.address) { found.append((network, index, endpoint)) }
            for network in routeCount..<networks.count where networks[network].contains(endpoint.address) {
                found.append((network, index, endpoint))
            }
        }
        found.sort { ($0.network, $0.peer) < ($1.network, $1.peer) }
        var shadows: [String] = []
        for (network, peer, endpoint) in found {
            let what =
                "\(networks[network]) holds \(endpoint), where node \(peers[peer].node) is reached: what is sent there goes "
                + "into the tunnel, unless this host has a route of its own to it"
            if !shadows.contains(what) { shadows.append(what) }
        }
        return shadows
    }

    // MARK: The interface

    func staticAddresses(_ domain: DomainState) -> [InterfaceAddress] {
        guard let file = configuration.staticPeers.first(where: { $0.domain == domain.id }) else { return [] }
        return file.configuration.addresses.filter { !isReserved($0.network, domain) }
    }

    /// The kernel itself routes the networks of addresses.
    func staticRoutes(_ domain: DomainState) -> [IPPrefix] {
        let networks = staticAddresses(domain).map(\.network)
        return staticPeers.filter { $0.domain == domain.id && $0.handle != nil }.flatMap(\.configuration.allowedIPs)
            .filter { !networks.contains($0) }
    }

    // MARK: Packets

    /// A packet of this peer, whose source is proven, may go to the interface though it is not for the overlay address.
    func mayPass(to destination: IPAddress, from handle: PeerHandle, domain: Int) -> Bool {
        guard staticHandles.contains(handle) else { return false }
        // By index: nothing is copied for a packet.
        for place in 0..<domains[domain].reserved.count
        where domains[domain].reserved[place].contains(destination) { return false }
        return true
    }
}
