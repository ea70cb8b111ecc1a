import FabricCore
import FabricScenario
import Foundation
import Simulator
import Testing

/// `scripts/regress` runs all that are shipped, and in a debug build too those that take less time than the last.
private let small = ["two-sites", "lost-answer-enrolment", "nat-behaviours"]

private func plan(_ name: String, seed: UInt64? = nil) throws -> Plan {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
    let file = root.appendingPathComponent("Scenarios/\(name).yaml")
    var plan = try ScenarioFile.plan(yaml: Array(Data(contentsOf: file)), file: "\(name).yaml")
    if let seed { plan.seed = seed }
    return plan
}

private func plan(yaml: String) throws -> Plan { try ScenarioFile.plan(yaml: Array(yaml.utf8), file: "test.yaml") }

@Suite(.serialized) struct ScenarioRunTests {
    @Test(arguments: small) func `a shipped scenario holds, without trouble`(name: String) throws {
        let run = ScenarioRun(plan: try plan(name))
        let verdict = run.run { _ in }
        #expect(verdict.held, "\(verdict.table)\nreplay: rap-sim run Scenarios/\(name).yaml --seed \(run.plan.seed)")
        #expect(run.troubles == [])
    }

    @Test func `the same seed gives the same trace, another seed another one`() throws {
        func hash(_ seed: UInt64) throws -> String {
            let run = ScenarioRun(plan: try plan("two-sites", seed: seed))
            _ = run.run { _ in }
            return run.traceHash
        }
        let first = try hash(1)
        #expect(try hash(1) == first)
        #expect(try hash(2) != first)
    }

    @Test func `a restarted world with a crashed control plane in its middle repeats too`() throws {
        let text = """
            scenario: outage
            duration: 60s
            world:
              places: [north, south]
              control: { place: north }
              cluster: { name: outage, heartbeat: 5s, probe: 1s }
              nodes:
                - { group: node, place: south, count: 3 }
            timeline:
              - at: 0s
                token: { name: t, uses: 3 }
              - at: 1s
                enrol: { nodes: all, token: t }
              - every: 1s
                until: 30s
                approve: { nodes: all }
              - at: 2s
                stop-control: { for: 5s }
              - at: 40s
                crash: { nodes: node-2, for: 4s }
            expect:
              # Connections to a host without power die in silence: the next request finds out, at its own time-out.
              - by: 35s
                that: { enrolled: all }
              - at: 60s
                that: { reaches: { from: all, to: all } }
            """
        let runs = try (0..<2).map { _ in ScenarioRun(plan: try plan(yaml: text)) }
        let verdicts = runs.map { run in run.run { _ in } }
        #expect(verdicts.allSatisfy { $0.held }, "\(verdicts[0].table)")
        #expect(runs[0].traceHash == runs[1].traceHash)
        #expect(runs[0].eventCount == runs[1].eventCount)
    }

    @Test func `an expectation that can't come true is broken, with the nodes named`() throws {
        let text = """
            scenario: hopeless
            duration: 10s
            world:
              places: [north, south]
              control: { place: north }
              nodes:
                - { group: left, place: north, count: 1 }
                - { group: right, place: south, count: 1 }
            timeline:
              - at: 0s
                token: { name: t, uses: 2 }
              - at: 0s
                partition: { between: [north, south] }
              - at: 1s
                enrol: { nodes: all, token: t }
              - every: 1s
                until: 9s
                approve: { nodes: all }
            expect:
              - by: 9s
                that: { reaches: { from: left, to: right } }
            """
        let run = ScenarioRun(plan: try plan(yaml: text))
        let verdict = run.run { _ in }
        #expect(!verdict.held)
        #expect(verdict.expectations[0].why?.contains("left-1") == true, "\(verdict.table)")
    }

    @Test func `a flow through a tunnel arrives, over a line that loses nothing`() throws {
        let text = """
            scenario: flow
            duration: 30s
            world:
              places: [north, south]
              control: { place: north }
              nodes:
                - { group: left, place: north }
                - { group: right, place: south }
            timeline:
              - at: 0s
                token: { name: t, uses: 2 }
              - at: 1s
                enrol: { nodes: all, token: t }
              - every: 1s
                until: 8s
                approve: { nodes: all }
              - at: 15s
                flow: { name: stream, from: left, to: right, rate: 1Mbit/s, packet: 1000B, for: 5s }
            expect:
              - at: 25s
                that: { flow: { name: stream, delivered: 99% } }
            """
        let run = ScenarioRun(plan: try plan(yaml: text))
        let verdict = run.run { _ in }
        #expect(verdict.held, "\(verdict.table)")
    }

    @Test func `a swizzle cuts and heals each once, in two orders that come from the seed`() throws {
        let text = """
            scenario: swizzle
            duration: 30s
            world:
              places: [north]
              nodes: [{ group: node, count: 12 }]
            timeline:
              - at: 5s
                swizzle: { nodes: all, for: 20s, cutting: 6s, healing: 12s }
            expect:
              - at: 1s
                that: { unreachable: { from: all, to: all } }
            """
        func swizzle(_ seed: UInt64) throws -> (cuts: [String], heals: [String], times: [Duration]) {
            var plan = try plan(yaml: text)
            plan.seed = seed
            let run = ScenarioRun(plan: plan, recording: Trace.Recording(entries: 0..<1_000_000))
            _ = run.run { _ in }
            func entries(_ verb: String) -> [TraceEntry] {
                run.world.trace.entries.filter { $0.kind == .network && $0.text.hasPrefix(verb) }
            }
            let (cuts, heals) = (entries("cut "), entries("heal "))
            let times = [cuts.first!, cuts.last!, heals.first!, heals.last!].map { $0.time - cuts.first!.time }
            return (cuts.map { String($0.text.dropFirst(4)) }, heals.map { String($0.text.dropFirst(5)) }, times)
        }
        let first = try swizzle(1)
        #expect(Set(first.cuts).count == 12 && first.cuts.sorted() == first.heals.sorted())
        #expect(first.cuts != first.heals)
        #expect(first.times == [.zero, .milliseconds(5500), .seconds(9), .seconds(20)])
        #expect(try swizzle(1).cuts == first.cuts)
        #expect(try swizzle(2).cuts != first.cuts)
    }
}
