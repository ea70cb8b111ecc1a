import FabricCore
import FabricDocument
import Testing

@testable import FabricScenario

/// Rare states, what must never be, and liveness on a healthy core.
@Suite struct CoreTests {
    private func judge(_ expectation: String, steps: String = "") throws -> (Judge, FakeWorld) {
        var plan = try plan(with(steps, expect: expectation))
        plan.expectations.removeFirst()
        return (Judge(plan: plan), FakeWorld(nodes: 5, degree: 4))
    }

    private func result(_ judge: Judge) -> ExpectationResult { judge.verdict().expectations[0] }

    // MARK: never, sometimes

    @Test func `never breaks at the first look that sees it, within its window only`() throws {
        var (judge, world) = try judge("- never: { control: down }\n  from: 10s\n  until: 20s")
        world.controlIsUp = false
        judge.observe(world, at: .seconds(9))
        world.controlIsUp = true
        judge.observe(world, at: .seconds(20))
        #expect(judge.verdict().held && judge.isSettled)
        (judge, world) = try self.judge("- never: { control: down }\n  from: 10s\n  until: 20s")
        judge.observe(world, at: .seconds(12))
        world.controlIsUp = false
        judge.observe(world, at: .seconds(13))
        #expect(result(judge).outcome == .broken && result(judge).decidedAt == .seconds(13))
        #expect(result(judge).why == "this holds: control plane down")
        #expect(result(judge).kind == .never)
    }

    @Test func `a rare state that is not reached is told and breaks nothing`() throws {
        var (judge, world) = try judge("- sometimes: { control: down }\n  until: 20s")
        judge.observe(world, at: .seconds(20))
        #expect(judge.isSettled && judge.verdict().held)
        #expect(result(judge).outcome == .notReached && result(judge).why == nil)
        #expect(judge.verdict().table.hasPrefix("not reached"))
        let tree = try JSON.parse(JSON.encode(result(judge)))
        #expect(tree["kind"]?.string == "sometimes" && tree["outcome"]?.string == "not reached")
        #expect(tree["required"]?.bool == false)
        (judge, world) = try self.judge("- sometimes: { control: down }\n  until: 20s")
        world.controlIsUp = false
        judge.observe(world, at: .seconds(3))
        #expect(result(judge).outcome == .held && judge.verdict().table.hasPrefix("reached"))
    }

    @Test func `a required rare state breaks the run that does not reach it`() throws {
        var (judge, world) = try judge("- sometimes: { control: down }\n  until: 20s\n  required: true")
        judge.observe(world, at: .seconds(19))
        #expect(!judge.isSettled)
        judge.observe(world, at: .seconds(20))
        #expect(!judge.verdict().held && result(judge).why == "the control plane is up")
    }

