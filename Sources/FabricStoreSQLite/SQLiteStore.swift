internal import CFabricSQLite
public import FabricCore
internal import Foundation
internal import GRDB

/// A `Store` in one SQLite database on a `Disk`: a directory in production, a virtual disk in the simulator.
///
/// One connection, locked exclusively, with a write-ahead log (its index on the heap, so no shared memory) and
/// synchronous=FULL: a transaction costs one sync, and when it returns it is durable. Temporary data stays in memory.
///
/// An error ends its transaction: later statements of the same transaction are refused, and the transaction throws the
/// first error even if `body` swallows it. PostgreSQL does the same.
///
/// `StoreError.unknownOutcome`: the commit's write or sync failed. The next transaction opens the database anew and finds
/// out; if that fails, it throws `.unavailable` and the one after tries again. Other errors leave the store usable.
///
/// A store that is dropped without `close` writes nothing more, as after a crash; everything committed is there when it
/// is opened again. What SQLite cannot see: a page or log damaged in place by the medium may go unnoticed, and a damaged
/// log loses the transactions behind the damage.
public final class SQLiteStore: Store {
    public struct Options: Sendable {
        /// What the connection may keep of the database in memory.
        public var pageCacheBytes = 2 << 20
        /// The log is copied into the database when it has this many pages of 4 KiB.
        public var checkpointPages = 1000
        /// Reads the whole database when it is opened and refuses a corrupt one.
        public var checksOnOpen = true

        public init() {}
    }

    /// A query that finds more rows than this is refused: it wants a LIMIT.
    public static let maximumRows = 1_000_000

    private let disk: any Disk
    private let name: String
    private let random: any RandomSource
    private let options: Options
    private var connection: Connection?
    private var isClosed = false
    private var isInTransaction = false
    /// SQLite's view of the disk is no longer trusted. A connection cannot be closed within its own transaction, so the
    /// next one does it.
    private var mustReopen = false

    private struct Connection {
        let queue: DatabaseQueue
        let vfs: DiskVFS
        let statements = StatementTable()
    }

    /// Opens the database `name` (letters, digits, `.`, `-` and `_`), making it when there is none, and recovers it after
    /// a crash.
    ///
    /// `random` is what SQLite draws from, as far as this store is concerned: its generator is the process's, and each
    /// transaction seeds it anew and has it to itself.
    public init(disk: any Disk, name: String, random: any RandomSource, options: Options = Options()) throws(StoreError)
    {
        // The name goes into a URI; SQLite appends -journal and -wal.
        precondition(
            (1...64).contains(name.utf8.count)
                && name.utf8.allSatisfy {
                    (97...122).contains($0) || (65...90).contains($0) || (48...57).contains($0)
                        || [45, 46, 95].contains($0)
                }, "a plain database name")
        self.disk = disk
        self.name = name
        self.random = random
        self.options = options
        connection = try open()
    }

    deinit { abandon() }

    public func transaction<Result>(_ body: (any Transaction) throws -> Result) throws -> Result {
        precondition(!isInTransaction, "transactions do not nest")
        isInTransaction = true
        defer { isInTransaction = false }
        beginRandomness()
        defer { fabric_sqlite_end() }
        let connection = try current()
        connection.vfs.forgetFailure()
        return try connection.queue.writeWithoutTransaction { database in
            do {
                try database.cachedStatement(sql: "BEGIN IMMEDIATE TRANSACTION").execute()
            } catch { throw storeError(error, connection.vfs) }
            let transaction = SQLiteTransaction(database, connection.statements, connection.vfs)
            defer { transaction.end() }
            let result: Result
            do {
                result = try body(transaction)
                if let failure = transaction.failure { throw failure }
            } catch {
                rollBack(database, connection.vfs, distrusted: transaction.distrustsDisk)
                throw transaction.failure ?? error
            }
            do {
                try database.cachedStatement(sql: "COMMIT TRANSACTION").execute()
            } catch {
                rollBack(database, connection.vfs, distrusted: distrustsDisk(error))
                throw outcome(ofFailedCommit: error, connection.vfs)
            }
            return result
        }
    }

    /// Copies the log into the database and closes it. The store cannot be used afterwards.
    public func close() {
        guard let connection else { return }
        connection.statements.removeAll()
        try? connection.queue.close()
        self.connection = nil
        isClosed = true
    }

    /// Drops the database as a crash would: nothing more is written. The store cannot be used afterwards.
    public func abandon() {
        drop()
        isClosed = true
    }

