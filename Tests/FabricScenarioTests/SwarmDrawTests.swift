import FabricCore
import FabricDocument
import FabricTestSupport
import Testing

@testable import FabricScenario

/// A world that the seed draws: places, groups, a timeline with crashes and outages of its own.
private func randomWorld(_ seed: UInt64) -> String {
    let random = SeededRandom(seed: seed, stream: "world")
    func below(_ bound: Int) -> Int { Int(random.below(UInt64(bound))) }
    let places = (0...below(4)).map { "p\($0)" }
    let groups = (0...below(3)).map { group in
        let count = below(3) == 0 ? "" : ", count: \(1 + below(6))"
        return "    - { group: g\(group), places: [\(places[below(places.count)]), \(places[0])]\(count) }"
    }
    let length = 40 + below(400)
    var steps =
        "  - at: 0s\n    token: { name: t, uses: 40 }\n  - at: \(below(20))s\n    enrol: { nodes: all, token: t }\n"
    if below(2) == 0 { steps += "  - at: 25s\n    crash: { nodes: g0, for: \(1 + below(10))s }\n" }
    if below(2) == 0 { steps += "  - at: \(below(30))s\n    stop-control: { for: \(1 + below(9))s }\n" }
    if below(3) == 0 { steps += "  - at: 36s\n    pause: { nodes: [g0, control], for: 1500ms }\n" }
    if below(3) == 0 { steps += "  - at: 38s\n    crash: { nodes: g0, kind: process, for: 1s }\n" }
    if below(3) == 0 { steps += "  - at: 24s\n    crash-at: { nodes: g0, boundary: send, within: 9s, for: 3s }\n" }
    if below(3) == 0 {
        steps +=
            "  - at: 2s\n    backup-control: { name: copy-1 }\n  - at: 39s\n    restore-control: { name: copy-1 }\n"
    }
    if below(3) == 0 { steps += "  - at: 31s\n    disk: { nodes: [g0, control], room: 0B, for: 8s }\n" }
    if below(3) == 0 { steps += "  - at: 32s\n    database: { failures: 50%, for: 6s }\n" }
    let nats = below(3) == 0 ? "  nats: [ { nat: home, nodes: g0, per: node } ]\n" : ""
    var swarm = ""
    if below(3) > 0 {
        swarm = "swarm: { quiet: \(1 + below(20))s, from: \(below(10))s, count: { at-most: \(1 + below(40)) }"
        if below(2) == 0 { swarm += ", vary: [peers, probe, heartbeat, delay, skew]" }
        if below(2) == 0 { swarm += ", nodes: g0, control: \(below(2) == 0)" }
        if below(2) == 0 { swarm += ", lasting: { at-least: \(10 + below(500))ms, at-most: \(1 + below(900))s }" }
        swarm += " }\n"
    }
    let name = below(3) == 0 ? "  control: { name: control.example }\n" : ""
    return """
        scenario: w
        duration: \(length)s
        world:
          places: [\(places.joined(separator: ", "))]
          nodes:
        \(groups.joined(separator: "\n"))
        \(nats)\(name)timeline:
        \(steps)expect: [ { at: 30s, that: { enrolled: all } } ]
        \(swarm)
        """
}

@Suite struct SwarmDrawTests {
    private func file(_ source: String) throws -> ScenarioFile { try ScenarioFile(yaml: bytes(source), file: "w.yaml") }

