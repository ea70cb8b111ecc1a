import FabricCore
import FabricDocument
import Testing

@testable import FabricScenario

/// A world that tests write by hand.
final class FakeWorld: WorldView {
    var phases: [NodePhase]
    var peers: [[PeerView]]
    var online: [Bool]
    var requests: [Int]
    var audits = [0]
    var flows = [FlowView(sentPackets: 0, deliveredPackets: 0)]
    var looks = 0
    var snapshots: [Int64]
    var issued: [Int64]
    var controlIsUp = true
    var awaitsCrash: Set<Int> = []
    var certificates: [CertificateView?]
    var clockOffsets: [Duration]
    var ages: [Duration]

    /// Each node has `degree` peers, those after it in a ring.
    init(nodes: Int, degree: Int) {
        phases = Array(repeating: .active, count: nodes)
        peers = (0..<nodes).map { node in
            (1...degree).map { PeerView(node: (node + $0) % nodes, hasSession: true, handshakes: 1, isUp: true) }
        }
        online = Array(repeating: true, count: nodes)
        requests = Array(repeating: 1, count: nodes)
        snapshots = Array(repeating: 3, count: nodes)
        issued = snapshots
        certificates = Array(repeating: CertificateView(age: .hours(10), left: .hours(62)), count: nodes)
        clockOffsets = Array(repeating: .seconds(-2), count: nodes)
        ages = Array(repeating: .seconds(100), count: nodes)
    }

    func awaitsCrash(_ node: Int) -> Bool { awaitsCrash.contains(node) }
    func snapshotVersion(of node: Int) -> Int64 { snapshots[node] }
    func issuedSnapshotVersion(of node: Int) -> Int64 { issued[node] }
    func certificate(of node: Int) -> CertificateView? { certificates[node] }
    func clockOffset(of node: Int) -> Duration { clockOffsets[node] }
    func sessionAge(_ index: Int, of node: Int) -> Duration? { ages[node] }

    func phase(of node: Int) -> NodePhase {
        looks += 1
        return phases[node]
    }
    func peerCount(of node: Int) -> Int { peers[node].count }
    func peer(_ index: Int, of node: Int) -> PeerView { peers[node][index] }
    func isOnline(_ node: Int) -> Bool { online[node] }
    func joinRequestCount(of node: Int) -> Int { requests[node] }
    func recordCount(of node: Int) -> Int { requests[node] }
    func auditCount(of event: Int) -> Int { audits[event] }
    func flow(_ index: Int) -> FlowView { flows[index] }
}

@Suite struct JudgeTests {
    /// A judge of one expectation over five nodes that are each other's peers.
    private func judge(_ expectation: String, steps: String = "") throws -> (Judge, FakeWorld) {
        var plan = try plan(with(steps, expect: expectation))
        plan.expectations.removeFirst()
        return (Judge(plan: plan), FakeWorld(nodes: 5, degree: 4))
    }

    private func result(_ judge: Judge) -> ExpectationResult { judge.verdict().expectations[0] }

    @Test func `within holds at the first observation that shows it`() throws {
        var (judge, world) = try judge("- within: 10s\n  after: 5s\n  that: { enrolled: all }")
        world.phases[2] = .joining
        judge.observe(world, at: .seconds(4))
        judge.observe(world, at: .seconds(6))
        #expect(!judge.isSettled)
        world.phases[2] = .active
        judge.observe(world, at: .seconds(9))
        #expect(judge.isSettled && judge.verdict().held)
        #expect(result(judge).firstHeld == .seconds(9))
        world.phases[2] = .off
        judge.observe(world, at: .seconds(15))
        #expect(judge.verdict().held)
    }

    @Test func `before its window a condition counts for nothing`() throws {
        var (judge, world) = try judge("- within: 10s\n  after: 5s\n  that: { enrolled: all }")
        judge.observe(world, at: .seconds(4))
        #expect(result(judge).outcome == .notReached)
        #expect(world.looks == 0)
    }

    @Test func `within breaks at the window's end and names the nodes`() throws {
        var (judge, world) = try judge("- by: 10s\n  that: { enrolled: all }")
        world.phases[2] = .awaitingApproval
        world.phases[4] = .refused("token-expired")
        judge.observe(world, at: .milliseconds(9_999))
        #expect(result(judge).outcome == .notReached)
        judge.observe(world, at: .seconds(10))
        #expect(result(judge).outcome == .broken)
        #expect(result(judge).why == "2 of 5 nodes: edge-3 (awaiting approval), hub (refused: token-expired)")
        #expect(judge.verdict().exitStatus == 1)
    }

