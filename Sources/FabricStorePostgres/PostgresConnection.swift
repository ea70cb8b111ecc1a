internal import CFabricPostgres
internal import FabricCore
internal import Glibc

/// One connection to a server, and the statements that are prepared on it.
final class PostgresConnection {
    private let pointer: OpaquePointer
    private let preparedLimit: Int
    private let patience: PostgresPatience
    /// The server's process that serves this connection.
    let serverProcess: Int64
    /// A statement is prepared for the types of its arguments.
    private struct Signature: Hashable {
        var sql: String
        var types: [Oid]
    }

    /// Names of prepared statements, looked up by key only.
    private var prepared: [Signature: String] = [:]
    private var nextName = 0
    private var isClosed = false
    /// Why the connection was given up, when it was for an answer that did not come.
    private(set) var silence: PostgresFailure?

    /// Takes over what an attempt to connect has come to. `settle` comes next.
    init(
        _ pointer: OpaquePointer, options: PostgresStore.Options, patience: PostgresPatience
    ) throws(StoreError) {
        preparedLimit = max(1, options.preparedStatements)
        self.pointer = pointer
        self.patience = patience
        serverProcess = Int64(PQbackendPID(pointer))
        guard PQstatus(pointer) == CONNECTION_OK, PQsetnonblocking(pointer, 1) == 0 else {
            let message = lastMessage
            close()
            throw .unavailable("no connection to PostgreSQL: \(message)")
        }
    }

    /// For `PostgresAttempt`. What stands later in the list wins: the address over our defaults.
    static func parameters(
        address: String, options: PostgresStore.Options
    ) -> [(name: String, value: String)] {
        [
            ("connect_timeout", "\(max(2, options.connectTimeout))"), ("tcp_user_timeout", "10000"),
            ("keepalives_idle", "5"), ("keepalives_interval", "2"), ("keepalives_count", "3"),
            ("application_name", "rap-control"), ("dbname", address), ("client_encoding", "UTF8"),
        ]
    }

    deinit { close() }

    func close() {
        guard !isClosed else { return }
        isClosed = true
        PQfinish(pointer)
    }

    var isLost: Bool { isClosed || PQstatus(pointer) != CONNECTION_OK }
    var isInTransaction: Bool { !isClosed && PQtransactionStatus(pointer) == PQTRANS_INTRANS }

    private var lastMessage: String { Self.oneLine(PQerrorMessage(pointer)) }

    static func oneLine(_ text: UnsafePointer<CChar>?) -> String {
        guard let text else { return "no message" }
        return String(cString: text).split(whereSeparator: \.isNewline).joined(separator: "; ")
    }

    /// The session's settings, and what the database must be like.
    func settle(_ options: PostgresStore.Options) throws(PostgresFailure) {
        let version = Int(PQserverVersion(pointer))
        guard version >= PostgresStore.oldestServer else {
            throw PostgresFailure(
                .unavailable, "the server is PostgreSQL \(version / 10_000); 13 or later is needed")
        }
        let timeout = options.statementTimeout.nanoseconds / 1_000_000
        for statement in [
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE READ WRITE",
            "SET synchronous_commit = on", "SET statement_timeout = \(timeout)", "SET lock_timeout = \(timeout)",
            "SET idle_in_transaction_session_timeout = 60000", "SET standard_conforming_strings = on",
            "SET client_min_messages = warning",
            // The server must notice as fast as we do that the connection is dead: until then our lock stays taken.
            "SET tcp_keepalives_idle = 5", "SET tcp_keepalives_interval = 2", "SET tcp_keepalives_count = 3",
            "SET tcp_user_timeout = 10000",
        ] { try command(statement) }
        try checkDatabase(version)
    }

    /// Throws why statements would not mean in this database what they mean.
    private func checkDatabase(_ version: Int) throws(PostgresFailure) {
        // Other providers' rules are not told by the collation's name.
        let provider = version >= 150_000 ? "d.datlocprovider::text" : "'c'"
        let row = try run(
            """
            SELECT d.datcollate AS collation, pg_encoding_to_char(d.encoding) AS encoding, d.datname AS name,
                \(provider) AS provider
            FROM pg_database d WHERE d.datname = current_database()
            """, []
        ) { result throws(PostgresFailure) in try result.rows() }[0]
        guard case .text(let collation) = row["collation"], case .text(let encoding) = row["encoding"],
            case .text(let name) = row["name"], case .text(let provider) = row["provider"]
        else { throw PostgresFailure(.unavailable, "the server does not describe its database") }
        guard ["C", "POSIX", "C.UTF-8", "C.utf8"].contains(collation), provider == "c", encoding == "UTF8" else {
            let rules = provider == "c" ? collation : "the rules of another library than libc"
            throw PostgresFailure(
                .unavailable,
                "database “\(name)” is in \(encoding) and sorts by \(rules); make one with "
                    + "“createdb --encoding UTF8 --locale C --template template0 NAME”")
        }
    }

