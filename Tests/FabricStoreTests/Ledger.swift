import FabricCore
import FabricStoreSQLite
import Testing

/// One after the other: SQLite's generator of random numbers is the process's, and one test compares what it gave.
@Suite(.serialized) enum FabricStoreTests {}

/// A little schema whose every transaction leaves traces that must be found whole or not at all.
struct Ledger {
    static let migrations = [
        Migration(
            version: 1, name: "ledger",
            statements: [
                "CREATE TABLE entry (number BIGINT NOT NULL, part BIGINT NOT NULL, data BYTEA NOT NULL, PRIMARY KEY (number, part))",
                "CREATE TABLE total (id BIGINT PRIMARY KEY, last BIGINT NOT NULL CHECK (last >= 0))",
                "INSERT INTO total (id, last) VALUES (1, 0)",
            ])
    ]
    static let parts: Int64 = 3

    let store: SQLiteStore

    static func options(checkpointPages: Int = 8) -> SQLiteStore.Options {
        var options = SQLiteStore.Options()
        options.pageCacheBytes = 64 << 10
        options.checkpointPages = checkpointPages
        return options
    }

    init(_ disk: any Disk, seed: UInt64 = 1, checkpointPages: Int = 8) throws {
        store = try SQLiteStore(
            disk: disk, name: "ledger.db", random: SeededRandom(seed: seed, stream: "store"),
            options: Ledger.options(checkpointPages: checkpointPages))
        try Migrator(Ledger.migrations).migrate(store, now: WallTime(seconds: 1_800_000_000))
    }

    func append(_ number: Int64, size: Int = 900) throws {
        try store.transaction { transaction in
            for part in 0..<Ledger.parts {
                try transaction.execute(
                    "INSERT INTO entry (number, part, data) VALUES ($1, $2, $3)",
                    [.integer(number), .integer(part), .blob(Ledger.data(number, part, size))])
            }
            let changed = try transaction.execute("UPDATE total SET last = $1 WHERE id = 1", [.integer(number)])
            #expect(changed == 1)
        }
    }

    static func data(_ number: Int64, _ part: Int64, _ size: Int) -> [UInt8] {
        (0..<size).map { UInt8(truncatingIfNeeded: Int64($0) &* 31 &+ number &* 7 &+ part) }
    }

    /// The number of the last transaction, after checking that it and all before are there, whole, and nothing else.
    func audit(size: Int = 900) throws -> Int64 {
        try store.transaction { transaction in
            let findings = try transaction.query("PRAGMA integrity_check", [])
            #expect(try findings.map { try $0.text("integrity_check") } == ["ok"])
            let last = try transaction.query("SELECT last FROM total WHERE id = 1", [])[0].integer("last")
            let rows = try transaction.query("SELECT number, part, data FROM entry ORDER BY number, part", [])
            #expect(rows.count == Int(last * Ledger.parts))
            for (index, row) in rows.enumerated() {
                let number = Int64(index) / Ledger.parts + 1
                let part = Int64(index) % Ledger.parts
                #expect(try row.integer("number") == number && row.integer("part") == part)
                #expect(try row.blob("data") == Ledger.data(number, part, size))
            }
            return last
        }
    }
}

/// What `body` throws.
func failure<Result>(_ body: () throws -> Result) -> (any Error)? {
    do {
        _ = try body()
        return nil
    } catch { return error }
}
