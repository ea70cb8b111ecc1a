internal import FabricCore
internal import FabricWire

/// In one life, a node never goes by an older record of a peer than one that it has had: who sends old ones could lead it to
/// addresses that belong to somebody else by now.
struct RecordsForward {
    /// Of the present boot, by the peer. Looked up by key only.
    private var sequences: [NodeID: Int64] = [:]

    mutating func booted() { sequences.removeAll(keepingCapacity: true) }

    /// What the node holds now. A peer that leaves may come back with what the control plane has of it.
    mutating func holds(_ records: [PeerRecord]) -> String? {
        var held: [NodeID: Int64] = [:]
        var violation: String?
        for record in records {
            let former = sequences[record.node] ?? 0
            if record.sequence < former, violation == nil {
                violation = "it goes by record \(record.sequence) of peer \(record.node), and had \(former)"
            }
            held[record.node] = max(record.sequence, former)
        }
        sequences = held
        return violation
    }
}
