import FabricCore
import FabricDocument
import Testing

@testable import FabricScenario

/// A small file may ask for a huge plan: it is refused before the plan is made.
@Suite struct TimelineLimitTests {
    private func world(places: Int, _ steps: String) -> String {
        let names = (1...places).map { "p\($0)" }.joined(separator: ", ")
        return """
            scenario: many
            duration: 90s
            world:
              places: [\(names)]
              nodes: [{ group: a, place: p1 }, { group: b, place: p2 }]
            timeline:
            \(steps.split(separator: "\n").map { "  \($0)" }.joined(separator: "\n"))
            expect:
              - at: 1s
                that: { phase: { nodes: all, is: "off" } }

            """
    }

    private func planner(_ source: String) throws -> Planner {
        var planner = Planner(try ScenarioFile(yaml: bytes(source), file: "f.yaml").header)
        _ = planner.makePlan()
        return planner
    }

    @Test(arguments: [
        (100, "- every: 1s\n  until: 30s\n  link: { delay: 1ms }"),
        (100, "- every: 1s\n  until: 20s\n  link: { delay: 1ms, for: 1ms }"),
        (100, "- every: 1ms\n  until: 90s\n  link: { delay: 1ms }"),
        (2, "- every: 1ms\n  until: 80s\n  block: { protocol: udp, nodes: a, for: 1ms }"),
    ])
    func `no step is made beyond the limit, whatever one occurrence makes`(_ places: Int, _ steps: String) throws {
        let planner = try planner(world(places: places, steps))
        #expect(planner.plan.steps.count == ScenarioLimits.maximumSteps)
        #expect(planner.problems.map(\.line) == [7])
        #expect(planner.problems[0].message.contains("more than 100000 steps"))
    }

    @Test func `all heals together name hardly more than there are partitions`() throws {
        for heal in ["all", "cut", "[cut, cut, cut]"] {
            let source = world(
                places: 2,
                "- every: 10ms\n  until: 9s\n  label: cut\n  partition: { between: [a, b] }\n"
                    + "- at: 10s\n  every: 10ms\n  until: 20s\n  heal: { step: \(heal) }")
            let plan = try plan(source)
            var named = 0
            for case .heal(let ids) in plan.steps.map(\.action) {
                #expect(!ids.isEmpty)
                named += ids.count
            }
            #expect(named == 901 + 1000)
            #expect(try FabricScenarioTests.plan(plan.explanation).steps.map(\.action) == plan.steps.map(\.action))
        }
    }

    @Test func `a heal ends what is in force then, swizzles until their end`() throws {
        let source = world(
            places: 2,
            """
            - at: 1s
              swizzle: { nodes: all, for: 10s }
            - at: 2s
              partition: { between: [a, b], for: 3s }
            - at: 4s
              label: late
              partition: { place: p1 }
            - at: 11s
              heal: { step: all }
            - at: 12s
              heal: { step: [late] }
            - at: 13s
              swizzle: { nodes: all, for: 1s }
            - at: 15s
              partition: { place: p2 }
            - at: 16s
              heal: { step: all }
            """)
        let heals = try plan(source).steps.compactMap { step -> [Int]? in
            if case .heal(let ids) = step.action { ids } else { nil }
        }
        #expect(heals == [[1], [0, 2], [2], [4]])
    }

    @Test func `too many partitions at once are refused where they are too many`() throws {
        let steps = "- every: 10ms\n  until: 20s\n  partition: { between: [a, b] }"
        #expect(refusal(world(places: 2, steps)) == "f.yaml:7:5: more than 1000 partitions are in force at 10s")
        let swizzles = "- every: 10ms\n  until: 20s\n  swizzle: { nodes: all, for: 30s }"
        #expect(refusal(world(places: 2, swizzles)).contains("more than 1000 partitions are in force at 10s"))
        #expect(refusal(world(places: 2, swizzles.replacing("for: 30s", with: "for: 9s"))) == "")
    }

    @Test func `heals of too many steps are refused before they are made`() throws {
        let names = Array(repeating: "cut", count: 1_000).joined(separator: ", ")
        let steps =
            "- at: 1s\n  label: cut\n  partition: { between: [a, b] }\n"
            + "- at: 2s\n  every: 1ms\n  until: 40s\n  heal: { step: [\(names)] }"
        let said = refusal(world(places: 2, steps))
        #expect(said.contains("38001 heals of 1000 steps are too many"), "\(said)")
    }

    @Test func `who is crashed is not switched on by another enrol, and a restart brings it up`() throws {
        let steps = "- at: 2s\n  crash: { nodes: hub }\n- at: 3s\n  enrol: { nodes: all, token: t }\n"
        #expect(refusal(with(steps + "- at: 4s\n  restart: { nodes: hub }")) == "")
        #expect(refusal(with(steps + "- at: 4s\n  crash: { nodes: hub }")).contains("“hub” does not run at 4s"))
        #expect(refusal(with(steps + "- at: 4s\n  pause: { nodes: hub }")).contains("“hub” does not run at 4s"))
    }
}
