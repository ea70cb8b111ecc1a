internal import FabricCore
internal import FabricWire

/// A node goes by snapshots made for it, and never by an older one: neither in one life, nor, below what it has told the
/// control plane that it holds durably, in a later one.
struct SnapshotForward {
    private var current: Int64 = 0
    private var promised: Int64 = 0

    mutating func booted() { current = 0 }

    /// A heartbeat leaves that says which version is durable.
    mutating func promised(_ version: Int64) { promised = max(promised, version) }

    /// The disk has lost what was durable: the promise can't be kept.
    mutating func diskLost() { promised = 0 }

    mutating func applied(_ snapshot: Snapshot, by node: NodeID) -> String? {
        defer { current = max(current, snapshot.version) }
        if snapshot.audience != node { return "it goes by a snapshot for node \(snapshot.audience)" }
        if snapshot.version < current { return "it goes by snapshot \(snapshot.version) after \(current)" }
        if snapshot.version < promised {
            return "it goes by snapshot \(snapshot.version), and had \(promised) durably before it restarted"
        }
        return nil
    }
}
