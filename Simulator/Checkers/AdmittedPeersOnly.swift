internal import FabricCore
internal import FabricDocument
internal import FabricMesh
internal import FabricNode
internal import FabricWire

/// A node has tunnels only with members that the approvers admitted. Signatures are verified here by the rules of DSSE, not
/// by the product's own reader; trust comes from the operator's machine.
struct AdmittedPeersOnly {
    /// What the operator has signed; nil before there is a cluster.
    struct Trust {
        var cluster: ClusterID
        var approvers: [[UInt8]]
        var threshold: Int
    }

    /// Admissions that have been verified, by the SHA-256 of payload and signatures. Looked up only.
    private var verified: Set<[UInt8]> = []

    /// Nil when every peer is admitted.
    mutating func holds(
        _ peers: [NodePeer], _ members: [PeerDirectory.Member], _ trust: Trust?, _ cryptography: any Cryptography
    ) -> String? {
        guard !peers.isEmpty else { return nil }
        guard let trust else { return "it has peers before anybody was admitted" }
        for peer in peers {
            guard let member = members.first(where: { $0.node == peer.node }) else {
                return "peer \(peer.node) has no admission"
            }
            if let why = refusal(of: member.envelope, trust, cryptography) { return "peer \(peer.node): \(why)" }
            guard let admission = try? JSON.decode(Admission.self, from: member.envelope.payload.bytes),
                admission.node == peer.node, admission.cluster == trust.cluster
            else { return "peer \(peer.node): its admission is for another node" }
            guard admission.tunnelKey(in: peer.domain) == peer.publicKey else {
                return "peer \(peer.node): its tunnel key in \(peer.domain) is not the admitted one"
            }
        }
        return nil
    }

    private mutating func refusal(
        of envelope: SignedEnvelope, _ trust: Trust, _ cryptography: any Cryptography
    ) -> String? {
        let digest = cryptography.sha256(envelope.signatures.reduce(envelope.payload.bytes) { $0 + $1.sig.bytes })
        if verified.contains(digest) { return nil }
        let type = "application/vnd.rap.admission+json"
        let payload = envelope.payload.bytes
        let message = Array("DSSEv1 \(type.utf8.count) \(type) \(payload.count) ".utf8) + payload
        let signers = trust.approvers.count { key in
            envelope.signatures.contains {
                cryptography.ed25519Verify(publicKey: key, signature: $0.sig.bytes, message)
            }
        }
        guard signers >= trust.threshold else {
            return "\(signers) approver(s) signed its admission, \(trust.threshold) must"
        }
        verified.insert(digest)
        return nil
    }
}
