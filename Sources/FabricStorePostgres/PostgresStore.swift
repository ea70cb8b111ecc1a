public import FabricCore
internal import Glibc

/// A `Store` in a PostgreSQL database, over libpq. Used from one thread, which it blocks.
///
/// Each transaction is SERIALIZABLE, and its commit waits for the server's disk (`synchronous_commit = on`). One that
/// fails for a conflict, or because the connection ended before the commit was sent, is run again, at most
/// `Options.attempts` times in all. When the connection ends between the commit and its answer, nobody knows:
/// `StoreError.unknownOutcome`. A server that can't be reached is `.unavailable`; the next transaction tries again, but
/// not more often than `Options.reconnectPause`; an attempt blocks for `Options.connectTimeout` at most, for each of the
/// server's addresses.
///
/// The database must be in UTF-8 and sort by bytes (`createdb --encoding UTF8 --locale C --template template0`), because
/// statements compare and page by text; another one is refused. An advisory lock keeps a second store out of the same
/// schema: what control planes keep in memory is not shared yet.
public final class PostgresStore: Store {
    public struct Options: Sendable {
        /// Runs of one transaction.
        public var attempts = 8
        /// The first pause between two runs; each next one is twice as long, and all are jittered.
        public var retryPause = Duration.milliseconds(2)
        /// After a failed attempt to connect, transactions are refused at once for so long.
        public var reconnectPause = Duration.seconds(1)
        /// Seconds, at least 2 (libpq's rule).
        public var connectTimeout = 5
        /// Of one statement, and of waiting for a lock.
        public var statementTimeout = Duration.seconds(10)
        /// Statements that the server keeps prepared.
        public var preparedStatements = 256
        /// Keeps a second store that takes the lock too out of the same schema.
        public var takesLock = true
        /// How long to wait at the start for a lock that another store has. A host that lost power leaves its lock until
        /// the server has noticed, about 11 s.
        public var lockPatience = Duration.seconds(15)

        public init() {}
    }

    /// A query that finds more rows than this is refused: it wants a LIMIT.
    public static let maximumRows = 1_000_000
    public static let oldestServer = 130_000

    private let address: String
    private let random: any RandomSource
    private let options: Options
    private var connection: PostgresConnection?
    private var lastFailure: (at: Int64, error: StoreError)?
    private var isClosed = false
    private var isInTransaction = false

    /// - Parameter address: a libpq connection string or URI (`postgresql://user@host/database?sslmode=verify-full`);
    ///   what it leaves out comes from libpq's environment and password file.
    ///
    /// Connects, and throws what is wrong with server or database.
    public init(address: String, random: any RandomSource, options: Options = Options()) throws(StoreError) {
        self.address = address
        self.random = random
        self.options = options
        connection = try connect(patience: options.lockPatience)
    }

    private func connect(patience: Duration) throws(StoreError) -> PostgresConnection {
        let made = try PostgresConnection(address: address, options: options)
        guard options.takesLock else { return made }
        let start = Self.monotonic()
        do throws(PostgresFailure) {
            while let holder = try made.takeLock() {
                guard Self.monotonic() - start < patience.nanoseconds else {
                    throw PostgresFailure(
                        .unavailable,
                        "another control plane, \(holder) uses this database; one at a time may. If it is gone, the server "
                            + "notices within 15 s")
                }
                usleep(100_000)
            }
        } catch {
            made.close()
            throw error.storeError
        }
        return made
    }

    public func transaction<Result>(_ body: (any Transaction) throws -> Result) throws -> Result {
        precondition(!isInTransaction, "transactions do not nest")
        isInTransaction = true
        defer { isInTransaction = false }
        var attempt = 1
        while true {
            let connection = try current()
            do {
                return try run(body, on: connection)
            } catch let retry as Retry {
                if connection.isLost { drop() }
                guard attempt < options.attempts else { throw retry.error }
                pause(attempt)
                attempt += 1
            } catch {
                if connection.isLost { drop() }
                throw error
            }
        }
    }

    /// Ends the connection. The store can't be used afterwards.
    public func close() {
        drop()
        isClosed = true
    }

    /// The transaction did not happen and may be run again.
    private struct Retry: Error {
        var error: StoreError
    }

    private func run<Result>(
        _ body: (any Transaction) throws -> Result, on connection: PostgresConnection
    ) throws -> Result {
        do throws(PostgresFailure) { try connection.begin() } catch { throw Retry(error: error.storeError) }
        let transaction = PostgresTransaction(connection)
        defer { transaction.end() }
        let result: Result
        do {
            result = try body(transaction)
            if let failure = transaction.failure { throw failure.storeError }
        } catch {
            connection.rollBack()
            guard let failure = transaction.failure else { throw error }
            if failure.isConflict || connection.isLost { throw Retry(error: failure.storeError) }
            throw failure.storeError
        }
        do throws(PostgresFailure) {
            try connection.commit()
        } catch {
            if connection.isLost { throw StoreError.unknownOutcome(error.message) }
            connection.rollBack()
            if error.isConflict { throw Retry(error: error.storeError) }
            throw error.storeError
        }
        return result
    }

    private func current() throws(StoreError) -> PostgresConnection {
        if isClosed { throw .unavailable("the store was closed") }
        if let connection { return connection }
        if let lastFailure, Self.monotonic() - lastFailure.at < options.reconnectPause.nanoseconds {
            throw lastFailure.error
        }
        do throws(StoreError) {
            let made = try connect(patience: .zero)
            connection = made
            lastFailure = nil
            return made
        } catch {
            lastFailure = (Self.monotonic(), error)
            throw error
        }
    }

    private func drop() {
        connection?.close()
        connection = nil
    }

    private func pause(_ attempt: Int) {
        let longest = options.retryPause * (1 << min(attempt - 1, 10))
        usleep(useconds_t((longest / 2 + random.jitter(longest / 2)).nanoseconds / 1000))
    }

    private static func monotonic() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
