import FabricCore
import FabricScenario
import Simulator
import Testing

private func smallPlan() throws -> Plan {
    try ScenarioFile.plan(yaml: Array(smallFabric.utf8), file: "small-fabric.yaml")
}

private func run(to time: Duration) throws -> ScenarioRun {
    let run = ScenarioRun(plan: try smallPlan())
    run.keepJournal()
    run.advance(to: time)
    return run
}

@Suite(.serialized) struct DebuggingTests {
    @Test func `a run in pieces is the run in one piece`() throws {
        let whole = try runSmallFabric(journal: false)
        let pieces = ScenarioRun(plan: try smallPlan())
        for second in 1...30 { pieces.advance(to: .seconds(second) + .milliseconds(137)) }
        pieces.advance { $0.eventCount % 7 == 0 }
        pieces.advance()
        #expect(pieces.isOver)
        #expect(pieces.traceHash == whole.run.traceHash)
        #expect(pieces.judge.verdict() == whole.verdict)
    }

    @Test func `a query selects by host, peer, kind, time and words`() throws {
        let run = try runSmallFabric().run
        let journal = try #require(run.world.journal)
        let left = try #require(run.host(named: "left"))
        let right = try #require(run.host(named: "right"))
        var query = TraceQuery()
        #expect(query.select(journal, run).count == journal.count)
        query.hosts = [left]
        query.peer = right
        query.kinds = [.sent]
        query.from = .seconds(20)
        query.until = .seconds(30)
        query.words = "PARTITION"
        let found = query.select(journal, run).map { journal[$0] }
        #expect(found.count > 5)
        for entry in found {
            #expect(Set([entry.host, entry.peer]) == [left, right])
            #expect(entry.kind == .sent)
            #expect(entry.outcome.contains("partition"))
        }
        query.from = .seconds(31)
        query.until = .seconds(30)
        #expect(query.select(journal, run).isEmpty)
    }

