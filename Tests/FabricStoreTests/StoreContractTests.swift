import FabricCore
import Testing

extension FabricStoreTests {
    /// What `Store` promises, on each that is there.
    @Suite struct ContractTests {
        @Test("Values come back as they went in", arguments: StoreKind.available)
        func values(_ kind: StoreKind) throws {
            let store = try kind.open("CREATE TABLE t (id BIGINT PRIMARY KEY, a BIGINT, b TEXT, c BYTEA)")
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
            let sums = try store.transaction {
                try $0.query("SELECT COUNT(*) AS n, SUM(a) AS s, MAX(a) > 0 AS p FROM t WHERE id <> 1", [])[0]
            }
            #expect(sums["n"] == .integer(3) && sums["s"] == .integer(.min) && sums["p"] == .integer(0))
        }

        @Test(
            "Placeholders stand in first-use order and may repeat; the count of arguments is checked",
            arguments: StoreKind.available)
        func placeholders(_ kind: StoreKind) throws {
            let store = try kind.open("CREATE TABLE t (a BIGINT, b BIGINT)")
            try store.transaction { transaction in
                try transaction.execute("INSERT INTO t (a, b) VALUES ($1, $1 + $2)", [.integer(2), .integer(3)])
                let rows = try transaction.query("SELECT b FROM t WHERE a = $1 AND b > $1", [.integer(2)])
                #expect(try rows.map { try $0.integer("b") } == [5])
                #expect(try transaction.query("SELECT '$1' AS a -- $7", [])[0].text("a") == "$1")
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

        @Test("The number of changed rows is that of the statement", arguments: StoreKind.available)
        func changes(_ kind: StoreKind) throws {
            let store = try kind.open("CREATE TABLE t (a BIGINT)")
            try store.transaction { (transaction) throws in
                #expect(try transaction.execute("INSERT INTO t (a) VALUES (1), (2), (3)", []) == 3)
                #expect(try transaction.execute("UPDATE t SET a = a + 1 WHERE a > $1", [.integer(1)]) == 2)
                #expect(try transaction.execute("UPDATE t SET a = 0 WHERE a > 99", []) == 0)
                #expect(try transaction.execute("CREATE TABLE u (a BIGINT)", []) == 0)
                #expect(try transaction.execute("SELECT a FROM t", []) == 0)
                #expect(try transaction.execute("DELETE FROM t", []) == 3)
            }
        }

        @Test(
            "An error of the body rolls back and comes through; an error that the body swallows does so too",
            arguments: StoreKind.available)
        func rollBack(_ kind: StoreKind) throws {
            struct Refusal: Error {}
            let store = try kind.open("CREATE TABLE t (a BIGINT PRIMARY KEY)")
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
                    #expect(throws: StoreError.self) { try transaction.query("SELECT 1", []) }
                }
            }
            guard case .constraint = swallowed as? StoreError else {
                Issue.record("\(String(describing: swallowed))")
                return
            }
            #expect(try store.transaction { try $0.query("SELECT a FROM t", []) }.isEmpty)
        }

        @Test("What a nested part wrote is undone when it throws, and nothing else", arguments: StoreKind.available)
        func nested(_ kind: StoreKind) throws {
            struct Refusal: Error {}
            let store = try kind.open("CREATE TABLE t (a BIGINT PRIMARY KEY)")
            func insert(_ value: Int64, _ transaction: any Transaction) throws {
                try transaction.execute("INSERT INTO t (a) VALUES ($1)", [.integer(value)])
            }
            try store.transaction { transaction in
                try insert(1, transaction)
                for value in 2...5 as ClosedRange<Int64> {
                    try? transaction.nested {
                        try insert(value, transaction)
                        if value % 2 == 0 { throw Refusal() }
                    }
                }
                try insert(2, transaction)
            }
            let kept = try store.transaction { try $0.query("SELECT a FROM t ORDER BY a", []) }
            #expect(try kept.map { try $0.integer("a") } == [1, 2, 3, 5])
            let swallowed = failure {
                try store.transaction { transaction in
                    try insert(6, transaction)
                    try? transaction.nested { try insert(6, transaction) }
                    #expect(throws: StoreError.self) { try insert(7, transaction) }
                }
            }
            guard case .constraint = swallowed as? StoreError else {
                Issue.record("\(String(describing: swallowed))")
                return
            }
            #expect(try store.transaction { try $0.query("SELECT a FROM t", []) }.count == 4)
        }

        @Test("Constraints are told from wrong statements", arguments: StoreKind.available)
        func errors(_ kind: StoreKind) throws {
            let store = try kind.open(
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
    }
}
