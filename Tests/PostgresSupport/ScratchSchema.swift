internal import FabricCore
public import FabricStorePostgres
internal import Glibc

/// A schema of its own in the server that RAP_POSTGRES names, dropped at the end; `scripts/with-postgres` starts one.
public final class ScratchSchema {
    /// Nil when there is no server; tests that need one are skipped then.
    public static var server: String? { getenv("RAP_POSTGRES").map { String(cString: $0) } }

    private let name: String
    private let random: SeededRandom

    public init() throws {
        var kernel = SystemRandomNumberGenerator()
        let seed = UInt64.random(in: 0...UInt64.max, using: &kernel)
        random = SeededRandom(seed: seed, stream: "postgres")
        name = "test_\(String(seed, radix: 16))"
        let administration = try Self.connect("public", random, takesLock: false)
        try administration.transaction { [name] in _ = try $0.execute("CREATE SCHEMA \(name)", []) }
        administration.close()
    }

    deinit {
        let name = name
        let administration = try? Self.connect("public", random, takesLock: false)
        _ = try? administration?.transaction { try $0.execute("DROP SCHEMA \(name) CASCADE", []) }
        administration?.close()
    }

    /// A store in the schema. One takes the lock, as a control plane does; others look on.
    public func connect(
        takesLock: Bool = true, options change: (inout PostgresStore.Options) -> Void = { _ in }
    ) throws -> PostgresStore {
        try Self.connect(name, random, takesLock: takesLock, options: change)
    }

    /// A database that its encoding makes unfit.
    public static var latin1: String {
        server!.replacing("postgresql:///postgres", with: "postgresql:///latin1")
    }

    private static func connect(
        _ schema: String, _ random: SeededRandom, takesLock: Bool,
        options change: (inout PostgresStore.Options) -> Void = { _ in }
    ) throws -> PostgresStore {
        var options = PostgresStore.Options()
        options.takesLock = takesLock
        options.reconnectPause = .milliseconds(1)
        options.lockPatience = .zero
        change(&options)
        return try PostgresStore(
            address: server! + "&options=-csearch_path%3D\(schema)", random: random, options: options)
    }
}
