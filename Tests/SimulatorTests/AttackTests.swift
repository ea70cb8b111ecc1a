import FabricCore
import FabricNode
import FabricScenario
import FabricWire
import Testing

@testable import FabricTunnel
@testable import Simulator

@Suite struct AttackTests {
    private func instant(_ milliseconds: Int64) -> Instant { .zero + .milliseconds(milliseconds) }

    @Test func `who works on each handshake of a flood is caught, and one at the limit is not`() {
        var atLimit = LoadShed()
        // 500 a second without an end, and at one seam of two seconds twice as many.
        for number in 0..<20_000 as Range<Int64> { #expect(atLimit.worked(at: instant(number * 2)) == nil) }
        var flooded = LoadShed()
        let first = (0..<5_000 as Range<Int64>).first { flooded.worked(at: instant($0)) != nil }
        #expect(first.map { (1_900...2_100).contains($0) } == true)
        flooded.booted()
        #expect(flooded.worked(at: instant(9_000)) == nil)
    }

    @Test func `a handshake that was refused, that waits, or that carries a cookie, is not counted as work`() {
        var datagram = [UInt8](repeating: 0, count: HandshakeOnce.initiationLength)
        let none = TunnelCounters()
        var opened = none
        opened.handshakesOpened = 1
        #expect(datagram.withUnsafeBytes { LoadShed.counts($0, none, opened) })
        #expect(!datagram.withUnsafeBytes { LoadShed.counts($0, none, none) })
        // One was opened in the same event, and this one refused.
        for reason in [DropReason.invalidMAC1, .cookieRequired, .rateLimited, .handshakeQueueFull] {
            var refused = opened
            refused[reason] = 1
            #expect(!datagram.withUnsafeBytes { LoadShed.counts($0, none, refused) }, "\(reason)")
        }
        datagram[140] = 1
        #expect(!datagram.withUnsafeBytes { LoadShed.counts($0, none, opened) })
    }

    @Test func `of handshakes that waited, those are counted as work that were opened without a cookie`() {
        var bare = [UInt8](repeating: 0, count: HandshakeOnce.initiationLength)
        bare[0] = 1
        var withCookie = bare
        withCookie[147] = 1
        let response = [2] + [UInt8](repeating: 0, count: 91)
        let none = TunnelCounters()
        var opened = none
        opened.handshakesOpened = 3
        #expect(LoadShed.counts([bare, bare, bare], none, opened) == 3)
        #expect(LoadShed.counts([bare, withCookie, response, bare, bare], none, opened) == 1)
        #expect(LoadShed.counts([withCookie, withCookie, response], none, opened) == 0)
        #expect(LoadShed.counts([bare, bare], none, none) == 0)
    }

    @Test func `of handshakes that waited, those were taken that are answered`() {
        func initiation(_ sender: UInt8, _ last: UInt8 = 0) -> [UInt8] {
            [1, 0, 0, 0, sender, 0, 0, 0] + [UInt8](repeating: 0, count: 139) + [last]
        }
        func response(to receiver: UInt8) -> [UInt8] {
            [2, 0, 0, 0, 99, 0, 0, 0, receiver, 0, 0, 0] + [UInt8](repeating: 0, count: 80)
        }
        let rule = AnsweredInitiations()
        func answered(_ datagram: [UInt8]) -> [UInt8]? { datagram.withUnsafeBytes { rule.sent($0) } }
        rule.cameTo([initiation(1), response(to: 5), initiation(2), initiation(2, 1), initiation(3)])
        #expect(answered(response(to: 2)) == initiation(2) && answered(response(to: 2)) == initiation(2, 1))
        #expect(answered(response(to: 2)) == nil && answered(response(to: 5)) == nil)
        #expect(answered(initiation(1)) == nil && answered(response(to: 1)) == initiation(1))
        rule.turnEnded()
        #expect(answered(response(to: 3)) == nil)
        // An answer to one that was taken on arrival is not one to its repetition, which waited and was refused.
        initiation(4).withUnsafeBytes { rule.tookArrived($0) }
        rule.cameTo([initiation(4)])
        #expect(answered(response(to: 4)) == nil && answered(response(to: 4)) == initiation(4))
    }

    @Test func `requests that fail again and again at once are caught, those that wait longer and longer are not`() {
        var patient = RetriesBounded()
        // Four kinds of request, each twice a second: more than any honest agent.
        for number in 0..<4_000 as Range<Int64> { #expect(patient.failed(at: instant(number * 125)) == nil) }
        var storm = RetriesBounded()
        let first = (0..<1_000 as Range<Int64>).first { storm.failed(at: instant($0 * 2)) != nil }
        #expect(first.map { $0 < 80 } == true)
    }

    @Test func `a record that is older than one before is caught, until the node boots anew`() {
        func record(_ sequence: Int64) -> PeerRecord {
            PeerRecord(
                cluster: ClusterID("c")!, node: NodeID("n")!, sequence: sequence, endpoints: [], lifetimeSeconds: 60)
        }
        var rule = RecordsForward()
        #expect(rule.holds([record(7)]) == nil && rule.holds([record(7)]) == nil && rule.holds([record(9)]) == nil)
        #expect(rule.holds([record(8)]) != nil)
        rule.booted()
        #expect(rule.holds([record(8)]) == nil)
        // A peer that was gone may come back with what is known of it.
        #expect(rule.holds([]) == nil && rule.holds([record(3)]) == nil)
    }

    private func run(_ steps: String) throws -> (verdict: Verdict, run: ScenarioRun) {
        let source = """
            scenario: attacked
            duration: 20s
            world:
              places: [north, south]
              cluster: { probe: 1s }
              nodes:
                - { group: edge, places: [north, south], count: 2 }
            timeline:
              - { at: 0s, token: { name: t, uses: 2 } }
              - { at: 1s, enrol: { nodes: all, token: t } }
              - { every: 1s, until: 5s, approve: { nodes: all } }
            \(steps)
            expect:
              - { at: 20s, that: { reaches: { from: all, to: all } } }
            """
        let run = ScenarioRun(plan: try ScenarioFile.plan(yaml: Array(source.utf8), file: "attacked.yaml"))
        return (run.run { _ in }, run)
    }

    @Test func `only runs with somebody on the path have a host for him`() throws {
        let calm = try run("  - { at: 9s, capture-control: { nodes: all, sends: stranger, for: 2s } }")
        #expect(calm.run.attacker == nil && calm.run.host(named: Attacker.name) == nil)
        let attacked = try run("  - { at: 2s, replay: { to: all, after: 5ms, source: forged, for: 9s } }")
        #expect(calm.verdict.held && attacked.verdict.held)
        // Probes each way every second, in both directions, and keepalives' answers.
        #expect(try #require(attacked.run.attacker).replayed > 20)
    }

    @Test func `garbage takes nothing of a processor that packets keep busy`() throws {
        let flow = "  - { at: 8s, flow: { name: f, from: edge-2, to: edge-1, rate: 160kbit/s, packet: 100B, for: 5s } }"
        let slow = "  - { at: 8s, slow-cpu: { nodes: edge-1, per-event: 0s, per-packet: 10ms, for: 5s } }"
        let garbage = "  - { at: 8s, flood: { to: edge-1, what: garbage, interval: 5ms, source: forged, for: 5s } }"
        // A hundred packets a second is what it can do, and two hundred come; its socket keeps some 245 for later.
        let busy = try run([flow, slow].joined(separator: "\n")).run
        let counts = busy.services.flows.counts[0]
        #expect(counts.sent == 1000 && (700...800).contains(counts.delivered), "\(counts)")
        // As fast as ever it does all.
        let fast = try run(flow).run.services.flows.counts[0]
        #expect(fast.sent == fast.delivered)
        let attacked = try run([flow, garbage].joined(separator: "\n")).run
        #expect(attacked.services.flows.counts[0] == fast)
        let counters = try #require(attacked.agents[0].agent?.tunnelCounters)
        #expect(counters[.unknownReceiverIndex] + counters[.malformedMessage] >= 950)
        #expect(counters.handshakesOpened < 10)
    }

    @Test func `a capture that had nothing to send is told as a trouble`() throws {
        // There is one snapshot of each node only, and nothing older.
        let idle = try run("  - { at: 2s, capture-control: { nodes: edge-1, sends: old-snapshot, for: 100ms } }")
        #expect(idle.run.troubles.count == 1 && idle.run.troubles.first?.contains("had no old-snapshot") == true)
        let busy = try run("  - { at: 9s, capture-control: { nodes: edge-1, sends: foreign-snapshot, for: 2s } }")
        #expect(busy.run.troubles.isEmpty && busy.verdict.held)
    }
}