    @Test func `an observation after the end counts as made at the end`() throws {
        var (judge, world) = try judge("- by: 10s\n  that: { enrolled: all }")
        judge.observe(world, at: .milliseconds(10_400))
        #expect(judge.verdict().held)
    }

    @Test func `what must stay is not held by a moment`() throws {
        var (judge, world) = try judge("- by: 20s\n  for: 5s\n  that: { enrolled: all }")
        judge.observe(world, at: .seconds(2))
        world.phases[0] = .off
        judge.observe(world, at: .seconds(4))
        world.phases[0] = .active
        judge.observe(world, at: .seconds(8))
        judge.observe(world, at: .seconds(12))
        #expect(!judge.isSettled)
        #expect(judge.nextMoment(after: .seconds(12)) == .seconds(13))
        judge.observe(world, at: .seconds(13))
        #expect(judge.verdict().held)
        #expect(result(judge).firstHeld == .seconds(8))
        #expect(result(judge).decidedAt == .seconds(13))
    }

    @Test func `always breaks at the first observation against it and only within its window`() throws {
        var (judge, world) = try judge("- always: { enrolled: all }\n  from: 10s\n  until: 20s")
        world.phases[1] = .off
        judge.observe(world, at: .seconds(9))
        world.phases[1] = .active
        judge.observe(world, at: .seconds(10))
        #expect(!judge.isSettled)
        judge.observe(world, at: .seconds(20))
        #expect(judge.isSettled && judge.verdict().held)
        var (second, other) = try self.judge("- always: { enrolled: all }\n  from: 10s\n  until: 20s")
        second.observe(other, at: .seconds(10))
        other.phases[1] = .off
        second.observe(other, at: .seconds(11))
        other.phases[1] = .active
        second.observe(other, at: .seconds(20))
        #expect(result(second).outcome == .broken && result(second).decidedAt == .seconds(11))
    }

    @Test func `a window that nobody looked into is judged at the next look`() throws {
        var (judge, world) = try judge("- always: { enrolled: all }\n  from: 10s\n  until: 20s")
        world.phases[1] = .off
        judge.observe(world, at: .seconds(30))
        #expect(result(judge).outcome == .broken)
    }

    @Test func `at looks once`() throws {
        var (judge, world) = try judge("- at: 10s\n  that: { enrolled: all }")
        world.phases[1] = .off
        judge.observe(world, at: .seconds(9))
        world.phases[1] = .active
        judge.observe(world, at: .seconds(10))
        #expect(judge.verdict().held)
    }

    @Test func `a run that ends early leaves expectations not reached, and does not hold`() throws {
        var (judge, world) = try judge("- at: 10s\n  that: { enrolled: all }")
        judge.observe(world, at: .seconds(3))
        #expect(result(judge).outcome == .notReached)
        #expect(!judge.verdict().held)
        #expect(judge.nextMoment(after: .seconds(3)) == .seconds(10))
        #expect(judge.nextMoment(after: .seconds(10)) == nil)
    }

    /// A condition, what to do to a good world so that it fails, and the reason then.
    struct Case: Sendable, CustomTestStringConvertible {
        var condition: String
        var spoil: @Sendable (FakeWorld) -> Void
        var reason: String
        var testDescription: String { condition }
    }

