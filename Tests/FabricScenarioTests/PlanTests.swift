import FabricCore
import FabricDocument
import Testing

@testable import FabricScenario

@Suite struct PlanTests {
    @Test func `groups are numbered and dealt out over their places in turn`() throws {
        let plan = try plan(base)
        #expect(plan.nodes.map(\.name) == ["edge-1", "edge-2", "edge-3", "edge-4", "hub"])
        #expect(plan.nodes.map(\.place) == [0, 1, 0, 1, 0])
        #expect(plan.groups.map(\.nodes) == [0..<4, 4..<5])
        let one = try FabricScenarioTests.plan(base.replacing("count: 4", with: "count: 1"))
        #expect(one.nodes.map(\.name) == ["edge-1", "hub"])
    }

    @Test(
        arguments: [
            ("all", [0, 1, 2, 3, 4]), ("edge", [0, 1, 2, 3]), ("hub", [4]), ("edge-3", [2]),
            ("\"edge[2..3]\"", [1, 2]),
            ("north", [0, 2, 4]), ("\"place:south\"", [1, 3]), ("[hub, edge-1, edge-1]", [0, 4]),
            ("{ nodes: all, except: [hub, edge-2] }", [0, 2, 3]), ("{ nodes: edge, in: north }", [0, 2]),
            ("{ nodes: all, in: north, except: hub }", [0, 2]),
        ] as [(String, [Int])])
    func `a selector names nodes`(_ selector: String, _ expected: [Int]) throws {
        let plan = try plan(with("- at: 5s\n  approve: { nodes: \(selector) }"))
        #expect(plan.steps.last?.action == .approve(nodes: expected))
    }

    private func steps(_ source: String) throws -> [String] {
        let plan = try plan(with(source))
        let text = PlanText(plan)
        return plan.steps.dropFirst(2).map { "\(Span($0.time)) \(text.action($0.action))" }
    }

