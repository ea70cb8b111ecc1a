internal import CFabricPostgres
internal import FabricCore
internal import Glibc
internal import Synchronization

/// One attempt to connect, on a thread of its own. Only libpq's blocking call gives each of a server's addresses its own
/// time, and even its non-blocking one waits for name servers; so the store's thread leaves the waiting to another.
final class PostgresAttempt: Sendable {
    private struct State {
        /// libpq's connection, as an address; 0 before there is one, and once somebody has taken it.
        var connection: UInt = 0
        var isDone = false
    }

    private let state = Mutex(State())
    private let parameters: [(name: String, value: String)]
    /// Readable once the attempt has ended.
    let readable: Int32
    private let writable: Int32

    /// What stands later in `parameters` wins.
    init(_ parameters: [(name: String, value: String)]) throws(StoreError) {
        self.parameters = parameters
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else {
            throw .unavailable("no pipe to wait for PostgreSQL with: \(String(cString: strerror(errno)))")
        }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        (readable, writable) = (ends[0], ends[1])
        var thread = pthread_t()
        let own = Unmanaged.passRetained(self)
        let code = pthread_create(
            &thread, nil,
            { raw in
                let attempt = Unmanaged<PostgresAttempt>.fromOpaque(raw!).takeRetainedValue()
                attempt.connect()
                return nil
            }, own.toOpaque())
        guard code == 0 else {
            own.release()
            throw .unavailable("no thread to connect to PostgreSQL with: \(String(cString: strerror(code)))")
        }
        pthread_detach(thread)
    }

    deinit {
        if let left = take() { PQfinish(left) }
        close(readable)
        close(writable)
    }

    var isDone: Bool { state.withLock { $0.isDone } }

    /// libpq's connection, good or bad, for the caller to finish; nil before the end, without memory, and the second time.
    func take() -> OpaquePointer? {
        let taken = state.withLock { state in
            defer { state.connection = 0 }
            return state.connection
        }
        return OpaquePointer(bitPattern: taken)
    }

    private func connect() {
        let keys = parameters.map { strdup($0.name) }
        let values = parameters.map { strdup($0.value) }
        defer { for text in keys + values { free(text) } }
        let keyList = keys.map { UnsafePointer($0) } + [nil]
        let valueList = values.map { UnsafePointer($0) } + [nil]
        let made = UInt(bitPattern: PQconnectdbParams(keyList, valueList, 1))
        state.withLock { state in
            state.connection = made
            state.isDone = true
        }
        var byte: UInt8 = 1
        // The pipe is empty, so that this neither waits nor fails.
        _ = write(writable, &byte, 1)
    }
}
