// Many hosts that enrol at once, at the service's boundary: their requests share transactions. Timed is everything that the
// control plane does until the last host has its snapshot; what hosts and operator compute is prepared beforehand. The goal is
// 10,000 hosts in a minute.

import FabricControl
import FabricCore
import FabricWire

func measureStorm(_ store: any Store, _ name: String, hosts count: Int, _ clock: Clock) throws -> Bool {
    let storm = try Storm(store)
    let spent = try storm.enrol(count, clock)
    let each = spent / Double(count)
    let minute = each * 10_000 / 1e9
    print(
        "\(name): \(count) hosts that enrol at once, \(text(1e9 / each)) a second with their snapshots;",
        "10,000 in \(text(minute)) s, the goal is 60")
    print(
        "  us per host:",
        storm.spent.map { "\($0.name) \(text($0.nanoseconds / Double(count) / 1000))" }.joined(separator: ", "))
    return minute <= 60
}

private final class Storm {
    private let bench: ControlBench
    private let service: ControlService
    private var now: Now
    private var nextID: UInt64 = 1
    private(set) var spent: [(name: String, nanoseconds: Double)] = []

    init(_ store: any Store) throws {
        bench = try ControlBench(store)
        service = ControlService(bench.plane)
        now = bench.now
        var actions: [ControlService.Action] = []
        service.handle(.started, now: now, into: &actions)
    }

    func enrol(_ count: Int, _ clock: Clock) throws -> Double {
        var hosts = bench.makeHosts(count)
        for step in Step.allCases {
            let requests = try bench.requests(step, hosts)
            var replies: [HTTPReply] = []
            let taken = try clock.measure { replies = try run(requests) }
            spent.append((step.rawValue, taken))
            if step == .enrol { try bench.note(replies, in: &hosts) }
        }
        let taken = clock.measure { finish() }
        spent.append(("snapshots", taken))
        return spent.reduce(0) { $0 + $1.nanoseconds }
    }

    private func run(_ requests: [HTTPRequest]) throws -> [HTTPReply] {
        var actions: [ControlService.Action] = []
        for request in requests {
            service.handle(.request(.init(nextID), ControlRequest(request)), now: now, into: &actions)
            nextID += 1
        }
        now.monotonic = now.monotonic + bench.plane.settings.requestWait
        while service.nextDeadline()?.reason == .requests { service.handleDeadline(now: now, into: &actions) }
        let replies = actions.map { action in
            switch action {
            case .reply(_, let reply): reply
            }
        }
        guard replies.count == requests.count else {
            throw BenchError(description: "\(replies.count) of \(requests.count) requests were answered")
        }
        if let refused = replies.first(where: { !$0.isSuccess }) {
            throw BenchError(description: String(decoding: refused.body, as: UTF8.self))
        }
        return replies
    }

    private func finish() {
        var actions: [ControlService.Action] = []
        while let deadline = service.nextDeadline(), deadline.reason == .snapshotFlush {
            now.monotonic = max(now.monotonic, deadline.instant)
            service.handleDeadline(now: now, into: &actions)
        }
    }
}
