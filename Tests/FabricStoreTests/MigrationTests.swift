import FabricCore
import FabricStoreSQLite
import Testing

extension FabricStoreTests {
    @Suite struct MigrationTests {
        private let now = WallTime(seconds: 1_800_000_000)

        private func migration(_ version: Int64, _ statements: String...) -> Migration {
            Migration(version: version, name: "step \(version)", statements: statements)
        }

        @Test("Each migration runs once, in order, and is recorded", arguments: StoreKind.available)
        func runsOnce(_ kind: StoreKind) throws {
            let store = try kind.open()
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

        @Test(
            "A newer database and an edited migration are refused, and nothing changes", arguments: StoreKind.available)
        func refuses(_ kind: StoreKind) throws {
            let store = try kind.open()
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

        @Test("A migration that fails leaves nothing behind and runs when it is mended", arguments: StoreKind.available)
        func failing(_ kind: StoreKind) throws {
            let store = try kind.open()
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
