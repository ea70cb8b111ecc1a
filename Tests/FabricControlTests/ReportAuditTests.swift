import FabricControl
import FabricCore
import FabricDocument
import FabricWire
import Testing

/// A member may report what it likes in its heartbeats, and as often as it likes.
@Suite("Audits of what nodes report")
struct ReportAuditTests {
    private static let clock = "its clock is"
    private static let raised = "node snapshot version raised"

    private func member(_ bench: Bench) throws -> TestHost {
        try bench.activateCluster()
        let host = try bench.join("node", try bench.makeToken(lifetime: .seconds(86_400)).token)
        bench.advance(.seconds(1))
        return host
    }

    /// One heartbeat with a clock so many seconds off; returns the version that it is told.
    private func beat(_ host: TestHost, _ bench: Bench, off: Int64 = 0, applied: Int64 = 0) throws -> Int64 {
        let reply = try bench.reply(
            host.heartbeat(at: bench.now.wall + .seconds(off), applied: applied), peer: host.facts)
        #expect(reply.status == 200)
        return try JSON.decode(ControlAPI.HeartbeatReply.self, from: reply.body).snapshotVersion
    }

    private func clockDetails(_ bench: Bench) throws -> [String] {
        try bench.audit().map(\.detail).filter { $0.hasPrefix(Self.clock) }
    }

    private func raiseDetails(_ bench: Bench) throws -> [String] {
        try bench.audit().filter { $0.event == Self.raised }.map(\.detail)
    }

    /// Changes between online and offline.
    private func healthDetails(_ bench: Bench) throws -> [String] {
        try bench.audit().filter { $0.event == "node health changed" }.map(\.detail).filter {
            !$0.hasPrefix(Self.clock)
        }
    }

    /// How many reports the events say were counted only.
    private func untold(_ details: [String]) -> Int {
        details.reduce(0) { sum, detail in
            sum + (detail.firstMatch(of: /\((\d+) untold since/).flatMap { Int($0.1) } ?? 0)
        }
    }

    @Test func `a member that reports another clock and a foreign snapshot each time fills no audit`() throws {
        let bench = try Bench()
        let host = try member(bench)
        var version: Int64 = 1
        let beats = 300
        for index in 0..<beats {
            version = try beat(host, bench, off: index % 2 == 0 ? 300 : 0, applied: version + 5)
            bench.advance(.seconds(6) - bench.settings.heartbeatWait)
        }
        // At the start, after 600 s and after 1,200 s.
        #expect(try clockDetails(bench).count == 3)
        #expect(try raiseDetails(bench).count == 3)
        #expect(try raiseDetails(bench)[0] == "from 1 to 7: the node has applied 6, which is newer")
        // It behaves from here on, and what was counted is told.
        for _ in 0..<60 {
            version = try beat(host, bench)
            bench.advance(.seconds(15))
        }
        let clocks = try clockDetails(bench)
        let raises = try raiseDetails(bench)
        #expect(clocks.count == 4 && raises.count == 4)
        #expect(clocks.last?.hasPrefix("its clock is right now (") == true, "\(clocks)")
        #expect(raises.last?.hasPrefix("the version is \(version): ") == true, "\(raises)")
        // The last event of each is no report of its own; every report is in one event or in one count.
        #expect(untold(clocks) + 3 == beats)
        #expect(untold(raises) + 3 == beats)
        try bench.verifyAudit()
    }

    @Test func `the interval survives a restart of the control plane`() throws {
        let bench = try Bench()
        let host = try member(bench)
        _ = try beat(host, bench, off: 300)
        for _ in 0..<4 {
            try bench.restart()
            _ = try beat(host, bench)
            _ = try beat(host, bench, off: 300)
        }
        #expect(try clockDetails(bench) == ["its clock is 300 s off"])
    }

    @Test func `what was counted of a node is told when it falls silent, once`() throws {
        let bench = try Bench()
        let host = try member(bench)
        for off: Int64 in [300, 0, 300, 0] { _ = try beat(host, bench, off: off) }
        bench.advance(.seconds(61))
        let silence = try bench.audit().map(\.detail).filter { $0.hasPrefix("online → offline") }
        #expect(silence.count == 1)
        #expect(silence[0].contains("(changes of its clock: 3 untold since 2027-01-15"), "\(silence)")
        _ = try beat(host, bench)
        bench.advance(.seconds(61))
        #expect(untold(try bench.audit().map(\.detail)) == 0)
    }

    @Test func `a member that comes and goes fills no audit, and where it ends is told`() throws {
        let bench = try Bench()
        let host = try member(bench)
        let rounds = 40
        for _ in 0..<rounds {
            _ = try beat(host, bench)
            // After 45 s it counts as silent.
            bench.advance(.seconds(61))
        }
        bench.advance(.seconds(600))
        let details = try healthDetails(bench)
        // What falls due while it is online and sends nothing waits for its next change: 45, 655, 1,265 and 1,875 s after
        // the first heartbeat. The last, at 2,475 s, follows no change.
        #expect(details.count == 6, "\(details)")
        #expect(details.prefix(2) == ["new → online", "online → offline: 3 heartbeats missing"])
        #expect(details.dropFirst(2).dropLast().allSatisfy { $0.hasPrefix("online → offline: 3 heartbeats missing (") })
        #expect(details.last?.hasPrefix("offline now (") == true)
        // Every change is in one event or in one count.
        #expect(untold(details) + details.count - 1 == 2 * rounds)
        bench.advance(.seconds(3600))
        #expect(try healthDetails(bench) == details, "nothing is left to tell")
        try bench.verifyAudit()
    }

    @Test func `a member that comes back and stays is told to be online when the interval ends`() throws {
        let bench = try Bench()
        let host = try member(bench)
        for _ in 0..<3 {
            _ = try beat(host, bench)
            bench.advance(.seconds(61))
        }
        for _ in 0..<45 {
            _ = try beat(host, bench)
            bench.advance(.seconds(15))
        }
        let details = try healthDetails(bench)
        #expect(details.count == 3, "\(details)")
        #expect(details.last?.hasPrefix("online now (5 untold since") == true, "\(details)")
    }

    @Test func `a silence whose recording has an unknown outcome is told all the same`() throws {
        let bench = try Bench()
        let host = try member(bench)
        _ = try beat(host, bench)
        bench.advance(.seconds(61))
        _ = try beat(host, bench)
        bench.advance(.seconds(44))
        bench.store.next = .unknownButCommitted
        bench.advance(.seconds(700))
        let details = try healthDetails(bench)
        #expect(details.count == 3)
        #expect(details.last?.hasPrefix("offline now (2 untold since") == true, "\(details)")
    }

    @Test func `a silent member's last state is told after a restart of the control plane, once`() throws {
        let bench = try Bench()
        let host = try member(bench)
        for _ in 0..<2 {
            _ = try beat(host, bench)
            bench.advance(.seconds(61))
        }
        #expect(try healthDetails(bench).count == 2)
        for _ in 0..<3 {
            try bench.restart()
            bench.advance(.seconds(300))
        }
        let details = try healthDetails(bench)
        #expect(details.count == 3)
        #expect(details.last?.hasPrefix("offline now (2 untold since") == true, "\(details)")
    }

    @Test func `a change of the clock is told at once, and a later one after the interval`() throws {
        let bench = try Bench()
        let host = try member(bench)
        _ = try beat(host, bench)
        #expect(try clockDetails(bench) == [])
        _ = try beat(host, bench, off: -300)
        bench.advance(.seconds(601))
        _ = try beat(host, bench)
        #expect(try clockDetails(bench) == ["its clock is -300 s off", "its clock is right again"])
    }
}
