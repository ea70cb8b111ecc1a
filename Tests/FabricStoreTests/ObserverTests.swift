import FabricCore
import FabricTestSupport
import Testing

@testable import FabricStoreSQLite

/// Looking at a database in the bytes of its files.
@Suite struct ObserverTests {
    private static let sql = "SELECT id, text FROM notes ORDER BY id"

    private func store(_ disk: FaultyDisk, seed: UInt64 = 1) throws -> SQLiteStore {
        var options = SQLiteStore.Options()
        options.checkpointPages = 20
        options.pageCacheBytes = 16 << 10
        return try SQLiteStore(
            disk: disk, name: "a.db", random: SeededRandom(seed: seed, stream: "store"), options: options)
    }

    private func look(_ observer: SQLiteObserver, _ disk: FaultyDisk, anew: Bool = false) {
        observer.look(
            main: disk.files["a.db"]?.current ?? [], log: disk.files["a.db-wal"]?.current ?? [], anew: anew)
    }

    private func rows(_ rows: [SQLRow]) throws -> [String] {
        try rows.map { try "\($0.integer("id")) \($0.text("text").count)" }
    }

    private func make(_ store: SQLiteStore) throws {
        try store.transaction {
            _ = try $0.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)", [])
        }
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func `it sees every commit, through checkpoints, roll-backs and openings anew, and asks the disk nothing`(
        _ seed: UInt64
    ) throws {
        let disk = FaultyDisk()
        let random = SeededRandom(seed: seed, stream: "test")
        let observer = SQLiteObserver()
        var store = try store(disk)
        try make(store)
        var headers: Set<[UInt8]> = []
        for round in 0..<200 {
            switch random.below(10) {
            case 0:
                // More than the cache holds, so that pages come into the log before the end, and stay there.
                struct Stop: Error {}
                _ = try? store.transaction { transaction in
                    for _ in 0..<40 { try insert(transaction, 4_000) }
                    throw Stop()
                }
            case 1: try store.transaction { _ = try $0.execute("DELETE FROM notes WHERE id % 3 = $1", [.integer(0)]) }
            case 2 where round % 3 == 0:
                store.abandon()
                store = try self.store(disk, seed: UInt64(round))
            default:
                try store.transaction { transaction in
                    for _ in 0...random.below(5) { try insert(transaction, Int(random.below(6_000))) }
                }
            }
            // Not after each, so that a look takes in several, and sometimes a whole new log.
            if random.below(4) == 0 { continue }
            let before = disk.operations
            look(observer, disk)
            let seen = try rows(observer.query(Self.sql))
            #expect(disk.operations == before)
            #expect(try store.transaction { try rows($0.query(Self.sql, [])) } == seen, "round \(round)")
            if let log = disk.files["a.db-wal"]?.current, log.count >= 32 { headers.insert(Array(log[..<32])) }
        }
        #expect(headers.count > 5)
    }

    private func insert(_ transaction: any Transaction, _ count: Int) throws {
        _ = try transaction.execute(
            "INSERT INTO notes (text) VALUES ($1)", [.text(String(repeating: "x", count: count))])
    }

    @Test func `it sees what is written when the disk fails all, and does not mend anything`() throws {
        let disk = FaultyDisk()
        let store = try store(disk)
        try make(store)
        let observer = SQLiteObserver()
        disk.failingSyncs = [disk.syncs + 1]
        #expect(throws: StoreError.self) { try store.transaction { try insert($0, 5) } }
        disk.failsReads = true
        let operations = disk.operations
        look(observer, disk)
        #expect(try rows(observer.query(Self.sql)) == ["1 5"])
        #expect(disk.operations == operations)
    }

    @Test func `an empty file has no tables, and a query that fails leaves the observer usable`() throws {
        let disk = FaultyDisk()
        let observer = SQLiteObserver()
        look(observer, disk)
        #expect(throws: StoreError.self) { try observer.query(Self.sql) }
        let store = try store(disk)
        try make(store)
        look(observer, disk)
        #expect(try observer.query(Self.sql).isEmpty)
        #expect(throws: StoreError.self) { try observer.query("DELETE FROM notes") }
        #expect(try observer.query(Self.sql).isEmpty)
    }

    @Test func `no file and no log is too damaged to be looked at`() throws {
        let disk = FaultyDisk()
        let store = try store(disk)
        try make(store)
        for _ in 0..<8 { try store.transaction { try insert($0, 700) } }
        let main = disk.files["a.db"]?.current ?? []
        let log = disk.files["a.db-wal"]?.current ?? []
        #expect(log.count > 4096)
        let observer = SQLiteObserver()
        try Fuzz.run(corpus: [log], seed: 1, iterations: 300) { bytes in
            observer.look(main: main, log: bytes, anew: true)
            _ = try? observer.query(Self.sql)
            observer.look(main: main, log: log, anew: false)
            _ = try? observer.query(Self.sql)
        }
        try Fuzz.run(corpus: [main], seed: 2, iterations: 300) { bytes in
            observer.look(main: bytes, log: log, anew: true)
            _ = try? observer.query(Self.sql)
        }
        observer.look(main: main, log: log, anew: true)
        #expect(try observer.query(Self.sql).count == 8)
    }
}
