import FabricCore
import FabricPostgresTestSupport
import FabricStorePostgres
import FabricStoreSQLite

/// The stores that keep the contract of `Store`. PostgreSQL is there when RAP_POSTGRES names a server; `scripts/with-postgres`
/// starts one.
enum StoreKind: String, CaseIterable {
    case sqlite, postgres

    static var available: [StoreKind] { allCases.filter { $0 != .postgres || ScratchSchema.server != nil } }

    /// An empty store, on a disk or in a schema of its own, in which `statements` have run.
    func open(_ statements: String...) throws -> any Store {
        let store: any Store =
            switch self {
            case .sqlite:
                try SQLiteStore(disk: FaultyDisk(), name: "test.db", random: SeededRandom(seed: 1, stream: "store"))
            case .postgres: try SchemaStore()
            }
        try store.transaction { transaction in for statement in statements { try transaction.execute(statement, []) } }
        return store
    }
}

/// A store whose schema lives as long as it does.
private final class SchemaStore: Store {
    private let schema: ScratchSchema
    private let store: PostgresStore

    init() throws {
        schema = try ScratchSchema()
        store = try schema.connect()
    }

    deinit { store.close() }

    func transaction<Result>(_ body: (any Transaction) throws -> Result) throws -> Result {
        try store.transaction(body)
    }
}
