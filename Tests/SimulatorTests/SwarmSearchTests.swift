import FabricCore
import FabricScenario
import FabricTestSupport
import Simulator
import Testing

@Suite struct SwarmLedgerTests {
    private func result(_ seed: UInt64, _ coverage: [String], _ failures: [String] = []) -> SwarmResult {
        SwarmResult(seed: seed, outcome: failures.isEmpty ? .held : .broken, failures: failures, coverage: coverage)
    }

    @Test func `a seed is kept for what no seed before had reached`() {
        var ledger = SwarmLedger(range: 1...10)
        #expect(ledger.record(result(3, ["a", "b"])) == ["a", "b"])
        #expect(ledger.record(result(1, ["b", "c"])) == ["c"])
        #expect(ledger.record(result(2, ["a"], ["x"])) == ["failure: x"])
        #expect(ledger.record(result(3, ["d"])) == [])
        let reached = ledger.reached("b")
        #expect(reached?.seeds == 2 && reached?.first == 1)
        #expect(ledger.doneCount == 3 && ledger.failureCount == 1)
        #expect(ledger.coverage.map(\.what) == ["a", "b", "c", "failure: x"])
    }

    @Test func `a seed of the corpus that is not in the range counts for coverage, and is not one of those done`() {
        var ledger = SwarmLedger(range: 1...10)
        #expect(ledger.record(result(99, ["a"])) == ["a"])
        #expect(ledger.doneCount == 0 && ledger.isDone(99) && ledger.coverageCount == 1)
    }

    @Test func `the status is 3 before 1, and a rare state that no seed reached is a failure`() {
        var ledger = SwarmLedger(range: 1...10)
        _ = ledger.record(result(1, ["sometimes: a"]))
        #expect(ledger.exitStatus(sometimes: ["sometimes: a"]) == 0)
        #expect(ledger.exitStatus(sometimes: ["sometimes: a", "sometimes: b"]) == 1)
        _ = ledger.record(result(2, [], ["x"]))
        #expect(ledger.exitStatus(sometimes: []) == 1)
        _ = ledger.record(SwarmResult(seed: 3, outcome: .undetermined, failures: ["y"], coverage: []))
        #expect(ledger.exitStatus(sometimes: []) == 3)
    }

    @Test func `a seed of which nothing is known is neither done nor held, and has a status of its own`() {
        var ledger = SwarmLedger(range: 1...10)
        _ = ledger.record(result(1, ["sometimes: a"]))
        let lost = SwarmResult(seed: 2, outcome: .noResult, failures: ["killed"], coverage: [])
        #expect(ledger.record(lost) == [])
        #expect(!ledger.isDone(2) && ledger.doneCount == 1 && ledger.noResultCount == 1 && ledger.failureCount == 0)
        #expect(ledger.exitStatus(sometimes: ["sometimes: a"]) == 4)
        _ = ledger.record(result(3, [], ["x"]))
        #expect(ledger.exitStatus(sometimes: []) == 1)
        #expect(ledger.record(result(2, ["b"])) == ["b"])
        #expect(ledger.isDone(2))
    }

    @Test func `a second run takes nothing from a failure, and makes nothing of another trace`() {
        let held = result(1, ["a"])
        let broken = result(1, ["a"], ["x"])
        let lost = SwarmResult(seed: 1, outcome: .noResult, failures: ["killed"], coverage: [])
        let late = SwarmResult(seed: 1, outcome: .overran, failures: ["late"], coverage: [])
        for second in [lost, late] {
            #expect(broken.compared("h", with: second, nil) == broken)
            #expect(held.compared("h", with: second, nil) == second)
        }
        #expect(broken.compared("h", with: broken, "h") == broken)
        #expect(held.compared("h", with: held, "h") == held)
        let other = broken.compared("h", with: held, "i")
        #expect(other.outcome == .undetermined && other.failures == ["not deterministic: i, then h"])
        let trap = SwarmResult(seed: 1, outcome: .trapped, failures: ["signal 5"], coverage: [])
        #expect(held.compared("h", with: trap, nil).failures == ["not deterministic: signal 5, then h"])
    }

    @Test func `the order of the results does not change the figures`() {
        let results = (0..<50 as Range<UInt64>).map { seed in
            result(seed, (0..<5).map { "c\((Int(seed) * 7 + $0) % 20)" }, seed % 9 == 0 ? ["f"] : [])
        }
        var forth = SwarmLedger(range: 0...49)
        var back = SwarmLedger(range: 0...49)
        for result in results { _ = forth.record(result) }
        for result in results.reversed() { _ = back.record(result) }
        #expect(forth.coverage == back.coverage && forth.failureCount == back.failureCount)
    }
}

@Suite struct SwarmFilesTests {
    private let identity = SwarmIdentity(
        scenario: "mixed", program: "aaaa", file: [1, 2, 3], first: 1, last: 1000)
    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
    private func problem(_ body: () throws(SwarmFileError) -> Void) -> String {
        do throws(SwarmFileError) {
            try body()
            return ""
        } catch { return "\(error)" }
    }
    private var results: [SwarmResult] {
        [
            SwarmResult(seed: 5, outcome: .held, failures: [], coverage: ["phase: active", "odd \" \n é"]),
            SwarmResult(seed: 9, outcome: .trapped, failures: ["signal 5"], coverage: []),
        ]
    }

