internal import FabricCore
internal import GRDB

/// One transaction of a `SQLiteStore`. Useless once the transaction has ended.
final class SQLiteTransaction: Transaction {
    private var database: Database?
    private let statements: StatementTable
    private let vfs: DiskVFS
    /// The first error of a statement; it ends the transaction.
    private(set) var failure: StoreError?
    private(set) var distrustsDisk = false

    init(_ database: Database, _ statements: StatementTable, _ vfs: DiskVFS) {
        self.database = database
        self.statements = statements
        self.vfs = vfs
    }

    func end() { database = nil }

    func query(_ sql: String, _ arguments: [SQLValue]) throws -> [SQLRow] {
        try perform { database in
            let statement = try statements.find(sql, database)
            return try statement.rows(arguments, atMost: SQLiteStore.maximumRows)
        }
    }

    func execute(_ sql: String, _ arguments: [SQLValue]) throws -> Int {
        try perform { database in
            let statement = try statements.find(sql, database)
            return try statement.changes(arguments)
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

    private func perform<Result>(_ body: (Database) throws -> Result) throws -> Result {
        guard let database else { preconditionFailure("a statement after its transaction's end") }
        if failure != nil {
            throw StoreError.statement("the transaction has failed already and accepts no more statements")
        }
        do {
            let result = try body(database)
            guard database.isInsideTransaction else { throw StoreError.statement("a statement ended the transaction") }
            return result
        } catch {
            let mapped = storeError(error, vfs)
            failure = mapped
            distrustsDisk = FabricStoreSQLite.distrustsDisk(error)
            throw mapped
        }
    }
}

/// What an error of GRDB or SQLite means to the store's user. Errors that are no database errors stay `StoreError`s.
func storeError(_ error: any Error, _ vfs: DiskVFS) -> StoreError {
    if let error = error as? StoreError { return error }
    guard let error = error as? DatabaseError else { return .statement("\(error)") }
    let message = error.message ?? error.resultCode.description
    let disk = vfs.lastFailure.map { " (\(DiskVFS.describe($0)))" } ?? ""
    switch error.resultCode {
    case .SQLITE_FULL: return .unavailable("the disk is full")
    case .SQLITE_IOERR, .SQLITE_CANTOPEN, .SQLITE_PERM, .SQLITE_READONLY, .SQLITE_NOMEM, .SQLITE_PROTOCOL,
        .SQLITE_NOLFS:
        return .unavailable(message + disk)
    case .SQLITE_BUSY, .SQLITE_LOCKED: return .unavailable("the database is in use: \(message)")
    case .SQLITE_CORRUPT, .SQLITE_NOTADB: return .corrupt(message)
    case .SQLITE_CONSTRAINT: return .constraint(message)
    default: return .statement(message)
    }
}

/// After these, what SQLite holds in memory may differ from the disk, and the database is opened anew.
func distrustsDisk(_ error: any Error) -> Bool {
    switch (error as? DatabaseError)?.resultCode {
    case .SQLITE_IOERR, .SQLITE_CANTOPEN, .SQLITE_CORRUPT, .SQLITE_NOTADB, .SQLITE_NOMEM, .SQLITE_INTERNAL,
        .SQLITE_PROTOCOL:
        true
    default: false
    }
}
