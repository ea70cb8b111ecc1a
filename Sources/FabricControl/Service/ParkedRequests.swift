internal import FabricCore
internal import FabricWire

/// Requests that wait for a topic. Bounded; every operation is deterministic.
struct ParkedRequests {
    struct Parked {
        var request: ControlRequest
        var topic: Topic
        var until: Instant
        /// The answer when nothing touches the topic until then.
        var otherwise: HTTPReply
    }

    private var parked: [ControlService.RequestID: Parked] = [:]
    /// In the order of parking.
    private var byTopic: [Topic: [ControlService.RequestID]] = [:]
    private var deadlines = DeadlineHeap()

    var count: Int { parked.count }

    mutating func insert(_ id: ControlService.RequestID, _ request: Parked) {
        precondition(parked[id] == nil, "a request is parked twice")
        parked[id] = request
        byTopic[request.topic, default: []].append(id)
        deadlines.insert(DeadlineHeap.Entry(instant: request.until, id: id))
    }

    mutating func remove(_ id: ControlService.RequestID) -> Parked? {
        guard let found = parked.removeValue(forKey: id) else { return nil }
        byTopic[found.topic]?.removeAll { $0 == id }
        if byTopic[found.topic]?.isEmpty == true { byTopic[found.topic] = nil }
        dropStaleDeadlines()
        return found
    }

    func waiting(for topic: Topic) -> [ControlService.RequestID] { byTopic[topic] ?? [] }

    /// The earliest deadline of a parked request.
    var nextDeadline: Instant? { deadlines.first?.instant }

    /// A request whose time is up.
    func firstExpired(at now: Instant) -> ControlService.RequestID? {
        guard let first = deadlines.first, first.instant <= now else { return nil }
        return first.id
    }

    /// The heap keeps entries of requests that left early until they come to its top.
    private mutating func dropStaleDeadlines() {
        while let first = deadlines.first, parked[first.id]?.until != first.instant { deadlines.removeFirst() }
    }
}

/// A binary heap of deadlines, ordered by (instant, request).
struct DeadlineHeap {
    struct Entry: Comparable {
        var instant: Instant
        var id: ControlService.RequestID
        static func < (a: Entry, b: Entry) -> Bool { a.instant != b.instant ? a.instant < b.instant : a.id < b.id }
    }

    private var entries: [Entry] = []

    var first: Entry? { entries.first }

    mutating func insert(_ entry: Entry) {
        entries.append(entry)
        var child = entries.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard entries[child] < entries[parent] else { break }
            entries.swapAt(child, parent)
            child = parent
        }
    }

    mutating func removeFirst() {
        entries.swapAt(0, entries.count - 1)
        entries.removeLast()
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < entries.count {
                if entries[child] < entries[least] { least = child }
            }
            guard least != parent else { break }
            entries.swapAt(parent, least)
            parent = least
        }
    }
}
