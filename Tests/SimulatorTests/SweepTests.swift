import FabricCore
import FabricScenario
import Foundation
import Simulator
import Testing

private func plan() throws -> Plan {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
    let file = root.appendingPathComponent("Scenarios/crash-anywhere.yaml")
    return try ScenarioFile.plan(yaml: Array(Data(contentsOf: file)), file: "crash-anywhere.yaml")
}

/// Hosts in the order in which a run adds them: control, operator, nodes.
private let joiner = HostID(index: 4)

@Suite(.serialized) struct SweepTests {
    @Test func `a node's boundaries are counted in order, and a crash falls before the one that was named`() throws {
        let plan = try plan()
        let (points, outcome) = Sweep.points(plan, of: .node(2), .any)
        #expect(outcome.held, "\(outcome.broken)")
        #expect(points.map(\.number) == Array(1...points.count))
        #expect(points.prefix(2).map(\.boundary) == ["persist", "persist"])
        let asked = try #require(points.firstIndex { $0.boundary == "send" })
        #expect(points[..<asked].contains { $0.boundary == "persisted" })

        let run = ScenarioRun(plan: plan)
        run.world.recordBoundaries(of: joiner)
        run.world.armCrash(
            joiner, CrashPoint(boundary: .send, nth: 1, powerFails: true, downFor: .seconds(3)), ofTimeline: false)
        _ = run.run { _ in }
        let passed = run.world.passedBoundaries(of: joiner)
        #expect(passed[asked].boundary == .send)
        // The request did not leave: the next life begins with its own writes, and asks later.
        #expect(passed[asked + 1].boundary == .persist)
        #expect(passed[asked + 1].time - passed[asked].time == .seconds(3))
    }

    @Test func `a rare state that a run does not reach is no boundary's fault`() throws {
        var plan = try plan()
        plan.expectations = [plan.expectations[0]]
        plan.expectations[0].window = .sometimes(from: .zero, until: .seconds(1), required: false)
        plan.expectations[0].condition = .controlUp(false)
        #expect(Sweep.points(plan, of: .node(2), .persist).outcome.broken == [])
        plan.expectations[0].window = .sometimes(from: .zero, until: .seconds(1), required: true)
        #expect(Sweep.points(plan, of: .node(2), .persist).outcome.broken.count == 1)
    }

    @Test func `a crash that has not come within its time does not come any more`() throws {
        let plan = try plan()
        func boundariesAfter(_ within: Duration?) -> [Duration] {
            let run = ScenarioRun(plan: plan)
            run.world.recordBoundaries(of: joiner)
            // The fifth request leaves long after the node's first second.
            run.world.armCrash(
                joiner, CrashPoint(boundary: .send, nth: 5, powerFails: true, downFor: .seconds(3), within: within),
                ofTimeline: true)
            _ = run.run { _ in }
            let passed = run.world.passedBoundaries(of: joiner)
            return zip(passed, passed.dropFirst()).map { $1.time - $0.time }.filter { $0 == .seconds(3) }
        }
        #expect(boundariesAfter(nil).count == 1)
        #expect(boundariesAfter(.minutes(2)).count == 1)
        #expect(boundariesAfter(.seconds(26)).isEmpty)
    }

    /// `scripts/regress` goes through many more, in a release build.
    @Test func `a crash at a boundary of the control plane loses nobody`() throws {
        let plan = try plan()
        let point = CrashPoint(boundary: .sync, nth: 12, powerFails: true, downFor: .seconds(1))
        let outcome = Sweep.run(plan, crashing: .control, at: point)
        #expect(outcome.held, "\(outcome.broken)")
    }
}
