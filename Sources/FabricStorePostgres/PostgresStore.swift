public import FabricCore
internal import Glibc

/// A `Store` in a PostgreSQL database, over libpq. Used from one thread, which it blocks.
///
/// Each transaction is SERIALIZABLE, and its commit waits for the server's disk (`synchronous_commit = on`). One that
/// fails for a conflict, or because the connection ended before the commit was sent, is run again, at most
/// `Options.attempts` times in all. When the connection ends between the commit and its answer, nobody knows:
/// `StoreError.unknownOutcome`.
///
/// A server that does not answer a statement within `Options.statementPatience` loses the connection: before the commit was
/// sent the transaction is `.unavailable`, and is not run again, and after it `.unknownOutcome`. A server that can't be
/// reached is `.unavailable`. Later transactions try again, after `Options.reconnectPause`, which doubles with each failure
/// up to `Options.longestReconnectPause`. Connecting goes on beside: a transaction waits for it for
/// `Options.connectPatience`, and those that come before it has ended are refused at once.
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
        /// After the first failed attempt to connect, transactions are refused at once for so long; twice as long after each
        /// further one, until a transaction has been committed.
        public var reconnectPause = Duration.seconds(1)
        public var longestReconnectPause = Duration.seconds(15)
        /// Seconds for each of the server's addresses, at least 2 (libpq's rule).
        public var connectTimeout = 5
        /// How long one transaction waits for a lost connection to be made anew. At the start there is no such limit.
        public var connectPatience = Duration.seconds(2)
        /// Of one statement, and of waiting for a lock: the server's own limit.
        public var statementTimeout = Duration.seconds(10)
        /// How long to wait for a statement's whole answer, from a server that may have stopped; more than `statementTimeout`,
        /// so that a server that runs can say itself what takes so long.
        public var statementPatience = Duration.seconds(12)
        /// What is left of any patience once the process is asked to end.
        public var stopPatience = Duration.seconds(1)
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

    private let random: any RandomSource
    private let options: Options
    private let parameters: [(name: String, value: String)]
    private let patience: PostgresPatience
    private var connection: PostgresConnection?
    /// Under way.
    private var attempt: PostgresAttempt?
    /// Since the last transaction that was committed, and until when transactions are refused for the last of them.
    private var failures = 0
    private var lastFailure: (until: Int64, error: StoreError)?
    /// The server's processes behind connections that were lost or given up, the newest last: one may have the lock still.
    private var abandonedProcesses: [Int64] = []
    /// How many are remembered; the oldest is forgotten.
    static let maximumAbandonedProcesses = 16
    private var isClosed = false
    private var isInTransaction = false

    /// - Parameter address: a libpq connection string or URI (`postgresql://user@host/database?sslmode=verify-full`);
    ///   what it leaves out comes from libpq's environment and password file.
    ///
    /// Connects, and throws what is wrong with server or database.
    public init(address: String, random: any RandomSource, options: Options = Options()) throws(StoreError) {
        self.random = random
        self.options = options
        parameters = PostgresConnection.parameters(address: address, options: options)
        patience = PostgresPatience(options)
        let attempt = try PostgresAttempt(parameters)
        var deadline = Int64.max
        _ = patience.wait(for: attempt.readable, POLLIN, until: &deadline)
        connection = try settle(attempt, lockPatience: options.lockPatience)
    }

    /// A descriptor that is readable once the process is asked to end; whoever waits for the server then has
    /// `Options.stopPatience` left. It belongs to the caller.
    public func watch(interrupt descriptor: Int32?) { patience.interrupt = descriptor }

    /// From here on every answer must come within `Options.stopPatience`, and a connection that is lost stays lost.
    public func windDown() { patience.windDown() }

    /// What has come of an attempt that has ended.
    private func settle(_ attempt: PostgresAttempt, lockPatience: Duration) throws(StoreError) -> PostgresConnection {
        guard let pointer = attempt.take() else { throw .unavailable("there is no memory to connect with") }
        let made = try PostgresConnection(pointer, options: options, patience: patience)
        do throws(PostgresFailure) {
            try made.settle(options)
            guard options.takesLock else { return made }
            let start = MonotonicClock.now()
            while let holder = try made.takeLock() {
                guard MonotonicClock.now() - start < lockPatience.nanoseconds else {
                    throw PostgresFailure(.unavailable, refusal(holder))
                }
                usleep(100_000)
            }
        } catch {
            made.close()
            if error.isSilence { abandon(made.serverProcess) }
            throw error.storeError
        }
        return made
    }

    private func refusal(_ holder: PostgresConnection.LockHolder) -> String {
        if abandonedProcesses.contains(holder.process) {
            return
                "the connection that was given up has this database still: process \(holder.process) of the server serves "
                + "it, and does not answer. It frees the database when it goes on; if it can't, end it"
        }
        return "another control plane, \(holder.text) uses this database; one at a time may. If it is gone, the server "
            + "notices within 15 s"
    }

    public func transaction<Result>(_ body: (any Transaction) throws -> Result) throws -> Result {
        precondition(!isInTransaction, "transactions do not nest")
        isInTransaction = true
        defer { isInTransaction = false }
        var attempt = 1
        while true {
            let connection = try current()
            do {
                let result = try run(body, on: connection)
                failures = 0
                return result
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
        attempt = nil
        isClosed = true
    }

    /// The transaction did not happen and may be run again.
    private struct Retry: Error {
        var error: StoreError
    }

    private func run<Result>(
        _ body: (any Transaction) throws -> Result, on connection: PostgresConnection
    ) throws -> Result {
        do throws(PostgresFailure) {
            try connection.begin()
        } catch {
            if error.isSilence { throw giveUp(error.storeError) }
            throw Retry(error: error.storeError)
        }
        let transaction = PostgresTransaction(connection)
        defer { transaction.end() }
        let result: Result
        do {
            result = try body(transaction)
            if let failure = transaction.failure { throw failure.storeError }
        } catch {
            connection.rollBack()
            // Of a statement or of the ROLLBACK. The caller's own error stands: what it asked for did not happen.
            let silence = connection.silence.map { giveUp($0.storeError) }
            guard let failure = transaction.failure else { throw error }
            if let silence { throw silence }
            if failure.isConflict || connection.isLost { throw Retry(error: failure.storeError) }
            throw failure.storeError
        }
        do throws(PostgresFailure) {
            try connection.commit()
        } catch {
            if error.isSilence { throw giveUp(.unknownOutcome(error.message)) }
            if connection.isLost { throw StoreError.unknownOutcome(error.message) }
            connection.rollBack()
            if let silence = connection.silence { throw giveUp(silence.storeError) }
            if error.isConflict { throw Retry(error: error.storeError) }
            throw error.storeError
        }
        return result
    }

    private func current() throws(StoreError) -> PostgresConnection {
        if isClosed { throw .unavailable("the store was closed") }
        if let connection { return connection }
        if patience.isWindingDown { throw lastFailure?.error ?? .unavailable("the process is ending") }
        let attempt = try ended()
        self.attempt = nil
        do throws(StoreError) {
            let made = try settle(attempt, lockPatience: .zero)
            connection = made
            lastFailure = nil
            abandonedProcesses = []
            return made
        } catch {
            throw note(error)
        }
    }

    /// The attempt under way, or a new one, when it has ended.
    private func ended() throws(StoreError) -> PostgresAttempt {
        if let attempt {
            guard attempt.isDone else { throw .unavailable("PostgreSQL does not answer; connecting to it goes on") }
            return attempt
        }
        if let lastFailure, MonotonicClock.now() < lastFailure.until { throw lastFailure.error }
        let made = try PostgresAttempt(parameters)
        attempt = made
        var deadline = patience.deadline(options.connectPatience)
        guard patience.wait(for: made.readable, POLLIN, until: &deadline) else {
            throw .unavailable("PostgreSQL does not answer; connecting to it goes on")
        }
        return made
    }

    /// Transactions are refused with this for a while.
    private func note(_ error: StoreError) -> StoreError {
        failures += 1
        let pause = min(options.reconnectPause * (1 << min(failures - 1, 10)), options.longestReconnectPause)
        lastFailure = (MonotonicClock.now() + pause.nanoseconds, error)
        return error
    }

    private func giveUp(_ error: StoreError) -> StoreError {
        switch error {
        // What was unknown of one transaction is refused for certain to the next.
        case .unknownOutcome(let why): _ = note(.unavailable(why))
        default: _ = note(error)
        }
        return error
    }

    private func abandon(_ process: Int64) {
        abandonedProcesses.append(process)
        if abandonedProcesses.count > Self.maximumAbandonedProcesses { abandonedProcesses.removeFirst() }
    }

    private func drop() {
        if let connection { abandon(connection.serverProcess) }
        connection?.close()
        connection = nil
    }

    private func pause(_ attempt: Int) {
        let longest = options.retryPause * (1 << min(attempt - 1, 10))
        usleep(useconds_t((longest / 2 + random.jitter(longest / 2)).nanoseconds / 1000))
    }
}