    static let cases = [
        Case(
            condition: "tunnels: { nodes: all, at-least: 4 }", spoil: { $0.peers[1][2].hasSession = false },
            reason: "edge-2 (3 tunnels, active)"),
        Case(
            condition: "reaches: { from: all, to: policy }", spoil: { $0.peers[1][2].isUp = false },
            reason: "1 of 5 nodes: edge-2 (can't reach hub)"),
        Case(
            condition: "reaches: { from: hub, to: policy }", spoil: { $0.peers[4] = [] },
            reason: "hub (has no peers, active)"),
        Case(
            condition: "reaches: { from: all, to: all }", spoil: { $0.peers[0][0].isUp = false },
            reason: "edge-1 (can't reach edge-2)"),
        Case(
            condition: "reaches: { from: edge, to: hub }", spoil: { $0.peers[0].removeLast() },
            reason: "edge-1 (can't reach hub; hub no peer by policy)"),
        Case(
            condition: "not: { unreachable: { from: edge, to: hub } }",
            spoil: { for node in 0..<4 { $0.peers[node] = [] } }, reason: "this holds: edge can't reach hub"),
        Case(
            condition: "not: { rekeyed: { nodes: all } }",
            spoil: { for node in 0..<5 { for peer in 0..<4 { $0.peers[node][peer].handshakes = 2 } } },
            reason: "this holds: all rekeyed 1 times or more"),
        Case(condition: "nodes-online: all", spoil: { $0.online[3] = false }, reason: "edge-4 (offline)"),
        Case(
            condition: "not: { nodes-offline: hub }", spoil: { $0.online[4] = false }, reason: "this holds: hub offline"
        ),
        Case(
            condition: "requests: { nodes: all, count: 1 }", spoil: { $0.requests[3] = 2 },
            reason: "edge-4 (2 join requests)"),
        Case(
            condition: "records: { nodes: all, at-most: 1 }", spoil: { $0.requests[3] = 2 },
            reason: "edge-4 (2 records)"),
        Case(
            condition: "audit: { event: x, at-most: 2 }", spoil: { $0.audits[0] = 3 },
            reason: "“x” stands 3 times in the audit, expected at most 2"),
        Case(
            condition: "any: [{ enrolled: hub }, { nodes-offline: hub }]", spoil: { $0.phases[4] = .off },
            reason: "none holds: hub (off); hub (online)"),
        Case(
            condition: "all: [{ enrolled: hub }, { nodes-online: hub }]", spoil: { $0.online[4] = false },
            reason: "hub (offline)"),
        Case(
            condition: "phase: { nodes: edge, is: active }", spoil: { $0.phases[1] = .awaitingApproval },
            reason: "edge-2 (awaiting approval)"),
        Case(
            condition: "peers: { nodes: all, count: 4 }", spoil: { $0.peers[1].removeLast() },
            reason: "edge-2 (3 peers)"),
        Case(
            condition: "rekeyed: { nodes: all, at-most: 1 }", spoil: { $0.peers[1][2].handshakes = 3 },
            reason: "edge-2 (3 handshakes with hub)"),
        Case(
            condition: "snapshots-agree: all", spoil: { $0.snapshots[1] = 2 }, reason: "edge-2 (has snapshot 2 of 3)"),
        Case(
            condition: "snapshot-version: { nodes: hub, at-most: 3 }", spoil: { $0.snapshots[4] = 4 },
            reason: "hub (has snapshot 4)"),
        Case(
            condition: "certificate: { nodes: all, age-at-most: 50h, left-at-least: 20h }",
            spoil: { $0.certificates[1]!.left = .hours(19) }, reason: "edge-2 (certificate 10h old, 19h left)"),
        Case(
            condition: "certificate: { nodes: all, age-at-most: 50h }", spoil: { $0.certificates[1] = nil },
            reason: "edge-2 (has no certificate)"),
        Case(
            condition: "clock-offset: { nodes: all, at-most: 2s }", spoil: { $0.clockOffsets[0] = .seconds(-3) },
            reason: "edge-1 (off by -3s)"),
        Case(
            condition: "session-age: { nodes: all, at-most: 120s }", spoil: { $0.ages[0] = .seconds(121) },
            reason: "edge-1 (a session is 2m1s old)"),
        Case(condition: "control: up", spoil: { $0.controlIsUp = false }, reason: "the control plane is down"),
        Case(
            condition: "not: { control: down }", spoil: { $0.controlIsUp = false },
            reason: "this holds: control plane down"),
        Case(
            condition: "count: { of: { enrolled: all }, at-least: 4 }",
            spoil: { ($0.phases[0], $0.phases[4]) = (.off, .off) }, reason: "true of 3 of 5 nodes, expected at least 4"),
        Case(
            condition: "reachable: { from: all, to: all, at-least: 90% }",
            spoil: { for peer in 0..<3 { $0.peers[1][peer].isUp = false } },
            reason: "17 of 20 pairs reach each other, expected at least 90%"),
        Case(
            condition: "reachable: { from: edge, to: policy, at-least: 100% }",
            spoil: { $0.peers[1][0].isUp = false }, reason: "15 of 16 pairs reach each other, expected at least 100%"),
        Case(
            condition: "reachable: { from: hub, to: edge, at-least: 50%, at-most: 100% }",
            spoil: { for peer in 0..<4 { $0.peers[4][peer].isUp = false } },
            reason: "0 of 4 pairs reach each other, expected at least 50%"),
        Case(
            condition: "not: { refused: { nodes: hub, reason: token-expired } }",
            spoil: { $0.phases[4] = .refused("token-expired") }, reason: "this holds: hub refused with token-expired"),
    ]

