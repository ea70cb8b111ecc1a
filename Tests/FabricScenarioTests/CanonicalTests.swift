import FabricCore
import Testing

@testable import FabricScenario

/// What a plan's explanation reads back to must be the plan itself.
func expectRoundTrip(_ plan: Plan, _ name: String, _ location: SourceLocation = #_sourceLocation) throws {
    let text = plan.explanation
    do {
        let again = try ScenarioFile.plan(yaml: bytes(text), file: "\(name), explained")
        #expect(again.withoutSource == plan.withoutSource, "\(name)", sourceLocation: location)
        #expect(again.explanation == text, "\(name)", sourceLocation: location)
    } catch {
        Issue.record("\(error)\n\(text)", sourceLocation: location)
    }
}

@Suite struct CanonicalTests {
    @Test func `every shipped scenario's explanation reads back to the same plan`() throws {
        for name in try shippedScenarios() {
            try expectRoundTrip(ScenarioFile.plan(yaml: contents("Scenarios/\(name)"), file: name), name)
        }
    }

    @Test(arguments: [
        "- at: 5s\n  partition: { place: north }\n- at: 9s\n  heal: { step: all }",
        "- at: 5s\n  label: cut-1\n  crash: { nodes: hub, for: 2s }\n- at: 5s\n  partition: { between: [hub, [edge-1, control]], for: 3s }",
        "- every: 10s\n  at: 20s\n  until: 50s\n  label: a\n  partition: { from: edge, to: hub, for: 1s }\n- at: 35s\n  heal: { step: a }",
        "- at: 9s\n  partition: { place: south }\n- at: 30s\n  partition: { place: north }\n- at: 20s\n  heal: { step: all }",
        "- at: 20s\n  link: { loss: 50%, mtu: 900B, for: 5s }\n- at: 7s\n  link: { in: north, rate: 1Mbit/s, queue: 9kB }",
        "- at: 20s\n  link: { between: [south, north], delay: 2ms, jitter: 1ms, corrupt: 0.05%, duplicate: 1%, reorder: 2% }",
        "- at: 9s\n  over: 10s\n  crash: { nodes: [edge-1, edge-2, edge-4], for: 20s }",
        "- at: 9s\n  over: 7ms\n  crash: { nodes: edge }\n- at: 10s\n  restart: { nodes: edge }",
        "- at: 30s\n  token: { name: z, domains: [blue] }\n- at: 20s\n  token: { name: y, lifetime: 90s, name-prefix: \"a\\\"b\" }\n"
            + "- at: 31s\n  revoke-token: { name: z }",
        "- at: 30s\n  flow: { name: b, from: edge, to: [hub, edge-1], rate: 1Mbit/s, for: 5s }\n"
            + "- at: 20s\n  flow: { name: a, from: hub, to: all, rate: 8kbit/s, packet: 100B, for: 1.5s }",
        "- at: 3s\n  stop-control: { for: 5s }\n- at: 4s\n  clock: { nodes: [control, \"edge[2..3]\"], jump: -1m30s }",
        "- at: 3s\n  pause: { nodes: [edge, control], for: 5s }\n- at: 9s\n  suspend: { nodes: hub }\n- at: 20s\n  resume: { nodes: hub }",
        "- at: 3s\n  slow-cpu: { nodes: \"edge[2..3]\", per-event: 5ms, per-handshake: 2ms, per-packet: 30us, for: 5s }\n- at: 4s\n  clock: { nodes: control, drift: -0.25ppm, for: 1s }",
        "- at: 3s\n  disk: { nodes: all, room: 0B, read-errors: 1%, write-errors: 2%, sync-errors: 0.5%, lost-syncs: 3%, torn-writes: 50%, "
            + "bit-rot: 4%, sync-time: 200ms, for: 5s }\n- at: 2s\n  bit-rot: { nodes: hub, file: floors.json, bits: 3 }\n"
            + "- at: 5s\n  bit-rot: { nodes: control }",
        "- at: 3s\n  database: { failures: 100%, unknown-commits: 10%, transaction-time: 20ms, for: 5s }",
        "- at: 3s\n  backup-control: { name: early }\n- at: 9s\n  restore-control: { name: early }",
        "- at: 3s\n  crash-at: { nodes: [hub, control], nth: 3, within: 20s }\n- at: 4s\n  crash-at: { nodes: edge, boundary: persisted, kind: process, for: 0s }",
        "- at: 3s\n  crash: { nodes: edge, kind: process, for: 2s }\n- at: 9s\n  stop-control: { kind: process, for: 2s }",
        "- at: 3s\n  lose-answers: { request: proof, count: 3 }\n- at: 6s\n  reject: { nodes: { nodes: all, except: edge-3 } }",
        "- at: 2s\n  capture-control: { nodes: edge, sends: old-records, required: false, for: 1s }",
        "- at: 2s\n  flow: { name: lie, from: edge-1, to: hub, rate: 8kbit/s, spoof: edge-2, for: 1s }",
    ])
    func `every step is written so that it reads back`(_ steps: String) throws {
        try expectRoundTrip(plan(with(steps)), steps)
    }

