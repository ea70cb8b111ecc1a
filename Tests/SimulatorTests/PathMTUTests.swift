import FabricCore
import FabricNode
import FabricScenario
import FabricTunnel
import Testing

@testable import Simulator

/// What agents learn of lines that take little.
@Suite struct PathMTUTests {
    private func run(_ link: String, packet: Int) throws -> ScenarioRun {
        let text = """
            scenario: narrow
            duration: 40s
            world:
              places: [north, south]
              link: { delay: 5ms, \(link) }
              control: { place: north }
              cluster: { name: narrow, heartbeat: 5s, probe: 1s }
              nodes:
                - { group: a, place: north }
                - { group: b, place: south }
            timeline:
              - at: 0s
                token: { name: t, uses: 2 }
              - at: 1s
                enrol: { nodes: all, token: t }
              - every: 1s
                until: 10s
                approve: { nodes: all }
              - at: 20s
                flow: { name: large, from: a, to: b, rate: 100kbit/s, packet: \(packet)B, for: 10s }
            expect:
              - name: they meet
                by: 20s
                that: { reaches: { from: a, to: b } }
            """
        let run = ScenarioRun(plan: try ScenarioFile.plan(yaml: Array(text.utf8), file: "test.yaml"))
        let verdict = run.run { _ in }
        #expect(verdict.held, "\(verdict.table)")
        return run
    }

    private func tooBig(_ run: ScenarioRun) -> UInt64 {
        run.agents.reduce(0) { $0 + ($1.agent?.tunnelCounters[.tooBig] ?? 0) }
    }

    @Test func `packets that a line does not take are refused where they come from, and their sender is told`() throws {
        let run = try run("mtu: 1400B", packet: 1360)
        let counts = try #require(run.services.flows.counts.first)
        #expect(counts.sent > 50 && counts.delivered == 0)
        #expect(tooBig(run) == counts.sent && run.networkCounters.mtuDropped == 0)
        #expect(run.agents.contains { ($0.agent?.counters.tooBigTold ?? 0) > 50 })
    }

    @Test func `packets that fit a small line arrive`() throws {
        let run = try run("mtu: 1400B", packet: 1336)
        let counts = try #require(run.services.flows.counts.first)
        #expect(counts.delivered == counts.sent && tooBig(run) == 0)
    }

    @Test func `a black hole tells nobody`() throws {
        let run = try run("black-hole: 1300B", packet: 1336)
        #expect(tooBig(run) == 0 && run.networkCounters.blackHoleDropped > 50)
    }
}
