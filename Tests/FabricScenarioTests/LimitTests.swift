import FabricDocument
import Testing

@testable import FabricScenario

/// Files that are small and ask for much: each is refused before the memory or the time is spent.
@Suite struct LimitTests {
    /// The planner after it has read a file, with what it made until it gave up.
    private func planned(_ source: String) throws -> Planner {
        var planner = Planner(try ScenarioFile(yaml: bytes(source), file: "f.yaml").header)
        _ = planner.makePlan()
        return planner
    }

    @Test func `a repeated step stops at the limit of steps, also when each time makes thousands`() throws {
        let names = (0..<98).map { "p\($0)" }.joined(separator: ", ")
        let source = with("- { every: 1s, link: { loss: 1% } }").replacing(
            "places: [north, south]\n", with: "places: [north, south, \(names)]\n")
        let planner = try planned(source)
        #expect(planner.problems.contains { $0.message.contains("more than 100000 steps when expanded") })
        #expect(planner.plan.steps.count < ScenarioLimits.maximumSteps + 10_000)
    }

    @Test func `selectors that name too many nodes together are refused`() throws {
        // All five are named in three places.
        let source = with(expect: "- { at: 1s, that: { enrolled: [hub, edge] } }")
        for (most, isRefused) in [(14, true), (15, false)] {
            var planner = Planner(try ScenarioFile(yaml: bytes(source), file: "f.yaml").header)
            planner.mostSelectedNodes = most
            _ = planner.makePlan()
            #expect(planner.problems.count == (isRefused ? 1 : 0))
            #expect(planner.problems.allSatisfy { $0.message.contains("name more than 14 nodes together") })
        }
    }

    @Test(arguments: [
        (0..<60).map { "- { at: 5s, approve: { nodes: nobody\($0) } }" }.joined(separator: "\n"),
        "- { at: 5s, approve: { nodes: [\((0..<60).map { "nobody\($0)" }.joined(separator: ", "))] } }",
        "- { at: 5s, pause: { nodes: [\((0..<60).map { "nobody\($0)" }.joined(separator: ", "))] } }",
    ])
    func `no more problems are looked for than are reported`(_ steps: String) throws {
        let planner = try planned(with(steps))
        #expect(planner.problems.count == ScenarioLimits.maximumProblems)
        #expect(planner.problems.allSatisfy { $0.message.contains("there is no group, place or node “nobody") })
    }

    @Test func `a group has as many routing domains as a node may have`() {
        let names = (0..<17).map { "d\($0)" }.joined(separator: ", ")
        let source = base.replacing("group: hub,", with: "group: hub, domains: [\(names)],")
        #expect(refusal(source).contains("there are 16 routing domains at most"))
    }

    @Test func `what is too many of a kind is refused at the first that is too much`() {
        let expectations = [String](repeating: "- { at: 1s, that: { enrolled: all } }", count: 1_000)
        #expect(refusal(with(expect: expectations.joined(separator: "\n"))).contains("f.yaml:1015:"))
        let places = (0..<200).map { "p\($0)" }.joined(separator: ", ")
        let crowded = refusal(base.replacing("places: [north, south]\n", with: "places: [north, south, \(places)]\n"))
        #expect(crowded.hasPrefix("f.yaml:4:11: "))
        #expect(crowded.split(separator: "\n").count == 1)
    }

    @Test func `repeated steps share what they say about nodes, also by a list or a place`() throws {
        let plan = try plan(
            with(
                """
                - { every: 10s, at: 10s, until: 55s, pause: { nodes: [hub, edge-1], for: 1s } }
                - { every: 10s, at: 15s, partition: { place: south, for: 1s } }
                """))
        let paused = plan.steps.compactMap { step -> Int? in
            if case .hostFault(.pause(let set)) = step.action { set.nodes.count } else { nil }
        }
        #expect(paused == [2, 2, 2, 2, 2])
        let cuts = plan.steps.compactMap { step -> PlannedPartition? in
            if case .cut(let cut) = step.action { cut } else { nil }
        }
        #expect(cuts.count == 5)
        #expect(cuts.allSatisfy { $0.from == cuts[0].from && $0.to == cuts[0].to && $0.to.control })
    }
}
