internal import FabricCore

/// Until when each node is known to be active and to reach all its peers, whatever comes: an echo only moves it on. In
/// one stretch of memory, since the judge asks for every node at every look, more often than anything else touches one.
final class FreshPaths {
    /// By node of the plan: the world time before which nothing need be asked.
    private var upBefore: [Int64] = []
    /// By host, -1 for none.
    private var nodes: [Int] = []

    func add(node: Int, host: HostID) {
        while upBefore.count <= node { upBefore.append(.min) }
        while nodes.count <= host.index { nodes.append(-1) }
        nodes[host.index] = node
    }

    @inline(__always)
    func areUp(_ node: Int, at time: Instant) -> Bool { time.nanoseconds < upBefore[node] }

    func note(_ node: Int, upBefore time: Instant) { upBefore[node] = time.nanoseconds }

    /// The host has started or stopped, its agent has reported something (another phase, other peers), or its clock's
    /// rate has changed.
    func forget(_ host: HostID) {
        guard host.index < nodes.count, nodes[host.index] >= 0 else { return }
        upBefore[nodes[host.index]] = .min
    }
}
