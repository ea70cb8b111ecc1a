internal import ArgumentParser
internal import FabricCore
internal import FabricScenario
internal import Foundation
internal import Simulator

struct ExplainPath: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain-path", abstract: "Says why one node can or can't reach another at a time.",
        discussion: "Exit status: 0 when it reaches it, 1 when not.")

    @Argument(help: "The scenario file.") var file: String
    @Argument(help: "The node that wants to reach …") var source: String
    @Argument(help: "… this one.") var destination: String
    @Option(help: "When; the end of the run when left out.", transform: span) var at: Span?
    @OptionGroup var which: WhichRun

    func run() throws {
        let plan = try which.plan(of: file)
        let nodes = try [source, destination].map { name in
            guard let node = plan.nodes.firstIndex(where: { $0.name == name }) else {
                complain("\(file) has no node “\(name)”")
                throw ExitCode(2)
            }
            return node
        }
        guard nodes[0] != nodes[1] else { throw ValidationError("name two nodes") }
        if let at, at.duration > plan.duration {
            throw ValidationError("--at \(at) is after the end of the run, \(Span(plan.duration))")
        }
        let (run, _) = try journalled(
            plan, until: "\(at ?? Span(plan.duration))", entries: Journal.defaultMaximumEntries)
        let explanation = PathExplanation(run, from: nodes[0], to: nodes[1])
        for line in explanation.lines { print(line) }
        print("run       \(run.traceHash) after \(run.eventCount) events")
        if !explanation.isReachable { throw ExitCode(1) }
    }
}

struct Debug: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Goes through a run by hand: step, stop at a condition, look, go back.",
        discussion: """
            Reads commands, a line each, from standard input:
            \(DebugSession.help)

            Exit status: 2 when commands from a pipe or a file were refused.
            """)

    @Argument(help: "The scenario file.") var file: String
    @OptionGroup var which: WhichRun

    func run() throws {
        let plan = try which.plan(of: file)
        let session = DebugSession(plan)
        let isTerminal = isatty(STDIN_FILENO) == 1
        // At once, also into a pipe: who drives the session waits for it.
        func say(_ text: String) {
            print(text, terminator: "")
            fflush(nil)
        }
        say("\(plan.name), \(plan.nodes.count) nodes, \(which.name(plan)); help lists the commands\n")
        while !session.isOver {
            if isTerminal { say("(debug) ") }
            guard let line = readLine() else { break }
            if !isTerminal, !line.isEmpty { say("> \(line)\n") }
            for text in session.perform(line) { say(text + "\n") }
        }
        // A person has seen it; a program that drives the session learns it here.
        if !isTerminal, session.refusals > 0 {
            complain("\(session.refusals) commands were refused")
            throw ExitCode(2)
        }
    }
}
