internal import FabricCore

/// The canonical form: what `explain` prints is a scenario file again, and reads back to the same plan.
extension PlanText {
    /// A selector that names exactly these nodes: `all`, a group, a place, or a list of nodes and ranges.
    func selector(_ nodes: [Int]) -> String {
        let parts = selectorParts(nodes)
        return parts.count == 1
            ? YAMLWriter.scalar(parts[0]) : "[" + parts.map { YAMLWriter.scalar($0) }.joined(separator: ", ") + "]"
    }

    func selector(_ set: EndpointSet) -> String {
        if set.nodes.isEmpty { return set.control ? "control" : "[]" }
        if !set.control { return selector(set.nodes) }
        return "[" + (selectorParts(set.nodes) + ["control"]).map { YAMLWriter.scalar($0) }.joined(separator: ", ")
            + "]"
    }

    /// The parts of a selector, as texts without quotes.
    func selectorParts(_ nodes: [Int]) -> [String] {
        if nodes.count > 1 {
            if nodes.count == plan.nodes.count { return ["all"] }
            for (index, place) in plan.places.enumerated()
            where nodes.elementsEqual(plan.nodes.indices.filter { plan.nodes[$0].place == index })
                && !plan.groups.contains(where: { $0.nodes.elementsEqual(nodes) })
            {
                return ["place:\(place.name)"]
            }
        }
        var parts: [String] = []
        var index = 0
        while index < nodes.count {
            let group = plan.groups[plan.nodes[nodes[index]].group]
            var end = index + 1
            while end < nodes.count, nodes[end] == nodes[end - 1] + 1, group.nodes.contains(nodes[end]) { end += 1 }
            let first = nodes[index] - group.nodes.lowerBound + 1
            if end - index == group.nodes.count, end - index > 1 {
                parts.append(group.name)
            } else if end - index > 1 {
                parts.append("\(group.name)[\(first)..\(first + end - index - 1)]")
            } else {
                parts.append(plan.nodes[nodes[index]].name)
            }
            index = end
        }
        return parts
    }

    // MARK: Steps

    /// The step as the file would say it, on one line: `approve: {nodes: all}`.
    public func action(_ action: PlannedStep.Action) -> String { self.action(action, cuts: [:]) }

    /// `cuts` gives the labels of partitions, for heals; one without a label goes by its number.
    private func action(_ action: PlannedStep.Action, cuts: [Int: String]) -> String {
        switch action {
        case .createToken(let index):
            let token = plan.tokens[index]
            let prefix = token.namePrefix.isEmpty ? "" : ", name-prefix: \(PlanText.quoted(token.namePrefix))"
            let domains = token.domains.map(\.text).joined(separator: ", ")
            return
                "token: {name: \(token.name), uses: \(token.uses), lifetime: \(Span(token.lifetime)), domains: [\(domains)]\(prefix)}"
        case .revokeToken(let index): return "revoke-token: {name: \(plan.tokens[index].name)}"
        case .enrol(let list, let token): return "enrol: {nodes: \(selector(list)), token: \(plan.tokens[token].name)}"
        case .approve(let list): return "approve: {nodes: \(selector(list))}"
        case .reject(let list): return "reject: {nodes: \(selector(list))}"
        case .cut(let cut): return self.cut(cut)
        case .swizzle(let swizzle): return self.swizzle(swizzle)
        case .readdress(let list, let told): return "readdress: {nodes: \(selector(list)), told: \(told)}"
        case .rebind(let nats, let newAddress): return rebind(nats, newAddress)
        case .heal(let partitions):
            let names = partitions.map { cuts[$0] ?? "\($0)" }
            return "heal: {step: " + (names.count == 1 ? names[0] : "[" + names.joined(separator: ", ") + "]") + "}"
        case .setLinks(let links):
            // A plan has one step for each link.
            return links.map { "link: {\(between($0)), \(changes($0))}" }.joined(separator: ", ")
        case .crash(let list): return "crash: {nodes: \(selector(list))}"
        case .restart(let list): return "restart: {nodes: \(selector(list))}"
        case .stopControl: return "stop-control: {}"
        case .startControl: return "start-control: {}"
        case .moveClock(let set, let jump): return "clock: {nodes: \(selector(set)), jump: \(Span(jump))}"
        case .loseAnswers(let kind, let count): return "lose-answers: {request: \(kind.rawValue), count: \(count)}"
        case .hostFault(let fault): return hostFault(fault)
        case .attack(let attack): return self.attack(attack)
        case .setMembership(let list, let active): return "\(active ? "enable" : "disable"): {nodes: \(selector(list))}"
        case .startFlow(let index):
            let flow = plan.flows[index]
            let ends =
                "from: \(selector(distinct(flow.pairs.map(\.from)))), to: \(selector(distinct(flow.pairs.map(\.to))))"
            let domain = flow.domain == .fabric ? "" : ", domain: \(flow.domain)"
            let spoof = flow.spoof.map { ", spoof: \(plan.nodes[$0].name)" } ?? ""
            return
                "flow: {name: \(flow.name), \(ends), rate: \(BitRate(bitsPerSecond: flow.bitsPerSecond)), "
                + "packet: \(ByteSize(bytes: flow.packetBytes))\(domain)\(spoof), for: \(Span(flow.duration))}"
        }
    }