    @Test func `every expectation is written so that it reads back`() throws {
        let conditions = [
            "enrolled: [edge-1, edge-3]", "tunnels: { nodes: all, at-least: 2 }", "reaches: { from: all, to: hub }",
            "reaches: { from: south, to: policy }", "unreachable: { from: edge, to: \"place:north\" }",
            "rekeyed: { nodes: hub }", "refused: { nodes: hub, reason: token-used-up }", "nodes-online: all",
            "nodes-offline: hub", "requests: { nodes: all, at-most: 3 }", "records: { nodes: edge, count: 1 }",
            "audit: { event: \"odd: \\\"name\\\"\", at-least: 2 }", "flow: { name: f, delivered: 99.5% }",
            "all: [ { enrolled: hub }, { any: [ { nodes-online: hub }, { not: { enrolled: all } } ] } ]",
        ]
        let windows = [
            "always: C\n  from: 1s\n  until: 40s", "sometimes: C", "sometimes: C\n  from: 3s\n  until: 3s",
            "within: 5s\n  after: 20s\n  that: C", "by: 7s\n  for: 3s\n  that: C",
            "name: \"it’s ‘odd’ \\t \\\\ & # : {\"\n  at: 12s\n  that: C",
        ]
        let flow = "- at: 2s\n  flow: { name: f, from: hub, to: all, rate: 8kbit/s, for: 1s }"
        for condition in conditions {
            for window in windows {
                let expectation = "- " + window.replacing("C", with: "{ \(condition) }")
                try expectRoundTrip(plan(with(flow, expect: expectation)), expectation)
            }
        }
    }

    @Test(arguments: [
        "- never: { control: down }\n  from: 1s", "- sometimes: { in-fault: hub }\n  required: true",
        "- by: 5s\n  required: false\n  that: { enrolled: all }", "- always: { enrolled: all }\n  required: false",
        "- sometimes: { in-fault: hub }", "- at: 5s\n  core: healthy\n  that: { enrolled: all }",
        "- at: 5s\n  core: { nodes: edge }\n  that: { phase: { nodes: all, is: awaiting-approval } }",
        "- at: 5s\n  that: { peers: { nodes: all, at-most: 4 } }",
        "- at: 5s\n  that: { rekeyed: { nodes: all, at-most: 4 } }",
        "- at: 5s\n  that: { rekeyed: { nodes: all, at-least: 2, at-most: 4 } }",
        "- at: 5s\n  that: { snapshots-agree: edge }",
        "- at: 5s\n  that: { snapshot-version: { nodes: edge, count: 3 } }",
        "- at: 5s\n  that: { certificate: { nodes: edge, age-at-most: 3h, left-at-least: 1h } }",
        "- at: 5s\n  that: { clock-offset: { nodes: edge, at-most: 10ms } }",
        "- at: 5s\n  that: { session-age: { nodes: edge, at-most: 3m } }",
        "- at: 5s\n  that: { count: { of: { in-fault: edge }, at-least: 1, at-most: 3 } }",
        "- at: 5s\n  that: { reachable: { from: edge, to: hub, at-least: 12.5% } }",
        "- at: 5s\n  that: { reachable: { from: edge, to: policy, at-most: 50% } }",
    ])
    func `windows, cores and conditions read back`(_ expectation: String) throws {
        let first = try plan(with(expect: expectation))
        let again = try ScenarioFile.plan(yaml: bytes(first.explanation), file: "again")
        #expect(again.withoutSource == first.withoutSource, "\(first.explanation)")
    }

    @Test func `every world is written so that it reads back`() throws {
        let worlds = [
            "places: [a]\n  nodes: [ { group: n } ]",
            "places: { a: { delay: 1ms }, b: { loss: 2% }, c: {} }\n  nodes: [ { group: n, count: 5, places: [c, a, a] } ]",
            "places: [a, b, c]\n  link: { rate: 1Mbit/s, loss: 1% }\n  links: [ { between: [c, a], loss: 0% } ]\n"
                + "  control: { place: c }\n  nodes: [ { group: n, count: 1, place: b, clock: { skew: -3m } }, { group: m, place: a, clock: { drift: 50ppm, skew: 1s } } ]",
            "places: [a]\n  cluster: { name: x, peers: 8, heartbeat: 7s, probe: 900ms, certificate-lifetime: 1h }\n"
                + "  nodes: [ { group: n, count: 7, domains: [red, blue] }, { group: m } ]",
        ]
        for world in worlds {
            let source =
                "scenario: w\nabout: 'a: \"b\" # c'\nduration: 1m\nseed: 7\nworld:\n  \(world)\nexpect: [ { by: 1m, that: { enrolled: all } } ]\n"
            try expectRoundTrip(plan(source), world)
        }
    }

    @Test(arguments: [1, 999, 1_000, 1_000_000_001, 59_999_999_999, 3_600_000_000_001, 90_000_001_000] as [Int64])
    func `a duration's text reads back to the nanosecond`(_ nanoseconds: Int64) {
        for value in [nanoseconds, -nanoseconds] {
            #expect(Span(Span(.nanoseconds(value)).description)?.duration == .nanoseconds(value))
        }
    }

    @Test func `tokens, flows and partitions are numbered by time, so that the file's order does not matter`() throws {
        let late = "- at: 9s\n  partition: { place: south, for: 1s }"
        let early = "- at: 5s\n  partition: { place: north, for: 1s }"
        let a = try plan(with(late + "\n" + early))
        let b = try plan(with(early + "\n" + late))
        #expect(a.withoutSource == b.withoutSource)
    }

    @Test func `a heal before its partition is refused`() throws {
        let text = refusal(with("- at: 9s\n  partition: { place: south }\n- at: 5s\n  heal: { step: all }"))
        #expect(text.contains("no partition of it has begun by then"))
    }
}
