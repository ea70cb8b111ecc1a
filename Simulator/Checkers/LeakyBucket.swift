internal import FabricCore

/// Counts what happens too often: each event adds one, and it empties at an even rate.
struct LeakyBucket {
    private let each: Int64
    private let deepest: Int64
    private var level: Int64 = 0
    private var since = Instant.zero

    init(perSecond: Int64, deepest: Int64) {
        each = 1_000_000_000 / perSecond
        self.deepest = deepest
    }

    /// Whether it runs over.
    mutating func add(at now: Instant) -> Bool {
        let emptied = (now - since).nanoseconds / each
        if emptied > 0 {
            level = max(0, level - emptied)
            since = since + .nanoseconds(emptied * each)
        }
        level += 1
        return level > deepest
    }
}