    /// The timeline, an entry for each step.
    func timeline() -> [String] {
        let labels = stepLabels()
        var cuts: [Int: String] = [:]
        for (index, step) in plan.steps.enumerated() {
            if let id = step.action.partitionID { cuts[id] = labels[index] }
        }
        return plan.steps.enumerated().map { index, step in
            let label = labels[index].map { "label: \($0), " } ?? ""
            return "  - {at: \(Span(step.time)), \(label)\(action(step.action, cuts: cuts))}"
        }
    }

    /// A label stands at the first step that has it. A partition that a heal ends gets one if it has none.
    private func stepLabels() -> [String?] {
        var taken: Set<String> = []
        var labels = plan.steps.map { step in step.label.flatMap { taken.insert($0).inserted ? $0 : nil } }
        var healed: Set<Int> = []
        for case .heal(let partitions) in plan.steps.map(\.action) { healed.formUnion(partitions) }
        var number = 0
        for (index, step) in plan.steps.enumerated() {
            guard let id = step.action.partitionID, labels[index] == nil, healed.contains(id) else { continue }
            var name: String
            repeat {
                number += 1
                name = "cut-\(number)"
            } while !taken.insert(name).inserted
            labels[index] = name
        }
        return labels
    }

    private func between(_ link: PlannedLink) -> String {
        link.a == link.b
            ? "in: \(plan.places[link.a].name)"
            : "between: [\(plan.places[link.a].name), \(plan.places[link.b].name)]"
    }

    /// The properties of a changed link; what it has in common with the world's link needs no word.
    private func changes(_ link: PlannedLink) -> String {
        properties(link.link, over: plan.link(between: link.a, and: link.b))
    }

    /// Properties so that they read back whole where what is absent comes from `base`.
    func properties(_ link: LinkProperties, over base: LinkProperties) -> String {
        var parts = ["delay: \(Span(link.delay))"]
        if link.jitter != .zero { parts.append("jitter: \(Span(link.jitter))") }
        for (name, share, other) in [
            ("loss", link.lossPartsPerMillion, base.lossPartsPerMillion),
            ("duplicate", link.duplicatePartsPerMillion, base.duplicatePartsPerMillion),
            ("reorder", link.reorderPartsPerMillion, base.reorderPartsPerMillion),
            ("corrupt", link.corruptPartsPerMillion, base.corruptPartsPerMillion),
        ] where share > 0 || share != other { parts.append("\(name): \(Ratio(partsPerMillion: share))") }
        if let rate = link.bitsPerSecond {
            parts.append("rate: \(BitRate(bitsPerSecond: rate)), queue: \(ByteSize(bytes: link.queueBytes))")
        } else if base.bitsPerSecond != nil {
            parts.append("rate: none")
        }
        if link.mtu != base.mtu || link.mtu != 1500 { parts.append("mtu: \(link.mtu)B") }
        parts += faults(link, over: base)
        return parts.joined(separator: ", ")
    }

    // MARK: Expectations

    /// The lines of one expectation.
    func written(_ expectation: PlannedExpectation) -> String {
        let condition = written(expectation.condition)
        var text: String
        switch expectation.window {
        case .always(let from, let until): text = "always: \(condition), from: \(Span(from)), until: \(Span(until))"
        case .never(let from, let until): text = "never: \(condition), from: \(Span(from)), until: \(Span(until))"
        case .sometimes(let from, let until, let required):
            text = "sometimes: \(condition), from: \(Span(from)), until: \(Span(until)), required: \(required)"
        case .within(let from, let until, let stays):
            let held = stays > .zero ? ", for: \(Span(stays))" : ""
            if from == .zero {
                text = "by: \(Span(until))\(held), that: \(condition)"
            } else {
                text = "within: \(Span(until - from)), after: \(Span(from))\(held), that: \(condition)"
            }
        case .at(let time): text = "at: \(Span(time)), that: \(condition)"
        }
        if !expectation.mustHold, !expectation.isSometimes { text += ", required: false" }
        if let core = expectation.core { text += ", core: {nodes: \(selector(core))}" }
        if expectation.name != self.expectation(expectation) {
            text = "name: \(PlanText.quoted(expectation.name)), " + text
        }
        return "  - {\(text)}"
    }

