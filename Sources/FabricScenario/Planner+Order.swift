internal import FabricCore

extension Planner {
    /// Follows the timeline once and refuses what can't happen in that order.
    mutating func checkOrder() {
        enum State { case off, running, crashed }
        var states = [State](repeating: .off, count: plan.nodes.count)
        var created = [Bool](repeating: false, count: plan.tokens.count)
        var controlRuns = true
        var order = HostOrder(plan)
        for step in plan.steps {
            func refused(_ message: String) {
                refuse(message, step.position)
            }
            func first(_ nodes: [Int], not wanted: State) -> String? {
                nodes.first { states[$0] != wanted }.map { plan.nodes[$0].name }
            }
            var action = step.action
            // A crash of the process is a crash.
            if case .hostFault(.kill(let set)) = action {
                action = set.control ? .stopControl : .crash(nodes: set.nodes)
            }
            // An impostor is switched on like any other, with keys of a node that has made some.
            if case .attack(.impostor(let impostor)) = action {
                if let victim = first([impostor.keysOf], not: .running) {
                    refused("“\(victim)” does not run at \(Span(step.time)), so it has no keys to be known")
                }
                if states[impostor.node] != .off {
                    refused(
                        "“\(plan.nodes[impostor.node].name)” is switched on before \(Span(step.time)), with keys of its own"
                    )
                }
                action = .enrol(nodes: [impostor.node], token: impostor.token)
            }
            switch action {
            case .createToken(let token): created[token] = true
            case .revokeToken(let token), .enrol(_, let token):
                if !created[token] {
                    refused(
                        "the token “\(plan.tokens[token].name)” is used at \(Span(step.time)), before it is created")
                }
                // Who is switched on already is not started again, and stays down when it is crashed.
                if case .enrol(let nodes, _) = action {
                    for node in nodes where states[node] == .off { states[node] = .running }
                }
            case .crash(let nodes):
                if let node = first(nodes, not: .running) {
                    refused("“\(node)” does not run at \(Span(step.time)), so it can't crash")
                }
                for node in nodes { states[node] = .crashed }
                order.wentDown(nodes)
            case .restart(let nodes):
                if let node = first(nodes, not: .crashed) {
                    refused("“\(node)” is not crashed at \(Span(step.time)), so it can't be restarted")
                }
                for node in nodes { states[node] = .running }
            case .stopControl:
                if !controlRuns { refused("the control plane is stopped already at \(Span(step.time))") }
                controlRuns = false
                order.controlWentDown()
            case .startControl:
                if controlRuns { refused("the control plane runs already at \(Span(step.time))") }
                controlRuns = true
            case .hostFault(let fault):
                let refusal = order.follow(
                    fault, at: step.time, isRunning: { states[$0] == .running }, controlRuns: controlRuns)
                if let refusal { refused(refusal) }
            default: break
            }
            if problems.count >= ScenarioLimits.maximumProblems { return }
        }
    }
}
