import FabricCore
import FabricStoreSQLite
import Testing

extension FabricStoreTests {
    @Suite struct StoreTests {
        private func store(_ schema: String...) throws -> SQLiteStore {
            let store = try SQLiteStore(
                disk: FaultyDisk(), name: "test.db", random: SeededRandom(seed: 1, stream: "store"))
            try store.transaction { transaction in for statement in schema { try transaction.execute(statement, []) } }
            return store
        }

        @Test("Values come back as they went in")
        func values() throws {
            let store = try store("CREATE TABLE t (id BIGINT PRIMARY KEY, a BIGINT, b TEXT, c BYTEA)")
            let rows: [[SQLValue]] = [
                [.integer(1), .integer(.max), .text("héllo ‘世界’ 🦔"), .blob([0, 255, 1])],
                [.integer(2), .integer(.min), .text(""), .blob([])],
                [.integer(3), .null, .null, .null],
                [
                    .integer(4), .integer(0), .text(String(repeating: "x", count: 100_000)),
                    .blob([UInt8](repeating: 7, count: 100_000)),
                ],
            ]
            let found = try store.transaction { transaction in
                for row in rows {
                    #expect(try transaction.execute("INSERT INTO t (id, a, b, c) VALUES ($1, $2, $3, $4)", row) == 1)
                }
                return try transaction.query("SELECT id, a, b, c FROM t ORDER BY id", [])
            }
            #expect(found.map { [$0["id"], $0["a"], $0["b"], $0["c"]] } == rows)
            #expect(try found[2].optionalText("b") == nil && found[1].optionalBlob("c") == [])
        }

        @Test("Placeholders stand in first-use order and may repeat; the count of arguments is checked")
        func placeholders() throws {
            let store = try store("CREATE TABLE t (a BIGINT, b BIGINT)")
            try store.transaction { transaction in
                try transaction.execute("INSERT INTO t (a, b) VALUES ($1, $1 + $2)", [.integer(2), .integer(3)])
                let rows = try transaction.query("SELECT b FROM t WHERE a = $1 AND b > $1", [.integer(2)])
                #expect(try rows.map { try $0.integer("b") } == [5])
            }
            for (sql, arguments) in [
                ("SELECT $2, $1", 2), ("SELECT ?", 1), ("SELECT $1", 0), ("SELECT $1", 2), ("SELECT :a", 1),
                ("SELECT $a", 1),
            ] {
                let error = failure {
                    try store.transaction { try $0.query(sql, Array(repeating: .integer(1), count: arguments)) }
                }
                guard case .statement = error as? StoreError else {
                    Issue.record("\(sql) with \(arguments) arguments: \(String(describing: error))")
                    continue
                }
            }
        }

        @Test("The number of changed rows is that of the statement")
        func changes() throws {
            let store = try store("CREATE TABLE t (a BIGINT)")
            try store.transaction { (transaction) throws in
                #expect(try transaction.execute("INSERT INTO t (a) VALUES (1), (2), (3)", []) == 3)
                #expect(try transaction.execute("UPDATE t SET a = a + 1 WHERE a > $1", [.integer(1)]) == 2)
                #expect(try transaction.execute("UPDATE t SET a = 0 WHERE a > 99", []) == 0)
                #expect(try transaction.execute("CREATE TABLE u (a BIGINT)", []) == 0)
                #expect(try transaction.execute("DELETE FROM t", []) == 3)
            }
        }

        @Test("An error of the body rolls back and comes through; an error that the body swallows does so too")
        func rollBack() throws {
            struct Refusal: Error {}
            let store = try store("CREATE TABLE t (a BIGINT PRIMARY KEY)")
            #expect(throws: Refusal.self) {
                try store.transaction { transaction in
                    try transaction.execute("INSERT INTO t (a) VALUES (1)", [])
                    throw Refusal()
                }
            }
            let swallowed = failure {
                try store.transaction { transaction in
                    try transaction.execute("INSERT INTO t (a) VALUES (2)", [])
                    _ = try? transaction.execute("INSERT INTO t (a) VALUES (2)", [])
                    guard case .statement = failure({ try transaction.query("SELECT 1", []) }) as? StoreError else {
                        Issue.record("a statement ran after the transaction had failed")
                        return
                    }
                }
            }
            guard case .constraint = swallowed as? StoreError else {
                Issue.record("\(String(describing: swallowed))")
                return
            }
            #expect(try store.transaction { try $0.query("SELECT a FROM t", []) }.isEmpty)
        }

