// What the measurement needs around the control plane: clocks, and a store that writes down what it is asked.

import FabricCore
import Glibc

/// One transaction, statement by statement.
typealias Statements = [(sql: String, arguments: [SQLValue], isQuery: Bool)]

/// Passes everything on; keeps a copy of the statements while `isRecording`.
final class RecordingStore: Store {
    private let base: any Store
    var isRecording = false
    private(set) var transactions: [Statements] = []

    init(_ base: any Store) { self.base = base }

    private final class Recorder: Transaction {
        let base: any Transaction
        var statements: Statements = []

        init(_ base: any Transaction) { self.base = base }

        func query(_ sql: String, _ arguments: [SQLValue]) throws -> [SQLRow] {
            statements.append((sql, arguments, true))
            return try base.query(sql, arguments)
        }

        func execute(_ sql: String, _ arguments: [SQLValue]) throws -> Int {
            statements.append((sql, arguments, false))
            return try base.execute(sql, arguments)
        }

        func nested<Result>(_ body: () throws -> Result) throws -> Result {
            statements.append((Savepoint.begin, [], false))
            defer { statements.append((Savepoint.end, [], false)) }
            do { return try base.nested(body) } catch {
                statements.append((Savepoint.undo, [], false))
                throw error
            }
        }
    }

    func transaction<Result>(_ body: (any Transaction) throws -> Result) throws -> Result {
        guard isRecording else { return try base.transaction(body) }
        let (result, statements) = try base.transaction { transaction in
            let recorder = Recorder(transaction)
            return (try body(recorder), recorder.statements)
        }
        transactions.append(statements)
        return result
    }
}

extension Store {
    func replay(_ transactions: some Sequence<Statements>) throws {
        for statements in transactions {
            try transaction { transaction in
                for (sql, arguments, isQuery) in statements {
                    if isQuery {
                        _ = try transaction.query(sql, arguments)
                    } else {
                        try transaction.execute(sql, arguments)
                    }
                }
            }
        }
    }
}

/// Where syncs cost nothing, CPU time counts, so that other load on the machine matters less; else the time that passes.
enum Clock {
    case processor, wall

    var nanoseconds: Int64 {
        var time = timespec()
        clock_gettime(self == .processor ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    /// Nanoseconds that `body` takes.
    func measure(_ body: () throws -> Void) rethrows -> Double {
        let start = nanoseconds
        try body()
        return Double(nanoseconds - start)
    }
}

func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(values.count) }

func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

func text(_ value: Double, decimals: Int = 0) -> String {
    let scale: Double = decimals == 0 ? 1 : decimals == 1 ? 10 : 100
    let rounded = (value * scale).rounded() / scale
    return decimals == 0 ? "\(Int64(rounded))" : "\(rounded)"
}

/// A new directory of mode 0700 under TMPDIR or /var/tmp (not /tmp, which may be memory), removed by `remove`.
struct TemporaryDirectory {
    let path: String

    init() throws {
        let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/var/tmp"
        var template = Array("\(parent)/rap-bench-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw StoreError.unavailable("no temporary directory under \(parent): set TMPDIR")
        }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    func remove() {
        for name in ["control.db", "bare.db", "replay.db", "heartbeats.db"] {
            unlink("\(path)/\(name)")
            unlink("\(path)/\(name)-wal")
        }
        rmdir(path)
    }
}