    @Test func `whatever is drawn in whatever world is a valid file that reads back to the same plan`() throws {
        var kinds: [String] = []
        for seed in 0..<150 as Range<UInt64> {
            let file = try file(randomWorld(seed))
            let drawn = try file.drawn(seed: seed)
            let plan = try drawn.plan()
            #expect(plan.seed == seed)
            for entry in drawn.document["timeline"]?.array ?? [] {
                let action = ShrinkWorld.action(entry)
                if !kinds.contains(action) { kinds.append(action) }
            }
            // As it was drawn, and expanded.
            let written = try ScenarioFile(yaml: bytes(YAMLWriter.text(drawn.document)), file: "written")
            #expect(written.document == drawn.document)
            #expect(try written.plan().withoutSource == plan.withoutSource)
            try expectRoundTrip(plan, "world \(seed)")
        }
        #expect(
            kinds.sorted() == [
                "backup-control", "bit-rot", "block", "clock", "crash", "crash-at", "database", "disk", "dns-lies",
                "enrol",
                "link", "lose-answers", "partition", "pause", "readdress", "rebind", "restore-control", "slow-cpu",
                "stop-control", "suspend", "swizzle", "token",
            ])
    }

    @Test func `a draw depends on the file and the seed alone`() throws {
        let file = try file(randomWorld(3))
        let first = try file.drawn(seed: 5)
        _ = try file.drawn(seed: 6)
        #expect(try file.drawn(seed: 5).document == first.document)
        #expect(try (0..<20 as Range<UInt64>).count { try file.drawn(seed: $0).document == first.document } == 1)
    }

    @Test func `faults stay in their window, and each kind is off in about half of the runs`() throws {
        let source = base + "swarm: { from: 10s, quiet: 20s, count: { at-least: 3, at-most: 6 } }\n"
        let file = try file(source)
        let own = try file.plan().steps.count
        var withCrash = 0
        for seed in 0..<200 as Range<UInt64> {
            let steps = try file.drawn(seed: seed).plan().steps
            #expect(steps.count > own)
            for step in steps.dropFirst(own) { #expect(step.time >= .seconds(10) && step.time <= .seconds(40)) }
            withCrash += steps.contains { if case .crash = $0.action { true } else { false } } ? 1 : 0
        }
        #expect((30...130).contains(withCrash), "\(withCrash)")
    }

    @Test func `what is spared is not hit`() throws {
        let source = base + "swarm: { nodes: hub, control: false, count: { at-most: 30 } }\n"
        for seed in 0..<100 as Range<UInt64> {
            for step in try file(source).drawn(seed: seed).plan().steps.dropFirst(2) {
                switch step.action {
                case .crash(let nodes): #expect(nodes == [4])
                case .moveClock(let set, _): #expect(set == EndpointSet(nodes: [4], control: false))
                case .cut(let cut): #expect(cut.from.nodes == [4] || cut.to.nodes == [4])
                case .stopControl, .loseAnswers, .hostFault(.database), .hostFault(.backUpControl):
                    Issue.record("the control plane was to be spared")
                case .hostFault(let fault): #expect(hosts(fault) == [EndpointSet(nodes: [4], control: false)])
                default: break
                }
            }
        }
    }

    private func hosts(_ fault: HostFault) -> [EndpointSet] {
        switch fault {
        case .kill(let set), .pause(let set), .suspend(let set), .resume(let set), .slowProcessor(let set, _),
            .drift(let set, _), .disk(let set, _), .bitRot(let set, _, _), .crashAt(let set, _):
            [set]
        case .dnsAnswers(let nodes, _): [EndpointSet(nodes: nodes, control: false)]
        case .database, .backUpControl, .restoreControl, .moveControl: []
        }
    }

    @Test func `no crash that was drawn comes after the window, and no host that is down is hit by another`() throws {
        let kinds = "[crash, process-crash, pause, suspend, crash-at, control-outage, restore-control]"
        let source = base + "swarm: { from: 5s, quiet: 20s, faults: \(kinds), count: { at-least: 9, at-most: 20 } }\n"
        var crashes = 0
        for seed in 0..<100 as Range<UInt64> {
            let plan = try file(source).drawn(seed: seed).plan()
            var until = [Duration](repeating: .zero, count: plan.nodes.count + 1)
            for step in plan.steps {
                guard case .hostFault(.crashAt(let set, let point)) = step.action else { continue }
                let within = try #require(point.within)
                #expect(step.time + within + point.downFor <= plan.duration - .seconds(20))
                for node in set.nodes + (set.control ? [plan.nodes.count] : []) {
                    #expect(until[node] <= step.time)
                    until[node] = step.time + within + point.downFor
                    crashes += 1
                }
            }
            for step in plan.steps {
                let down: [Int]
                switch step.action {
                case .crash(let nodes): down = nodes
                case .stopControl: down = [plan.nodes.count]
                case .hostFault(.kill(let set)), .hostFault(.pause(let set)), .hostFault(.suspend(let set)):
                    down = set.nodes + (set.control ? [plan.nodes.count] : [])
                default: continue
                }
                for other in plan.steps {
                    guard case .hostFault(.crashAt(let set, let point)) = other.action, let within = point.within,
                        other.time <= step.time, step.time < other.time + within + point.downFor
                    else { continue }
                    #expect(!set.nodes.contains { down.contains($0) })
                    #expect(!set.control || !down.contains(plan.nodes.count))
                }
            }
        }
        #expect(crashes > 50)
    }

    @Test func `one node at most moves unaware, for two of them never find each other`() throws {
        let source = base + "swarm: { faults: [readdress], count: { at-least: 5, at-most: 20 } }\n"
        var unaware = 0
        for seed in 0..<100 as Range<UInt64> {
            var moved = 0
            for step in try file(source).drawn(seed: seed).plan().steps {
                if case .readdress(let nodes, let told) = step.action, !told { moved += nodes.count }
            }
            #expect(moved <= 1)
            unaware += moved
        }
        #expect(unaware > 50)
    }

    @Test func `syncs are lost by nodes alone, writes torn not before their keys are durable, and no keys rot`() throws
    {
        let source =
            base
            + "swarm: { faults: [lost-syncs, torn-writes, bit-rot, disk-errors, crash], count: { at-least: 9, at-most: 20 } }\n"
        var lost = 0
        for seed in 0..<100 as Range<UInt64> {
            let plan = try file(source).drawn(seed: seed).plan()
            for step in plan.steps {
                switch step.action {
                case .hostFault(.disk(let set, let settings)):
                    for setting in settings where setting != setting.mended {
                        switch setting {
                        case .lostSyncs:
                            lost += 1
                            #expect(!set.control && step.time >= .seconds(11))
                        case .tornWrites: #expect(set.control || step.time >= .seconds(11))
                        default: break
                        }
                    }
                case .hostFault(.bitRot(let set, let file, _)):
                    #expect(!set.control && file != nil && file != "identity.json")
                default: break
                }
            }
        }
        #expect(lost > 20)
    }

    @Test(arguments: [
        ("swarm: { faults: [] }", "“faults” is empty"), ("swarm: { faults: [crash, crash] }", "named twice"),
        ("swarm: { faults: [flood] }", "no kind of fault “flood”"), ("swarm: { quiet: 2m }", "past the scenario's end"),
        ("swarm: { from: 50s, quiet: 20s }", "no room for faults"),
        ("swarm: { count: { at-least: 9, at-most: 3 } }", "0 to 1000"),
        ("swarm: { lasting: { at-most: 1ms } }", "lasts 10ms or more"), ("swarm: { nodes: hup }", "did you mean “hub”"),
        ("swarm: { vari: [peers] }", "did you mean “vary”"),
    ])
    func `a wrong swarm section is refused with its mend`(_ section: String, _ problem: String) {
        #expect(refusal(base + section + "\n").contains(problem), "\(refusal(base + section + "\n"))")
    }

    @Test func `trees of every form are written so that they read back`() throws {
        let random = SeededRandom(seed: 4, stream: "trees")
        let texts = [
            "", " ", "a", "no", "true", "null", "~", "-", "---", "- a", "1", "1e5", "-5", "5s", "-1m30s", "1%", "a: b",
            "#", "x #y",
            "[", "{}", "'", "\"", "\\", "\n", "\t", "é", "\u{85}", "a b", "*", "& ", "%", ".", "...", "?", "!", "@",
            "`", ",", "0x1F",
            "edge[1..2]", "place:north", String(repeating: "long ", count: 40), "=", "<", "|", ">", "\u{0}", "\u{7F}",
        ]
        func tree(_ depth: Int) -> DocumentNode {
            switch random.below(depth == 0 ? 4 : 7) {
            case 0: return DocumentNode(.integer(Int64(random.below(2000)) - 1000))
            case 1: return DocumentNode(random.below(2) == 0 ? .bool(true) : .null)
            case 2, 3: return .text(texts[Int(random.below(UInt64(texts.count)))])
            case 4: return DocumentNode(.array((0..<random.below(4)).map { _ in tree(depth - 1) }))
            default:
                var keys: [String] = []
                for _ in 0..<random.below(5) {
                    let key = texts[Int(random.below(UInt64(texts.count)))]
                    if !keys.contains(key) { keys.append(key) }
                }
                return DocumentNode(.object(keys.map { DocumentMember($0, tree(depth - 1)) }))
            }
        }
        for _ in 0..<300 {
            let root = DocumentNode(.object([DocumentMember("a", tree(4)), DocumentMember("b", tree(3))]))
            let text = YAMLWriter.text(root)
            do {
                #expect(try YAMLDocument.parse(bytes(text)) == root, "\(text)")
            } catch {
                Issue.record("\(error)\n\(text)")
            }
        }
    }
}
