internal import FabricCore

/// One transaction of a `PostgresStore`. Useless once the transaction has ended.
final class PostgresTransaction: Transaction {
    private var connection: PostgresConnection?
    /// The first error of a statement; it ends the transaction.
    private(set) var failure: PostgresFailure?

    init(_ connection: PostgresConnection) { self.connection = connection }

    func end() { connection = nil }

    func query(_ sql: String, _ arguments: [SQLValue]) throws -> [SQLRow] {
        try perform { connection throws(PostgresFailure) in
            try connection.run(sql, arguments) { result throws(PostgresFailure) in try result.rows() }
        }
    }

    func execute(_ sql: String, _ arguments: [SQLValue]) throws -> Int {
        try perform { connection throws(PostgresFailure) in
            try connection.run(sql, arguments) { result throws(PostgresFailure) in result.changedRows }
        }
    }

    func nested<Result>(_ body: () throws -> Result) throws -> Result {
        _ = try execute(Savepoint.begin, [])
        do {
            let result = try body()
            _ = try execute(Savepoint.end, [])
            return result
        } catch {
            guard failure == nil else { throw error }
            _ = try execute(Savepoint.undo, [])
            _ = try execute(Savepoint.end, [])
            throw error
        }
    }

    private func perform<Result>(
        _ body: (PostgresConnection) throws(PostgresFailure) -> Result
    ) throws -> Result {
        guard let connection else { preconditionFailure("a statement after its transaction's end") }
        if failure != nil {
            throw StoreError.statement("the transaction has failed already and accepts no more statements")
        }
        do throws(PostgresFailure) {
            let result = try body(connection)
            guard connection.isInTransaction else {
                throw PostgresFailure(.statement, "a statement ended the transaction")
            }
            return result
        } catch {
            failure = error
            throw error.storeError
        }
    }
}
