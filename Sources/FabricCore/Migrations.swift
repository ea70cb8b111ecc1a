/// One step of a database's schema. Once released, neither its version nor its statements change.
public struct Migration: Hashable, Sendable {
    /// Counted from 1, without gaps.
    public var version: Int64
    public var name: String
    /// SQL without placeholders, one statement each.
    public var statements: [String]

    public init(version: Int64, name: String, statements: [String]) {
        self.version = version
        self.name = name
        self.statements = statements
    }

    /// FNV-1a (64 bits, in hex) over name and statements: finds a migration that was edited after it ran, not an attack.
    public var checksum: String {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for text in [name] + statements {
            for byte in Array(text.utf8) + [0] { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
        }
        return Hex.encode((0..<8).map { UInt8(truncatingIfNeeded: hash >> UInt64(56 - 8 * $0)) })
    }
}

/// Brings a database to the schema of the program. Each migration runs in a transaction of its own, with the row in
/// `schema_migrations` that records it, so that it ran wholly or not at all, once.
public struct Migrator: Sendable {
    /// How often a step whose outcome is unknown is tried again; the record says whether it ran.
    public static let maximumAttempts = 3

    private let migrations: [Migration]

    /// `migrations` in the order of their versions 1, 2, 3 …
    public init(_ migrations: [Migration]) {
        precondition(migrations.map(\.version) == Array(1..<Int64(migrations.count + 1)), "versions 1, 2, 3 …")
        self.migrations = migrations
    }

    /// Runs what has not run. `now` is recorded. Returns the versions that were run.
    ///
    /// Throws `MigrationError` when the database does not fit the program, which leaves it as it was, and the store's
    /// errors; calling again continues where it stopped.
    @discardableResult
    public func migrate(_ store: any Store, now: WallTime) throws -> [Int64] {
        let applied = try attempt {
            try store.transaction { transaction in
                try transaction.execute(
                    """
                    CREATE TABLE IF NOT EXISTS schema_migrations (
                        version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL,
                        applied_at BIGINT NOT NULL)
                    """, [])
                return try records(transaction)
            }
        }
        try check(applied)
        var run: [Int64] = []
        for migration in migrations.dropFirst(applied.count) {
            let ran = try attempt {
                try store.transaction { transaction in
                    // Another control plane may have run it since, or this one before its answer was lost.
                    if try records(transaction).contains(where: { $0.version == migration.version }) { return false }
                    for statement in migration.statements { try transaction.execute(statement, []) }
                    try transaction.execute(
                        "INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES ($1, $2, $3, $4)",
                        [
                            .integer(migration.version), .text(migration.name), .text(migration.checksum),
                            .integer(now.nanoseconds),
                        ])
                    return true
                }
            }
            if ran { run.append(migration.version) }
        }
        return run
    }

    private struct Applied {
        var version: Int64
        var name: String
        var checksum: String
    }

    private func records(_ transaction: any Transaction) throws -> [Applied] {
        try transaction.query("SELECT version, name, checksum FROM schema_migrations ORDER BY version", []).map {
            Applied(version: try $0.integer("version"), name: try $0.text("name"), checksum: try $0.text("checksum"))
        }
    }

    private func check(_ applied: [Applied]) throws(MigrationError) {
        if let last = applied.last, last.version > migrations.count {
            throw .newer(database: last.version, program: Int64(migrations.count))
        }
        for (index, record) in applied.enumerated() {
            let migration = migrations[index]
            guard record.version == migration.version else { throw .missing(version: migration.version) }
            guard record.checksum == migration.checksum else {
                throw .changed(version: record.version, name: record.name)
            }
        }
    }

    private func attempt<Result>(_ body: () throws -> Result) throws -> Result {
        for _ in 1..<Migrator.maximumAttempts {
            do { return try body() } catch StoreError.unknownOutcome { continue }
        }
        return try body()
    }
}

public enum MigrationError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The database was used by a newer program.
    case newer(database: Int64, program: Int64)
    /// What was run is not what the program has under this version.
    case changed(version: Int64, name: String)
    /// A later version is recorded as run, this one is not.
    case missing(version: Int64)

    public var description: String {
        switch self {
        case .newer(let database, let program):
            "the database has schema version \(database), this program knows \(program): "
                + "run a newer program, or restore a backup"
        case .changed(let version, let name):
            "migration \(version) (\(name)) differs from what was run on this database: "
                + "it is another program's database, or the program was changed"
        case .missing(let version):
            "migration \(version) was never run on this database, later ones were: its records are damaged"
        }
    }
}
