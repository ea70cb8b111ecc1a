public import FabricCore
internal import FabricMesh
internal import FabricTunnel
internal import FabricWire

/// What an agent tells local tools of itself, as JSON.
public struct NodeStatus: Hashable, Sendable, Codable {
    public var name: String
    public var node: NodeID?
    public var cluster: ClusterID?
    /// `idle`, `joining`, `awaiting-approval`, `active`, `refused`, `broken`
    public var phase: String
    /// Of a refusal: the problem's code. Of a broken state: `broken`.
    public var reason: String?
    public var detail: String?
    public var snapshotVersion: Int64
    /// Where a control plane that is known by name answered last.
    public var control: Endpoint?
    /// The host's overlay address in the fabric domain.
    public var overlayAddress: IPAddress?
    public var peers: [Peer]
    /// Empty until the node is a member.
    public var domains: [Domain]
    /// Where the host says how it moves packets.
    public var packets: Packets?

    /// How packets are moved, and what became of those that went no further.
    public struct Packets: Hashable, Sendable, Codable {
        /// The library whose ChaCha20-Poly1305 seals and opens them: the fastest when the agent started.
        public var cipher: String
        /// What it was chosen from.
        public var measured: [Cipher]
        /// What the kernel does of splitting and joining: `udp-segment`, `udp-gro`, and of interfaces `tun-checksum`,
        /// `tun-tcp`, `tun-udp`.
        public var offloads: [String]
        public var superPacketsRead: UInt64
        public var superPacketsWritten: UInt64
        /// Senders on this host that were told that a packet is larger than what its path takes (ICMP).
        public var tooBigTold: UInt64
        /// From an interface to the network: from the read of the first packet of a batch until the kernel has all its datagrams.
        /// Of a sample of the batches.
        public var outwardLatency: Latency
        /// From the network to interfaces: from the receipt of some datagrams until their packets are written.
        public var inwardLatency: Latency
        /// The reasons that occurred.
        public var drops: [Drop]

        public init(
            cipher: String, measured: [Cipher], offloads: [String], superPacketsRead: UInt64,
            superPacketsWritten: UInt64, tooBigTold: UInt64, outwardLatency: Latency, inwardLatency: Latency,
            drops: [Drop]
        ) {
            self.cipher = cipher
            self.measured = measured
            self.offloads = offloads
            self.superPacketsRead = superPacketsRead
            self.superPacketsWritten = superPacketsWritten
            self.tooBigTold = tooBigTold
            self.outwardLatency = outwardLatency
            self.inwardLatency = inwardLatency
            self.drops = drops
        }
    }

    /// A histogram: classes that double, and what half, and 99 in a hundred, took less than, to the class.
    public struct Latency: Hashable, Sendable, Codable {
        public struct Class: Hashable, Sendable, Codable {
            /// Nil of the last, which has no end.
            public var belowMicroseconds: Int64?
            public var count: UInt64
        }

        public var samples: UInt64
        public var medianBelowMicroseconds: Int64?
        public var p99BelowMicroseconds: Int64?
        /// Those in which something fell.
        public var classes: [Class]

        public init(_ histogram: LatencyHistogram) {
            samples = histogram.count
            medianBelowMicroseconds = histogram.below(permille: 500)
            p99BelowMicroseconds = histogram.below(permille: 990)
            classes = (0..<LatencyHistogram.classes).filter { histogram[$0] > 0 }.map {
                Class(belowMicroseconds: LatencyHistogram.end(of: $0), count: histogram[$0])
            }
        }
    }

    public struct Cipher: Hashable, Sendable, Codable {
        public var name: String
        /// Of sealing a full packet.
        public var nanoseconds: Int64

        public init(name: String, nanoseconds: Int64) {
            self.name = name
            self.nanoseconds = nanoseconds
        }
    }

    public struct Drop: Hashable, Sendable, Codable {
        public var reason: String
        public var count: UInt64

        public init(reason: String, count: UInt64) {
            self.reason = reason
            self.count = count
        }
    }

    /// A routing domain of the node, as a WireGuard peer beyond the fabric sees it.
    public struct Domain: Hashable, Sendable, Codable {
        public var domain: RoutingDomainID
        /// Base64, as wg(8) writes keys.
        public var publicKey: String
        public var overlayAddress: IPAddress
        /// Those that were configured with static peers.
        public var addresses: [InterfaceAddress]
        public var staticPeers: [StaticPeer]
        /// What the static peers may take from the fabric, in words.
        public var warnings: [String]
        /// Why its interface is not as it should be; the agent tries again.
        public var interfaceFailure: String?
    }

    /// A hand-configured peer.
    public struct StaticPeer: Hashable, Sendable, Codable {
        /// Base64.
        public var publicKey: String
        public var allowedIPs: [IPPrefix]
        public var endpoint: Endpoint?
        public var hasSession: Bool
        public var handshakes: UInt64
        /// Seconds since the Unix epoch, by this host's clock.
        public var latestHandshake: Int64?
        public var receivedBytes: UInt64
        public var sentBytes: UInt64
        /// What of it and for it went no further; the reasons that occurred.
        public var drops: [Drop]
        /// Why it has no tunnel.
        public var refused: String?
    }

