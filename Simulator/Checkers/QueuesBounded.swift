internal import FabricCore
internal import FabricTunnel

/// Every queue and table stays within its named limit.
enum QueuesBounded {
    static func judge(_ queues: TunnelQueues, _ limits: TunnelLimits = .default) -> String? {
        for (name, count, limit) in [
            ("datagrams of its own", queues.transmits, limits.pendingTransmits),
            ("tunnel events", queues.events, limits.pendingEvents),
            ("handshakes that wait", queues.handshakes, limits.waitingHandshakes),
            ("packets that wait for a session", queues.longestStaged, limits.stagedPacketsPerPeer),
        ] where count > limit { return "\(count) \(name) wait; the limit is \(limit)" }
        return nil
    }

    /// A table of the control plane, and how many rows it may have.
    struct Table {
        var what: String
        var sql: String
        var limit: Int
    }
}
