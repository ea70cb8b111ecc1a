import FabricCore

/// A store whose commits misbehave on demand; between them it is the real one.
final class FaultyStore: Store {
    enum Fault { case none, unavailable, unknownButCommitted, unknownAndLost }

    private let base: any Store
    /// Transactions that write something fail, as on a full disk.
    var isFull = false
    /// Transactions that wrote, or tried to.
    private(set) var writes = 0
    var transactions = 0
    /// Statements of all transactions.
    private(set) var statements = 0
    /// Of the next transaction, and of the one after it; then none.
    var next = Fault.none
    var afterNext = Fault.none
    /// Every transaction that can is run twice, its first run rolled back: a conflict.
    var runsTwice = false

    init(_ base: any Store) { self.base = base }

    private struct Abort: Error {}

    func transaction<Result>(_ body: (any Transaction) throws -> Result) throws -> Result {
        transactions += 1
        let fault = next
        (next, afterNext) = (afterNext, .none)
        if fault == .unavailable { throw StoreError.unavailable("the test wants it") }
        if fault == .unknownAndLost || runsTwice {
            do {
                _ = try base.transaction { transaction in
                    _ = try body(transaction)
                    throw Abort()
                }
            } catch is Abort {}
        }
        if fault == .unknownAndLost { throw StoreError.unknownOutcome("the test wants it") }
        let result = try base.transaction { transaction in
            let counted = CountedTransaction(transaction)
            defer { statements += counted.statements }
            let result = try body(counted)
            if counted.hasWritten { writes += 1 }
            if isFull, counted.hasWritten { throw StoreError.unavailable("the disk is full") }
            return result
        }
        if fault == .unknownButCommitted { throw StoreError.unknownOutcome("the test wants it") }
        return result
    }
}

private final class CountedTransaction: Transaction {
    private let base: any Transaction
    private(set) var hasWritten = false
    private(set) var statements = 0

    init(_ base: any Transaction) { self.base = base }

    func query(_ sql: String, _ arguments: [SQLValue]) throws -> [SQLRow] {
        statements += 1
        return try base.query(sql, arguments)
    }
    func execute(_ sql: String, _ arguments: [SQLValue]) throws -> Int {
        hasWritten = true
        statements += 1
        return try base.execute(sql, arguments)
    }
    func nested<Result>(_ body: () throws -> Result) throws -> Result {
        statements += 2
        let before = hasWritten
        do { return try base.nested(body) } catch {
            hasWritten = before
            throw error
        }
    }
}
