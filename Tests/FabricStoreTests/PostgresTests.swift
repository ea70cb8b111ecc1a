import FabricCore
import FabricPostgresTestSupport
import FabricStorePostgres
import Glibc
import Testing

extension FabricStoreTests {
    /// On a real server; `scripts/with-postgres` starts one.
    @Suite(.enabled(if: ScratchSchema.server != nil, "RAP_POSTGRES names no server"))
    struct PostgresTests {
        private func refusal(_ body: () throws -> Void) -> StoreError? { failure(body) as? StoreError }

        @Test func `numbers that are no integers and moments are refused`() throws {
            let bench = try PostgresBench()
            for sql in ["SELECT 1.5::float8 AS a", "SELECT now() AS a"] {
                guard case .statement = refusal({ _ = try bench.store.transaction { try $0.query(sql, []) } }) else {
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
            let bench = try PostgresBench(
                "CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT)", "INSERT INTO t VALUES (1, 0)")
            let other = try bench.otherConnection()
            var runs = 0
            let error = refusal {
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
            let error = refusal {
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

        @Test
        func `a second store in the same schema, another collation and a server that is away are refused in words`()
            throws
        {
            let bench = try PostgresBench()
            let second = refusal { _ = try bench.connect() }
            let server = try bench.store.transaction {
                try $0.query("SELECT pg_backend_pid() AS pid", [])[0].integer("pid")
            }
            let words = "another control plane, rap-control on this machine, process \(server) of the server, uses"
            #expect(second?.description.contains(words) == true, "\(String(describing: second))")
            let latin = refusal { _ = try PostgresStore(address: ScratchSchema.latin1, random: bench.random) }
            #expect(latin?.description.contains("is in LATIN1") == true, "\(String(describing: latin))")
            #expect(latin?.description.contains("createdb --encoding UTF8 --locale C") == true)
            let away = refusal { _ = try PostgresStore(address: "postgresql:///x?host=/nowhere", random: bench.random) }
            #expect(away?.description.contains("no connection to PostgreSQL") == true)
            bench.store.close()
            #expect(throws: StoreError.unavailable("the store was closed")) { try bench.store.transaction { _ in } }
        }

        @Test func `a lock that its holder leaves is waited for at the start`() throws {
            let bench = try PostgresBench()
            try bench.store.transaction { _ = try $0.execute("SET idle_session_timeout = 300", []) }
            let second = try bench.connect { $0.lockPatience = .seconds(60) }
            #expect(try second.transaction { try $0.query("SELECT 1 AS a", [])[0].integer("a") } == 1)
            // The first is kept out now, and says so each time.
            #expect(
                refusal { try bench.store.transaction { _ in } }?.description.contains("another control plane") == true)
        }

        @Test func `a connection on which libpq fails is given up, whatever libpq calls it`() throws {
            let bench = try PostgresBench()
            func backend() throws -> Int64 {
                try bench.store.transaction {
                    try $0.query("SELECT pg_backend_pid() AS pid", [])[0].integer("pid")
                }
            }
            let before = try backend()
            // More than libpq sends, which it finds out by itself.
            let count = 70_000
            let list = (1...count).map { "$\($0)" }.joined(separator: ",")
            let error = refusal {
                _ = try bench.store.transaction {
                    try $0.query("SELECT 1 AS a WHERE 1 IN (\(list))", Array(repeating: .integer(1), count: count))
                }
            }
            guard case .unavailable = error else {
                Issue.record("\(String(describing: error))")
                return
            }
            #expect(try backend() != before)
        }

        @Test(arguments: [
            (
                "SET TRANSACTION READ ONLY",
                "cannot execute INSERT in a read-only transaction (25006); the server takes no changes: name the primary"
            ),
            (
                "SET LOCAL ROLE pg_monitor",
                "(42501); the control plane's role lacks a privilege: let the role own the schema and its tables, or GRANT"
            ),
        ])
        func `a database that takes no changes, or no more from this role, is away, and the mend is told`(
            _ cause: String, _ words: String
        ) throws {
            let bench = try PostgresBench("CREATE TABLE t (a BIGINT)")
            let error = refusal {
                try bench.store.transaction { transaction in
                    // Else its tables are not found, which is another matter.
                    let schema = try transaction.query("SELECT current_schema()::text AS a", [])[0].text("a")
                    try transaction.execute("GRANT USAGE ON SCHEMA \(schema) TO pg_monitor", [])
                    try transaction.execute(cause, [])
                    try transaction.execute("INSERT INTO t (a) VALUES (1)", [])
                }
            }
            guard case .unavailable(let why) = error else {
                Issue.record("\(String(describing: error))")
                return
            }
            #expect(why.contains(words), "\(why)")
            #expect(try bench.store.transaction { try $0.execute("INSERT INTO t (a) VALUES (1)", []) } == 1)
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

    func connect(options change: (inout PostgresStore.Options) -> Void = { _ in }) throws -> PostgresStore {
        try schema.connect(options: change)
    }
    /// A second session that sees the tables and does not take the lock.
    func otherConnection() throws -> PostgresStore { try schema.connect(takesLock: false) }
}
