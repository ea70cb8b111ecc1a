import FabricCore
import FabricDocument
import Testing

@testable import FabricScenario

/// What a swarm draws from files that were not written for one, and what attacks it draws.
@Suite struct SwarmJudgementTests {
    private func file(_ source: String) throws -> ScenarioFile { try ScenarioFile(yaml: bytes(source), file: "f.yaml") }

    @Test func `the expectations of a file without a swarm break no drawn run, those of one with it do`() throws {
        let source = with(expect: "- sometimes: { control: down }\n  required: true")
        let plain = try file(source).drawn(seed: 1).plan()
        #expect(plain.expectations.map(\.isRequired) == [false, false])
        #expect(try file(source).plan().expectations.map(\.isRequired) == [true, true])
        #expect(try file(source + "swarm: {}\n").drawn(seed: 1).plan().expectations.map(\.isRequired) == [true, true])
        let rules = try file(source + "swarm: { judge: rules }\n").drawn(seed: 1).plan()
        #expect(rules.expectations.map(\.isRequired) == [false, false])
        // What is expected keeps its name and its window.
        #expect(plain.expectations.map(\.name).first == (try plan(base)).expectations[0].name)
        try expectRoundTrip(plain, "without demands")
    }

    @Test func `a file for both hosts is drawn for the simulator, whatever the live host can't do`() throws {
        let source = base.replacing("duration:", with: "hosts: [simulator, live]\nduration:")
        var obstacles = 0
        for seed in 0..<30 as Range<UInt64> {
            let plan = try file(source).drawn(seed: seed).plan()
            #expect(plan.hosts == [.simulator])
            obstacles += plan.liveObstacles.isEmpty ? 0 : 1
        }
        #expect(obstacles > 10)
    }

    @Test func `a file for the live host alone is drawn by no seed, and the refusal says where`() throws {
        let source = base.replacing("duration:", with: "hosts: [live]\nduration:")
        do {
            _ = try file(source).drawn(seed: 1)
            Issue.record("it was drawn")
        } catch {
            #expect("\(error)".contains("f.yaml:2:"), "\(error)")
            #expect("\(error)".contains("add “simulator”"), "\(error)")
        }
    }

    @Test func `an expectation that is not required is told and breaks nothing`() throws {
        let source = with(expect: "- name: told\n  required: false\n  by: 10s\n  that: { control: down }")
        let plan = try plan(source)
        var judge = Judge(plan: plan)
        let world = FakeWorld(nodes: 5, degree: 4)
        judge.observe(world, at: .seconds(10))
        #expect(judge.brokenCount == 0)
        let result = judge.verdict().expectations[1]
        #expect(result.outcome == .broken && result.isGood && !result.isRequired)
        #expect(judge.verdict().table.contains("broken     "))
        #expect(!judge.verdict().table.contains("BROKEN"))
        let report = RunReport(plan: plan, host: .simulator, verdict: judge.verdict())
        #expect(report.summary.contains("told      0 of 1 expectations held that are not required"))
    }

    // MARK: Attacks

    private let attacks = "attacks: [replay, flood, capture-control, impostor]"
    private let ghost = base.replacing(
        "    - { group: hub, place: north }",
        with: "    - { group: hub, place: north }\n    - { group: ghost, place: south }"
    ).replacing("uses: 5", with: "uses: 6").replacing("nodes: all, token", with: "nodes: [edge, hub], token")

    @Test func `attacks that are drawn leave the faults of every seed as they were`() throws {
        for seed in 0..<60 as Range<UInt64> {
            let without = try file(base + "swarm: { count: { at-least: 4 } }\n").drawn(seed: seed).document
            let with = try file(base + "swarm: { count: { at-least: 4 }, \(attacks) }\n").drawn(seed: seed).document
            let kept = (with["timeline"]?.array ?? []).filter { !kinds.contains(ShrinkWorld.action($0)) }
            #expect(kept == without["timeline"]?.array)
        }
    }

    private let kinds = ["replay", "flood", "capture-control", "impostor"]

    @Test func `each kind of attack is drawn in about half of the runs, valid, and over before the quiet time`() throws
    {
        let file = try file(ghost + "swarm: { quiet: 10s, \(attacks) }\n")
        var runs: [String: Int] = [:]
        for seed in 0..<200 as Range<UInt64> {
            let drawn = try file.drawn(seed: seed)
            let plan = try drawn.plan()
            if seed < 40 { try expectRoundTrip(plan, "seed \(seed)") }
            let actions = (drawn.document["timeline"]?.array ?? []).map { ShrinkWorld.action($0) }
            for kind in kinds where actions.contains(kind) { runs[kind, default: 0] += 1 }
            for step in plan.steps {
                guard case .attack(let attack) = step.action else { continue }
                switch attack {
                case .replay(let replay):
                    #expect(step.time + replay.duration + replay.after <= .seconds(50) && replay.after >= .seconds(5))
                case .flood(let flood): #expect(step.time + flood.duration <= .seconds(50))
                case .captureControl(let capture):
                    #expect(step.time + capture.duration <= .seconds(50) && !capture.isRequired)
                case .impostor(let impostor): #expect(plan.nodes[impostor.node].name == "ghost")
                }
            }
        }
        for kind in kinds { #expect((kind == "impostor" ? 40...120 : 60...130).contains(runs[kind] ?? 0), "\(runs)") }
    }

    @Test func `nobody asks as an impostor where no node is left for it, or no use of a token`() throws {
        for source in [base, ghost.replacing("uses: 6", with: "uses: 5")] {
            for seed in 0..<40 as Range<UInt64> {
                let drawn = try file(source + "swarm: { attacks: [impostor] }\n").drawn(seed: seed)
                #expect(!(drawn.document["timeline"]?.array ?? []).contains { ShrinkWorld.action($0) == "impostor" })
            }
        }
    }

    @Test func `a control plane that is spared is not captured`() throws {
        let file = try file(base + "swarm: { control: false, \(attacks) }\n")
        for seed in 0..<40 as Range<UInt64> {
            for step in try file.drawn(seed: seed).plan().steps {
                if case .attack(.captureControl) = step.action { Issue.record("seed \(seed)") }
            }
        }
    }

    @Test(arguments: [
        ("swarm: { attacks: [fire] }", "no kind of attack “fire”"),
        ("swarm: { attacks: [flood, flood] }", "named twice"),
        ("swarm: { judge: everything }", "no judgement “everything”"),
    ])
    func `a wrong word is refused with its mend`(_ section: String, _ problem: String) {
        #expect(refusal(base + section + "\n").contains(problem), "\(refusal(base + section + "\n"))")
    }
}
