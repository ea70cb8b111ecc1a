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
    /// The host's overlay address in the fabric domain.
    public var overlayAddress: IPAddress?
    public var peers: [Peer]

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
    }
}

extension NodeAgent {
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
            overlayAddress: domains.first { $0.id == .fabric }?.overlay.overlayHost,
            peers: peers.map { peer in
                let tunnel = tunnels.peerStatus(peer.handle)
                return NodeStatus.Peer(
                    node: peer.node, name: directory?.member(peer.node)?.admission.name ?? "", domain: peer.domain,
                    overlayAddress: peer.overlay.overlayHost, endpoint: tunnel?.endpoint,
                    hasSession: tunnel?.hasSession ?? false, handshakes: tunnel?.handshakes ?? 0,
                    up: peer.health.isUp(at: now.monotonic),
                    roundTripMicroseconds: peer.health.roundTrip.map { $0.nanoseconds / 1000 },
                    receivedBytes: tunnel?.traffic.bytesReceived ?? 0, sentBytes: tunnel?.traffic.bytesSent ?? 0)
            })
    }
}