    @Test(arguments: cases)
    func `each condition holds in a good world and says why it fails in another`(_ example: Case) throws {
        var (judge, world) = try judge("- at: 10s\n  that: { \(example.condition) }")
        judge.observe(world, at: .seconds(10))
        #expect(judge.verdict().held, "\(result(judge))")
        var (second, _) = try self.judge("- at: 10s\n  that: { \(example.condition) }")
        example.spoil(world)
        second.observe(world, at: .seconds(10))
        #expect(result(second).outcome == .broken)
        #expect(result(second).why?.contains(example.reason) == true, "\(result(second).why ?? "")")
    }

    @Test func `an unreachable pair, a rekey and a flow are seen`() throws {
        let flow = "- at: 5s\n  flow: { name: f, from: hub, to: edge-1, rate: 1Mbit/s, for: 5s }"
        var (judge, world) = try judge("- at: 10s\n  that: { flow: { name: f, delivered: 99% } }", steps: flow)
        world.flows[0] = FlowView(sentPackets: 1000, deliveredPackets: 989)
        judge.observe(world, at: .seconds(10))
        #expect(result(judge).why == "989 of 1000 packets of f arrived, expected 99%")
        (judge, world) = try self.judge("- at: 10s\n  that: { flow: { name: f, delivered: 99% } }", steps: flow)
        world.flows[0] = FlowView(sentPackets: 1000, deliveredPackets: 990)
        judge.observe(world, at: .seconds(10))
        #expect(judge.verdict().held)
        (judge, world) = try self.judge("- at: 10s\n  that: { unreachable: { from: hub, to: edge } }")
        for peer in 0..<3 { world.peers[4][peer].isUp = false }
        judge.observe(world, at: .seconds(10))
        #expect(result(judge).why == "hub (reaches edge-4)")
        (judge, world) = try self.judge("- at: 10s\n  that: { rekeyed: { nodes: hub, at-least: 2 } }")
        judge.observe(world, at: .seconds(10))
        #expect(result(judge).why == "hub (1 handshakes with edge-1, edge-2, edge-3, …)")
    }

    @Test func `at most ten nodes are named`() throws {
        let source = base.replacing("count: 4", with: "count: 40")
        let plan = try plan(source)
        var judge = Judge(plan: plan)
        let world = FakeWorld(nodes: 41, degree: 4)
        world.phases = Array(repeating: .off, count: 41)
        judge.observe(world, at: .seconds(30))
        #expect(result(judge).why?.hasPrefix("41 of 41 nodes: edge-1 (off), ") == true)
        #expect(result(judge).why?.hasSuffix("edge-10 (off), and 31 more") == true)
    }

    @Test func `a condition that still fails costs one look`() throws {
        var plan = try plan(base.replacing("count: 4", with: "count: 1000"))
        plan.expectations[0].window = .within(from: .zero, until: .seconds(60), stays: .zero)
        var judge = Judge(plan: plan)
        let world = FakeWorld(nodes: 1001, degree: 1)
        world.phases[700] = .joining
        judge.observe(world, at: .seconds(1))
        let first = world.looks
        judge.observe(world, at: .seconds(2))
        #expect(first > 700 && world.looks == first + 1)
    }

    @Test func `the report has the fields that programs read`() throws {
        var (judge, world) = try judge("- name: here\n  by: 10s\n  that: { enrolled: all }")
        judge.observe(world, at: .milliseconds(1500))
        let plan = try plan(base)
        var report = RunReport(plan: plan, host: .simulator, verdict: judge.verdict())
        report.traceHash = "00ff"
        report.events = 12
        let tree = try JSON.parse(JSON.encode(report))
        for key in [
            "held", "expectations", "traceHash", "seed", "nodes", "events", "virtualSeconds", "wallSeconds",
            "peakResidentBytes", "scenario", "host",
        ] { #expect(tree[key] != nil, "\(key)") }
        #expect(tree["held"]?.bool == true)
        #expect(tree["expectations"]?.array?[0]["outcome"]?.string == "held")
        #expect(tree["expectations"]?.array?[0]["firstHeldSeconds"]?.value == .number(1.5))
        #expect(judge.verdict().table == "held         1.5s  here\n")
        #expect(report.summary.contains("held: 1 of 1 expectations"))
    }
}
