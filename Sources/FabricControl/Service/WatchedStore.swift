internal import FabricCore

/// The store, and whether it takes changes: for those who ask whether the control plane is ready.
final class WatchedStore: Store {
    private let base: any Store
    /// Why the last transaction that had something to write failed; nil once one has succeeded since.
    private(set) var writeFailure: StoreError?

    init(_ base: any Store) { self.base = base }

    func transaction<Result>(_ body: (any Transaction) throws -> Result) throws -> Result {
        // Of the last run.
        var watched: WatchedTransaction?
        do {
            let result = try base.transaction { transaction in
                let run = WatchedTransaction(transaction)
                watched = run
                let result = try body(run)
                run.isWhole = true
                return result
            }
            if watched?.hasChanged == true { writeFailure = nil }
            return result
        } catch let error as StoreError {
            if let watched, watched.hasWritten, watched.hasFailed || watched.isWhole { judge(error) }
            throw error
        }
    }

    private func judge(_ error: StoreError) {
        switch error {
        case .unavailable, .unknownOutcome, .corrupt: writeFailure = error
        // The store works, and what it was asked to do was wrong.
        case .statement, .constraint: break
        }
    }
}

/// One run of a transaction, and what it came to.
private final class WatchedTransaction: Transaction {
    private let base: any Transaction
    /// It tried to change something.
    private(set) var hasWritten = false
    /// Rows were changed.
    private(set) var hasChanged = false
    /// A statement failed. What else ends a run early is the caller's own doing, and no word on the store.
    private(set) var hasFailed = false
    /// The caller did all that it wanted; the commit is left.
    var isWhole = false

    init(_ base: any Transaction) { self.base = base }

    func query(_ sql: String, _ arguments: [SQLValue]) throws -> [SQLRow] {
        do { return try base.query(sql, arguments) } catch {
            hasFailed = true
            throw error
        }
    }

    func execute(_ sql: String, _ arguments: [SQLValue]) throws -> Int {
        hasWritten = true
        do {
            let changed = try base.execute(sql, arguments)
            if changed > 0 { hasChanged = true }
            return changed
        } catch {
            hasFailed = true
            throw error
        }
    }

    func nested<Result>(_ body: () throws -> Result) throws -> Result {
        let before = (hasWritten, hasChanged)
        var hasThrown = false
        do {
            return try base.nested {
                do { return try body() } catch {
                    hasThrown = true
                    throw error
                }
            }
        } catch {
            // Otherwise the savepoint itself failed.
            if !hasThrown { hasFailed = true }
            if !hasFailed { (hasWritten, hasChanged) = before }
            throw error
        }
    }
}
