internal import FabricCore

/// Says parts of a plan in words: for `explain`, for expectations without a name, for the reasons of a verdict.
public struct PlanText: Sendable {
    /// More nodes than this are counted, not named.
    public static let maximumNames = 10

    private let plan: Plan

    public init(_ plan: Plan) { self.plan = plan }

    /// `all`, a group, a place, or names (at most `maximumNames`, then “and N more”).
    public func nodes(_ nodes: [Int]) -> String {
        if nodes.count == plan.nodes.count, nodes.count > 1 { return "all" }
        if nodes.count > 1 {
            if let group = plan.groups.first(where: { $0.nodes.elementsEqual(nodes) }) { return group.name }
            for (index, place) in plan.places.enumerated()
            where nodes.elementsEqual(plan.nodes.indices.filter { plan.nodes[$0].place == index }) {
                return "place:\(place.name)"
            }
        }
        let names = nodes.prefix(PlanText.maximumNames).map { plan.nodes[$0].name }
        if names.count == 1, nodes.count == 1 { return names[0] }
        let more = nodes.count > names.count ? ", and \(nodes.count - names.count) more" : ""
        return "[" + names.joined(separator: ", ") + more + "]"
    }

    func endpoints(_ set: EndpointSet) -> String {
        if set.control, set.nodes.isEmpty { return "control" }
        return set.control ? "\(nodes(set.nodes)) and control" : nodes(set.nodes)
    }

    // MARK: Steps

    public func action(_ action: PlannedStep.Action) -> String {
        switch action {
        case .createToken(let index):
            let token = plan.tokens[index]
            let prefix = token.namePrefix.isEmpty ? "" : ", name-prefix: \(token.namePrefix)"
            let domains = token.domains.map(\.text).joined(separator: ", ")
            return
                "token: {name: \(token.name), uses: \(token.uses), lifetime: \(Span(token.lifetime)), domains: [\(domains)]\(prefix)}"
        case .revokeToken(let index): return "revoke-token: {name: \(plan.tokens[index].name)}"
        case .enrol(let list, let token): return "enrol: {nodes: \(nodes(list)), token: \(plan.tokens[token].name)}"
        case .approve(let list): return "approve: {nodes: \(nodes(list))}"
        case .reject(let list): return "reject: {nodes: \(nodes(list))}"
        case .cut(let cut):
            let form =
                cut.isSymmetric
                ? "between: [\(endpoints(cut.from)), \(endpoints(cut.to))]"
                : "from: \(endpoints(cut.from)), to: \(endpoints(cut.to))"
            return "partition: {id: \(cut.id), \(form)}"
        case .heal(let partitions): return "heal: {partitions: \(partitions)}"
        case .setLinks(let links):
            let parts = links.map { link in
                link.a == link.b
                    ? "{in: \(plan.places[link.a].name), \(properties(link.link))}"
                    : "{between: [\(plan.places[link.a].name), \(plan.places[link.b].name)], \(properties(link.link))}"
            }
            return "links: [" + parts.joined(separator: ", ") + "]"
        case .crash(let list): return "crash: {nodes: \(nodes(list))}"
        case .restart(let list): return "restart: {nodes: \(nodes(list))}"
        case .stopControl: return "stop-control: {}"
        case .startControl: return "start-control: {}"
        case .moveClock(let set, let jump): return "clock: {nodes: \(endpoints(set)), jump: \(Span(jump))}"
        case .loseAnswers(let kind, let count): return "lose-answers: {request: \(kind.rawValue), count: \(count)}"
        case .startFlow(let index):
            let flow = plan.flows[index]
            return
                "flow: {name: \(flow.name), pairs: \(flow.pairs.count), rate: \(BitRate(bitsPerSecond: flow.bitsPerSecond)), "
                + "packet: \(ByteSize(bytes: flow.packetBytes)), for: \(Span(flow.duration))}"
        }
    }

    public func properties(_ link: LinkProperties) -> String {
        var parts = ["delay: \(Span(link.delay))"]
        if link.jitter != .zero { parts.append("jitter: \(Span(link.jitter))") }
        for (name, share) in [
            ("loss", link.lossPartsPerMillion), ("duplicate", link.duplicatePartsPerMillion),
            ("reorder", link.reorderPartsPerMillion), ("corrupt", link.corruptPartsPerMillion),
        ] where share > 0 { parts.append("\(name): \(Ratio(partsPerMillion: share))") }
        if let rate = link.bitsPerSecond {
            parts.append("rate: \(BitRate(bitsPerSecond: rate)), queue: \(ByteSize(bytes: link.queueBytes))")
        }
        if link.mtu != 1500 { parts.append("mtu: \(link.mtu)B") }
        return parts.joined(separator: ", ")
    }

