public import FabricCore
internal import FabricNode
internal import FabricScenario
internal import FabricWire

extension ScenarioRun {
    /// Keeps a journal of the run. Call it before `run`.
    @discardableResult
    public func keepJournal(maximumEntries: Int = Journal.defaultMaximumEntries) -> Journal {
        let journal = world.keepJournal(maximumEntries: maximumEntries)
        let words = MessageWords()
        journal.describeMessage = { side, stream, bytes in words.text(side, stream, bytes) }
        return journal
    }

    /// The scenario's time of a moment of the world; negative while the fabric is being set up.
    public func scenarioTime(_ instant: Instant) -> Duration { instant - start }

    /// A host's name; `world` for none.
    public func name(ofHost host: Int) -> String {
        host < 0 ? "world" : world.name(of: HostID(index: host))
    }

    /// The host of that name: a node's, `control` or `operator`.
    public func host(named name: String) -> Int? {
        (0..<world.hostCount).first { world.name(of: HostID(index: $0)) == name }
    }

    func describe(_ step: PlannedStep, _ journal: Journal) {
        let label = step.label.map { " “\($0)”" } ?? ""
        journal.annotateCurrent(text: "line \(step.line)\(label): \(PlanText(plan).action(step.action))")
    }

    func describe(_ report: NodeReport, of actor: AgentActor, _ journal: Journal) {
        switch report {
        case .peerUp(let node, let domain), .peerDown(let node, let domain):
            let peer = agents.first { $0.nodeID == node }
            let state = if case .peerUp = report { "up" } else { "down" }
            journal.add(
                .report, host: actor.host.index, peer: peer?.host.index ?? -1,
                "path to \(peer?.name ?? node.text)\(domain == .fabric ? "" : " in \(domain)") is \(state)")
        default: journal.add(.report, host: actor.host.index, report.description)
        }
    }
}

/// HTTP messages of the control channel in words; a reply says to which request.
private final class MessageWords {
    private struct Key: Hashable {
        var connection: UInt64
        var number: UInt64
    }

    /// Looked up by key only.
    private var requests: [Key: String] = [:]

    func text(_ side: Int, _ stream: UInt64, _ bytes: [UInt8]) -> String {
        guard bytes.count >= VirtualHTTP.headBytes else { return "message of \(bytes.count) B" }
        if side == 0 {
            let (number, request) = VirtualHTTP.decodeRequest(bytes)
            var text = "\(request.method.rawValue) \(request.path)"
            if let wait = request.parameter("wait") { text += " (may wait \(wait) s)" }
            requests[Key(connection: stream | 1, number: number)] = text
            return text
        }
        let (number, reply) = VirtualHTTP.decodeReply(bytes)
        let request = requests.removeValue(forKey: Key(connection: stream | 1, number: number))
        return "\(reply.status) to \(request ?? "a request")"
    }
}
