internal import FabricCore

/// Requests that wait to run, in the order in which they came: new ones, and parked ones whose topic was touched.
struct WaitingRequests {
    struct Entry {
        /// Nil once whoever asked is gone: what a request changes is changed all the same.
        var id: ControlService.RequestID?
        var request: ControlRequest
        /// One that is not stored with others.
        var isHeartbeat = false
        /// Of one that was parked.
        var parked: ParkedRequests.Parked?

        var run: RequestRun { RequestRun(request, parkedUntil: parked?.until) }
    }

    private var entries: ArraySlice<Entry> = []
    /// When the first is to run.
    private(set) var due: Instant?

    var count: Int { entries.count }
    private(set) var heartbeats = 0

    mutating func append(_ entry: Entry, due instant: Instant) {
        entries.append(entry)
        if entry.isHeartbeat { heartbeats += 1 }
        due = min(due ?? instant, instant)
    }

    /// What is left then is due at once.
    mutating func take(atMost count: Int, _ now: Instant) -> ArraySlice<Entry> {
        let taken = entries.prefix(count)
        heartbeats -= taken.count { $0.isHeartbeat }
        entries = entries.dropFirst(count)
        due = entries.isEmpty ? nil : now
        if entries.isEmpty { entries = [] }
        return taken
    }

    mutating func forget(_ id: ControlService.RequestID) {
        guard let index = entries.firstIndex(where: { $0.id == id }) else { return }
        if entries[index].parked == nil {
            entries[index].id = nil
        } else {
            entries.remove(at: index)
            if entries.isEmpty { due = nil }
        }
    }
}
