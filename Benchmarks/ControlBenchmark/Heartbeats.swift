// Heartbeats a second, at the service's boundary: each is decoded, its sender is looked up and judged, its state stored, and
// it has its reply. In batches, as `ControlService` takes them, and one by one, as `ControlPlane.handle` would. The peer is
// the batches' own statements once more on the same database, with nothing around them.

import FabricControl
import FabricCore
import FabricDocument
import FabricIdentity
import FabricWire

/// Of one round, per heartbeat.
struct Beats {
    var nanoseconds: Double
    var statements: Double
    var replay: Double
}

final class HeartbeatMeasurement {
    /// On one core; with the statements that a batch of 512 leaves room for.
    static let perSecond = 20_000.0
    static let statements = 0.01

    private let bench: ControlBench
    private let service: ControlService
    private let clock: Clock
    private let nodes: [CertificateFacts]
    private var now: Now
    private var sequence: Int64 = 0
    private var nextID: UInt64 = 1

    init(_ store: any Store, nodes count: Int, _ clock: Clock) throws {
        self.clock = clock
        bench = try ControlBench(store)
        service = ControlService(bench.plane)
        now = bench.now
        var hosts = bench.makeHosts(count)
        var facts: [CertificateFacts] = []
        for step in Step.allCases {
            for reply in try bench.run(step, &hosts, clock).replies where step == .status {
                let grant = try JSON.decode(ControlAPI.EnrolmentStatus.self, from: reply.body).grant
                facts.append(try bench.certificates.inspect(grant!.certificateChain[0].bytes))
            }
        }
        nodes = facts
        while try !bench.plane.flushSnapshots(now: now).isComplete {}
        // The first heartbeat of each, which makes it online.
        _ = try oneByOne()
    }

    private func requests() -> [ControlRequest] {
        sequence += 1
        now.monotonic = now.monotonic + .seconds(15)
        now.wall = now.wall + .seconds(15)
        let body = ControlAPI.Heartbeat(
            sequence: sequence, appliedVersion: 1, appliedHash: nil, peersUp: 4,
            clockMilliseconds: now.wall.nanoseconds / 1_000_000, record: nil)
        let http = HTTPRequest(.post, "/v1/node/heartbeat", body: JSON.encodeOwn(body))
        return nodes.map { ControlRequest(http, peer: $0) }
    }

    /// Nanoseconds per heartbeat.
    func oneByOne() throws -> Double {
        let requests = requests()
        return try clock.measure {
            for request in requests {
                guard case .reply(let reply) = bench.plane.handle(request: request, now: now).outcome, reply.isSuccess
                else { throw BenchError(description: "a heartbeat was not stored") }
            }
        } / Double(nodes.count)
    }

    func inBatches() throws -> Beats {
        let requests = requests()
        var actions: [ControlService.Action] = []
        actions.reserveCapacity(requests.count)
        let spent = clock.measure {
            for request in requests {
                service.handle(.request(.init(nextID), request), now: now, into: &actions)
                nextID += 1
            }
            now.monotonic = now.monotonic + bench.plane.settings.heartbeatWait
            service.handleDeadline(now: now, into: &actions)
        }
        let stored = actions.count { if case .reply(_, let reply) = $0 { reply.isSuccess } else { false } }
        guard stored == nodes.count else {
            throw BenchError(description: "\(stored) of \(nodes.count) heartbeats were stored")
        }
        let (statements, replay) = try replay()
        // With three steps of time to a round, each kind of step has its turn where history is kept: once in twenty.
        _ = self.requests()
        return Beats(nanoseconds: spent / Double(nodes.count), statements: statements, replay: replay)
    }

    /// Stores another round untimed, counts its statements, BEGIN and COMMIT among them, and times them alone.
    private func replay() throws -> (statements: Double, nanoseconds: Double) {
        let requests = requests()
        var actions: [ControlService.Action] = []
        let known = bench.store.transactions.count
        bench.store.isRecording = true
        for request in requests {
            service.handle(.request(.init(nextID), request), now: now, into: &actions)
            nextID += 1
        }
        service.handleDeadline(
            now: Now(monotonic: now.monotonic + bench.plane.settings.heartbeatWait, wall: now.wall), into: &actions)
        bench.store.isRecording = false
        let statements = bench.store.transactions[known...]
        let count = statements.reduce(0) { $0 + $1.count + 2 }
        let spent = try clock.measure { try bench.store.replay(statements) }
        return (Double(count) / Double(nodes.count), spent / Double(nodes.count))
    }

    /// Prints means, in which each heartbeat that is kept as history has its part; true when the goals are met.
    func report(_ name: String, rounds: Int) throws -> Bool {
        let single = median(try (0..<3).map { _ in try oneByOne() })
        let beats = try (0..<rounds).map { _ in try inBatches() }
        let batched = mean(beats.map(\.nanoseconds))
        let statements = mean(beats.map(\.statements))
        print("\(name), \(nodes.count) nodes:")
        print(
            "  in batches  \(text(1e9 / batched)) a second, \(text(batched / 1000, decimals: 1)) us each,",
            "\(text(statements * 1000, decimals: 1)) statements per thousand, BEGIN and COMMIT among them")
        print(
            "  one by one  \(text(1e9 / single)) a second, \(text(single / 1000, decimals: 1)) us each:",
            "\(text(single / batched, decimals: 1)) times a batch's")
        print(
            "  replay      \(text(mean(beats.map(\.replay)) / 1000, decimals: 1)) us for a heartbeat's part of the",
            "statements; ratio \(text(batched / mean(beats.map(\.replay)), decimals: 2))")
        let isMet = 1e9 / batched >= Self.perSecond && statements <= Self.statements
        print(isMet ? "  met    " : "  MISSED ", "\(text(Self.perSecond)) a second with 10 statements per thousand")
        return isMet
    }
}
