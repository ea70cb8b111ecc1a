internal import FabricCore
internal import FabricDocument

extension Planner {
    /// Numbers what the timeline makes in the order of its times, whatever the order of the file: two files that mean the
    /// same then give the same plan. A heal keeps those of its partitions that are in force by then, so that all heals
    /// together name hardly more than there are; one that comes too late keeps one that has ended.
    mutating func renumber() {
        var inForce = PartitionsInForce()
        var tokenNumbers: [Int: Int] = [:]
        var flowNumbers: [Int: Int] = [:]
        var partitionNumbers: [Int: Int] = [:]
        var newTokens: [PlannedToken] = []
        var newFlows: [PlannedFlow] = []
        for index in plan.steps.indices {
            switch plan.steps[index].action {
            case .createToken(let token):
                tokenNumbers[token] = newTokens.count
                newTokens.append(plan.tokens[token])
            case .startFlow(let flow):
                flowNumbers[flow] = newFlows.count
                newFlows.append(plan.flows[flow])
            case .cut(let cut):
                partitionNumbers[cut.id] = partitionNumbers.count
                inForce.begin(cut.id, until: nil)
            case .swizzle(let swizzle):
                partitionNumbers[swizzle.id] = partitionNumbers.count
                inForce.begin(swizzle.id, until: plan.steps[index].time + swizzle.duration)
            case .heal(let ids):
                // The end of a partition's own `for` names it; what a person wrote stands apart.
                guard let ranges = heals[plan.steps[index].order] else {
                    inForce.end(ids)
                    break
                }
                var ended = inForce.end(ranges, at: plan.steps[index].time)
                if ended.isEmpty, let over = inForce.begun(of: ranges) { ended = [over] }
                if ended.isEmpty {
                    refuse(plan.steps[index], "this heals nothing: no partition of it has begun by then")
                }
                plan.steps[index].action = .heal(partitions: ended)
            default: break
            }
            if inForce.isTooMuch(at: plan.steps[index].time) {
                let time = Span(plan.steps[index].time)
                refuse(
                    plan.steps[index],
                    "more than \(ScenarioLimits.maximumPartitions) partitions are in force at \(time)")
                return
            }
            plan.steps[index].order = index
        }
        guard problems.isEmpty else { return }
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

extension Planner {
    private mutating func refuse(_ step: PlannedStep, _ message: String) { refuse(message, step.position) }
}

/// The partitions and swizzles that are in force at one time of the timeline, by the numbers that the file's order gave.
private struct PartitionsInForce {
    /// Ascending; no more than the limit and one.
    private var members: [(id: Int, until: Duration?)] = []
    private var begun: Set<Int> = []
    /// One of each range that has begun, once there is one.
    private var known: [Range<Int>: Int] = [:]

    mutating func begin(_ id: Int, until: Duration?) {
        begun.insert(id)
        members.insert((id, until), at: place(of: id))
    }

    mutating func end(_ ids: [Int]) {
        for id in ids {
            let place = place(of: id)
            if place < members.count, members[place].id == id { members.remove(at: place) }
        }
    }

    /// Ends what is in force of the ranges; gives their numbers, ascending.
    mutating func end(_ ranges: [Range<Int>], at time: Duration) -> [Int] {
        dropEnded(before: time)
        var ended: [Int] = []
        for range in ranges {
            let first = place(of: range.lowerBound)
            let last = place(of: range.upperBound)
            ended += members[first..<last].map(\.id)
            members.removeSubrange(first..<last)
        }
        return ended.sorted()
    }

    /// Any that has begun.
    mutating func begun(of ranges: [Range<Int>]) -> Int? {
        for range in ranges {
            if let id = known[range] ?? range.first(where: { begun.contains($0) }) {
                known[range] = id
                return id
            }
        }
        return nil
    }

    mutating func isTooMuch(at time: Duration) -> Bool {
        guard members.count > ScenarioLimits.maximumPartitions else { return false }
        dropEnded(before: time)
        return members.count > ScenarioLimits.maximumPartitions
    }

    /// At its very end a swizzle may still be healed.
    private mutating func dropEnded(before time: Duration) {
        members.removeAll { member in member.until.map { $0 < time } ?? false }
    }

    /// Where a number stands, or would stand.
    private func place(of id: Int) -> Int {
        var low = 0
        var high = members.count
        while low < high {
            let middle = (low + high) / 2
            if members[middle].id < id { low = middle + 1 } else { high = middle }
        }
        return low
    }
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
