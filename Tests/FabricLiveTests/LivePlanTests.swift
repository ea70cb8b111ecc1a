import FabricScenario
import Testing

@testable import FabricLive

struct LivePlanTests {
    @Test func `what this host can do is accepted`() throws {
        let plan = try scenario(
            timeline: """
                  - at: 0s
                    token: { name: t, uses: 9, lifetime: 10m }
                  - at: 0s
                    enrol: { nodes: all, token: t }
                  - at: 1s
                    approve: { nodes: a }
                  - at: 1s
                    reject: { nodes: b }
                  - at: 2s
                    revoke-token: { name: t }
                  - at: 3s
                    partition: { between: [north, south], for: 2s }
                  - at: 3s
                    crash: { nodes: a, for: 2s }
                  - at: 6s
                    stop-control: { for: 2s }
                  - at: 8s
                    crash: { nodes: b, kind: process, for: 1s }
                  - at: 8s
                    stop-control: { kind: process, for: 1s }
                  - at: 9500ms
                    pause: { nodes: [a, control] }
                  - at: 9800ms
                    resume: { nodes: [a, control] }
                """)
        #expect(LivePlan.refusals(plan) == [])
    }

    @Test(arguments: [
        ("clock: { nodes: a, jump: 10m }", "clocks are moved (line 14)"),
        ("lose-answers: { request: join }", "answers are lost (line 14)"),
        ("disk: { nodes: a, room: 0B }", "disks fail (line 14)"),
        (
            "flow: { name: f, from: a, to: b-1, rate: 1kbit/s, spoof: b-2, for: 1s }",
            "a flow's packets claim to come from another node (line 14)"
        ),
    ])
    func `a step that it can't do is refused with its line`(step: String, refusal: String) throws {
        let plan = try scenario(
            timeline: """
                  - at: 0s
                    token: { name: t, uses: 9, lifetime: 10m }
                  - at: 1s
                    \(step)
                """)
        #expect(LivePlan.refusals(plan) == [refusal])
    }

    @Test func `shaped links and changes to them are run`() throws {
        let shaped = try scenario(
            world:
                "  link: { delay: 20ms, jitter: 5ms, loss: 1%, duplicate: 1%, reorder: 1%, rate: 2Mbit/s, mtu: 1280B }\n"
        )
        #expect(LivePlan.refusals(shaped).isEmpty && shaped.shapesLinks)
        let changed = try scenario(
            timeline: "  - { at: 1s, link: { between: [north, south], loss: 30%, for: 2s } }")
        #expect(LivePlan.refusals(changed).isEmpty && changed.shapesLinks)
        #expect(try !scenario().shapesLinks)
        #expect(try scenario(world: "  links:\n    - { between: [north, south], delay: 9ms }\n").shapesLinks)
    }

    @Test func `flows that one thread can't carry, or no disk their captures, are refused`() throws {
        func refusals(_ rate: String, _ seconds: Int) throws -> [String] {
            try LivePlan.refusals(
                scenario(
                    timeline: """
                          - at: 0s
                            flow: { name: f, from: a, to: b-1, rate: \(rate), packet: 125B, for: \(seconds)s }
                        """, duration: "1m"))
        }
        #expect(try refusals("5Mbit/s", 30) == [])
        #expect(
            try refusals("6Mbit/s", 30) == ["6000 packets of flows a second; a live run sends 5000 at most"])
        #expect(
            try refusals("5Mbit/s", 50) == ["250000 packets of flows; a live run captures 200000 at most"])
    }

    @Test func `a file that is for the simulator only is refused`() throws {
        #expect(
            try LivePlan.refusals(scenario(hosts: "[simulator]")) == ["“hosts” does not name the live host"])
    }

    @Test func `corrupting links, many nodes, odd times and renewals are refused`() throws {
        func refusal(_ change: (inout Plan) -> Void) throws -> [String] {
            var plan = try scenario()
            change(&plan)
            return LivePlan.refusals(plan)
        }
        #expect(try LivePlan.refusals(scenario(world: "  link: { corrupt: 1% }\n")).count == 1)
        #expect(try LivePlan.refusals(scenario(world: "  link: { mtu: 1501B }\n")).count == 1)
        #expect(try refusal { $0.nodes = Array(repeating: $0.nodes[0], count: 101) }.count == 1)
        #expect(try refusal { $0.cluster.heartbeat = .milliseconds(1500) }.count == 1)
        #expect(try refusal { $0.cluster.probe = .milliseconds(100) }.count == 1)
        #expect(try refusal { $0.cluster.certificateLifetime = .seconds(15) }.count == 1)
        #expect(try refusal { $0.nodes[0].clockSkew = .seconds(1) }.count == 1)
    }
}

func scenario(hosts: String? = nil, world: String = "", timeline: String? = nil, duration: String = "10s") throws
    -> Plan
{
    let text = """
        scenario: test
        duration: \(duration)
        \(hosts.map { "hosts: \($0)" } ?? "# hosts")
        world:
          places: [north, south]
          control: { place: north }
          nodes:
            - { group: a, place: north }
            - { group: b, place: south, count: 2 }
        \(world)
        timeline:
        \(timeline ?? "  []")
        expect:
          - by: 5s
            that: { enrolled: all }

        """
    return try ScenarioFile.plan(yaml: Array(text.utf8), file: "test.yaml")
}