    /// Who has the lock that keeps a second store away.
    struct LockHolder {
        /// The server's process that serves it.
        var process: Int64
        var text: String
    }

    /// Takes the lock of the schema's one store, which lasts as long as the connection. Returns who has it, nil when taken.
    func takeLock() throws(PostgresFailure) -> LockHolder? {
        let answer = try run("SELECT pg_try_advisory_lock(1380011057, hashtext(current_schema())) AS taken", []) {
            result throws(PostgresFailure) in try result.rows()
        }
        if answer[0]["taken"] == .integer(1) { return nil }
        let holders = try run(
            """
            SELECT a.pid AS pid, COALESCE(host(a.client_addr), 'this machine') AS host, a.application_name AS program
            FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
            WHERE l.locktype = 'advisory' AND l.granted AND l.classid = 1380011057
                AND l.objid::bigint = hashtext(current_schema())::bigint & 4294967295
                AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
            """, []
        ) { result throws(PostgresFailure) in try result.rows() }
        guard case .integer(let pid) = holders.first?["pid"], case .text(let host) = holders.first?["host"],
            case .text(let program) = holders.first?["program"]
        else { return LockHolder(process: 0, text: "somebody") }
        return LockHolder(process: pid, text: "\(program) on \(host), process \(pid) of the server,")
    }

    // MARK: Transactions

    func begin() throws(PostgresFailure) { try command("BEGIN") }

    func commit() throws(PostgresFailure) {
        let answer = try ask { PQsendQuery($0, "COMMIT") }
        try answer.check()
        // A transaction that has failed is rolled back by COMMIT, which calls that a success.
        guard answer.tag == "COMMIT" else { throw PostgresFailure(.statement, "the server rolled back") }
    }

    /// After this the connection is out of the transaction, or lost: `silence` tells whether for an answer that did not come.
    func rollBack() {
        guard !isLost, PQtransactionStatus(pointer) != PQTRANS_IDLE else { return }
        do throws(PostgresFailure) { try command("ROLLBACK") } catch { close() }
    }

    private func command(_ sql: String) throws(PostgresFailure) {
        try ask { PQsendQuery($0, sql) }.check()
    }

    /// What to throw when there will be no answer. The connection is closed, although libpq may call it good still (it had no
    /// memory, say): what is on its way nobody knows, and a COMMIT's answer would be taken for that of what comes next.
    private func noAnswer() -> PostgresFailure {
        defer { close() }
        return PostgresFailure(state: "", message: isClosed ? "the connection was given up" : lastMessage)
    }

    // MARK: Asking

    /// Sends one statement and waits for its whole answer, no longer than `patience` allows. After that the connection is
    /// closed: nobody could tell an answer that comes late from the next one's.
    private func ask(_ send: (OpaquePointer) -> Int32) throws(PostgresFailure) -> PostgresResult {
        guard !isClosed, send(pointer) == 1 else { throw noAnswer() }
        var deadline = patience.statementDeadline()
        while true {
            let left = PQflush(pointer)
            if left == 0 { break }
            guard left > 0 else { throw noAnswer() }
            // A server that answers early may wait for us to read before it reads on.
            try wait(POLLIN | POLLOUT, until: &deadline)
            guard PQconsumeInput(pointer) == 1 else { throw noAnswer() }
        }
        var last: PostgresResult?
        while true {
            while PQisBusy(pointer) != 0 {
                try wait(POLLIN, until: &deadline)
                guard PQconsumeInput(pointer) == 1 else {
                    // What the server said before it hung up tells more than that it did.
                    guard let last else { throw noAnswer() }
                    close()
                    return last
                }
            }
            guard let result = PQgetResult(pointer) else { break }
            last = PostgresResult(result)
            if last?.copies == true {
                close()
                throw PostgresFailure(.statement, "COPY is not for this store")
            }
        }
        guard let last else { throw noAnswer() }
        return last
    }