    @Test func `repetition, spreading and what lasts for a while are expanded and sorted`() throws {
        #expect(
            try steps("- every: 10s\n  at: 30s\n  until: 55s\n  approve: { nodes: all }") == [
                "30s approve: {nodes: all}", "40s approve: {nodes: all}", "50s approve: {nodes: all}",
            ])
        #expect(try steps("- at: 2s\n  every: 20s\n  approve: { nodes: hub }").count == 3)
        #expect(
            try steps("- at: 10s\n  over: 10s\n  crash: { nodes: edge, for: 20s }") == [
                "10s crash: {nodes: edge-1}", "12.5s crash: {nodes: edge-2}", "15s crash: {nodes: edge-3}",
                "17.5s crash: {nodes: edge-4}", "30s restart: {nodes: edge-1}", "32.5s restart: {nodes: edge-2}",
                "35s restart: {nodes: edge-3}", "37.5s restart: {nodes: edge-4}",
            ])
        #expect(
            try steps(
                "- at: 20s\n  stop-control: { for: 5s }\n- at: 10s\n  partition: { from: hub, to: [edge-1, control], for: 5s }"
            ) == [
                "10s partition: {from: hub, to: [edge-1, control]}", "15s heal: {step: 0}",
                "20s stop-control: {}", "25s start-control: {}",
            ])
    }

    @Test func `faults of hosts end with their time, and end only what they named`() throws {
        #expect(
            try steps(
                "- at: 5s\n  pause: { nodes: [hub, control], for: 2s }\n- at: 9s\n  suspend: { nodes: hub, for: 1s }")
                == [
                    "5s pause: {nodes: [hub, control]}", "7s resume: {nodes: [hub, control]}",
                    "9s suspend: {nodes: hub}", "10s resume: {nodes: hub}",
                ])
        #expect(
            try steps("- at: 5s\n  disk: { nodes: edge, room: 0B, sync-time: 1s, bit-rot: 2%, for: 5s }") == [
                "5s disk: {nodes: edge, room: 0B, bit-rot: 2%, sync-time: 1s}",
                "10s disk: {nodes: edge, room: plenty, bit-rot: 0%, sync-time: usual}",
            ])
        #expect(
            try steps(
                "- at: 5s\n  database: { failures: 100%, for: 5s }\n- at: 6s\n  crash-at: { nodes: control, boundary: sync }"
            )
                == [
                    "5s database: {failures: 100%}",
                    "6s crash-at: {nodes: control, boundary: sync, nth: 1, kind: power, for: 1s}",
                    "10s database: {failures: 0%}",
                ])
        #expect(
            try steps(
                "- at: 5s\n  clock: { nodes: all, drift: 200ppm, for: 1s }\n- at: 8s\n  stop-control: { kind: process, for: 1s }"
            )
                == [
                    "5s clock: {nodes: all, drift: 200ppm}", "6s clock: {nodes: all, drift: 0ppm}",
                    "8s stop-control: {kind: process}", "9s start-control: {}",
                ])
        let plan = try plan(with("- at: 5s\n  slow-cpu: { nodes: hub, per-event: 1ms }"))
        #expect(plan.hosts == [.simulator] && plan.liveObstacles.count == 1)
        #expect(
            try steps("- at: 5s\n  slow-cpu: { nodes: hub, per-event: 0s, per-handshake: 2ms, for: 1s }")
                == [
                    "5s slow-cpu: {nodes: hub, per-event: 0s, per-handshake: 2ms}",
                    "6s slow-cpu: {nodes: hub, per-event: 0s}",
                ])
        #expect(
            try steps("- at: 5s\n  slow-cpu: { nodes: hub, per-event: 0s, per-packet: 30us }")
                == ["5s slow-cpu: {nodes: hub, per-event: 0s, per-packet: 30us}"])
    }

    @Test func `a place is cut off with the control plane when that is there`() throws {
        let cut = try plan(with("- at: 5s\n  partition: { place: north }")).steps.last?.action
        #expect(
            cut
                == .cut(
                    PlannedPartition(
                        id: 0, from: EndpointSet(nodes: [0, 2, 4], control: true),
                        to: EndpointSet(nodes: [1, 3], control: false), isSymmetric: true)))
    }

    @Test func `heals name the partitions of a label, or all`() throws {
        let plan = try plan(
            with(
                "- at: 5s\n  label: a\n  partition: { place: north }\n- at: 6s\n  partition: { from: hub, to: edge }\n"
                    + "- at: 9s\n  heal: { step: a }\n- at: 9s\n  heal: { step: all }"))
        #expect(plan.steps.suffix(2).map(\.action) == [.heal(partitions: [0]), .heal(partitions: [1])])
    }

    @Test func `links take what they don't say from the default`() throws {
        let source = base.replacing(
            "  nodes:\n",
            with:
                "  link: { delay: 20ms, jitter: 4ms, loss: 1% }\n  links: [{ between: [south, north], delay: 80ms }]\n  nodes:\n"
        )
        let plan = try plan(source)
        let link = plan.link(between: 1, and: 0)
        #expect(link.delay == .milliseconds(80) && link.jitter == .zero && link.lossPartsPerMillion == 10_000)
        #expect(plan.link(between: 0, and: 0) == .defaultWithin)
        let changed = try FabricScenarioTests.plan(
            source.replacing(
                "expect:", with: "  - at: 5s\n    link: { between: [north, south], loss: 50%, for: 5s }\nexpect:"))
        guard case .setLinks(let during)? = changed.steps.dropLast().last?.action,
            case .setLinks(let after)? = changed.steps.last?.action
        else { throw Failure() }
        #expect(during[0].link.lossPartsPerMillion == 500_000 && during[0].link.delay == .milliseconds(80))
        #expect(after[0].link == link)
    }
    private struct Failure: Error {}

    @Test func `expectations find the start and the end of a labelled step`() throws {
        let plan = try plan(
            with(
                "- at: 10s\n  label: cut\n  partition: { place: north, for: 5s }",
                expect: "- within: 5s\n  after: cut\n  that: { enrolled: all }\n"
                    + "- within: 5s\n  after: cut.end\n  for: 2s\n  that: { enrolled: all }\n- sometimes: { enrolled: hub }\n  from: 20s"
            ))
        #expect(
            plan.expectations.dropFirst().map(\.window) == [
                .within(from: .seconds(10), until: .seconds(15), stays: .zero),
                .within(from: .seconds(15), until: .seconds(20), stays: .seconds(2)),
                .sometimes(from: .seconds(20), until: .seconds(60), required: false),
            ])
        #expect(plan.expectations[0].name == "by 30s: all enrolled")
        #expect(plan.expectations[0].line == 17)
    }

    @Test func `equal meaning gives an equal explanation`() throws {
        let other = """
            # Written differently.
            expect: [{by: 0.5m, that: {enrolled: [edge, hub]}}]
            timeline:
            - {token: {uses: 5, name: t}, at: 0s}
            - {enrol: {token: t, nodes: [hub, edge]}, at: 1000ms}
            world:
              nodes: [{count: 4, group: edge, places: [north, south]}, {group: hub, place: north}]
              places: {north: , south: {}}
            duration: 1m
            scenario: test
            """
        let explanation = try plan(base).explanation
        #expect(try plan(other).explanation == explanation)
        #expect(explanation.contains("- {group: edge, places: [north, south], count: 4}\n"))
        #expect(explanation.contains("#   south: edge-2 edge-4\n"))
        #expect(explanation.contains("  - {at: 1s, enrol: {nodes: all, token: t}}\n"))
        #expect(explanation.contains("  - {by: 30s, that: {enrolled: all}}\n"))
    }
}
