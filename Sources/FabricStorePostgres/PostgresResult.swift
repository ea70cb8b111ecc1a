internal import CFabricPostgres
internal import FabricCore

/// The server's answer to one statement, its values in binary.
final class PostgresResult {
    private let pointer: OpaquePointer

    init(_ pointer: OpaquePointer) { self.pointer = pointer }
    deinit { PQclear(pointer) }

    /// `INSERT 0 1`, `COMMIT` …
    var tag: String { String(cString: PQcmdStatus(pointer)) }

    var changedRows: Int {
        // SELECT counts its rows too, which are no changes.
        let verb = tag.prefix { $0 != " " }
        guard ["INSERT", "UPDATE", "DELETE"].contains(verb) else { return 0 }
        return Int(String(cString: PQcmdTuples(pointer))) ?? 0
    }

    var changesSchema: Bool { ["CREATE", "ALTER", "DROP"].contains(tag.prefix { $0 != " " }) }

    /// The server wants rows or sends them outside of results.
    var copies: Bool {
        switch PQresultStatus(pointer) {
        case PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH: true
        default: false
        }
    }

    func check() throws(PostgresFailure) {
        switch PQresultStatus(pointer) {
        case PGRES_COMMAND_OK, PGRES_TUPLES_OK: return
        case PGRES_EMPTY_QUERY: throw PostgresFailure(.statement, "an empty statement")
        default:
            // 67 is PG_DIAG_SQLSTATE, 'C'.
            let state = PQresultErrorField(pointer, 67).map { String(cString: $0) } ?? ""
            throw PostgresFailure(
                state: state, message: PostgresConnection.oneLine(PQresultErrorMessage(pointer)))
        }
    }

    func rows() throws(PostgresFailure) -> [SQLRow] {
        let count = PQntuples(pointer)
        guard Int(count) <= PostgresStore.maximumRows else {
            throw PostgresFailure(.statement, "more than \(PostgresStore.maximumRows) rows")
        }
        let width = PQnfields(pointer)
        var columns: [String] = []
        var types: [UInt32] = []
        for column in 0..<width {
            columns.append(String(cString: PQfname(pointer, column)))
            types.append(UInt32(PQftype(pointer, column)))
        }
        var rows: [SQLRow] = []
        rows.reserveCapacity(Int(count))
        for row in 0..<count {
            var values: [SQLValue] = []
            values.reserveCapacity(Int(width))
            for column in 0..<width { values.append(try value(row, column, types[Int(column)])) }
            rows.append(SQLRow(columns: columns, values: values))
        }
        return rows
    }

    /// Types by their numbers in `pg_type`.
    private func value(_ row: Int32, _ column: Int32, _ type: UInt32) throws(PostgresFailure) -> SQLValue {
        if PQgetisnull(pointer, row, column) != 0 { return .null }
        let bytes = UnsafeRawBufferPointer(
            start: PQgetvalue(pointer, row, column), count: Int(PQgetlength(pointer, row, column)))
        switch type {
        case 20 where bytes.count == 8: return .integer(bytes.loadUnaligned(as: Int64.self).bigEndian)
        case 23 where bytes.count == 4: return .integer(Int64(bytes.loadUnaligned(as: Int32.self).bigEndian))
        case 21 where bytes.count == 2: return .integer(Int64(bytes.loadUnaligned(as: Int16.self).bigEndian))
        case 16 where bytes.count == 1: return .integer(bytes[0] == 0 ? 0 : 1)
        case 17: return .blob(Array(bytes))
        case 25, 1043, 19, 705: return .text(String(decoding: bytes, as: UTF8.self))
        // SUM over BIGINT.
        case 1700:
            guard let value = PostgresNumeric.integer(bytes) else {
                throw PostgresFailure(.statement, "a column of numbers that are no 64-bit integers")
            }
            return .integer(value)
        default: throw PostgresFailure(.statement, "a column of type \(type), which this store does not read")
        }
    }
}

/// NUMERIC in binary: digit count, weight, sign and scale (16 bits each), then digits to the base 10,000.
enum PostgresNumeric {
    /// Nil for a fraction, for what is no number, and beyond 64 bits.
    static func integer(_ bytes: UnsafeRawBufferPointer) -> Int64? {
        func word(_ index: Int) -> Int {
            Int(Int16(bigEndian: bytes.loadUnaligned(fromByteOffset: index * 2, as: Int16.self)))
        }
        guard bytes.count >= 8, bytes.count % 2 == 0 else { return nil }
        let count = word(0)
        let weight = word(1)
        let sign = word(2)
        guard count >= 0, bytes.count == 8 + 2 * count, sign == 0 || sign == 0x4000, count <= weight + 1 || count == 0
        else { return nil }
        if count == 0 { return 0 }
        guard weight < 5 else { return nil }
        var value: Int64 = 0
        for place in 0...weight {
            let digit = place < count ? Int64(word(4 + place)) : 0
            guard (0..<10_000).contains(digit) else { return nil }
            let (scaled, overflow) = value.multipliedReportingOverflow(by: 10_000)
            let (next, overflow2) = scaled.subtractingReportingOverflow(digit)
            if overflow || overflow2 { return nil }
            value = next
        }
        // Counted downwards, because there is one negative number more.
        if sign == 0x4000 { return value }
        return value == .min ? nil : -value
    }
}
