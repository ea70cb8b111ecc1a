import FabricCore
import FabricScenario
import Simulator
import Testing

/// Two nodes in two places with a cut between them from 20 s to 30 s.
let smallFabric = """
    scenario: small-fabric
    duration: 40s
    world:
      places: [north, south]
      control: { place: north }
      cluster: { name: small, heartbeat: 5s, probe: 1s }
      nodes:
        - { group: left, place: north }
        - { group: right, place: south }
    timeline:
      - at: 0s
        token: { name: t, uses: 2 }
      - at: 1s
        enrol: { nodes: all, token: t }
      - every: 1s
        until: 8s
        approve: { nodes: all }
      - at: 20s
        label: cut
        partition: { between: [left, right], for: 10s }
    expect:
      - by: 10s
        that: { reaches: { from: all, to: all } }
      - at: 29s
        that: { reaches: { from: left, to: right } }
    """

/// A run of `smallFabric` with its journal, watched by `recorder` when one is made.
func runSmallFabric(seed: UInt64 = 1, journal: Bool = true, report: Bool = false) throws -> (
    run: ScenarioRun, verdict: Verdict, recorder: ReportRecorder?
) {
    var plan = try ScenarioFile.plan(yaml: Array(smallFabric.utf8), file: "small-fabric.yaml")
    plan.seed = seed
    let run = ScenarioRun(plan: plan)
    if journal { run.keepJournal() }
    let recorder = report ? ReportRecorder(run) : nil
    let verdict = run.run { recorder?.observe($0) }
    return (run, verdict, recorder)
}

@Suite(.serialized) struct JournalTests {
    @Test func `journal and report change neither the trace nor the verdict`() throws {
        let plain = try runSmallFabric(journal: false)
        let watched = try runSmallFabric(report: true)
        #expect(plain.run.traceHash == watched.run.traceHash)
        #expect(plain.run.eventCount == watched.run.eventCount)
        #expect(plain.verdict == watched.verdict)
    }

    @Test func `every cause comes before its effect, and not later in time`() throws {
        let journal = try #require(try runSmallFabric().run.world.journal)
        #expect(journal.count > 500)
        for id in 0..<journal.count {
            let entry = journal[id]
            #expect(entry.cause < id)
            if entry.cause >= 0 { #expect(journal.time(of: entry.cause) <= entry.time) }
        }
    }

    @Test func `an echo that came back is traced to the timer of the node that sent it`() throws {
        let run = try runSmallFabric().run
        let journal = try #require(run.world.journal)
        let back = try #require(
            // The first ones wait for a handshake, which is then among their causes.
            (journal.firstIndex(from: journal.time(of: 0) + .seconds(20))..<journal.count).first {
                journal[$0].outcome.contains("echo came back")
            })
        var chain = [journal[back]]
        while let last = chain.last, last.cause >= 0, last.kind != .timer { chain.append(journal[last.cause]) }
        #expect(chain.map(\.kind) == [.arrived, .sent, .timer])
        #expect(chain.map(\.text).last == "wakes to probe peers")
        #expect(chain[0].host != chain[2].host)
    }

    @Test func `a datagram into a partition says what became of it`() throws {
        let run = try runSmallFabric().run
        let journal = try #require(run.world.journal)
        let lost = (0..<journal.count).map { journal[$0] }.filter {
            $0.kind == .sent && $0.outcome == "never arrives: a partition cuts it off"
        }
        #expect(lost.count > 5)
        #expect(lost.allSatisfy { (Duration.seconds(20)...Duration.seconds(30)).contains(run.scenarioTime($0.time)) })
    }

    @Test func `an answer of the control plane leads back to the request that a node sent`() throws {
        let run = try runSmallFabric().run
        let journal = try #require(run.world.journal)
        let left = try #require(run.host(named: "left"))
        let answer = try #require(
            (0..<journal.count).map { journal[$0] }.first {
                $0.kind == .http && $0.host == left && $0.text == "200 to POST /v1/node/heartbeat"
            })
        var texts: [String] = []
        var at = answer
        while at.cause >= 0, at.kind != .timer {
            at = journal[at.cause]
            texts.append(at.text)
        }
        #expect(texts.contains("control plane answers 200 to /v1/node/heartbeat"))
        #expect(texts.contains("POST /v1/node/heartbeat"))
        #expect(texts.last == "wakes to heartbeat")
    }

    @Test func `a full journal drops packets first, and says since when`() throws {
        let plan = try ScenarioFile.plan(yaml: Array(smallFabric.utf8), file: "small-fabric.yaml")
        let run = ScenarioRun(plan: plan)
        let journal = run.keepJournal(maximumEntries: 300)
        _ = run.run { _ in }
        #expect(journal.count <= 600)
        #expect(journal.truncatedAt != nil)
        let late = (300..<journal.count).map { journal[$0].kind }
        #expect(late.contains(.http))
        #expect(!late.contains(.sent))
        // What is counted is counted all the same.
        #expect(journal.tally(.sent) > 100)
    }
}
