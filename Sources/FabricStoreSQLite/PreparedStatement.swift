internal import CFabricSQLite
internal import FabricCore
internal import GRDB

/// A statement that GRDB has prepared, run without GRDB's rows and arguments: those cost as much as the statements of a
/// heartbeat themselves. What changes the schema, or opens or ends a transaction, GRDB runs, since it must see it.
final class PreparedStatement {
    let sql: String
    /// Owns what `pointer` names.
    private let statement: Statement
    private let pointer: UnsafeMutableRawPointer
    private let connection: UnsafeMutableRawPointer
    private let parameterCount: Int
    private let columns: [String]
    private let isDirect: Bool

    /// Throws for placeholders that are not `$1`, `$2` … in first-use order.
    init(_ sql: String, _ database: Database) throws {
        statement = try database.cachedStatement(sql: sql)
        self.sql = sql
        guard let connection = database.sqliteConnection else { preconditionFailure("a connection that is closed") }
        let pointer = UnsafeMutableRawPointer(statement.sqliteStatement)
        self.pointer = pointer
        self.connection = UnsafeMutableRawPointer(connection)
        parameterCount = Int(fabric_sqlite_parameter_count(pointer))
        // SQLite takes `$1` for a name and numbers names by first use; PostgreSQL goes by the number.
        guard Placeholders.count(in: sql) == parameterCount else {
            throw StoreError.statement("placeholders are $1, $2 … in first-use order: \(sql)")
        }
        columns = (0..<fabric_sqlite_column_count(pointer)).map { index in
            fabric_sqlite_column_name(pointer, index).map { String(cString: $0) } ?? ""
        }
        isDirect = Self.leavesSchemaAlone(sql)
    }

    private static func leavesSchemaAlone(_ sql: String) -> Bool {
        let word = sql.drop { $0.isWhitespace }.prefix { $0.isLetter }.uppercased()
        return ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "PRAGMA"].contains(word)
    }

    func rows(_ arguments: [SQLValue], atMost limit: Int) throws -> [SQLRow] {
        guard isDirect else {
            try executeByGRDB(arguments)
            return []
        }
        try bind(arguments)
        defer { fabric_sqlite_reset(pointer) }
        var rows: [SQLRow] = []
        while try step() {
            guard rows.count < limit else { throw StoreError.statement("more than \(limit) rows") }
            rows.append(SQLRow(columns: columns, values: try values()))
        }
        return rows
    }

    /// Runs it, and returns how many rows it changed.
    func changes(_ arguments: [SQLValue]) throws -> Int {
        let before = fabric_sqlite_total_changes(connection)
        if isDirect {
            try bind(arguments)
            defer { fabric_sqlite_reset(pointer) }
            while try step() {}
        } else {
            try executeByGRDB(arguments)
        }
        // `changes` is that of the last statement that changed anything, which need not be this one.
        return fabric_sqlite_total_changes(connection) == before ? 0 : Int(fabric_sqlite_changes(connection))
    }

    private func executeByGRDB(_ arguments: [SQLValue]) throws {
        guard arguments.isEmpty, parameterCount == 0 else {
            throw StoreError.statement("a statement on the schema with arguments: \(sql)")
        }
        try statement.execute()
    }

    private func bind(_ arguments: [SQLValue]) throws {
        guard parameterCount == arguments.count else {
            throw StoreError.statement("\(parameterCount) placeholders and \(arguments.count) arguments: \(sql)")
        }
        var index: CInt = 0
        for argument in arguments {
            index += 1
            let code: CInt
            switch argument {
            case .null: code = fabric_sqlite_bind_null(pointer, index)
            case .integer(let integer): code = fabric_sqlite_bind_integer(pointer, index, integer)
            case .text(var text):
                code = try text.withUTF8 { bytes in
                    // PostgreSQL has no such text either, and SQLite would read it back cut off.
                    guard !bytes.contains(0) else { throw StoreError.statement("a text with a NUL character") }
                    return fabric_sqlite_bind_text(pointer, index, bytes.baseAddress, Int64(bytes.count))
                }
            case .blob(let blob):
                code = blob.withUnsafeBytes {
                    fabric_sqlite_bind_blob(pointer, index, $0.baseAddress, Int64($0.count))
                }
            }
            guard code == FABRIC_SQLITE_OK else { throw error(code) }
        }
    }

    /// False after the last row.
    private func step() throws -> Bool {
        let code = fabric_sqlite_step(pointer)
        if code == FABRIC_SQLITE_ROW { return true }
        guard code == FABRIC_SQLITE_DONE else { throw error(code) }
        return false
    }

    private func error(_ code: CInt) -> DatabaseError {
        DatabaseError(
            resultCode: ResultCode(rawValue: code),
            message: fabric_sqlite_message(connection).map { String(cString: $0) }, sql: sql)
    }

    private func values() throws -> [SQLValue] {
        var values: [SQLValue] = []
        values.reserveCapacity(columns.count)
        for index in 0..<CInt(columns.count) {
            switch Int(fabric_sqlite_column_type(pointer, index)) {
            case FABRIC_SQLITE_INTEGER: values.append(.integer(fabric_sqlite_column_integer(pointer, index)))
            case FABRIC_SQLITE_TEXT: values.append(.text(String(decoding: bytes(index), as: UTF8.self)))
            case FABRIC_SQLITE_BLOB: values.append(.blob([UInt8](bytes(index))))
            case FABRIC_SQLITE_NULL: values.append(.null)
            default: throw StoreError.statement("a column of floating-point numbers")
            }
        }
        return values
    }

    private func bytes(_ index: CInt) -> UnsafeRawBufferPointer {
        var count: CInt = 0
        let start = fabric_sqlite_column_bytes(pointer, index, &count)
        return UnsafeRawBufferPointer(start: start, count: Int(count))
    }
}

/// The statements of one connection that were used lately. A program's statements are literals: the same text stands at
/// the same place, and finding its statement again takes no hash of it.
final class StatementTable {
    private static let slotCount = 128
    private var slots = [PreparedStatement?](repeating: nil, count: slotCount)

    func find(_ sql: String, _ database: Database) throws -> PreparedStatement {
        let slot = Self.slot(sql)
        // Texts at one place of one length are compared without looking at them; others are looked at.
        if let found = slots[slot], found.sql == sql { return found }
        let made = try PreparedStatement(sql, database)
        slots[slot] = made
        return made
    }

    /// A connection closes only when nobody holds a statement of it.
    func removeAll() { slots = [PreparedStatement?](repeating: nil, count: Self.slotCount) }

    /// Where a text is kept has no part in what comes of it.
    private static func slot(_ sql: String) -> Int {
        let address = sql.utf8.withContiguousStorageIfAvailable { UInt(bitPattern: $0.baseAddress) } ?? 0
        let mixed = (address ^ UInt(sql.utf8.count)) &* 0x9E37_79B9_7F4A_7C15
        return Int(truncatingIfNeeded: mixed >> 57)
    }
}