    private func wait(_ events: Int32, until deadline: inout Int64) throws(PostgresFailure) {
        if patience.wait(for: PQsocket(pointer), events, until: &deadline) { return }
        close()
        let failure = PostgresFailure(
            .silent, "PostgreSQL did not answer within \(patience.description); the connection was given up")
        silence = failure
        throw failure
    }

    // MARK: Statements

    /// Runs one statement, prepared, and hands its result to `body`.
    func run<Result>(
        _ sql: String, _ arguments: [SQLValue], _ body: (PostgresResult) throws(PostgresFailure) -> Result
    ) throws(PostgresFailure) -> Result {
        guard let count = Placeholders.count(in: sql) else {
            throw PostgresFailure(.statement, "placeholders are $1, $2 … in first-use order: \(sql)")
        }
        guard count == arguments.count else {
            throw PostgresFailure(.statement, "\(count) placeholders and \(arguments.count) arguments: \(sql)")
        }
        let values = try BoundArguments(arguments)
        let signature = Signature(sql: sql, types: values.types)
        let name = try prepare(signature)
        let result = try ask { pointer in
            values.withPointers { PQsendQueryPrepared(pointer, name, Int32(count), $0, $1, $2, 1) }
        }
        do throws(PostgresFailure) { try result.check() } catch {
            // Inside a failed transaction the server takes no DEALLOCATE; the name is not used again.
            if error.isConflict { prepared[signature] = nil }
            throw error
        }
        if result.changesSchema { try forgetAll() }
        return try body(result)
    }

    private func prepare(_ signature: Signature) throws(PostgresFailure) -> String {
        if let name = prepared[signature] { return name }
        if prepared.count >= preparedLimit { try forgetAll() }
        nextName += 1
        let name = "s\(nextName)"
        let types = signature.types
        try ask { PQsendPrepare($0, name, signature.sql, Int32(types.count), types) }.check()
        prepared[signature] = name
        return name
    }

    private func forgetAll() throws(PostgresFailure) {
        prepared = [:]
        _ = try ask { PQsendQuery($0, "DEALLOCATE ALL") }
    }
}

/// Arguments in the form that libpq takes: integers as BIGINT, the types of others for the server to infer; blobs in
/// binary, all else as text.
private struct BoundArguments {
    private var bytes: [UInt8] = []
    /// Where each begins; -1 for NULL.
    private var offsets: [Int] = []
    private var lengths: [Int32] = []
    private var formats: [Int32] = []
    /// Numbers in `pg_type`; 0 for the server to infer.
    private(set) var types: [Oid] = []

    init(_ arguments: [SQLValue]) throws(PostgresFailure) {
        for argument in arguments {
            var format: Int32 = 0
            var begin = bytes.count
            var type: Oid = 0
            switch argument {
            case .null: begin = -1
            case .integer(let value):
                bytes += Array("\(value)".utf8)
                type = 20
            case .text(let text):
                guard !text.utf8.contains(0) else {
                    throw PostgresFailure(.statement, "a text with a NUL character")
                }
                bytes += Array(text.utf8)
            case .blob(let blob):
                bytes += blob
                format = 1
                type = 17
            }
            guard let length = Int32(exactly: bytes.count - max(begin, 0)) else {
                throw PostgresFailure(.statement, "the arguments have more than 2 GiB")
            }
            offsets.append(begin)
            lengths.append(begin < 0 ? 0 : length)
            formats.append(format)
            types.append(type)
            bytes.append(0)
        }
    }

    func withPointers<Result>(
        _ body: (UnsafePointer<UnsafePointer<CChar>?>, UnsafePointer<Int32>, UnsafePointer<Int32>) -> Result
    ) -> Result {
        bytes.withUnsafeBytes { bytes in
            let base = bytes.baseAddress
            let pointers = offsets.map { offset in
                offset < 0 ? nil : base.map { ($0 + offset).assumingMemoryBound(to: CChar.self) }
            }
            // One element more, so that a statement without arguments has addresses to give.
            return (pointers + [nil]).withUnsafeBufferPointer { pointers in
                (lengths + [0]).withUnsafeBufferPointer { lengths in
                    (formats + [0]).withUnsafeBufferPointer { formats in
                        body(pointers.baseAddress!, lengths.baseAddress!, formats.baseAddress!)
                    }
                }
            }
        }
    }
}