    public struct Peer: Hashable, Sendable, Codable {
        public var node: NodeID
        public var name: String
        public var domain: RoutingDomainID
        public var overlayAddress: IPAddress
        public var endpoint: Endpoint?
        public var hasSession: Bool
        public var handshakes: UInt64
        public var up: Bool
        public var roundTripMicroseconds: Int64?
        public var receivedBytes: UInt64
        public var sentBytes: UInt64
        /// What of it and for it went no further; the reasons that occurred.
        public var drops: [Drop]
    }
}

extension [NodeStatus.Drop] {
    init(_ tunnel: PeerStatus?) {
        self = (tunnel?.drops ?? []).map { NodeStatus.Drop(reason: $0.reason.description, count: $0.count) }
    }
}

extension NodeAgent {
    /// Packets and datagrams that the agent and its tunnels dropped, by reason; those that occurred.
    public var drops: [NodeStatus.Drop] {
        let own = [
            ("not_ours", counters.dropsNotOurs), ("no_domain", counters.dropsNoDomain),
            ("not_ready", counters.dropsNotReady),
            ("malformed_fabric_message", counters.dropsMalformedFabricMessage),
        ]
        return tunnels.counters.dropped.map { NodeStatus.Drop(reason: $0.reason.description, count: $0.count) }
            + own.filter { $0.1 > 0 }.map { NodeStatus.Drop(reason: $0.0, count: $0.1) }
    }

    public func status(now: Now) -> NodeStatus {
        let (phaseName, reason, detail): (String, String?, String?) =
            switch phase {
            case .idle: ("idle", nil, nil)
            case .joining: ("joining", nil, nil)
            case .awaitingApproval: ("awaiting-approval", nil, nil)
            case .active: ("active", nil, nil)
            case .refused(let code, let detail): ("refused", code.rawValue, detail)
            case .broken(let why): ("broken", "broken", why)
            }
        return NodeStatus(
            name: configuration.name, node: nodeID, cluster: membership?.cluster, phase: phaseName, reason: reason,
            detail: detail, snapshotVersion: snapshotVersion,
            control: locator?.proven, overlayAddress: domains.first { $0.id == .fabric }?.overlay.overlayHost,
            peers: peers.map { peer in
                let tunnel = tunnels.peerStatus(peer.handle)
                return NodeStatus.Peer(
                    node: peer.node, name: directory?.member(peer.node)?.admission.name ?? "", domain: peer.domain,
                    overlayAddress: peer.overlay.overlayHost, endpoint: tunnel?.endpoint,
                    hasSession: tunnel?.hasSession ?? false, handshakes: tunnel?.handshakes ?? 0,
                    up: peer.health.isUp(at: now.monotonic),
                    roundTripMicroseconds: peer.health.roundTrip.map { $0.nanoseconds / 1000 },
                    receivedBytes: tunnel?.traffic.bytesReceived ?? 0, sentBytes: tunnel?.traffic.bytesSent ?? 0,
                    drops: [NodeStatus.Drop](tunnel))
            }, domains: domains.map { domainStatus($0, now) })
    }

    private func domainStatus(_ domain: DomainState, _ now: Now) -> NodeStatus.Domain {
        NodeStatus.Domain(
            domain: domain.id, publicKey: Base64.encode(tunnels.publicKey(of: domain.id) ?? []),
            overlayAddress: domain.overlay.overlayHost, addresses: staticAddresses(domain),
            staticPeers: staticPeers.filter { $0.domain == domain.id }.map { peer in
                let tunnel = peer.handle.flatMap { tunnels.peerStatus($0) }
                return NodeStatus.StaticPeer(
                    publicKey: Base64.encode(peer.configuration.publicKey), allowedIPs: peer.configuration.allowedIPs,
                    endpoint: tunnel?.endpoint ?? peer.configuration.endpoint, hasSession: tunnel?.hasSession ?? false,
                    handshakes: tunnel?.handshakes ?? 0,
                    latestHandshake: tunnel?.lastHandshake.map { (now.wall - (now.monotonic - $0)).seconds },
                    receivedBytes: tunnel?.traffic.bytesReceived ?? 0, sentBytes: tunnel?.traffic.bytesSent ?? 0,
                    drops: [NodeStatus.Drop](tunnel), refused: peer.refusal)
            }, warnings: domain.shadows, interfaceFailure: domain.interfaceFailure)
    }
}

extension NodeStatus.Domain {
    /// What the other side of a static peer puts into its WireGuard configuration (wg(8)). `endpoint` is where it reaches this
    /// host, an address or a name with a port.
    public func peerSection(endpoint: String) -> String {
        let own = [IPPrefix(host: overlayAddress)] + addresses.map { IPPrefix(host: $0.address) }
        return """
            [Peer]
            PublicKey = \(publicKey)
            AllowedIPs = \(own.map(\.description).joined(separator: ", "))
            Endpoint = \(endpoint)

            """
    }
}
