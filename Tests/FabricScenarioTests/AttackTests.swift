import FabricCore
import Testing

@testable import FabricScenario

@Suite struct AttackTests {
    /// As `with`, but one node is not switched on.
    private func with(_ steps: String) -> String {
        FabricScenarioTests.with(steps).replacing("nodes: all, token: t", with: "nodes: [hub, edge-3], token: t")
    }

    @Test(arguments: [
        "- at: 3s\n  replay: { to: hub, for: 5s }",
        "- at: 3s\n  replay: { from: edge, to: [hub, edge-1], what: data, after: 5ms, source: forged, flip: 3, share: 12.5%, for: 5s }",
        "- at: 3s\n  flood: { to: all, for: 1s }\n- at: 4s\n  flood: { to: edge, what: garbage, for: 1s }\n- at: 5s\n  flood: { to: hub, interval: 700us, source: forged, for: 2s }",
        "- at: 3s\n  capture-control: { nodes: edge, sends: old-snapshot, for: 5s }\n"
            + "- at: 9s\n  capture-control: { nodes: all, sends: stranger, for: 5s }",
        "- at: 5s\n  disable: { nodes: \"edge[2..3]\" }\n- at: 9s\n  enable: { nodes: edge-2 }",
        "- at: 8s\n  token: { name: z }\n- at: 7s\n  token: { name: y, uses: 3 }\n"
            + "- at: 9s\n  impostor: { node: edge-2, keys-of: hub, token: z }",
    ])
    func `every step is written so that it reads back`(_ steps: String) throws {
        try expectRoundTrip(plan(with(steps)), steps)
    }

    @Test func `what is left out of a replay is said in the plan`() throws {
        let plan = try plan(with("- at: 3s\n  replay: { to: hub, for: 5s }"))
        let replays = plan.steps.compactMap { if case .attack(.replay(let replay)) = $0.action { replay } else { nil } }
        let replay = try #require(replays.first)
        #expect(replay.from == Array(plan.nodes.indices) && replay.what == .any && replay.source == .own)
        #expect(replay.after == .milliseconds(20) && replay.flippedBits == 0 && replay.share == 1_000_000)
        #expect(replay.duration == .seconds(5))
    }

    @Test(arguments: [
        ("replay: { to: hub, from: hub, for: 5s }", "sends itself nothing"),
        ("replay: { to: hub, after: 0s, for: 5s }", "from 1us to 1h"),
        ("replay: { to: hub, flip: 65, for: 5s }", "0 to 64 bits"),
        ("replay: { to: hub, what: dta, for: 5s }", "did you mean “data”"),
        ("replay: { to: hub, for: 2h }", "past the scenario's end"),
        ("flood: { to: hub, what: garbag, for: 5s }", "did you mean “garbage”"),
        ("flood: { to: hub, interval: 1us, for: 5s }", "from 10us to 1m"),
        ("flood: { to: all, interval: 10us, for: 20s }", "1000000 messages at most"),
        ("capture-control: { nodes: all, sends: old-snapshots, for: 5s }", "did you mean “old-snapshot”"),
        ("impostor: { node: edge, keys-of: hub, token: t }", "an impostor is one node"),
        ("impostor: { node: hub, keys-of: hub, token: t }", "holds its own keys"),
        ("impostor: { node: edge-1, keys-of: hub, token: nothing }", "there is no token"),
        ("disable: { nodes: nobody }", "nobody"),
    ])
    func `what can't be is refused with its mend`(_ step: String, _ mend: String) throws {
        let refusal = FabricScenarioTests.refusal(with("- at: 20s\n  \(step)"))
        #expect(refusal.contains(mend), "\(refusal)")
        #expect(refusal.contains(":"), "\(refusal)")
    }

    @Test func `whose keys are claimed must run by then`() throws {
        let early = "- at: 0s\n  impostor: { node: edge-2, keys-of: hub, token: t }"
        let refusal = FabricScenarioTests.refusal(with(early))
        #expect(refusal.contains("it has no keys to be known"), "\(refusal)")
        let second = FabricScenarioTests.refusal(with("- at: 5s\n  impostor: { node: edge-3, keys-of: hub, token: t }"))
        #expect(second.contains("“edge-3” is switched on before 5s"), "\(second)")
    }

    @Test func `attacks keep a scenario from the live host, an operator who disables a node does not`() throws {
        for step in [
            "replay: { to: hub, for: 5s }", "flood: { to: hub, for: 5s }",
            "capture-control: { nodes: all, sends: stranger, for: 5s }",
            "impostor: { node: edge-1, keys-of: hub, token: t }",
        ] {
            let plan = try plan(with("- at: 20s\n  \(step)"))
            #expect(plan.hosts == [.simulator] && plan.liveObstacles.count == 1, "\(step)")
            #expect(plan.liveObstacles[0].contains("(line "), "\(step)")
        }
        #expect(try plan(with("- at: 20s\n  disable: { nodes: hub }")).hosts == [.simulator, .live])
    }
}