    @Test func `following an entry leads back to a timer or step, and forward to its effects`() throws {
        let run = try runSmallFabric().run
        let journal = try #require(run.world.journal)
        let sent = try #require(
            (0..<journal.count).first {
                journal[$0].text.hasPrefix("WireGuard handshake initiation") && journal.kind(of: $0) == .sent
            })
        let chain = CausalChain(of: sent, in: journal)
        #expect(chain.causes.map { journal.kind(of: $0) } == [.timer, .sent])
        #expect(Array(chain.effects.map { journal.kind(of: $0.id) }.prefix(3)) == [.arrived, .sent, .arrived])
        #expect(chain.effects.prefix(3).map(\.depth) == [1, 2, 3])
    }

    @Test func `an explanation names the partition with its line and label`() throws {
        let path = PathExplanation(try run(to: .seconds(27)), from: 0, to: 1)
        #expect(!path.isReachable)
        #expect(path.conclusion.contains("left can't reach right"), "\(path.conclusion)")
        #expect(path.conclusion.contains("a partition cuts them"), "\(path.conclusion)")
        #expect(path.conclusion.contains("“cut”, since 20s, until 30s"), "\(path.conclusion)")
    }

    @Test func `an explanation names the first thing that lacks`() throws {
        let before = PathExplanation(try run(to: .milliseconds(500)), from: 0, to: 1)
        #expect(before.conclusion.contains("left runs? No: it has not been switched on"), "\(before.conclusion)")
        let waiting = PathExplanation(try run(to: .milliseconds(1500)), from: 0, to: 1)
        #expect(waiting.conclusion.contains("left is enrolled? No: it is awaiting approval"), "\(waiting.conclusion)")
        let good = PathExplanation(try run(to: .seconds(15)), from: 0, to: 1)
        #expect(good.isReachable)
        #expect(good.findings.allSatisfy { $0.judgement != .bad }, "\(good.lines)")
    }

    @Test func `stop conditions are read, and what is none is refused`() throws {
        let run = ScenarioRun(plan: try smallPlan())
        #expect(StopCondition("4m30s", run) == .time(.seconds(270)))
        #expect(StopCondition("broken", run) == .broken)
        #expect(StopCondition("phase=active", run) == .phase("active", node: nil))
        #expect(StopCondition("right:phase=active", run) == .phase("active", node: 1))
        #expect(StopCondition("event=is down", run) == .words("is down"))
        for text in ["", "soon", "nobody:phase=active", "phase", "30", "event="] {
            #expect(StopCondition(text, run) == nil, "\(text)")
        }
    }

    @Test func `a session stops at conditions, steps, and goes back to the very same event`() throws {
        let session = DebugSession(try smallPlan())
        let stopped = session.perform("until broken")
        #expect(stopped.last?.contains("1 BROKEN") == true)
        #expect(stopped.dropLast().contains { $0.hasPrefix("  BROKEN") }, "\(stopped)")
        let before = session.position
        let seen = session.perform("trace 1")
        _ = session.perform("step 5")
        #expect(session.position != before)
        _ = session.perform("back 5")
        #expect(session.perform("trace 1") == seen)
        _ = session.perform("back")
        #expect(session.position.hasPrefix("-5.000000s") || session.position.hasPrefix("-4."), "\(session.position)")
        _ = session.perform("until right:phase=active")
        #expect(session.perform("show right").first == "right in south: active")
    }

    @Test func `a session says what is wrong with a command, and goes on`() throws {
        let session = DebugSession(try smallPlan())
        for (line, answer) in [
            ("jump", "is no command"), ("until never", "is no condition"), ("node nobody", "there is no host"),
            ("show", "name a host"), ("path left", "two nodes"), ("path left nobody", "there is no host"),
            ("back", "this is the start"), ("follow 99999", "no entry"), ("back x", "a number of events"),
            ("step nobody", "there is no host"), ("step -1", "a number from 1"), ("step 0", "a number from 1"),
            ("step 1.5", "a number from 1"), ("step 99999999999999999999", "a number from 1"),
            ("back -1", "a number of events"), ("back 0", "a number of events"), ("trace -1", "a number of entries"),
            ("trace all", "a number of entries"),
        ] {
            let refused = session.refusals
            let text = session.perform(line).joined()
            #expect(text.contains(answer), "\(line): \(text)")
            #expect(session.refusals == refused + 1, "\(line)")
        }
        #expect(session.position.hasSuffix("event 0, 0 of 2 expectations held"), "\(session.position)")
        _ = session.perform("step")
        #expect(session.perform("where").count == 2)
        #expect(session.perform("step 18446744073709551615").last?.hasSuffix("the end") == true)
        #expect(session.perform("step 18446744073709551615").last?.hasSuffix("the end") == true)
        #expect(session.perform("") == [])
        #expect(!session.isOver)
        _ = session.perform("quit")
        #expect(session.isOver)
    }

    @Test func `a diagram draws an arrow for a message, and a broken one for what never arrives`() throws {
        let run = try runSmallFabric().run
        let journal = try #require(run.world.journal)
        var query = TraceQuery()
        query.from = .seconds(19)
        query.until = .seconds(21)
        query.kinds = [.sent, .arrived, .step]
        let diagram = MessageDiagram(query.select(journal, run), in: journal, of: run)
        let text = diagram.text()
        #expect(text[0].contains("left") && text[0].contains("right"))
        #expect(text.contains { $0.contains("──▶") && $0.contains("fabric probe") })
        #expect(text.contains { $0.contains("✕") && $0.contains("never arrives") })
        #expect(text.contains { $0.contains("partition") && $0.contains("── line") })
        let mermaid = diagram.mermaid()
        #expect(mermaid[0] == "sequenceDiagram")
        #expect(mermaid.contains { $0.contains("-xh") })
    }
}
