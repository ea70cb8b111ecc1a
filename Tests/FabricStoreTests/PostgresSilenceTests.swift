import FabricCore
import FabricPostgresTestSupport
import FabricStorePostgres
import Glibc
import Testing

/// A server that is there and says nothing: the process behind a connection is stopped (SIGSTOP), so that its kernel still
/// acknowledges.
extension FabricStoreTests {
    @Suite(.enabled(if: ScratchSchema.server != nil, "RAP_POSTGRES names no server"))
    struct PostgresSilenceTests {
        private func refusal(_ body: () throws -> Void) -> StoreError? {
            do { try body() } catch { return error as? StoreError }
            return nil
        }

        @Test func `a statement without an answer ends its transaction, which is not run again`() throws {
            let schema = try ScratchSchema()
            let store = try schema.connect {
                $0.statementPatience = .seconds(3)
                $0.reconnectPause = .seconds(3600)
                $0.longestReconnectPause = .seconds(3600)
            }
            var backend = Backend()
            defer { backend.goOn() }
            var runs = 0
            let silence = refusal {
                try store.transaction { transaction in
                    runs += 1
                    backend = try Backend(of: transaction)
                    try backend.stop()
                    _ = try transaction.query("SELECT 1 AS one", [])
                }
            }
            guard case .unavailable(let why) = silence else {
                Issue.record("\(String(describing: silence))")
                return
            }
            #expect(why.contains("did not answer within 3.0 seconds; the connection was given up"))
            #expect(runs == 1)
            // Whoever comes next does not wait as long.
            #expect(refusal { try store.transaction { _ in runs += 1 } } == silence)
            #expect(runs == 1)
        }

        @Test func `a commit without an answer has an unknown outcome, and the store comes back with the server`()
            throws
        {
            let schema = try ScratchSchema()
            let store = try schema.connect { $0.statementPatience = .seconds(3) }
            try store.transaction { _ = try $0.execute("CREATE TABLE t (a BIGINT)", []) }
            var backend = Backend()
            defer { backend.goOn() }
            let unknown = refusal {
                try store.transaction { transaction in
                    backend = try Backend(of: transaction)
                    try transaction.execute("INSERT INTO t (a) VALUES (1)", [])
                    try backend.stop()
                }
            }
            guard case .unknownOutcome(let why) = unknown else {
                Issue.record("\(String(describing: unknown))")
                return
            }
            #expect(why.contains("did not answer within"))
            // Other processes of the server answer, and the stopped one has the lock still.
            var held: StoreError?
            for _ in 0..<20_000 where held?.description.contains("still: process") != true {
                held = refusal { try store.transaction { _ in } }
                usleep(1_000)
            }
            #expect(
                held?.description.contains(
                    "the connection that was given up has this database still: process \(backend.process)") == true,
                "\(String(describing: held))")
            backend.goOn()
            for _ in 0..<20_000 where refusal({ try store.transaction { _ in } }) != nil { usleep(1_000) }
            let rows = try store.transaction { try $0.query("SELECT a FROM t", []) }
            #expect(rows.count <= 1, "the commit took place or did not")
        }

        /// A transaction that its caller ends, on a connection whose process has been stopped.
        private func abandon(_ store: PostgresStore) throws -> Backend {
            var backend = Backend()
            #expect(throws: Refused.self) {
                try store.transaction { transaction in
                    backend = try Backend(of: transaction)
                    try backend.stop()
                    throw Refused()
                }
            }
            return backend
        }

        private struct Refused: Error {}

        @Test func `a ROLLBACK without an answer leaves the caller's error, and the next does not wait as long`() throws
        {
            let schema = try ScratchSchema()
            let store = try schema.connect {
                $0.statementPatience = .seconds(3)
                $0.reconnectPause = .seconds(3600)
                $0.longestReconnectPause = .seconds(3600)
            }
            let backend = try abandon(store)
            defer { backend.goOn() }
            let next = refusal { try store.transaction { _ in } }
            #expect(next?.description.contains("did not answer within") == true, "\(String(describing: next))")
        }

        @Test func `a lock that a ROLLBACK without an answer leaves behind is not said to be another's`() throws {
            let schema = try ScratchSchema()
            let store = try schema.connect { $0.statementPatience = .seconds(3) }
            let backend = try abandon(store)
            defer { backend.goOn() }
            var held = ""
            for _ in 0..<20_000 where !held.contains("uses this database") && !held.contains("still: process") {
                held = refusal { try store.transaction { _ in } }?.description ?? ""
                usleep(1_000)
            }
            #expect(
                held.contains("the connection that was given up has this database still: process \(backend.process)"),
                "\(held)")
        }

        @Test func `whoever waits for an answer hurries once the process is asked to end`() throws {
            let schema = try ScratchSchema()
            let store = try schema.connect {
                $0.statementPatience = .seconds(86_400)
                $0.stopPatience = .milliseconds(300)
            }
            var ends: [Int32] = [0, 0]
            try #require(pipe(&ends) == 0)
            defer { for end in ends { close(end) } }
            store.watch(interrupt: ends[0])
            var backend = Backend()
            defer { backend.goOn() }
            let silence = refusal {
                try store.transaction { transaction in
                    backend = try Backend(of: transaction)
                    try backend.stop()
                    var byte: UInt8 = 1
                    try #require(write(ends[1], &byte, 1) == 1)
                    _ = try transaction.query("SELECT 1 AS one", [])
                }
            }
            #expect(
                silence?.description.contains("for the process is ending") == true, "\(String(describing: silence))")
            #expect(refusal { try store.transaction { _ in } } == silence, "and connects no more")
        }

        @Test func `a statement with more bytes than the sockets hold goes out and comes back whole`() throws {
            let store = try ScratchSchema().connect()
            let blob = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 8) }
            let row = try store.transaction { try $0.query("SELECT $1::bytea AS a", [.blob(blob)])[0] }
            #expect(try row.blob("a") == blob)
        }

        @Test func `a server that takes connections and never speaks is given up`() throws {
            let path = "/tmp/rap-silent-\(getpid())"
            try #require(mkdir(path, 0o700) == 0)
            defer { rmdir(path) }
            let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
            defer { close(listener) }
            var address = sockaddr_un()
            address.sun_family = UInt16(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: "\(path)/.s.PGSQL.5432".utf8) }
            let bound = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
            try #require(bound == 0 && listen(listener, 4) == 0)
            defer { unlink("\(path)/.s.PGSQL.5432") }
            var options = PostgresStore.Options()
            options.connectTimeout = 2
            let error = refusal {
                _ = try PostgresStore(
                    address: "postgresql:///x?host=\(path)&port=5432&user=rap",
                    random: SeededRandom(seed: 1, stream: "silent"), options: options)
            }
            #expect(error?.description.contains("no connection to PostgreSQL") == true, "\(String(describing: error))")
        }
    }
}

/// The server's process behind a connection, which the test stops and lets go on.
private struct Backend {
    private(set) var process: Int32 = 0

    init() {}

    init(of transaction: any Transaction) throws {
        process = Int32(try transaction.query("SELECT pg_backend_pid() AS pid", [])[0].integer("pid"))
    }

    func stop() throws { try #require(process > 1 && kill(process, SIGSTOP) == 0) }
    func goOn() { if process > 1 { kill(process, SIGCONT) } }
}
