internal import FabricCore
internal import FabricDocument

extension Planner {
    /// Numbers what the timeline makes in the order of its times, whatever the order of the file: two files that mean the
    /// same then give the same plan. A heal keeps the partitions that have begun by then; ending another does nothing.
    mutating func renumber() {
        var tokenNumbers: [Int: Int] = [:]
        var flowNumbers: [Int: Int] = [:]
        var partitionNumbers: [Int: Int] = [:]
        var newTokens: [PlannedToken] = []
        var newFlows: [PlannedFlow] = []
        for index in plan.steps.indices {
            plan.steps[index].order = index
            switch plan.steps[index].action {
            case .createToken(let token):
                tokenNumbers[token] = newTokens.count
                newTokens.append(plan.tokens[token])
            case .startFlow(let flow):
                flowNumbers[flow] = newFlows.count
                newFlows.append(plan.flows[flow])
            case .cut(let cut): partitionNumbers[cut.id] = partitionNumbers.count
            case .swizzle(let swizzle): partitionNumbers[swizzle.id] = partitionNumbers.count
            case .heal(let ids):
                let begun = ids.filter { partitionNumbers[$0] != nil }
                if begun.isEmpty {
                    refuse("this heals nothing: no partition of it has begun by then", plan.steps[index].position)
                }
                plan.steps[index].action = .heal(partitions: begun)
            default: break
            }
        }
        guard newTokens.count == plan.tokens.count, newFlows.count == plan.flows.count else {
            preconditionFailure("every token and flow has one step that makes it")
        }
        plan.tokens = newTokens
        plan.flows = newFlows
        // A token may be used before the step that makes it in time; the check of the order refuses that.
        for index in plan.steps.indices {
            switch plan.steps[index].action {
            case .createToken(let token): plan.steps[index].action = .createToken(tokenNumbers[token]!)
            case .revokeToken(let token): plan.steps[index].action = .revokeToken(tokenNumbers[token]!)
            case .enrol(let nodes, let token):
                plan.steps[index].action = .enrol(nodes: nodes, token: tokenNumbers[token]!)
            case .attack(.impostor(var impostor)):
                impostor.token = tokenNumbers[impostor.token]!
                plan.steps[index].action = .attack(.impostor(impostor))
            case .startFlow(let flow): plan.steps[index].action = .startFlow(flowNumbers[flow]!)
            case .cut(var cut):
                cut.id = partitionNumbers[cut.id]!
                plan.steps[index].action = .cut(cut)
            case .swizzle(var swizzle):
                swizzle.id = partitionNumbers[swizzle.id]!
                plan.steps[index].action = .swizzle(swizzle)
            case .heal(let ids):
                plan.steps[index].action = .heal(partitions: ids.map { partitionNumbers[$0]! }.sorted())
            default: break
            }
        }
    }
}

extension PlannedStep {
    var position: DocumentPosition? { line > 0 ? DocumentPosition(line: line, column: column) : nil }
}

extension Plan {
    /// The plan without what says only where in a file it stood: lines, labels, and what the live host can't do there.
    public var withoutSource: Plan {
        var plan = self
        plan.liveObstacles = []
        for index in plan.steps.indices {
            (plan.steps[index].line, plan.steps[index].column) = (0, 0)
            plan.steps[index].label = nil
        }
        for index in plan.expectations.indices { plan.expectations[index].line = 0 }
        return plan
    }
}