    private func current() throws(StoreError) -> Connection {
        if isClosed { throw .unavailable("the store was closed") }
        if mustReopen { drop() }
        if let connection { return connection }
        let opened = try open()
        connection = opened
        return opened
    }

    private func drop() {
        guard let connection else { return }
        connection.vfs.cutOff()
        connection.statements.removeAll()
        try? connection.queue.close()
        self.connection = nil
        mustReopen = false
    }

    private func open() throws(StoreError) -> Connection {
        beginRandomness()
        defer { fabric_sqlite_end() }
        guard let vfs = DiskVFS(disk: disk, name: name, random: random) else {
            throw .unavailable("SQLite takes no file names that are URIs, or there is no memory")
        }
        let options = options
        var configuration = Configuration()
        configuration.foreignKeysEnabled = true
        // GRDB traps when a transaction stays open; ours stays open only when the disk failed, and then is cut off.
        configuration.allowsUnsafeTransactions = true
        configuration.prepareDatabase { database in
            // Exclusive locking comes before anything reads the database: only then does a log do without shared memory.
            try database.execute(
                sql: """
                    PRAGMA locking_mode = EXCLUSIVE;
                    PRAGMA temp_store = MEMORY;
                    PRAGMA trusted_schema = OFF;
                    PRAGMA cell_size_check = ON;
                    PRAGMA cache_size = \(-max(options.pageCacheBytes / 1024, 16));
                    PRAGMA wal_autocheckpoint = \(max(options.checkpointPages, 1));
                    PRAGMA synchronous = \(planted(.commitsUnsynced) ? "OFF" : "FULL");
                    """)
            let mode = try String.fetchOne(database, sql: "PRAGMA journal_mode = WAL")
            guard mode == "wal" else { throw StoreError.unavailable("the database cannot have a write-ahead log") }
        }
        do {
            let queue = try DatabaseQueue(path: "file:\(name)?vfs=\(vfs.name)", configuration: configuration)
            do {
                try queue.writeWithoutTransaction { try settle($0, vfs) }
            } catch {
                vfs.cutOff()
                try? queue.close()
                throw error
            }
            return Connection(queue: queue, vfs: vfs)
        } catch { throw storeError(error, vfs) }
    }

    /// Judges a database just opened, and makes what it holds durable.
    ///
    /// The log may hold transactions that were written but never synced: a process died, or a sync failed. They are part
    /// of what is read from now on, so they must not vanish in a later crash. After a failed sync the kernel may hold
    /// pages for written that are not, and a new sync of the log says nothing; so the pages are written once more, into
    /// the database, and the log is emptied.
    private func settle(_ database: Database, _ vfs: DiskVFS) throws {
        if options.checksOnOpen {
            let findings = try String.fetchAll(database, sql: "PRAGMA quick_check(3)")
            guard findings == ["ok"] else { throw StoreError.corrupt(findings.joined(separator: "; ")) }
        }
        let outcome = try Row.fetchOne(database, sql: "PRAGMA wal_checkpoint(TRUNCATE)")
        guard let outcome, outcome[0] as Int == 0 else {
            throw StoreError.unavailable("the log cannot be copied into the database")
        }
        // SQLite reads zeros where a last page is cut off. With the log empty, the file has all its pages.
        let pages = try Int64.fetchOne(database, sql: "PRAGMA page_count") ?? 0
        let pageSize = try Int64.fetchOne(database, sql: "PRAGMA page_size") ?? 0
        guard try vfs.mainFileSize() >= pages * pageSize else { throw StoreError.corrupt("the file is cut short") }
    }

    private func beginRandomness() { fabric_sqlite_begin(CInt(truncatingIfNeeded: random.below(0x7FFF_FFFE) + 1)) }

    private func rollBack(_ database: Database, _ vfs: DiskVFS, distrusted: Bool) {
        var distrusted = distrusted
        if database.isInsideTransaction {
            do { try database.rollback() } catch { distrusted = true }
        }
        guard distrusted else { return }
        vfs.cutOff()
        mustReopen = true
    }

    /// A constraint (deferred foreign keys) or a full disk refuses a commit for certain: the record that makes the
    /// transaction valid was not written. After any other failure nobody knows.
    private func outcome(ofFailedCommit error: any Error, _ vfs: DiskVFS) -> StoreError {
        let mapped = storeError(error, vfs)
        switch (error as? DatabaseError)?.resultCode {
        case .SQLITE_CONSTRAINT, .SQLITE_FULL, .SQLITE_BUSY: return mapped
        default: return .unknownOutcome(mapped.description)
        }
    }
}