    // MARK: Expectations

    public func expectation(_ window: PlannedExpectation.Window, _ condition: PlannedCondition) -> String {
        "\(self.window(window)): \(self.condition(condition))"
    }

    public func window(_ window: PlannedExpectation.Window) -> String {
        switch window {
        case .always(let from, let until): return "always from \(Span(from)) to \(Span(until))"
        case .within(let from, let until, let stays):
            let held = stays > .zero ? " for \(Span(stays))" : ""
            return from == .zero ? "by \(Span(until))\(held)" : "from \(Span(from)) to \(Span(until))\(held)"
        case .at(let time): return "at \(Span(time))"
        }
    }

    public func condition(_ condition: PlannedCondition) -> String {
        switch condition {
        case .nodes(let condition): return self.condition(condition)
        case .audit(let event, let range): return "audit “\(plan.auditEvents[event])” \(range) times"
        case .flow(let index, let share):
            return "flow \(plan.flows[index].name) delivered at least \(Ratio(partsPerMillion: share))"
        case .all(let parts): return parts.map { self.condition($0) }.joined(separator: " and ")
        case .any(let parts): return "(" + parts.map { self.condition($0) }.joined(separator: " or ") + ")"
        case .not(let part): return "not (\(self.condition(part)))"
        }
    }

    private func condition(_ condition: NodeCondition) -> String {
        let who = nodes(condition.nodes)
        switch condition.test {
        case .enrolled: return "\(who) enrolled"
        case .tunnels(let count): return "\(who) with \(count) tunnels or more"
        case .reaches(let to): return "\(who) reaches \(nodes(to))"
        case .reachesPolicy: return "\(who) reaches whom policy says"
        case .unreachable(let to): return "\(who) can't reach \(nodes(to))"
        case .rekeyed(let count): return "\(who) rekeyed \(count) times or more"
        case .refused(let reason): return "\(who) refused with \(reason.rawValue)"
        case .online: return "\(who) online"
        case .offline: return "\(who) offline"
        case .requests(let range): return "\(who) with \(range) join requests"
        case .records(let range): return "\(who) with \(range) node records"
        }
    }
}

extension Plan {
    /// The expanded canonical form as YAML-like text: every node by name with its place, every step at its time, every
    /// expectation. Two files that mean the same give the same text.
    public var explanation: String {
        let text = PlanText(self)
        var lines = ["scenario: \(name)", "duration: \(Span(duration))", "seed: \(seed)"]
        lines.append("hosts: [\(hosts.map(\.rawValue).joined(separator: ", "))]")
        lines += ["places:"] + places.map { "  \($0.name): {\(text.properties($0.link))}" }
        lines += ["link: {\(text.properties(defaultLink))}"]
        if !links.isEmpty {
            lines += ["links:"]
            lines += links.map {
                "  - {between: [\(places[$0.a].name), \(places[$0.b].name)], \(text.properties($0.link))}"
            }
        }
        lines += ["control: {place: \(places[controlPlace].name)}"]
        lines += [
            "cluster: {name: \(cluster.name), peers: \(cluster.peers), heartbeat: \(Span(cluster.heartbeat)), "
                + "probe: \(Span(cluster.probe)), certificate-lifetime: \(Span(cluster.certificateLifetime))}"
        ]
        lines += ["nodes:"]
        lines += nodes.map { node in
            let skew = node.clockSkew == .zero ? "" : ", skew: \(Span(node.clockSkew))"
            let domains = node.domains.map(\.text).joined(separator: ", ")
            return "  \(node.name): {place: \(places[node.place].name), domains: [\(domains)]\(skew)}"
        }
        lines += ["timeline:"]
        lines += steps.map { step in
            "  - {at: \(Span(step.time)), \(text.action(step.action))" + (step.label.map { ", label: \($0)" } ?? "")
                + "}"
        }
        lines += ["expect:"]
        lines += expectations.map { expectation in
            let said = text.expectation(expectation.window, expectation.condition)
            return "  - " + (expectation.name == said ? said : "\(expectation.name) — \(said)")
        }
        if !liveObstacles.isEmpty { lines += ["# not live: " + liveObstacles.joined(separator: "; ")] }
        return lines.joined(separator: "\n") + "\n"
    }
}
