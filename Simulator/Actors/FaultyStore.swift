internal import FabricCore

/// The faults of the control plane's database beside those of its disk. All are off at first.
final class DatabaseConditions {
    /// Transactions that fail before they begin.
    var failures = Probability.never
    /// Transactions whose commit is not answered: the connection was cut. Half of them took place.
    var unknownCommits = Probability.never
    /// How long each transaction takes; one goes after the other.
    var transactionTime = Duration.zero
    private(set) var faults: UInt64 = 0
    let random: SeededRandom

    init(random: SeededRandom) { self.random = random }

    func strikes(_ probability: Probability) -> Bool {
        guard probability.draw(random) else { return false }
        faults &+= 1
        return true
    }
}

/// A database that is away, slow, or cut off between commit and answer, in front of one that works.
final class FaultyStore: Store {
    private struct Cut: Error {}

    private let inner: any Store
    private let conditions: DatabaseConditions
    /// Transactions since the last time it was asked for.
    private var transactions = 0

    init(_ inner: any Store, _ conditions: DatabaseConditions) {
        self.inner = inner
        self.conditions = conditions
    }

    /// The time that the database has taken since the last time it was asked for.
    func takeElapsed() -> Duration {
        defer { transactions = 0 }
        return conditions.transactionTime * transactions
    }

    func transaction<Result>(_ body: (any Transaction) throws -> Result) throws -> Result {
        transactions += 1
        if conditions.strikes(conditions.failures) { throw StoreError.unavailable("the database is away") }
        guard conditions.strikes(conditions.unknownCommits) else { return try inner.transaction(body) }
        if conditions.random.below(2) == 0 {
            _ = try inner.transaction(body)
        } else {
            // The connection was cut on the way there. An error of the body comes before the commit, and is an answer.
            do {
                try inner.transaction { transaction in
                    _ = try body(transaction)
                    throw Cut()
                }
            } catch is Cut {}
        }
        throw StoreError.unknownOutcome("the connection to the database ended before the commit was answered")
    }
}
