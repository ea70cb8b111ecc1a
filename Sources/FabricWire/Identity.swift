public import FabricCore

/// SPIFFE identities of the fabric. A cluster is a trust domain of its own: `spiffe://<cluster>.rap/node/<node>`.
public enum FabricIdentifier {
    public static func trustDomain(_ cluster: ClusterID) -> String { "\(cluster).rap" }
    public static func authority(_ cluster: ClusterID) -> String { "spiffe://\(cluster).rap" }
    public static func node(_ node: NodeID, in cluster: ClusterID) -> String { "spiffe://\(cluster).rap/node/\(node)" }

    /// The control plane's own trust domain and identity, which join tokens pin.
    public static let controlTrustDomain = "control-plane.rap"
    public static let control = "spiffe://control-plane.rap/server"

    private static let scheme = Array("spiffe://".utf8)
    private static let domainSuffix = Array(".rap".utf8)
    private static let nodePath = Array("/node/".utf8)

    /// The cluster and node that a SPIFFE ID names; nil when it names no node.
    public static func parseNode(_ spiffeID: String) -> (cluster: ClusterID, node: NodeID)? {
        // spiffe://CLUSTER.rap/node/NODE. By bytes: every request of a node asks for it. What is wrong around the two
        // identifiers is found by them: they have neither slashes nor dots.
        let text = spiffeID.utf8
        guard text.starts(with: scheme), let slash = text.dropFirst(scheme.count).firstIndex(of: UInt8(ascii: "/")),
            text[slash...].starts(with: nodePath)
        else { return nil }
        let authority = text[text.index(text.startIndex, offsetBy: scheme.count)..<slash]
        guard authority.count > domainSuffix.count, authority.suffix(domainSuffix.count).elementsEqual(domainSuffix),
            let cluster = ClusterID(String(Substring(authority.dropLast(domainSuffix.count)))),
            let node = NodeID(String(Substring(text[slash...].dropFirst(nodePath.count))))
        else { return nil }
        return (cluster, node)
    }

    /// A node's id is the first 128 bits of the SHA-256 of its first identity key, in hex: nobody assigns it.
    public static func nodeID(identityKey: [UInt8], _ cryptography: any Cryptography) -> NodeID {
        NodeID(Hex.encode(cryptography.sha256(identityKey).prefix(16)))!
    }

    /// The overlay addresses of a node in a domain: a /127 of a unique local prefix (RFC 4193), derived and never allocated.
    ///
    /// The even address is the host's; the odd one is the agent's own, for fabric messages.
    public static func overlayPrefix(
        cluster: ClusterID, domain: RoutingDomainID, node: NodeID, _ cryptography: any Cryptography
    ) -> IPPrefix {
        let network = cryptography.sha256(Array("rap overlay \(cluster) \(domain)".utf8))
        let host = cryptography.sha256(Array("rap overlay \(node)".utf8))
        var bytes: [UInt8] = [0xFD] + network.prefix(7) + host.prefix(8)
        if planted(.overlayAddressesCollide) { for index in 8..<15 { bytes[index] = 0 } }
        bytes[15] &= 0xFE
        return IPPrefix(IPAddress(bytes: bytes)!, length: 127)!
    }

    /// Of a node's overlay prefix: the /64 in which all nodes of the cluster have theirs, in that domain.
    public static func overlayNetwork(of overlay: IPPrefix) -> IPPrefix { IPPrefix(overlay.address, length: 64)! }
}

extension IPPrefix {
    /// Of an overlay /127: the address of the host.
    public var overlayHost: IPAddress { address }
    /// Of an overlay /127: the address of the agent.
    public var overlayAgent: IPAddress { IPAddress(v6High: address.high, low: address.low | 1) }
}
