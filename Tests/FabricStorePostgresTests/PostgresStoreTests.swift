import FabricCore
import FabricPostgresTestSupport
import FabricStorePostgres
import Glibc
import Testing

/// The same contract that `FabricStoreTests` tests on SQLite, on a real server; `scripts/with-postgres` starts one.
@Suite("PostgreSQL store", .enabled(if: ScratchSchema.server != nil, "RAP_POSTGRES names no server"))
struct PostgresStoreTests {
    private func failure(_ body: () throws -> Void) -> StoreError? {
        do { try body() } catch { return error as? StoreError }
        return nil
    }

    @Test func `values come back as they went in`() throws {
        let bench = try PostgresBench("CREATE TABLE t (id BIGINT PRIMARY KEY, a BIGINT, b TEXT, c BYTEA)")
        let rows: [[SQLValue]] = [
            [.integer(1), .integer(.max), .text("héllo ‘世界’ 🦔"), .blob([0, 255, 1])],
            [.integer(2), .integer(.min), .text(""), .blob([])],
            [.integer(3), .null, .null, .null],
            [
                .integer(4), .integer(0), .text(String(repeating: "x", count: 100_000)),
                .blob([UInt8](repeating: 7, count: 100_000)),
            ],
        ]
        let found = try bench.store.transaction { transaction in
            for row in rows {
                #expect(try transaction.execute("INSERT INTO t (id, a, b, c) VALUES ($1, $2, $3, $4)", row) == 1)
            }
            return try transaction.query("SELECT id, a, b, c FROM t ORDER BY id", [])
        }
        #expect(found.map { [$0["id"], $0["a"], $0["b"], $0["c"]] } == rows)
        let sums = try bench.store.transaction {
            try $0.query("SELECT COUNT(*) AS n, SUM(a) AS s, MAX(a) > 0 AS p FROM t WHERE id <> 1", [])[0]
        }
        #expect(sums["n"] == .integer(3) && sums["s"] == .integer(.min) && sums["p"] == .integer(0))
    }

