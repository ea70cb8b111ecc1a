import FabricCore
import FabricScenario
import Simulator
import Testing

/// A run that a swarm's seed draws is the same however it is looked at.
@Suite(.serialized) struct ReplayTests {
    private func drawn(_ seed: UInt64) throws -> ScenarioFile {
        let swarm = "\nswarm: { quiet: 5s, count: { at-least: 3 }, attacks: [replay, flood, capture-control] }\n"
        return try ScenarioFile(yaml: Array((smallFabric + swarm).utf8), file: "small-fabric.yaml").drawn(seed: seed)
    }

    @Test(arguments: [3, 4, 5] as [UInt64])
    func `run, trace, report, debugging and the file that explain prints come to one trace`(_ seed: UInt64) throws {
        let plan = try drawn(seed).plan()
        let plain = ScenarioRun(plan: plan)
        let verdict = plain.run { _ in }
        let hash = plain.traceHash

        let watched = ScenarioRun(plan: plan)
        watched.keepJournal()
        let recorder = ReportRecorder(watched)
        _ = watched.run { recorder.observe($0) }
        #expect(watched.traceHash == hash)

        let session = DebugSession(plan)
        for line in ["step 1000", "back 7", "until 20s"] { _ = session.perform(line) }
        _ = session.perform("run")
        #expect(session.perform("where").last == "trace \(hash)")

        let printed = try ScenarioFile.plan(yaml: Array(plan.explanation.utf8), file: "explained.yaml")
        let explained = ScenarioRun(plan: printed)
        #expect(explained.run { _ in }.held == verdict.held)
        #expect(explained.traceHash == hash)

        let other = ScenarioRun(plan: try drawn(seed + 100).plan())
        _ = other.run { _ in }
        #expect(other.traceHash != hash)
    }

    @Test func `a captured control plane that had nothing to send is no trouble where that is not required`() throws {
        func troubles(_ required: String) throws -> [String] {
            let step = "capture-control: { nodes: left, sends: old-snapshot\(required), for: 1s }"
            let source = smallFabric.replacing("expect:", with: "  - at: 1s\n    \(step)\nexpect:")
            let run = ScenarioRun(plan: try ScenarioFile.plan(yaml: Array(source.utf8), file: "f.yaml"))
            _ = run.run { _ in }
            return run.troubles
        }
        #expect(try troubles("").contains { $0.contains("had no old-snapshot") })
        #expect(try troubles(", required: false") == [])
    }
}
