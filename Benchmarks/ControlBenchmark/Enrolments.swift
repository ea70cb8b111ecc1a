// Enrolments a second, against SQLite alone in the same run.
//
// An enrolment is what the control plane does of it: four requests (enrolment, proof, approval, status), each one
// transaction of `ControlPlane.handle`, with real cryptography; the requests are prepared beforehand and not timed. Two
// peers run on the same kind of disk, in the same rounds:
//
//     bare      as many transactions with next to nothing in them: three insert a row, one reads one. The row's size is
//               that of the values that an enrolment writes, divided by three.
//     replay    the very statements of the enrolments once more, on a database of their own, and nothing else
//
// Once on a disk in memory, in CPU time; once on a directory with real syncs, in the time that passes. Ratios count, not
// milliseconds: the median of the rounds' ratios is printed.

import FabricControl
import FabricCore
import FabricCrypto
import FabricStoreSQLite
import FabricTestSupport
import FabricWire

/// Three writing transactions and a reading one, as an enrolment has.
let transactionsPerEnrolment = 4
let writesPerEnrolment = 3

struct Round {
    /// Nanoseconds per enrolment.
    var steps: [Step: Double] = [:]
    var snapshots = 0.0
    var bare = 0.0
    var replay = 0.0
    var enrolment: Double { Step.allCases.reduce(0) { $0 + steps[$1]! } }
}

final class Measurement {
    let clock: Clock
    let bench: ControlBench
    let bare: SQLiteStore
    let replay: SQLiteStore
    var rounds: [Round] = []
    var sample: [Step: (request: HTTPRequest, reply: HTTPReply)] = [:]
    private let row: [UInt8]
    private var bareRows: Int64 = 0

    init(_ disk: any Disk, _ clock: Clock) throws {
        self.clock = clock
        func store(_ name: String) throws -> SQLiteStore {
            let store = try SQLiteStore(disk: disk, name: name, random: SeededRandom(seed: 1, stream: name))
            // As after some use: the log has its full length. While it grows, a sync costs more.
            try store.transaction {
                _ = try $0.execute("CREATE TABLE warm (body BYTEA NOT NULL)", [])
                _ = try $0.execute(
                    "INSERT INTO warm (body) VALUES ($1)", [.blob([UInt8](repeating: 1, count: 5 << 20))])
            }
            return store
        }
        bench = try ControlBench(try store("control.db"))
        bare = try store("bare.db")
        replay = try store("replay.db")
        row = SeededRandom(seed: 1, stream: "row").bytes(try Self.bytesWritten(bench) / writesPerEnrolment)
        try bare.transaction {
            _ = try $0.execute("CREATE TABLE bare (id BIGINT NOT NULL PRIMARY KEY, body BYTEA NOT NULL)", [])
        }
        try replay.replay(bench.store.transactions)
    }

    /// The size of the values that one enrolment writes. Its statements are recorded, and so replayed.
    private static func bytesWritten(_ bench: ControlBench) throws -> Int {
        var hosts = bench.makeHosts(1)
        var count = 0
        for step in Step.allCases {
            let request = try bench.requests(step, hosts)[0]
            let known = bench.store.transactions.count
            bench.store.isRecording = true
            let reply = try bench.reply(request)
            bench.store.isRecording = false
            if step == .enrol { try bench.note([reply], in: &hosts) }
            for statement in bench.store.transactions[known...].joined() where !statement.isQuery {
                for value in statement.arguments {
                    switch value {
                    case .null: break
                    case .integer: count += 8
                    case .text(let text): count += text.utf8.count
                    case .blob(let bytes): count += bytes.count
                    }
                }
            }
        }
        return count
    }

    /// All hosts take a step before any takes the next, as when many start at once.
    func run(rounds count: Int, enrolments: Int) throws {
        for _ in 0..<count {
            var round = Round()
            var hosts = bench.makeHosts(enrolments)
            for step in Step.allCases {
                let (spent, requests, replies) = try bench.run(step, &hosts, clock)
                round.steps[step] = spent / Double(enrolments)
                sample[step] = (requests[0], replies[0])
            }
            round.snapshots =
                try clock.measure {
                    while try !bench.plane.flushSnapshots(now: bench.now).isComplete {}
                } / Double(enrolments)
            round.bare = try clock.measure { try runBare(enrolments) } / Double(enrolments)
            round.replay = try measureReplay(enrolments) / Double(enrolments)
            rounds.append(round)
        }
    }

