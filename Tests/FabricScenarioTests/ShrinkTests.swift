import FabricCore
import FabricDocument
import Testing

@testable import FabricScenario

@Suite struct DeltaDebuggingTests {
    private func minimum(_ count: Int, _ fails: @escaping ([Int]) -> Bool) -> (result: [Int], tried: Int) {
        var tried = 0
        let result = DeltaDebugging.minimize(Array(0..<count)) { candidates in
            for (index, candidate) in candidates.enumerated() {
                tried += 1
                if fails(candidate) { return index }
            }
            return nil
        }
        return (result, tried)
    }

    @Test(arguments: [[], [0], [99], [3, 4], [0, 50, 99], [7, 8, 9, 10, 70], Array(0..<100)])
    func `the known minimum is reached`(_ needed: [Int]) {
        let (result, tried) = minimum(100) { candidate in needed.allSatisfy { candidate.contains($0) } }
        #expect(result == needed)
        #expect(tried < 2_500)
    }

    @Test func `a failure with two causes keeps one, and nothing beside it`() {
        let (result, _) = minimum(64) { $0.contains(5) && $0.contains(40) || $0.contains(60) }
        #expect(result == [60] || result == [5, 40])
    }

    @Test func `no item of the result can go, also when the failure is not monotone`() {
        let fails: ([Int]) -> Bool = { $0.contains(11) && $0.count % 3 == 0 }
        let (result, _) = minimum(30, fails)
        #expect(fails(result))
        for item in result { #expect(!fails(result.filter { $0 != item })) }
    }

    @Test func `nothing is tried for an empty list`() { #expect(minimum(0) { _ in true }.tried == 0) }
}

@Suite struct ScenarioShrinkerTests {
    private func big() throws -> DocumentNode {
        var source = """
            scenario: big
            about: A lot.
            duration: 20m
            seed: 4711
            world:
              places: [a, b, c, d]
              link: { delay: 37ms, jitter: 3ms, loss: 1% }
              control: { place: b }
              cluster: { peers: 8, heartbeat: 7s }
              nodes:
                - { group: core, place: a, count: 20, domains: [blue] }
                - { group: edge, places: [a, b, c, d], count: 280 }
            timeline:
              - at: 0s
                token: { name: t, uses: 300 }
              - at: 1s
                over: 20s
                enrol: { nodes: all, token: t }
              - every: 1s
                until: 5m
                approve: { nodes: [core, "edge[1..280]"] }

            """
        for index in 0..<30 {
            source +=
                "  - at: \(60 + index * 20)s\n    partition: { between: [\"edge[\(index + 1)..\(index + 9)]\", core], for: 7.3s }\n"
            source += "  - at: \(61 + index * 20)s\n    crash: { nodes: edge-\(200 + index), for: 3s }\n"
        }
        source += "expect:\n  - name: first\n    at: 30s\n    that: { enrolled: all }\n"
        source += "  - name: wanted\n    always: { reaches: { from: edge, to: core } }\n    from: 2m\n"
        return try ScenarioFile(yaml: bytes(source), file: "big").document
    }

    private func shrunk(
        _ document: DocumentNode, mayMoveTimes: Bool = false, _ fails: @escaping (Plan) -> Bool
    ) throws -> (plan: Plan, document: DocumentNode, tried: Int) {
        var tried = 0
        let whole = try ScenarioFile(document: document, file: "big").plan()
        let focused = try #require(ScenarioShrinker.focused(document, whole, on: "wanted"))
        #expect(fails(try ScenarioFile(document: focused, file: "f").plan()))
        var shrinker = ScenarioShrinker(
            document: focused, suspects: ["edge-217"], mayMoveTimes: mayMoveTimes, isOver: { false }
        ) { candidates in
            for (index, candidate) in candidates.enumerated() {
                tried += 1
                guard let plan = try? ScenarioFile(document: candidate, file: "c").plan() else {
                    Issue.record("a candidate is no scenario: \(YAMLWriter.text(candidate))")
                    continue
                }
                if fails(plan) { return .init(index: index, decidedAt: plan.steps.last?.time) }
            }
            return nil
        }
        let small = shrinker.run()
        return (try ScenarioFile(document: small, file: "small").plan(), small, tried)
    }

    @Test func `a crash of one node out of three hundred is all that is left`() throws {
        let (plan, document, tried) = try shrunk(big()) { plan in
            plan.nodes.count >= 3
                && plan.steps.contains { step in
                    if case .crash(let nodes) = step.action {
                        nodes.contains { plan.nodes[$0].name == "edge-217" }
                    } else {
                        false
                    }
                }
        }
        #expect(plan.nodes.count == 3 && plan.nodes.contains { $0.name == "edge-217" })
        #expect(plan.expectations.map(\.name) == ["wanted"])
        let actions = (document["timeline"]?.array ?? []).map { ShrinkWorld.action($0) }
        #expect(actions.sorted() == ["approve", "crash", "enrol", "token"])
        #expect(plan.places.count <= 2 && plan.about.isEmpty && plan.cluster == ClusterSettings())
        #expect(plan.defaultLink == .defaultBetween && plan.duration < .minutes(8))
        #expect(tried < 600, "\(tried)")
    }

    @Test func `two partitions that must both be there stay, whatever the nodes are called`() throws {
        let (plan, _, _) = try shrunk(big()) { plan in
            plan.steps.count { if case .cut(let cut) = $0.action { !cut.from.nodes.isEmpty } else { false } } >= 2
        }
        #expect(plan.nodes.count == 2)
        #expect(plan.steps.count { if case .cut = $0.action { true } else { false } } == 2)
        // A fault that ended in the file still ends.
        #expect(plan.steps.count { if case .heal = $0.action { true } else { false } } == 2)
    }

    @Test func `a run that fails whatever happens becomes two nodes and the steps that set them up`() throws {
        let (plan, document, _) = try shrunk(big()) { $0.nodes.count >= 2 }
        #expect(plan.nodes.count == 2 && plan.places.count == 1)
        #expect((document["timeline"]?.array ?? []).map { ShrinkWorld.action($0) } == ["token", "enrol", "approve"])
    }

    @Test func `gaps close when a candidate is also tried without its faults`() throws {
        let wanted: (Plan) -> Bool = { plan in
            plan.steps.contains { if case .crash = $0.action { true } else { false } }
        }
        let still = try shrunk(big(), wanted).plan
        let moved = try shrunk(big(), mayMoveTimes: true, wanted).plan
        #expect(moved.duration < still.duration)
        #expect(moved.duration < .seconds(30))
    }

    @Test func `the steps of the result stand in the order of their times`() throws {
        let document = try shrunk(big(), mayMoveTimes: true) { plan in
            plan.steps.count { if case .cut = $0.action { true } else { false } } >= 2
        }.document
        let times = (document["timeline"]?.array ?? []).compactMap { entry in
            entry["at"]?.string.flatMap { Span($0) }?.duration
        }
        #expect(times.count >= 4 && times == times.sorted())
    }

    @Test func `the order in which several fail decides, not the speed`() throws {
        let a = try shrunk(big()) { $0.nodes.count >= 4 }
        let b = try shrunk(big()) { $0.nodes.count >= 4 }
        #expect(a.document == b.document)
    }

    @Test func `a node keeps its name when those before it go`() throws {
        let document = try big()
        let plan = try ScenarioFile(document: document, file: "big").plan()
        let edge5 = try #require(plan.nodes.firstIndex { $0.name == "edge-5" })
        let cut = try #require(ShrinkWorld.keeping([0, edge5], of: plan, document))
        let small = try #require(ShrinkWorld.repaired(cut)).plan
        #expect(small.nodes.map(\.name) == ["core-1", "edge-5"])
        #expect(small.nodes[1].place == plan.nodes[edge5].place)
        #expect(small.nodes[0].domains == plan.nodes[0].domains)
    }

    @Test(arguments: [
        ("2 of 4 nodes: edge-1 (can't reach hub-1), edge-2 (can't reach hub-1, hub-2)", ["can't reach"]),
        ("edge-3 (has no peers, active)", ["has no"]), ("edge-3 (offline)", ["offline"]), ("", [""]),
        ("hub (3 tunnels, active)", ["active"]),
    ])
    func `a failure's shape has no names and numbers`(_ why: String, _ reasons: [String]) {
        let shape = FailureShape(expectation: "x", why: why)
        #expect(shape.reasons == reasons)
        #expect(shape.matches(shape))
        #expect(!shape.matches(FailureShape(expectation: "y", why: why)))
        #expect(!shape.matches(FailureShape(expectation: "x", why: "n (refused: conflict)")))
    }

    @Test func `a pause that goes takes its end with it, and what ends a fault never goes before it`() throws {
        var source = YAMLWriter.text(try big()).replacing("expect:", with: "marker:")
        source = source.replacing(
            "marker:",
            with: """
                  - at: 18m
                    pause: { nodes: edge-7 }
                  - at: 18m10s
                    resume: { nodes: edge-7 }
                  - at: 18m20s
                    backup-control: { name: copy }
                  - at: 18m30s
                    restore-control: { name: copy }
                expect:
                """)
        let document = try ScenarioFile(yaml: bytes(source), file: "big").document
        let paused = try shrunk(document) { plan in
            plan.steps.contains { if case .hostFault(.pause) = $0.action { true } else { false } }
        }
        #expect(paused.plan.steps.contains { if case .hostFault(.resume) = $0.action { true } else { false } })
        let calm = try shrunk(document) { $0.nodes.count >= 2 }
        #expect(
            (calm.document["timeline"]?.array ?? []).map { ShrinkWorld.action($0) } == ["token", "enrol", "approve"])
    }
}
