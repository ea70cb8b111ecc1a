internal import CFabricSQLite
internal import FabricCore
internal import Foundation
internal import GRDB

/// One transaction of a `SQLiteStore`. Useless once the transaction has ended.
final class SQLiteTransaction: Transaction {
    private var database: Database?
    private let vfs: DiskVFS
    /// The first error of a statement; it ends the transaction.
    private(set) var failure: StoreError?
    private(set) var distrustsDisk = false

    init(_ database: Database, _ vfs: DiskVFS) {
        self.database = database
        self.vfs = vfs
    }

    func end() { database = nil }

    func query(_ sql: String, _ arguments: [SQLValue]) throws -> [SQLRow] {
        try perform { database in
            let statement = try prepared(database, sql, arguments)
            let columns = statement.columnNames
            var rows: [SQLRow] = []
            let cursor = try Row.fetchCursor(statement)
            while let row = try cursor.next() {
                guard rows.count < SQLiteStore.maximumRows else {
                    throw StoreError.statement("more than \(SQLiteStore.maximumRows) rows")
                }
                rows.append(SQLRow(columns: columns, values: try values(of: row)))
            }
            return rows
        }
    }

    func execute(_ sql: String, _ arguments: [SQLValue]) throws -> Int {
        try perform { database in
            let statement = try prepared(database, sql, arguments)
            let before = database.totalChangesCount
            try statement.execute()
            // `changesCount` is that of the last statement that changed anything, which need not be this one.
            return database.totalChangesCount == before ? 0 : database.changesCount
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

    private func prepared(_ database: Database, _ sql: String, _ arguments: [SQLValue]) throws -> Statement {
        let statement = try database.cachedStatement(sql: sql)
        let pointer = UnsafeMutableRawPointer(statement.sqliteStatement)
        let count = Int(fabric_sqlite_parameter_count(pointer))
        guard count == arguments.count else {
            throw StoreError.statement("\(count) placeholders and \(arguments.count) arguments: \(sql)")
        }
        for index in 0..<count {
            // SQLite takes `$1` for a name and numbers names by first use; PostgreSQL goes by the number.
            guard let name = fabric_sqlite_parameter_name(pointer, CInt(index + 1)),
                String(cString: name) == "$\(index + 1)"
            else { throw StoreError.statement("placeholders are $1, $2 … in first-use order: \(sql)") }
        }
        try statement.setArguments(StatementArguments(arguments.map(argument)))
        // An empty `Data` has no address and would be bound as NULL.
        for (index, value) in arguments.enumerated() where value == .blob([]) {
            guard fabric_sqlite_bind_empty_blob(pointer, CInt(index + 1)) == 0 else {
                throw StoreError.statement("an empty blob cannot be bound")
            }
        }
        return statement
    }

    private func argument(_ value: SQLValue) throws -> (any DatabaseValueConvertible)? {
        switch value {
        case .null: return nil
        case .integer(let integer): return integer
        case .text(let text):
            // PostgreSQL has no such text either, and SQLite would read it back cut off.
            guard !text.utf8.contains(0) else { throw StoreError.statement("a text with a NUL character") }
            return text
        case .blob(let bytes): return Data(bytes)
        }
    }

    private func values(of row: Row) throws -> [SQLValue] {
        try row.databaseValues.map { value in
            switch value.storage {
            case .null: .null
            case .int64(let integer): .integer(integer)
            case .string(let text): .text(text)
            case .blob(let data): .blob([UInt8](data))
            case .double: throw StoreError.statement("a column of floating-point numbers")
            }
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