    private func written(_ condition: PlannedCondition) -> String {
        func list(_ parts: [PlannedCondition]) -> String {
            "[" + parts.map { written($0) }.joined(separator: ", ") + "]"
        }
        switch condition {
        case .nodes(let condition): return "{\(written(condition))}"
        case .count(let condition, let range): return "{count: {of: {\(written(condition))}, \(written(range))}}"
        case .reachable(let condition, let least, let most):
            let ends =
                if case .reaches(let to) = condition.test {
                    "from: \(selector(condition.nodes)), to: \(selector(to))"
                } else { "from: \(selector(condition.nodes)), to: policy" }
            let shares = "at-least: \(Ratio(partsPerMillion: least)), at-most: \(Ratio(partsPerMillion: most))"
            return "{reachable: {\(ends), \(shares)}}"
        case .controlUp(let up): return "{control: \(up ? "up" : "down")}"
        case .audit(let event, let range):
            return "{audit: {event: \(PlanText.quoted(plan.auditEvents[event])), \(written(range))}}"
        case .flow(let index, let share):
            return "{flow: {name: \(plan.flows[index].name), delivered: \(Ratio(partsPerMillion: share))}}"
        case .all(let parts): return "{all: \(list(parts))}"
        case .any(let parts): return "{any: \(list(parts))}"
        case .not(let part): return "{not: \(written(part))}"
        }
    }

    private func written(_ condition: NodeCondition) -> String {
        let who = selector(condition.nodes)
        switch condition.test {
        case .enrolled: return "enrolled: \(who)"
        case .tunnels(let count): return "tunnels: {nodes: \(who), at-least: \(count)}"
        case .reaches(let to): return "reaches: {from: \(who), to: \(selector(to))}"
        case .reachesPolicy: return "reaches: {from: \(who), to: policy}"
        case .unreachable(let to): return "unreachable: {from: \(who), to: \(selector(to))}"
        case .rekeyed(let range):
            var parts = ["nodes: \(who)"]
            if range.minimum > 0 { parts.append("at-least: \(range.minimum)") }
            if range.maximum < .max { parts.append("at-most: \(range.maximum)") }
            return "rekeyed: {\(parts.joined(separator: ", "))}"
        case .phase(let name): return "phase: {nodes: \(who), is: \(name.rawValue)}"
        case .peers(let range): return "peers: {nodes: \(who), \(written(range))}"
        case .snapshotAgrees: return "snapshots-agree: \(who)"
        case .snapshotVersion(let range): return "snapshot-version: {nodes: \(who), \(written(range))}"
        case .certificate(let age, let left):
            let parts = [age.map { "age-at-most: \(Span($0))" }, left.map { "left-at-least: \(Span($0))" }]
            return "certificate: {nodes: \(who), \(parts.compactMap { $0 }.joined(separator: ", "))}"
        case .clockOffset(let limit): return "clock-offset: {nodes: \(who), at-most: \(Span(limit))}"
        case .sessionAge(let limit): return "session-age: {nodes: \(who), at-most: \(Span(limit))}"
        case .inFault: return "in-fault: \(who)"
        case .refused(let reason): return "refused: {nodes: \(who), reason: \(reason.rawValue)}"
        case .online: return "nodes-online: \(who)"
        case .offline: return "nodes-offline: \(who)"
        case .requests(let range): return "requests: {nodes: \(who), \(written(range))}"
        case .records(let range): return "records: {nodes: \(who), \(written(range))}"
        }
    }

    private func written(_ range: CountRange) -> String {
        if range.minimum == range.maximum { return "count: \(range.minimum)" }
        return range.maximum == .max
            ? "at-least: \(range.minimum)" : "at-least: \(range.minimum), at-most: \(range.maximum)"
    }

    /// Text in double quotes, on one line.
    static func quoted(_ text: String) -> String { "\"" + escaped(text, "\"\\") + "\"" }

    /// Text for a comment, on one line.
    public static func comment(_ text: String) -> String { escaped(text, "") }

    /// What a YAML file can't hold as it is, or what would end the line, as an escape; so are the characters of `others`,
    /// which are ASCII.
    private static func escaped(_ text: String, _ others: String) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            if others.unicodeScalars.contains(scalar) {
                escaped += "\\"
            } else if !isPrintable(scalar) {
                // All of them have four digits at most.
                let digits = String(scalar.value, radix: 16)
                escaped += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                continue
            }
            escaped.unicodeScalars.append(scalar)
        }
        return escaped
    }

    /// YAML 1.1, section 5.1, without what breaks lines, the tab, and the mark of byte order.
    private static func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x2028, 0x2029, 0xFEFF: false
        case 0x20...0x7E, 0xA0...0xD7FF, 0xE000...0xFFFD, 0x10000...0x10FFFF: true
        default: false
        }
    }

    private func distinct(_ nodes: [Int]) -> [Int] {
        var isIn = [Bool](repeating: false, count: plan.nodes.count)
        for node in nodes { isIn[node] = true }
        return isIn.indices.filter { isIn[$0] }
    }
}

