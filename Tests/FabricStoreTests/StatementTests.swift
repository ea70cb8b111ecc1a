import FabricCore
import FabricStoreSQLite
import Testing

extension FabricStoreTests {
    @Suite struct StatementTests {
        private func store() throws -> SQLiteStore {
            try SQLiteStore(disk: FaultyDisk(), name: "test.db", random: SeededRandom(seed: 1, stream: "store"))
        }

        @Test("A statement that was used before a change of the schema finds what is there after it")
        func schemaChange() throws {
            let store = try store()
            try store.transaction { transaction in
                try transaction.execute("CREATE TABLE t (a BIGINT)", [])
                try transaction.execute("INSERT INTO t (a) VALUES ($1)", [.integer(1)])
                #expect(try transaction.query("SELECT a FROM t", [])[0].integer("a") == 1)
            }
            try store.transaction { transaction in
                try transaction.execute("DROP TABLE t", [])
                try transaction.execute("CREATE TABLE t (b TEXT, a BIGINT)", [])
                try transaction.execute("INSERT INTO t (a) VALUES ($1)", [.integer(2)])
                let rows = try transaction.query("SELECT a FROM t", [])
                #expect(try rows.map { try $0.integer("a") } == [2])
            }
        }

        @Test("More statements than are kept at hand, made up as they are used, each do their own")
        func manyStatements() throws {
            let store = try store()
            for round in 0..<3 {
                for number in 0..<400 {
                    let sql = "SELECT \(number) AS a, $1 AS b"
                    let row = try store.transaction { try $0.query(sql, [.integer(Int64(round))]) }[0]
                    #expect(try row.integer("a") == Int64(number) && row.integer("b") == Int64(round))
                }
            }
        }

        @Test("A statement that failed serves again, and a row that was not read to the end leaves nothing open")
        func afterFailure() throws {
            let store = try store()
            try store.transaction { _ = try $0.execute("CREATE TABLE t (a BIGINT PRIMARY KEY)", []) }
            let insert = "INSERT INTO t (a) VALUES ($1)"
            try store.transaction { _ = try $0.execute(insert, [.integer(1)]) }
            let error = failure { try store.transaction { _ = try $0.execute(insert, [.integer(1)]) } }
            guard case .constraint = error as? StoreError else {
                Issue.record("a row twice: \(String(describing: error))")
                return
            }
            let changed = try store.transaction { try $0.execute(insert, [.integer(2)]) }
            #expect(changed == 1)
            #expect(failure { try store.transaction { try $0.query("SELECT 1.5 AS a UNION SELECT 2", []) } } != nil)
            #expect(try store.transaction { try $0.query("SELECT a FROM t", []) }.count == 2)
        }
    }
}
