internal import FabricCore
internal import FabricDocument

extension Planner {
    /// The steps of one occurrence; gives the time at which it is over.
    mutating func addAttack(_ entry: AttackEntry, _ step: Located<StepEntry>, _ start: Duration) -> Duration {
        switch entry {
        case .replay(let entry): return addReplay(entry, step, start)
        case .flood(let entry): return addFlood(entry, step, start)
        case .captureControl(let entry):
            liveCannot("the control plane is in foreign hands", step.position)
            let end = ending(entry.duration, from: start) ?? start
            emit(
                .attack(
                    .captureControl(
                        PlannedCapture(
                            nodes: select(entry.nodes), sends: entry.sends, isRequired: entry.required ?? true,
                            duration: end - start))),
                at: start, step)
            return end
        case .impostor(let entry):
            addImpostor(entry, step, start)
            return start
        }
    }

    private mutating func addReplay(_ entry: ReplayEntry, _ step: Located<StepEntry>, _ start: Duration) -> Duration {
        let to = select(entry.to)
        let from = entry.from.map { select($0) } ?? Array(plan.nodes.indices)
        if from.count == 1, from == to { refuse(step, "a node sends itself nothing that could be recorded") }
        let after = entry.after?.value.duration ?? .milliseconds(20)
        if let located = entry.after, !(Duration.microseconds(1)...(.hours(1))).contains(after) {
            refuse(located, "a copy leaves from 1us to 1h after its original")
        }
        let flip = entry.flip?.value ?? 0
        if let located = entry.flip, !(0...64).contains(flip) { refuse(located, "0 to 64 bits are flipped") }
        let end = ending(entry.duration, from: start) ?? start
        liveCannot("datagrams are replayed", step.position)
        emit(
            .attack(
                .replay(
                    PlannedReplay(
                        from: from, to: to, what: entry.what ?? .any, after: after, source: entry.source ?? .own,
                        flippedBits: flip, share: entry.share?.partsPerMillion ?? 1_000_000, duration: end - start))),
            at: start, step)
        return end
    }

    private mutating func addFlood(_ entry: FloodEntry, _ step: Located<StepEntry>, _ start: Duration) -> Duration {
        let to = select(entry.to)
        let interval = entry.interval?.value.duration ?? .milliseconds(1)
        if let located = entry.interval, !(Duration.microseconds(10)...(.minutes(1))).contains(interval) {
            refuse(located, "the interval is from 10us to 1m")
        }
        let end = ending(entry.duration, from: start) ?? start
        let count = (end - start).nanoseconds / max(1, interval.nanoseconds)
        if count > ScenarioLimits.maximumFloodMessages / Int64(max(1, to.count)) {
            refuse(
                step,
                "a flood has \(ScenarioLimits.maximumFloodMessages) messages at most; make it shorter, or the interval longer"
            )
        }
        liveCannot("nodes are flooded", step.position)
        emit(
            .attack(
                .flood(
                    PlannedFlood(
                        to: to, what: entry.what ?? .handshakes, interval: interval, source: entry.source ?? .own,
                        duration: end - start))),
            at: start, step)
        return end
    }

    private mutating func addImpostor(_ entry: ImpostorEntry, _ step: Located<StepEntry>, _ start: Duration) {
        func node(_ name: Located<String>) -> Int? {
            if let node = scope.nodes[name.value] { return node }
            refuse(name, "there is no node “\(name.value.prefix(40))”; an impostor is one node, and so is its victim")
            return nil
        }
        liveCannot("a host asks with another's keys", step.position)
        guard let thief = node(entry.node), let victim = node(entry.keysOf), let token = token(entry.token) else {
            return
        }
        if thief == victim { refuse(entry.keysOf, "“\(entry.node.value)” holds its own keys; name another node") }
        emit(.attack(.impostor(PlannedImpostor(node: thief, keysOf: victim, token: token))), at: start, step)
    }
}

extension ScenarioLimits {
    /// Messages of one flood, over all its targets.
    public static let maximumFloodMessages: Int64 = 1_000_000
}

extension PlanText {
    func attack(_ attack: Attack) -> String {
        switch attack {
        case .replay(let replay):
            "replay: {from: \(selector(replay.from)), to: \(selector(replay.to)), what: \(replay.what.rawValue), "
                + "after: \(Span(replay.after)), source: \(replay.source.rawValue), flip: \(replay.flippedBits), "
                + "share: \(Ratio(partsPerMillion: replay.share)), for: \(Span(replay.duration))}"
        case .flood(let flood):
            "flood: {to: \(selector(flood.to)), "
                + (flood.what == .handshakes ? "" : "what: \(flood.what.rawValue), ")
                + "interval: \(Span(flood.interval)), source: \(flood.source.rawValue), "
                + "for: \(Span(flood.duration))}"
        case .captureControl(let capture):
            "capture-control: {nodes: \(selector(capture.nodes)), sends: \(capture.sends.rawValue), "
                + (capture.isRequired ? "" : "required: false, ") + "for: \(Span(capture.duration))}"
        case .impostor(let impostor):
            "impostor: {node: \(plan.nodes[impostor.node].name), keys-of: \(plan.nodes[impostor.keysOf].name), "
                + "token: \(plan.tokens[impostor.token].name)}"
        }
    }
}