    @Test func `windows may begin and end some time after a step`() throws {
        let step = "- at: 10s\n  label: cut\n  partition: { between: [north, south], for: 5s }"
        let plan = try plan(with(step, expect: "- always: { enrolled: all }\n  from: cut.end+10s\n  until: cut + 30s"))
        #expect(plan.expectations[1].window == .always(from: .seconds(25), until: .seconds(40)))
        #expect(refusal(with(step, expect: "- always: { enrolled: all }\n  from: cut.end+ten")).contains("no duration"))
        #expect(refusal(with(step, expect: "- always: { enrolled: all }\n  from: cutt+1s")).contains("“cut”"))
        #expect(
            refusal(with(step, expect: "- always: { enrolled: all }\n  from: cut+1h")).contains("past the scenario"))
    }

    // MARK: Cores

    private let crash = "- at: 10s\n  crash: { nodes: edge-2, for: 20s }"

    @Test func `a crashed node and those who can't reach it don't count in a healthy core`() throws {
        var (judge, world) = try judge(
            "- at: 15s\n  core: healthy\n  that: { reaches: { from: all, to: all } }", steps: crash)
        world.peers[1] = []
        for node in [0, 2, 3, 4] {
            for peer in 0..<4 where world.peers[node][peer].node == 1 { world.peers[node][peer].isUp = false }
        }
        judge.observe(world, at: .seconds(15))
        #expect(judge.verdict().held, "\(result(judge))")
        (judge, _) = try self.judge("- at: 15s\n  that: { reaches: { from: all, to: all } }", steps: crash)
        judge.observe(world, at: .seconds(15))
        #expect(result(judge).outcome == .broken)
    }

    @Test func `when the fault is over the node counts again`() throws {
        var (judge, world) = try judge("- at: 30s\n  core: healthy\n  that: { enrolled: all }", steps: crash)
        world.phases[1] = .off
        judge.observe(world, at: .seconds(30))
        #expect(result(judge).why == "1 of 5 nodes: edge-2 (off)")
    }

    @Test func `a core of named nodes is as wide as they are`() throws {
        var (judge, world) = try judge(
            "- at: 15s\n  core: { nodes: [edge-1, edge-2] }\n  that: { reaches: { from: all, to: policy } }",
            steps: crash)
        for node in 1..<5 { for peer in 0..<4 { world.peers[node][peer].isUp = false } }
        for peer in 0..<4 { world.peers[0][peer].isUp = false }
        judge.observe(world, at: .seconds(15))
        #expect(judge.verdict().held, "edge-1 is alone in the core: \(result(judge))")
        world.phases[0] = .joining
        (judge, _) = try self.judge(
            "- at: 15s\n  core: { nodes: [edge-1, edge-2] }\n  that: { enrolled: all }", steps: crash)
        judge.observe(world, at: .seconds(15))
        #expect(result(judge).why?.contains("edge-1 (joining)") == true)
    }

    @Test func `a core of which nobody is left holds nothing, negations neither`() throws {
        for condition in ["{ enrolled: all }", "{ not: { enrolled: all } }"] {
            var (judge, world) = try judge("- at: 15s\n  core: { nodes: edge-2 }\n  that: \(condition)", steps: crash)
            judge.observe(world, at: .seconds(15))
            #expect(result(judge).why == "no node of the core is without a fault")
            world.phases[0] = .off
        }
    }

    @Test func `never breaks, too, when nobody is left in its core`() throws {
        var (judge, world) = try judge(
            "- never: { control: down }\n  core: { nodes: edge-2 }", steps: crash)
        judge.observe(world, at: .seconds(9))
        #expect(result(judge).outcome == .notReached)
        judge.observe(world, at: .seconds(10))
        #expect(result(judge).outcome == .broken && result(judge).why == "no node of the core is without a fault")
    }

    /// Whether `edge-2` is in a fault at these seconds.
    private func faults(_ steps: String, _ seconds: [Int64]) throws -> [Bool] {
        let windows = FaultWindows(try plan(with(steps)))
        return seconds.map { windows.isInFault(1, at: .seconds($0)) }
    }

    @Test func `each fault of a disk has its own end`() throws {
        let steps =
            "- at: 10s\n  disk: { nodes: edge-2, room: 0B, for: 10s }\n"
            + "- at: 15s\n  disk: { nodes: edge-2, write-errors: 100%, for: 30s }"
        #expect(try faults(steps, [9, 10, 20, 44, 45]) == [false, true, true, true, false])
    }

    @Test func `a pause ends with its process, however that ends`() throws {
        for kind in ["process", "power"] {
            let steps =
                "- at: 10s\n  pause: { nodes: edge-2 }\n"
                + "- at: 20s\n  crash: { nodes: edge-2, kind: \(kind), for: 10s }"
            #expect(try faults(steps, [10, 20, 29, 30]) == [true, true, true, false], "\(kind)")
        }
    }

    @Test func `who waits for a crash at a boundary is in a fault until the run says that it is over`() throws {
        let step = "- at: 10s\n  crash-at: { nodes: edge-2 }"
        var (judge, world) = try judge("- always: { enrolled: all }\n  core: healthy\n  from: 11s", steps: step)
        world.phases[1] = .off
        world.awaitsCrash = [1]
        judge.observe(world, at: .seconds(11))
        #expect(result(judge).outcome == .notReached)
        world.awaitsCrash = []
        judge.observe(world, at: .seconds(12))
        #expect(result(judge).why == "1 of 5 nodes: edge-2 (off)")
        (judge, world) = try self.judge("- at: 11s\n  that: { in-fault: edge-2 }", steps: step)
        world.awaitsCrash = [1]
        judge.observe(world, at: .seconds(11))
        #expect(judge.verdict().held)
    }

    @Test func `of a partition the side without the control plane is in a fault, else the smaller one`() throws {
        func faulty(_ step: String) throws -> [String] {
            let plan = try plan(with("- at: 10s\n  label: cut\n  partition: \(step)"))
            let windows = FaultWindows(plan)
            #expect(plan.nodes.indices.allSatisfy { !windows.isInFault($0, at: .seconds(9)) })
            #expect(plan.nodes.indices.allSatisfy { !windows.isInFault($0, at: .seconds(20)) })
            return plan.nodes.indices.filter { windows.isInFault($0, at: .seconds(19)) }.map { plan.nodes[$0].name }
        }
        #expect(try faulty("{ place: south, for: 10s }") == ["edge-2", "edge-4"])
        #expect(try faulty("{ place: north, for: 10s }") == ["edge-2", "edge-4"])
        #expect(try faulty("{ between: [edge-1, hub], for: 10s }") == ["edge-1"])
        #expect(try faulty("{ between: [edge, hub], for: 10s }") == ["hub"])
        #expect(try faulty("{ from: [edge, control], to: hub, for: 10s }") == ["hub"])
    }

    @Test func `faults are counted as a condition`() throws {
        var (judge, world) = try judge(
            "- at: 15s\n  that: { count: { of: { in-fault: all }, count: 1 } }", steps: crash)
        judge.observe(world, at: .seconds(15))
        #expect(judge.verdict().held)
        (judge, world) = try self.judge("- at: 35s\n  that: { in-fault: edge-2 }", steps: crash)
        judge.observe(world, at: .seconds(35))
        #expect(result(judge).why == "edge-2 (in no fault)")
    }

    @Test func `what can't be meant is refused`() {
        #expect(refusal(with(expect: "- at: 5s\n  core: sick\n  that: { enrolled: all }")).contains("healthy"))
        #expect(
            refusal(with(expect: "- at: 5s\n  that: { count: { of: { control: up }, count: 1 } }")).contains("nodes"))
        for range in ["at-least: 6", "count: 6", "at-least: 6, at-most: 7"] {
            let said = refusal(with(expect: "- at: 5s\n  that: { count: { of: { enrolled: all }, \(range) } }"))
            #expect(said.hasPrefix("f.yaml:17:") && said.contains("5 nodes") && said.contains("ask for 5"), "\(said)")
        }
        #expect(refusal(with(expect: "- at: 5s\n  that: { reachable: { from: all, to: all } }")).contains("at-least"))
        #expect(refusal(with(expect: "- at: 5s\n  that: { certificate: { nodes: all } }")).contains("age-at-most"))
        #expect(refusal(with(expect: "- at: 5s\n  that: { phase: { nodes: all, is: activ } }")).contains("active"))
    }

    @Test func `the live host refuses what it can't see, with the line`() throws {
        for condition in [
            "clock-offset: { nodes: all, at-most: 1s }", "session-age: { nodes: all, at-most: 1s }",
            "certificate: { nodes: all, age-at-most: 1h }", "snapshots-agree: all", "control: up",
        ] {
            let source = with(expect: "- at: 5s\n  that: { \(condition) }")
            #expect(try plan(source).hosts == [.simulator])
            let said = refusal(source.replacing("duration: 60s", with: "duration: 60s\nhosts: [live]"))
            #expect(said.contains("(line"), "\(condition): \(said)")
        }
    }
}
