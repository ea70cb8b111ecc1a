import FabricCore
import Testing

@testable import FabricScenario

struct NamesTests {
    private func named(_ steps: String = "", control: String = "{ name: Control.Example.net., answers-live: 90s }")
        -> String
    {
        with(steps).replacing("  places: [north, south]\n", with: "  places: [north, south]\n  control: \(control)\n")
    }

    @Test func `a control plane may have a name, and then only the simulator runs the file`() throws {
        let plan = try plan(named())
        #expect(plan.controlName == HostName("control.example.net") && plan.answerLifetime == .seconds(90))
        #expect(plan.hosts == [.simulator] && plan.liveObstacles == ["the control plane is known by name (line 5)"])
    }

    @Test(arguments: [
        "- at: 5s\n  dns-lies: { nodes: all, answer: impostor, for: 9s }",
        "- at: 5s\n  label: lie\n  dns-lies: { nodes: [hub, edge-2], answer: silence }\n- at: 9s\n  dns-lies: { nodes: hub, answer: truth }",
        "- at: 5s\n  dns-lies: { nodes: edge, answer: no-name }\n- at: 6s\n  dns-lies: { nodes: edge, answer: stale, for: 1s }",
        "- at: 5s\n  readdress: { nodes: control }\n- at: 9s\n  readdress: { nodes: hub, told: false }",
    ])
    func `steps about names are written so that they read back`(_ steps: String) throws {
        let plan = try plan(named(steps))
        let text = plan.explanation
        let again = try ScenarioFile.plan(yaml: bytes(text), file: "again")
        #expect(again.steps.map(\.action) == plan.steps.map(\.action) && again.controlName == plan.controlName)
        #expect(again.answerLifetime == plan.answerLifetime && again.explanation == text)
    }

    @Test func `a lie that lasts a while ends with the truth`() throws {
        let steps = try plan(named("- at: 5s\n  dns-lies: { nodes: hub, answer: stale, for: 9s }")).steps.suffix(2)
        #expect(
            steps.map(\.action) == [.hostFault(.dnsAnswers([4], .stale)), .hostFault(.dnsAnswers([4], .truth))])
        #expect(steps.map(\.time) == [.seconds(5), .seconds(14)])
    }

    @Test(arguments: [
        ("dns-lies: { nodes: hub, answer: wrong }", "there is no answer “wrong”"),
        ("dns-lies: { nodes: hub }", "the key “answer” is missing"),
        ("dns-lies: { nodes: hub, answer: truth, for: 2s }", "the truth is no lie that ends"),
        ("dns-lies: { nodes: hub, answer: stale, for: 2m }", "is past the scenario's end"),
        ("dns-lies: { nodes: control, answer: stale }", "there is no group, place or node “control”"),
        ("readdress: { nodes: control, told: false }", "“told” is for nodes"),
    ])
    func `a wrong step about names is refused`(_ step: String, _ expected: String) {
        #expect(refusal(named("- at: 5s\n  " + step)).contains(expected), "\(refusal(named("- at: 5s\n  " + step)))")
    }

    @Test(arguments: ["dns-lies: { nodes: hub, answer: stale }", "readdress: { nodes: control }"])
    func `what needs a name is refused without one`(_ step: String) {
        #expect(refusal(with("- at: 5s\n  " + step)).contains("name: control.example.net"))
    }

    @Test(arguments: [
        ("{ name: 192.0.2.1 }", "“192.0.2.1” is no host name"), ("{ name: a_b }", "“a_b” is no host name"),
        ("{ answers-live: 1m }", "“answers-live” goes with a “name”"),
        ("{ name: a.b, answers-live: 0s }", "answers live from 1s to 24h"),
    ])
    func `a wrong name is refused`(_ control: String, _ expected: String) {
        #expect(refusal(named(control: control)).contains(expected))
    }
}
