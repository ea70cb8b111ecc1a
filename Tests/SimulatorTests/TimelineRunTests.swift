import FabricCore
import FabricScenario
import Testing

@testable import Simulator

/// What steps do to each other in a run, as the file means it.
@Suite(.serialized) struct TimelineRunTests {
    private func run(_ steps: String, expect: String = "- at: 5s\n  that: { control: up }") throws -> ScenarioRun {
        func indented(_ text: String) -> String { text.split(separator: "\n").map { "  \($0)\n" }.joined() }
        let source = """
            scenario: steps
            duration: 40s
            world:
              places: [north]
              cluster: { heartbeat: 1s }
              nodes: [{ group: a }, { group: b }]
            timeline:
              - at: 0s
                token: { name: t, uses: 2 }
              - at: 1s
                enrol: { nodes: all, token: t }
              - every: 1s
                until: 5s
                approve: { nodes: all }

            """
        return ScenarioRun(
            plan: try ScenarioFile.plan(
                yaml: Array((source + indented(steps) + "expect:\n" + indented(expect)).utf8), file: "test.yaml"))
    }

    private func isUp(_ run: ScenarioRun, at seconds: [Int64]) -> [Bool] {
        seconds.map { second in
            run.advance(to: .seconds(second))
            return run.world.isRunning(run.agents[0].host)
        }
    }

    private let fall = "- at: 10s\n  crash-at: { nodes: a, boundary: send, for: 10s }"

    @Test func `a crash at a boundary ends by itself`() throws {
        let run = try run(fall)
        #expect(isUp(run, at: [10, 14, 24]) == [true, false, true])
    }

    @Test func `whom a crash at a boundary holds down, a crash keeps down until its restart`() throws {
        for kind in ["power", "process"] {
            let run = try run(fall + "\n- at: 15s\n  crash: { nodes: a, kind: \(kind), for: 20s }")
            #expect(isUp(run, at: [14, 16, 24, 34, 36]) == [false, false, false, false, true], "\(kind)")
        }
    }

    @Test func `who was restarted early and crashes again does not come up by the former crash`() throws {
        let run = try run(
            "- at: 10s\n  crash-at: { nodes: a, boundary: send, for: 20s }\n- at: 15s\n  crash: { nodes: a, for: 1s }\n"
                + "- at: 20s\n  crash: { nodes: a, for: 15s }")
        #expect(isUp(run, at: [14, 15, 17, 21, 34, 36]) == [false, false, true, false, false, true])
    }

    @Test func `a node is outside the core while it waits for its crash and is down, and inside when it is up again`()
        throws
    {
        let run = try run(
            "- at: 10s\n  crash-at: { nodes: a, boundary: send, nth: 3, for: 4s }",
            expect: "- always: { not: { in-fault: b } }")
        func isInFault(_ second: Int64) -> Bool {
            run.advance(to: .seconds(second))
            return run.view.awaitsCrash(0)
        }
        #expect(!isInFault(9))
        run.advance(to: .seconds(10) + .milliseconds(1))
        #expect(run.view.awaitsCrash(0) && run.world.isRunning(run.agents[0].host))
        run.advance { !$0.world.isRunning($0.agents[0].host) }
        #expect(run.view.awaitsCrash(0))
        run.advance { $0.world.isRunning($0.agents[0].host) }
        #expect(!run.view.awaitsCrash(0))
    }

    @Test func `a run whose time stands still has failed, though all was decided before`() throws {
        let run = try run("")
        run.world.eventsPerInstantLimit = 1_000
        func again(_ world: World) { world.schedule(at: world.now, "again", again) }
        run.world.schedule(at: run.start + .seconds(20), "again", again)
        let verdict = run.run { _ in }
        #expect(verdict.held)
        #expect(run.isOver && run.troubles.count == 1)
        #expect(run.troubles.first?.hasPrefix("time stands still at 20s") == true, "\(run.troubles)")
    }

    @Test(arguments: [
        "disk: { nodes: control, sync-errors: 20%, write-errors: 5%, for: 25s }",
        "disk: { nodes: control, read-errors: 20%, sync-errors: 20%, for: 25s }",
        "database: { failures: 20%, unknown-commits: 20%, for: 25s }",
        "crash-at: { nodes: control, boundary: write, nth: 9 }",
    ])
    func `who looks at the control plane's records changes nothing of the course`(_ fault: String) throws {
        func course(_ expectation: String) throws -> (String, UInt64, Int) {
            let run = try run("- at: 2s\n  \(fault)", expect: "- at: 1s\n  that: { control: up }\n" + expectation)
            _ = run.run { _ in }
            return (run.traceHash, run.eventCount, run.view.auditCount(of: 0))
        }
        let plain = try course("- sometimes: { audit: { event: x, count: 7 } }\n  from: 40s")
        let watched = try course(
            "- sometimes: { audit: { event: x, count: 7 } }\n- always: { not: { requests: { nodes: all, count: 9 } } }")
        #expect(plain == watched)
    }

    @Test func `every kind of event has its name`() throws {
        let run = try run(
            "- at: 9s\n  slow-cpu: { nodes: a, per-event: 1ms }\n- at: 10s\n  crash: { nodes: b, for: 1s }")
        var names: Set<String> = []
        run.world.afterEventOfKind = { name, _ in names.insert(name) }
        _ = run.run { _ in }
        #expect(names.isSuperset(of: ["service", "boot", "action", "timer", "wake", "disk completion"]), "\(names)")
    }
}
