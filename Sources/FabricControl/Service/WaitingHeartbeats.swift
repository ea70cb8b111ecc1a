internal import FabricCore

/// Heartbeats that have come and are not stored yet: those that wait for others, and those of a batch of which each needs a
/// transaction of its own. In both the order is that in which they came; of one node none in the batch is older than one by
/// itself.
struct WaitingHeartbeats {
    struct Entry {
        /// Nil once whoever asked is gone: a heartbeat that has come is stored all the same.
        var id: ControlService.RequestID?
        var request: ControlRequest
        var beat: WaitingHeartbeat
    }

    private var batch: [Entry] = []
    /// When the batch is to be stored.
    private(set) var batchDue: Instant?
    private var singles: ArraySlice<Entry> = []
    private var singlesDue: Instant?

    var count: Int { batch.count + singles.count }
    var batchCount: Int { batch.count }
    var due: Instant? { singlesDue ?? batchDue }
    var senders: Set<NodeKey> { Set(batch.map(\.beat.key)).union(singles.map(\.beat.key)) }

    func isInBatch(_ sender: NodeKey) -> Bool { batch.contains { $0.beat.key == sender } }

    mutating func collect(
        _ id: ControlService.RequestID, _ request: ControlRequest, _ beat: WaitingHeartbeat, due: Instant
    ) {
        var request = request
        request.receivedAt = beat.wall
        batch.append(Entry(id: id, request: request, beat: beat))
        if batchDue == nil { batchDue = due }
    }

    /// The batch; those whose sender has an earlier one among the singles go to them instead.
    mutating func takeBatch() -> [Entry] {
        let taken = batch
        batch.removeAll(keepingCapacity: true)
        batchDue = nil
        guard !singles.isEmpty else { return taken }
        let behind = Set(singles.map(\.beat.key))
        singles += taken.filter { behind.contains($0.beat.key) }
        return taken.filter { !behind.contains($0.beat.key) }
    }

    mutating func addSingle(_ entry: Entry, _ now: Instant) {
        singles.append(entry)
        if singlesDue == nil { singlesDue = now }
    }

    mutating func takeSingles(atMost count: Int) -> ArraySlice<Entry> {
        let taken = singles.prefix(count)
        singles = singles.dropFirst(count)
        settle()
        return taken
    }

    mutating func takeSingles(of sender: NodeKey) -> [Entry] {
        guard !singles.isEmpty else { return [] }
        let taken = singles.filter { $0.beat.key == sender }
        if !taken.isEmpty { singles.removeAll { $0.beat.key == sender } }
        settle()
        return taken
    }

    private mutating func settle() {
        guard singles.isEmpty else { return }
        singles = []
        singlesDue = nil
    }

    mutating func forget(_ id: ControlService.RequestID) {
        for index in batch.indices where batch[index].id == id { batch[index].id = nil }
        for index in singles.indices where singles[index].id == id { singles[index].id = nil }
    }
}