extension Plan {
    /// The expanded canonical form: a scenario file in which each step stands once at its time, and each selector is
    /// resolved. It reads back to the same plan (`withoutSource`); two files that mean the same give the same text.
    public var explanation: String {
        let text = PlanText(self)
        var lines = ["scenario: \(name)"]
        if !about.isEmpty { lines.append("about: \(PlanText.quoted(about))") }
        lines += [
            "duration: \(Span(duration))", "seed: \(seed)", "hosts: [\(hosts.map(\.rawValue).joined(separator: ", "))]",
        ]
        lines += ["# nodes: \(nodes.count), steps: \(steps.count)", "world:"] + worldLines(text).map { "  " + $0 }
        if !steps.isEmpty { lines += ["timeline:"] + text.timeline() }
        lines += ["expect:"] + expectations.map { text.written($0) }
        if swarm != SwarmSettings() { lines.append("swarm: {\(text.written(swarm))}") }
        // Without the lines, which are those of another file, and in no file's order.
        let obstacles = liveObstacles.map { String($0.split(separator: " (line").first ?? "") }.sorted()
        for obstacle in obstacles where lines.last?.hasSuffix(": " + obstacle) != true {
            lines.append("# The live host can't run it: " + obstacle)
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private func worldLines(_ text: PlanText) -> [String] {
        var lines = ["places:"]
        for place in places {
            let link = place.isShaped ? text.properties(place.link, over: .defaultWithin) : ""
            lines.append("  \(place.name): {\(link)}")
        }
        if defaultLink != .defaultBetween {
            lines.append("link: {\(text.properties(defaultLink, over: .defaultBetween))}")
        }
        if !links.isEmpty { lines.append("links:") }
        for link in links {
            let ends = "\(places[link.a].name), \(places[link.b].name)"
            lines.append("  - {between: [\(ends)], \(text.properties(link.link, over: defaultLink))}")
        }
        let name =
            controlName.map { ", name: \(PlanText.quoted($0.text)), answers-live: \(Span(answerLifetime))" } ?? ""
        lines.append("control: {place: \(places[controlPlace].name)\(name)}")
        lines.append(
            "cluster: {name: \(cluster.name), peers: \(cluster.peers), heartbeat: \(Span(cluster.heartbeat)), "
                + "probe: \(Span(cluster.probe)), certificate-lifetime: \(Span(cluster.certificateLifetime))}")
        lines.append("nodes:")
        for group in groups { lines += groupLines(group) }
        if !nats.isEmpty { lines += ["nats:"] + text.nats().map { "  " + $0 } }
        return lines
    }

    private func groupLines(_ group: PlannedGroup) -> [String] {
        let first = nodes[group.nodes.lowerBound]
        let order = group.nodes.map { nodes[$0].place }
        // The shortest list that deals the nodes out so.
        let period =
            (1...order.count).first { period in order.indices.allSatisfy { order[$0] == order[$0 % period] } } ?? 1
        var parts = ["group: \(group.name)"]
        if period == 1 {
            parts.append("place: \(places[first.place].name)")
        } else {
            parts.append("places: [" + order.prefix(period).map { places[$0].name }.joined(separator: ", ") + "]")
        }
        let isNumbered = group.nodes.count > 1 || first.name != group.name
        if isNumbered { parts.append("count: \(group.nodes.count)") }
        if first.domains != [.fabric] {
            parts.append("domains: [\(first.domains.map(\.text).joined(separator: ", "))]")
        }
        var clock: [String] = []
        if first.clockSkew != .zero { clock.append("skew: \(Span(first.clockSkew))") }
        if first.clockDriftPartsPerBillion != 0 {
            clock.append("drift: \(ClockDrift(partsPerBillion: first.clockDriftPartsPerBillion))")
        }
        if !clock.isEmpty { parts.append("clock: {\(clock.joined(separator: ", "))}") }
        var lines = ["  - {\(parts.joined(separator: ", "))}"]
        guard isNumbered else { return lines }
        for place in places.indices where order.contains(place) {
            lines += wrapped(
                "    #   \(places[place].name):", group.nodes.filter { nodes[$0].place == place }.map { nodes[$0].name }
            )
        }
        return lines
    }

    /// Comment lines of a list, each with its head.
    private func wrapped(_ head: String, _ words: [String]) -> [String] {
        var lines: [String] = []
        var line = head
        for word in words {
            if line.count + word.count > 110 {
                lines.append(line)
                line = head
            }
            line += " " + word
        }
        return lines + [line]
    }
}
