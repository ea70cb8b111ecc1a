import FabricCore
import FabricStoreSQLite
import Testing

extension FabricStoreTests {
    @Suite struct SQLiteTests {
        @Test("SQL that reads the clock finds the epoch")
        func clock() throws {
            let store = try StoreKind.sqlite.open()
            let row = try store.transaction { try $0.query("SELECT strftime('%s', 'now') AS now", []) }[0]
            #expect(try row.text("now") == "0")
        }

        @Test("Stores on different disks live side by side")
        func sideBySide() throws {
            let stores = try (0..<20).map { _ in try StoreKind.sqlite.open("CREATE TABLE t (a BIGINT)") }
            for (index, store) in stores.enumerated() {
                try store.transaction { _ = try $0.execute("INSERT INTO t (a) VALUES ($1)", [.integer(Int64(index))]) }
            }
            for (index, store) in stores.enumerated() {
                let rows = try store.transaction { try $0.query("SELECT a FROM t", []) }
                #expect(try rows.map { try $0.integer("a") } == [Int64(index)])
            }
        }

        @Test("A transaction larger than the page cache is whole or absent")
        func largeTransaction() throws {
            let disk = FaultyDisk()
            let ledger = try Ledger(disk)
            try ledger.append(1, size: 200_000)
            _ = failure {
                try ledger.store.transaction { transaction in
                    for part: Int64 in 0..<20 {
                        try transaction.execute(
                            "INSERT INTO entry (number, part, data) VALUES (2, $1, $2)",
                            [.integer(part), .blob([UInt8](repeating: 1, count: 100_000))])
                    }
                    throw StoreError.statement("changed my mind")
                }
            }
            #expect(try ledger.audit(size: 200_000) == 1)
            let next = disk.afterCrash(.all, SeededRandom(seed: 1, stream: "crash"))
            #expect(try Ledger(next).audit(size: 200_000) == 1)
        }
    }
}
