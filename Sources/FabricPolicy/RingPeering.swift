public import FabricCore
internal import FabricWire

/// Who has tunnels with whom in one routing domain.
///
/// The domain's nodes, sorted by id, form a ring; each node's peers are those at distance 1 … `degree`/2 on either
/// side. With at most `degree` + 1 nodes that is everyone. Ids are hashes, so the ring is a random one: its diameter
/// is about n/degree hops in the worst case, and no place or order of joining is favoured. A join or a leave changes
/// the peers of the joining or leaving node's neighbours and of nobody else.
public struct RingPeering: Sendable {
    /// Sorted, each once.
    public let nodes: [NodeID]
    /// Even, 2 … `maximumDegree`.
    public let degree: Int

    public static let maximumDegree = 64

    /// The most routing domains of one node in a cluster of this degree: even when no two of its peers are the same, its
    /// snapshot names no more than it may.
    public static func maximumDomains(degree: Int) -> Int {
        min(TunnelKey.maximumDomains, Snapshot.maximumMembers / degree)
    }

    /// Whether a cluster may have this degree.
    public static func isValid(degree: Int) -> Bool { (2...maximumDegree).contains(degree) && degree % 2 == 0 }

    public init(nodes: some Sequence<NodeID>, degree: Int) {
        precondition(RingPeering.isValid(degree: degree))
        let sorted = nodes.sorted()
        self.nodes = sorted.indices.filter { $0 == 0 || sorted[$0] != sorted[$0 - 1] }.map { sorted[$0] }
        self.degree = degree
    }

    /// The peers of a node, sorted; empty when it is not in the ring. Symmetric.
    public func neighbours(of node: NodeID) -> [NodeID] {
        let index = position(of: node)
        guard index < nodes.count, nodes[index] == node else { return [] }
        return around(index)
    }

    /// The nodes whose peers change when `node` joins this ring, sorted; `node` itself is not among them.
    public func affectedByJoining(_ node: NodeID) -> [NodeID] {
        RingPeering(nodes: nodes + [node], degree: degree).neighbours(of: node)
    }

    /// The nodes whose peers change when `node` leaves this ring, sorted; `node` itself is not among them.
    public func affectedByLeaving(_ node: NodeID) -> [NodeID] { neighbours(of: node) }

    private func around(_ index: Int) -> [NodeID] {
        let count = nodes.count
        guard count > degree + 1 else { return nodes.filter { $0 != nodes[index] } }
        return (1...degree / 2)
            .flatMap { [(index + $0) % count, (index + count - $0) % count] }
            .sorted()
            .map { nodes[$0] }
    }

    /// The first index whose node is not below `node`.
    private func position(of node: NodeID) -> Int {
        var low = 0
        var high = nodes.count
        while low < high {
            let middle = (low + high) / 2
            if nodes[middle] < node { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