    @Test func `what is written reads back, and half a line at the end is left out`() throws {
        let text = SwarmFiles.header(identity) + results.map { SwarmFiles.line($0) }.joined()
        #expect(try SwarmFiles.progress(bytes(text), of: identity).results == results)
        for cut in 1..<40 {
            let part = try SwarmFiles.progress(bytes(String(text.dropLast(cut))), of: identity).results
            #expect(part == [results[0]])
        }
        #expect(try SwarmFiles.progress([], of: identity).results == [])
        let corpus =
            SwarmFiles.corpusHeader(scenario: "mixed")
            + SwarmFiles.corpusLine(seed: 7, adds: ["a", "b"], program: "aaaa")
        #expect(try SwarmFiles.corpus(bytes(corpus), scenario: "mixed").map(\.seed) == [7])
    }

    @Test func `what overran its limit is run again`() throws {
        let late = SwarmResult(seed: 6, outcome: .overran, failures: ["it took longer"], coverage: [])
        let text = SwarmFiles.header(identity) + (results + [late]).map { SwarmFiles.line($0) }.joined()
        let progress = try SwarmFiles.progress(bytes(text), of: identity)
        #expect(progress.results == results + [late])
        #expect(progress.settled == results)
    }

    @Test func `the state of another swarm is not taken up`() {
        let text = bytes(SwarmFiles.header(identity))
        for other in [
            SwarmIdentity(scenario: "other", program: "aaaa", file: [1, 2, 3], first: 1, last: 1000),
            SwarmIdentity(scenario: "mixed", program: "aaaa", file: [1, 2], first: 1, last: 1000),
            SwarmIdentity(scenario: "mixed", program: "aaaa", file: [1, 2, 3], first: 1, last: 999),
        ] {
            #expect(
                problem { () throws(SwarmFileError) in _ = try SwarmFiles.progress(text, of: other) }.contains(
                    "leave --resume out"))
        }
        let corpus = bytes(SwarmFiles.corpusHeader(scenario: "mixed"))
        let said = problem { () throws(SwarmFileError) in _ = try SwarmFiles.corpus(corpus, scenario: "other") }
        #expect(said.contains("another scenario"))
    }

    @Test(arguments: [
        ("nonsense\n", "line 1"), ("{\"corpus\":1,\"scen", "line 1: the first line is not whole"),
        ("{\"corpus\":2,\"scenario\":\"mixed\"}\n", "version 2"), ("{}\n", "does not begin"),
        ("{\"corpus\":1,\"scenario\":\"mixed\"}\n{\"seed\":-1,\"adds\":[]}\n", "line 2: it has no seed"),
        ("{\"corpus\":1,\"scenario\":\"mixed\"}\n{\"seed\":1,\"adds\":[3]}\n", "something else than texts"),
        ("{\"corpus\":1,\"scenario\":\"mixed\"}\n{\"seed\":1}\n", "“adds” is no list"),
        ("{\"corpus\":1,\"scenario\":\"mixed\"}\n{\"seed\":1,\"adds\":[]\n", "line 2: not a line of such a file"),
    ])
    func `a corrupt corpus is refused with its line and the mend`(_ text: String, _ expected: String) {
        let said = problem { () throws(SwarmFileError) in _ = try SwarmFiles.corpus(bytes(text), scenario: "mixed") }
        #expect(said.contains(expected), "\(said)")
    }

    @Test func `what another build of the program has done is told from what this one has`() throws {
        let text = SwarmFiles.header(identity) + results.map { SwarmFiles.line($0) }.joined()
        #expect(try !SwarmFiles.progress(bytes(text), of: identity).isOfAnotherProgram)
        var other = identity
        other.program = "bbbb"
        let progress = try SwarmFiles.progress(bytes(text), of: other)
        #expect(progress.isOfAnotherProgram && progress.results == results)
        // A file that does not say whose it is.
        let old = text.replacing(",\"program\":\"aaaa\"", with: "")
        #expect(old != text)
        #expect(try SwarmFiles.progress(bytes(old), of: identity).isOfAnotherProgram)
        let corpus = SwarmFiles.corpusHeader(scenario: "mixed") + "{\"seed\":3,\"adds\":[\"x\"]}\n"
        #expect(try SwarmFiles.corpus(bytes(corpus), scenario: "mixed").map(\.program) == [nil])
    }

    @Test func `a program is known by what sha256sum prints of it`() {
        #expect(SwarmIdentity.program(bytes("abc")) == "ba7816bf8f01")
    }

    @Test func `a progress file of half a line is refused, not begun anew`() {
        let half = bytes(String(SwarmFiles.header(identity).dropLast(5)))
        let said = problem { () throws(SwarmFileError) in _ = try SwarmFiles.progress(half, of: identity) }
        #expect(said.contains("line 1: the first line is not whole; remove the file"))
    }

    @Test func `mutated files never trap`() throws {
        let progress = bytes(SwarmFiles.header(identity) + results.map { SwarmFiles.line($0) }.joined())
        let corpus = bytes(
            SwarmFiles.corpusHeader(scenario: "mixed") + SwarmFiles.corpusLine(seed: 7, adds: ["a"], program: "aaaa"))
        try Fuzz.run(corpus: [progress, corpus], seed: 21, iterations: 3_000) { input in
            do throws(SwarmFileError) { _ = try SwarmFiles.progress(input, of: identity) } catch {
                #expect(error.line > 0)
            }
            do throws(SwarmFileError) { _ = try SwarmFiles.corpus(input, scenario: "mixed") } catch {
                #expect(error.line > 0)
            }
        }
    }
}