    private func runBare(_ enrolments: Int) throws {
        for _ in 0..<enrolments {
            for _ in 0..<writesPerEnrolment {
                bareRows += 1
                try bare.transaction {
                    _ = try $0.execute(
                        "INSERT INTO bare (id, body) VALUES ($1, $2)", [.integer(bareRows), .blob(row)])
                }
            }
            for _ in writesPerEnrolment..<transactionsPerEnrolment {
                try bare.transaction {
                    _ = try $0.query("SELECT body FROM bare WHERE id = $1", [.integer(bareRows)])
                }
            }
        }
    }

    /// Enrols as many hosts again, untimed, and times their statements alone.
    private func measureReplay(_ enrolments: Int) throws -> Double {
        let known = bench.store.transactions.count
        var hosts = bench.makeHosts(enrolments)
        var statements: [Statements] = []
        for step in Step.allCases {
            let requests = try bench.requests(step, hosts)
            bench.store.isRecording = true
            let start = bench.store.transactions.count
            let replies = try requests.map { try bench.reply($0) }
            bench.store.isRecording = false
            statements += bench.store.transactions[start...]
            if step == .enrol { try bench.note(replies, in: &hosts) }
        }
        precondition(bench.store.transactions.count == known + statements.count)
        while try !bench.plane.flushSnapshots(now: bench.now).isComplete {}
        return try clock.measure { try replay.replay(statements) }
    }
}

extension Measurement {
    func middle(_ value: (Round) -> Double) -> Double { median(rounds.map(value)) }

    func report(_ name: String) {
        let enrolment = middle(\.enrolment)
        let bare = middle(\.bare)
        print("\(name):")
        print(
            "  enrolment  \(text(1e9 / enrolment)) a second, \(text(enrolment / 1000)) us each:",
            Step.allCases.map { step in "\(step.rawValue) \(text(middle { $0.steps[step]! } / 1000))" }
                .joined(separator: ", "))
        print(
            "  bare       \(text(1e9 * Double(transactionsPerEnrolment) / bare)) transactions a second,",
            "\(text(bare / 1000)) us for the \(transactionsPerEnrolment) of an enrolment, rows of \(row.count) bytes")
        print(
            "  replay     \(text(middle(\.replay) / 1000)) us for an enrolment's statements,",
            "\(text(middle(\.replay) / enrolment * 100)) % of it")
        print("  snapshots  \(text(middle(\.snapshots) / 1000)) us per enrolment, not counted in it")
        print(
            "  ratio      enrolment / bare \(text(middle { $0.enrolment / $0.bare }, decimals: 2)),",
            "enrolment / replay \(text(middle { $0.enrolment / $0.replay }, decimals: 2))")
        // Syncs vary too much to say anything of this.
        guard clock == .processor else { return }
        let first = rounds.first!.enrolment
        let last = rounds.last!.enrolment
        print("  growth     the last round's enrolments take \(text(last / first, decimals: 2)) of the first's time")
    }
}

/// On a disk in memory, and on a directory.
func measureEnrolments(in directory: TemporaryDirectory) throws {
    let memory = try Measurement(MemoryDisk(), .processor)
    try memory.run(rounds: 5, enrolments: 150)
    memory.report("enrolments in memory, CPU time")

    let enrolment = memory.middle(\.enrolment) / 1000
    print("  alone, us per enrolment:")
    var rest = enrolment - memory.middle(\.replay) / 1000
    for piece in try measurePieces(memory.bench, memory.sample) {
        print("    \(text(piece.microseconds)) (\(text(piece.microseconds / enrolment * 100)) %) \(piece.name)")
        rest -= piece.microseconds
    }
    print("    \(text(memory.middle(\.replay) / 1000)) SQL (replay)")
    print("    \(text(rest)) (\(text(rest / enrolment * 100)) %) all else")

    let disk = try Measurement(try DirectoryDisk(path: directory.path), .wall)
    try disk.run(rounds: 13, enrolments: 6)
    disk.report("enrolments in a directory, with syncs, wall time")
}
