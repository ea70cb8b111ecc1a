/// What a swarm knows so far: which seeds are done, what was reached by how many, what failed. The same results give the
/// same ledger whatever the order in which they came, but for the order of `failures` and `interesting`.
public struct SwarmLedger: Sendable {
    /// Failures are counted beyond this, but not kept.
    public static let maximumFailures = 1_000

    public struct Reached: Hashable, Sendable {
        public var what: String
        public var seeds: Int
        /// The smallest seed that reached it.
        public var first: UInt64
    }

    /// Seeds of the range that are done; a seed of the corpus outside of it is not.
    private var done: Set<UInt64> = []
    public let range: ClosedRange<UInt64>
    public private(set) var failures: [SwarmResult] = []
    public private(set) var failureCount = 0
    public private(set) var undeterminedCount = 0
    /// Seeds of which nothing is known; they are not done.
    public private(set) var noResults: [SwarmResult] = []
    public private(set) var noResultCount = 0
    /// By name; sorted before it is shown.
    private var reachedBy: [String: (seeds: Int, first: UInt64)] = [:]
    private var seen: Set<UInt64> = []

    public init(range: ClosedRange<UInt64>) { self.range = range }

    public var doneCount: Int { done.count }
    public var coverageCount: Int { reachedBy.count }
    public func isDone(_ seed: UInt64) -> Bool { seen.contains(seed) }

    /// Adds a seed's result; a second result of a seed changes nothing. Gives what no seed before had reached.
    public mutating func record(_ result: SwarmResult) -> [String] {
        if result.outcome == .noResult {
            noResultCount += 1
            if noResults.count < SwarmLedger.maximumFailures { noResults.append(result) }
            return []
        }
        guard seen.insert(result.seed).inserted else { return [] }
        if range.contains(result.seed) { done.insert(result.seed) }
        if result.outcome != .held {
            failureCount += 1
            if failures.count < SwarmLedger.maximumFailures { failures.append(result) }
        }
        if result.outcome == .undetermined { undeterminedCount += 1 }
        var new: [String] = []
        for item in result.signature {
            if let old = reachedBy[item] {
                reachedBy[item] = (old.seeds + 1, min(old.first, result.seed))
            } else {
                reachedBy[item] = (1, result.seed)
                new.append(item)
            }
        }
        return new
    }

    public func reached(_ what: String) -> Reached? {
        reachedBy[what].map { Reached(what: what, seeds: $0.seeds, first: $0.first) }
    }

    /// Everything that was reached, by name.
    public var coverage: [Reached] {
        // unordered: sorted at once
        reachedBy.map { Reached(what: $0.key, seeds: $0.value.seeds, first: $0.value.first) }.sorted {
            $0.what < $1.what
        }
    }

    /// The exit status of a swarm that has run: 3 when a seed was not deterministic, 1 when one failed, 4 when nothing is
    /// known of one, 1 when a `sometimes` was reached by none.
    public func exitStatus(sometimes: [String]) -> Int32 {
        if undeterminedCount > 0 { return 3 }
        if failureCount > 0 { return 1 }
        if noResultCount > 0 { return 4 }
        return sometimes.contains { reached($0) == nil } ? 1 : 0
    }
}