        @Test("Constraints are told from wrong statements")
        func errors() throws {
            let store = try store(
                "CREATE TABLE parent (id BIGINT PRIMARY KEY)",
                "CREATE TABLE child (id BIGINT PRIMARY KEY, parent BIGINT NOT NULL REFERENCES parent (id), n BIGINT CHECK (n > 0))",
                "CREATE TABLE later (parent BIGINT REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)",
                "INSERT INTO parent (id) VALUES (1)")
            func error(_ sql: String) -> StoreError? {
                failure { try store.transaction { try $0.execute(sql, []) } } as? StoreError
            }
            for sql in [
                "INSERT INTO parent (id) VALUES (1)", "INSERT INTO child (id, parent, n) VALUES (1, 2, 1)",
                "INSERT INTO child (id, parent, n) VALUES (1, 1, 0)", "INSERT INTO child (id, parent) VALUES (1, NULL)",
                "INSERT INTO later (parent) VALUES (7)",
            ] {
                guard case .constraint = error(sql) else {
                    Issue.record("\(sql): \(String(describing: error(sql)))")
                    continue
                }
            }
            for sql in [
                "SELEC 1", "SELECT x FROM nowhere", "SELECT 1; SELECT 2", "COMMIT", "ROLLBACK", "", "SELECT \"text\"",
                "INSERT INTO parent (id) VALUES (1.5e300)x",
            ] {
                guard case .statement = error(sql) else {
                    Issue.record("\(sql): \(String(describing: error(sql)))")
                    continue
                }
            }
            #expect(error("INSERT INTO child (id, parent, n) VALUES (1, 1, 1)") == nil)
            #expect(
                failure { try store.transaction { try $0.query("SELECT $1 AS a", [.text("a\0b")]) } } as? StoreError
                    == .statement("a text with a NUL character"))
            guard
                case .statement = failure({ try store.transaction { try $0.query("SELECT 1.5 AS a", []) } })
                    as? StoreError
            else {
                Issue.record("a floating-point number passed")
                return
            }
        }

        @Test("SQL that reads the clock finds the epoch")
        func clock() throws {
            let store = try store()
            let row = try store.transaction { try $0.query("SELECT strftime('%s', 'now') AS now", []) }[0]
            #expect(try row.text("now") == "0")
        }

        @Test("Stores on different disks live side by side")
        func sideBySide() throws {
            let stores = try (0..<20).map { _ in try store("CREATE TABLE t (a BIGINT)") }
            for (index, store) in stores.enumerated() {
                try store.transaction { _ = try $0.execute("INSERT INTO t (a) VALUES ($1)", [.integer(Int64(index))]) }
            }
            for (index, store) in stores.enumerated() {
                let rows = try store.transaction { try $0.query("SELECT a FROM t", []) }
                #expect(try rows.map { try $0.integer("a") } == [Int64(index)])
                store.close()
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

    @Suite struct MigrationTests {
        private let now = WallTime(seconds: 1_800_000_000)

        private func migration(_ version: Int64, _ statements: String...) -> Migration {
            Migration(version: version, name: "step \(version)", statements: statements)
        }

        @Test("Each migration runs once, in order, and is recorded")
        func runsOnce() throws {
            let disk = FaultyDisk()
            let store = try SQLiteStore(disk: disk, name: "m.db", random: SeededRandom(seed: 1, stream: "m"))
            let first = migration(1, "CREATE TABLE a (id BIGINT)")
            let second = migration(2, "ALTER TABLE a ADD COLUMN name TEXT", "INSERT INTO a (id, name) VALUES (1, 'x')")
            #expect(try Migrator([first]).migrate(store, now: now) == [1])
            #expect(try Migrator([first]).migrate(store, now: now) == [])
            #expect(try Migrator([first, second]).migrate(store, now: now) == [2])
            #expect(try Migrator([first, second]).migrate(store, now: now) == [])
            let rows = try store.transaction {
                try $0.query("SELECT version, applied_at FROM schema_migrations ORDER BY version", [])
            }
            #expect(try rows.map { try $0.integer("version") } == [1, 2])
            #expect(try rows[0].integer("applied_at") == now.nanoseconds)
        }

        @Test("A newer database and an edited migration are refused, and nothing changes")
        func refuses() throws {
            let disk = FaultyDisk()
            let store = try SQLiteStore(disk: disk, name: "m.db", random: SeededRandom(seed: 1, stream: "m"))
            let first = migration(1, "CREATE TABLE a (id BIGINT)")
            let second = migration(2, "CREATE TABLE b (id BIGINT)")
            try Migrator([first, second]).migrate(store, now: now)
            #expect(throws: MigrationError.newer(database: 2, program: 1)) {
                try Migrator([first]).migrate(store, now: now)
            }
            let edited = migration(1, "CREATE TABLE a (id BIGINT, extra BIGINT)")
            #expect(throws: MigrationError.changed(version: 1, name: "step 1")) {
                try Migrator([edited, second, migration(3, "CREATE TABLE c (id BIGINT)")]).migrate(store, now: now)
            }
            #expect(failure { try store.transaction { try $0.query("SELECT id FROM c", []) } } != nil)
            try store.transaction { _ = try $0.execute("DELETE FROM schema_migrations WHERE version = 1", []) }
            #expect(throws: MigrationError.missing(version: 1)) {
                try Migrator([first, second]).migrate(store, now: now)
            }
        }

        @Test("A migration that fails leaves nothing behind and runs when it is mended")
        func failing() throws {
            let store = try SQLiteStore(disk: FaultyDisk(), name: "m.db", random: SeededRandom(seed: 1, stream: "m"))
            let first = migration(1, "CREATE TABLE a (id BIGINT)")
            #expect(throws: StoreError.self) {
                try Migrator([first, migration(2, "CREATE TABLE b (id BIGINT)", "NONSENSE")]).migrate(store, now: now)
            }
            #expect(try Migrator([first, migration(2, "CREATE TABLE b (id BIGINT)")]).migrate(store, now: now) == [2])
        }

        @Test("A migration whose outcome is unknown is looked up and runs once")
        func unknownOutcome() throws {
            for offset in 1...8 {
                let disk = FaultyDisk()
                let store = try SQLiteStore(disk: disk, name: "m.db", random: SeededRandom(seed: 1, stream: "m"))
                disk.failingSyncs = [disk.syncs + offset]
                let steps = (1...4).map { migration(Int64($0), "CREATE TABLE t\($0) (id BIGINT)") }
                try Migrator(steps).migrate(store, now: now)
                let rows = try store.transaction { try $0.query("SELECT version FROM schema_migrations", []) }
                #expect(rows.count == 4)
            }
        }
    }
}