    @Test func `placeholders stand in first-use order and may repeat, and their number is checked`() throws {
        let bench = try PostgresBench("CREATE TABLE t (a BIGINT, b BIGINT)")
        try bench.store.transaction { transaction in
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
                _ = try bench.store.transaction { try $0.query(sql, Array(repeating: .integer(1), count: arguments)) }
            }
            guard case .statement = error else {
                Issue.record("\(sql) with \(arguments) arguments: \(String(describing: error))")
                continue
            }
        }
    }

    @Test func `the number of changed rows is that of the statement`() throws {
        let bench = try PostgresBench("CREATE TABLE t (a BIGINT)")
        try bench.store.transaction { (transaction) throws in
            #expect(try transaction.execute("INSERT INTO t (a) VALUES (1), (2), (3)", []) == 3)
            #expect(try transaction.execute("UPDATE t SET a = a + 1 WHERE a > $1", [.integer(1)]) == 2)
            #expect(try transaction.execute("UPDATE t SET a = 0 WHERE a > 99", []) == 0)
            #expect(try transaction.execute("CREATE TABLE u (a BIGINT)", []) == 0)
            #expect(try transaction.execute("SELECT a FROM t", []) == 0)
            #expect(try transaction.execute("DELETE FROM t", []) == 3)
        }
    }

    @Test func `an error of the body rolls back and comes through, and so does one that the body swallows`() throws {
        struct Refusal: Error {}
        let bench = try PostgresBench("CREATE TABLE t (a BIGINT PRIMARY KEY)")
        #expect(throws: Refusal.self) {
            try bench.store.transaction { transaction in
                try transaction.execute("INSERT INTO t (a) VALUES (1)", [])
                throw Refusal()
            }
        }
        let swallowed = failure {
            try bench.store.transaction { transaction in
                try transaction.execute("INSERT INTO t (a) VALUES (2)", [])
                _ = try? transaction.execute("INSERT INTO t (a) VALUES (2)", [])
                #expect(throws: StoreError.self) { try transaction.query("SELECT 1", []) }
            }
        }
        guard case .constraint = swallowed else {
            Issue.record("\(String(describing: swallowed))")
            return
        }
        #expect(try bench.store.transaction { try $0.query("SELECT a FROM t", []) }.isEmpty)
    }

    @Test func `constraints are told from wrong statements`() throws {
        let bench = try PostgresBench(
            "CREATE TABLE parent (id BIGINT PRIMARY KEY)",
            "CREATE TABLE child (id BIGINT PRIMARY KEY, parent BIGINT NOT NULL REFERENCES parent (id), n BIGINT CHECK (n > 0))",
            "CREATE TABLE later (parent BIGINT REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)",
            "INSERT INTO parent (id) VALUES (1)")
        func error(_ sql: String) -> StoreError? {
            failure { _ = try bench.store.transaction { try $0.execute(sql, []) } }
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
        ] {
            guard case .statement = error(sql) else {
                Issue.record("\(sql): \(String(describing: error(sql)))")
                continue
            }
        }
        #expect(error("INSERT INTO child (id, parent, n) VALUES (1, 1, 1)") == nil)
        for sql in ["SELECT 1.5::float8 AS a", "SELECT 1.5 AS a", "SELECT now() AS a"] {
            guard case .statement = failure({ _ = try bench.store.transaction { try $0.query(sql, []) } }) else {
                Issue.record("\(sql) passed")
                continue
            }
        }
    }

    @Test func `a transaction that conflicts with another one is run again`() throws {
        let bench = try PostgresBench(
            "CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT)", "INSERT INTO t VALUES (1, 0), (2, 0)")
        let other = try bench.otherConnection()
        var runs = 0
        try bench.store.transaction { transaction in
            runs += 1
            let sum = try transaction.query("SELECT SUM(n) AS s FROM t", [])[0].integer("s")
            if runs == 1 {
                // Write skew: each reads what the other writes.
                try other.transaction { transaction in
                    let sum = try transaction.query("SELECT SUM(n) AS s FROM t", [])[0].integer("s")
                    try transaction.execute("UPDATE t SET n = $1 WHERE id = 2", [.integer(sum + 1)])
                }
            }
            try transaction.execute("UPDATE t SET n = $1 WHERE id = 1", [.integer(sum + 1)])
        }
        #expect(runs == 2)
        let rows = try bench.store.transaction { try $0.query("SELECT n FROM t ORDER BY id", []) }
        #expect(try rows.map { try $0.integer("n") } == [2, 1])
    }

    @Test func `conflicts without end are given up after the attempts that are allowed`() throws {
        let bench = try PostgresBench("CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT)", "INSERT INTO t VALUES (1, 0)")
        let other = try bench.otherConnection()
        var runs = 0
        let error = failure {
            try bench.store.transaction { transaction in
                runs += 1
                _ = try transaction.query("SELECT n FROM t", [])
                _ = try other.transaction { try $0.execute("UPDATE t SET n = n + 1", []) }
                try transaction.execute("UPDATE t SET n = n + 10", [])
            }
        }
        guard case .unavailable = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(runs == 8)
    }

    @Test
    func
        `a connection that ends before the commit costs a run, and one that ends within it leaves the outcome unknown`()
        throws
    {
        let bench = try PostgresBench("CREATE TABLE t (a BIGINT)")
        let other = try bench.otherConnection()
        func cut(_ transaction: any Transaction) throws {
            let backend = try transaction.query("SELECT pg_backend_pid() AS pid", [])[0].integer("pid")
            _ = try other.transaction {
                try $0.query("SELECT pg_terminate_backend($1::int) AS done", [.integer(backend)])
            }
        }
        var runs = 0
        try bench.store.transaction { transaction in
            runs += 1
            try transaction.execute("INSERT INTO t (a) VALUES (1)", [])
            if runs == 1 {
                try cut(transaction)
                usleep(50_000)
                try transaction.execute("INSERT INTO t (a) VALUES (2)", [])
            }
        }
        #expect(runs == 2)
        let error = failure {
            try bench.store.transaction { transaction in
                try transaction.execute("INSERT INTO t (a) VALUES (3)", [])
                try cut(transaction)
                usleep(50_000)
            }
        }
        guard case .unknownOutcome = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        let rows = try bench.store.transaction { try $0.query("SELECT a FROM t", []) }
        #expect(try rows.map { try $0.integer("a") } == [1])
    }

    @Test func `a second store in the same schema, another collation and a server that is away are refused in words`()
        throws
    {
        let bench = try PostgresBench()
        let second = failure { _ = try bench.connect() }
        #expect(second?.description.contains("another control plane") == true, "\(String(describing: second))")
        let latin = failure { _ = try PostgresStore(address: ScratchSchema.latin1, random: bench.random) }
        #expect(latin?.description.contains("is in LATIN1") == true, "\(String(describing: latin))")
        #expect(latin?.description.contains("createdb --encoding UTF8 --locale C") == true)
        let away = failure { _ = try PostgresStore(address: "postgresql:///x?host=/nowhere", random: bench.random) }
        #expect(away?.description.contains("no connection to PostgreSQL") == true)
        bench.store.close()
        #expect(throws: StoreError.unavailable("the store was closed")) { try bench.store.transaction { _ in } }
    }

    @Test func `migrations run once, and a failed one leaves nothing`() throws {
        let bench = try PostgresBench()
        let now = WallTime(seconds: 1_800_000_000)
        let first = Migration(version: 1, name: "a", statements: ["CREATE TABLE a (id BIGINT)"])
        let broken = Migration(version: 2, name: "b", statements: ["CREATE TABLE b (id BIGINT)", "NONSENSE"])
        #expect(throws: StoreError.self) { try Migrator([first, broken]).migrate(bench.store, now: now) }
        let mended = Migration(version: 2, name: "b", statements: ["CREATE TABLE b (id BIGINT)"])
        #expect(try Migrator([first, mended]).migrate(bench.store, now: now) == [2])
        #expect(try Migrator([first, mended]).migrate(bench.store, now: now) == [])
    }

    @Test func `more statements than are kept prepared do no harm`() throws {
        let bench = try PostgresBench("CREATE TABLE t (a BIGINT)") { $0.preparedStatements = 3 }
        try bench.store.transaction { transaction in
            for round in 0..<20 {
                let row = try transaction.query("SELECT $1::bigint + \(round % 7) AS a", [.integer(1)])[0]
                #expect(try row.integer("a") == Int64(1 + round % 7))
            }
        }
    }
}

/// A store in a schema of its own.
private struct PostgresBench {
    let store: PostgresStore
    let random = SeededRandom(seed: 1, stream: "postgres")
    private let schema: ScratchSchema

    init(_ statements: String..., options change: (inout PostgresStore.Options) -> Void = { _ in }) throws {
        schema = try ScratchSchema()
        store = try schema.connect(options: change)
        try store.transaction { transaction in for statement in statements { try transaction.execute(statement, []) } }
    }

    func connect() throws -> PostgresStore { try schema.connect() }
    /// A second session that sees the tables and does not take the lock.
    func otherConnection() throws -> PostgresStore { try schema.connect(takesLock: false) }
}
