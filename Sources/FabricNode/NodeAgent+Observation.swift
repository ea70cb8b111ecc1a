public import FabricCore
public import FabricMesh
public import FabricTunnel
public import FabricWire

/// What checkers and conditions look at. Nothing here changes the agent.
extension NodeAgent {
    /// Of the certificate that the node holds; nil before it is a member.
    public var certificateValidity: Range<WallTime>? {
        guard let leaf = membership?.certificateChain.first else { return nil }
        return try? certificates.inspect(leaf.bytes).validity
    }

    /// The snapshot by which the node goes.
    public var appliedSnapshot: Snapshot? { snapshot }

    /// The members that the applied snapshot names, with their admissions and newest records.
    public var members: [PeerDirectory.Member] { directory?.members ?? [] }

    /// Peers that the tunnels know, static ones apart: never more than `peers`.
    public var tunnelPeerCount: Int { tunnels.peerCount - staticPeers.count }

    /// The node's own public keys by domain.
    public var tunnelPublicKeys: [(domain: RoutingDomainID, key: [UInt8])] {
        (identity?.tunnelKeys ?? []).compactMap { key in
            (try? cryptography.x25519PublicKey(privateKey: key.privateKey.bytes)).map { (key.domain, $0) }
        }
    }

    /// The version that heartbeats report: it is durable.
    public var reportedSnapshotVersion: Int64 { durableSnapshotVersion }

    /// What waits in the tunnels' queues now.
    public var tunnelQueues: TunnelQueues { tunnels.queues }

    /// Handshake messages that wait in the tunnels for a later turn.
    public var waitingHandshakes: Int { tunnels.waitingHandshakes }

    /// The greatest time stamps of handshakes with a peer.
    public func handshakeTimestamps(_ peer: NodePeer) -> PeerTimestamps? {
        tunnels.peerStatus(peer.handle)?.timestamps
    }
}
