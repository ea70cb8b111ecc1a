internal import FabricCore
internal import FabricDocument

extension Planner {
    mutating func readExpectations() {
        for expectation in header.expect where !hasEnoughProblems { readExpectation(expectation) }
    }

    private mutating func readExpectation(_ located: Located<ExpectationEntry>) {
        let entry = located.value
        selections.removeAll(keepingCapacity: true)
        let condition = condition(entry.condition, located)
        let window: PlannedExpectation.Window
        switch entry.form {
        case .always, .never, .sometimes:
            let from = entry.from.map { moment($0) } ?? .zero
            let until = entry.until.map { moment($0) } ?? plan.duration
            if until < from { refuse(located, "“until” is before “from”") }
            window =
                switch entry.form {
                case .always: .always(from: from, until: until)
                case .never: .never(from: from, until: until)
                default: .sometimes(from: from, until: until, required: entry.required?.value ?? false)
                }
        case .within(let span):
            let from = entry.after.map { moment($0) } ?? .zero
            window = .within(
                from: from, until: deadline(from + span.value.duration, span, from: from),
                stays: stays(entry, span.value.duration))
        case .by(let span):
            window = .within(from: .zero, until: time(span), stays: stays(entry, span.value.duration))
        case .at(let span): window = .at(time(span))
        }
        let core = entry.core.map { $0.nodes.map { select($0) } ?? Array(plan.nodes.indices) }
        var planned = PlannedExpectation(
            name: "", window: window, condition: condition, core: core, line: located.position?.line ?? 0)
        planned.mustHold = planned.isSometimes || entry.required?.value ?? true
        planned.name = entry.name ?? PlanText(plan).expectation(planned)
        plan.expectations.append(planned)
    }

    private mutating func deadline(_ time: Duration, _ span: Located<Span>, from: Duration) -> Duration {
        if span.value.duration <= .zero { refuse(span, "“within” is a positive duration") }
        if time > plan.duration {
            refuse(span, "\(span.value) after \(Span(from)) is past the scenario's end at \(Span(plan.duration))")
        }
        return time
    }

    private mutating func stays(_ entry: ExpectationEntry, _ window: Duration) -> Duration {
        guard let stays = entry.stays else { return .zero }
        if stays.value.duration <= .zero { refuse(stays, "“for” is a positive duration") }
        if stays.value.duration > window { refuse(stays, "\(stays.value) does not fit the window of \(Span(window))") }
        return stays.value.duration
    }

    /// A time, a label's start, or `LABEL.end`; each perhaps with `+10s`.
    private mutating func moment(_ text: Located<String>) -> Duration {
        let parts = text.value.split(separator: "+", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2 else { return moment(text.value, text) }
        func trimmed(_ part: Substring) -> String { String(part.split(separator: " ").joined(separator: " ")) }
        guard let later = Span(trimmed(parts[1])), later.duration >= .zero else {
            refuse(text, "“\(parts[1].prefix(40))” is no duration; write \(trimmed(parts[0]))+10s")
            return .zero
        }
        let time = moment(trimmed(parts[0]), text) + later.duration
        if time > plan.duration { refuse(text, pastTheEnd(time)) }
        return min(time, plan.duration)
    }

    private mutating func moment(_ value: String, _ text: Located<String>) -> Duration {
        if let span = Span(value) {
            if span.duration < .zero || span.duration > plan.duration { refuse(text, pastTheEnd(span.duration)) }
            return span.duration
        }
        let isEnd = value.hasSuffix(".end")
        let name = isEnd ? String(value.dropLast(4)) : value
        guard let label = labels[name] else {
            let mend = NearestName.mend(name, among: labelNames, noun: "labelled step")
            refuse(text, "“\(value.prefix(40))” is neither a time nor a step's label; \(mend)")
            return .zero
        }
        return isEnd ? label.end : label.start
    }

    private mutating func condition(_ entry: ConditionEntry, _ place: Located<ExpectationEntry>) -> PlannedCondition {
        func count(_ located: Located<Int>?) -> Int {
            guard let located else { return 1 }
            if !(1...1_000_000).contains(located.value) { problems.append(located.problem("the number is 1 or more")) }
            return located.value
        }
        switch entry {
        case .enrolled(let nodes): return each(nodes, .enrolled)
        case .tunnels(let nodes, let number):
            let wanted = count(number)
            let most = min(plan.nodes.count - 1, 64)
            if wanted > most, let number {
                refuse(number, "\(wanted) tunnels are more than a node of this world can have (\(most))")
            }
            return each(nodes, .tunnels(atLeast: wanted))
        case .rekeyed(let located):
            let entry = located.value
            let least = entry.atLeast == nil && entry.atMost != nil ? 0 : count(entry.atLeast)
            let most = entry.atMost?.value ?? .max
            if most < least { refuse(located, "“at-least” \(least) is more than “at-most” \(most)") }
            return each(entry.nodes, .rekeyed(CountRange(minimum: least, maximum: most)))
        case .phase(let entry): return each(entry.nodes, .phase(entry.phase))
        case .peers(let entry): return each(entry.value.nodes, .peers(range(entry.value.range, entry.position)))
        case .snapshotsAgree(let nodes):
            liveCannot("snapshots are compared with the control plane's", place.position)
            return each(nodes, .snapshotAgrees)
        case .snapshotVersion(let entry):
            return each(entry.value.nodes, .snapshotVersion(range(entry.value.range, entry.position)))
        case .certificate(let entry): return certificate(entry)
        case .clockOffset(let entry):
            liveCannot("clocks are compared with the true time", entry.position)
            return each(entry.value.nodes, .clockOffset(atMost: limit(entry.value.atMost)))
        case .sessionAge(let entry):
            liveCannot("the ages of sessions are judged", entry.position)
            return each(entry.value.nodes, .sessionAge(atMost: limit(entry.value.atMost)))
        case .inFault(let nodes): return each(nodes, .inFault)
        case .reachable(let entry): return reachable(entry)
        case .control(let state):
            liveCannot("the control plane is looked at", place.position)
            return .controlUp(state == .up)
        case .count(let entry):
            guard case .nodes(let of) = condition(entry.value.of, place) else {
                refuse(entry, "“of” holds a condition about nodes, such as { enrolled: all }")
                return .all([])
            }
            let range = range(entry.value.range, entry.position)
            if range.minimum > of.nodes.count {
                let nodes = of.nodes.count == 1 ? "one node" : "\(of.nodes.count) nodes"
                refuse(entry, "of \(nodes) it can't be true of \(range.minimum); ask for \(of.nodes.count) at most")
            }
            return .count(of, range)
        case .reaches(let entry):
            if case .text("policy") = entry.to.form { return each(entry.from, .reachesPolicy) }
            return each(entry.from, .reaches(select(entry.to)))
        case .unreachable(let entry): return each(entry.from, .unreachable(select(entry.to)))
        case .refused(let entry): return each(entry.nodes, .refused(entry.reason))
        case .nodesOnline(let nodes): return each(nodes, .online)
        case .nodesOffline(let nodes): return each(nodes, .offline)
        case .requests(let entry): return each(entry.value.nodes, .requests(range(entry.value.range, entry.position)))
        case .records(let entry): return each(entry.value.nodes, .records(range(entry.value.range, entry.position)))
        case .audit(let entry): return audit(entry)
        case .flow(let entry):
            if let index = plan.flows.firstIndex(where: { $0.name == entry.name.value }) {
                return .flow(index, deliveredPartsPerMillion: entry.delivered.partsPerMillion)
            }
            let mend = NearestName.mend(entry.name.value, among: plan.flows.map(\.name), noun: "flow")
            refuse(entry.name, "there is no flow “\(entry.name.value.prefix(40))”; \(mend)")
            return .all([])
        case .all(let parts), .any(let parts):
            if parts.isEmpty { refuse(place, "an empty “all” or “any” says nothing") }
            let conditions = parts.map { condition($0, place) }
            if case .all = entry { return .all(conditions) }
            return .any(conditions)
        case .not(let part): return .not(condition(part, place))
        }
    }

    private mutating func each(_ nodes: Selector, _ test: NodeCondition.Test) -> PlannedCondition {
        let selected = select(nodes)
        if case .reaches(let to) = test, selected.count == 1, to == selected {
            problems.append(nodes.problem("a node that reaches itself says nothing"))
        }
        conditionCount += 1
        return .nodes(NodeCondition(nodes: selected, test: test, id: conditionCount - 1))
    }

    private mutating func audit(_ entry: AuditEntry) -> PlannedCondition {
        let name = entry.event.value
        if name.isEmpty || name.utf8.count > 64 { refuse(entry.event, "an event's name has 1 to 64 characters") }
        if let index = plan.auditEvents.firstIndex(of: name) {
            return .audit(event: index, range(entry.range, entry.event.position))
        }
        plan.auditEvents.append(name)
        return .audit(event: plan.auditEvents.count - 1, range(entry.range, entry.event.position))
    }

    private mutating func range(_ entry: CountRangeEntry, _ position: DocumentPosition?) -> CountRange {
        if [entry.count, entry.atLeast, entry.atMost].contains(where: { ($0 ?? 0) < 0 }) {
            refuse("a count is 0 or more", position)
        }
        if let count = entry.count {
            if entry.atLeast != nil || entry.atMost != nil {
                refuse("say “count”, or “at-least” and “at-most”, not both", position)
            }
            return CountRange(minimum: count, maximum: count)
        }
        if entry.atLeast == nil, entry.atMost == nil {
            refuse("how many? add “count”, “at-least” or “at-most”", position)
        }
        let range = CountRange(minimum: entry.atLeast ?? 0, maximum: entry.atMost ?? .max)
        if range.minimum > range.maximum {
            refuse("“at-least” \(range.minimum) is more than “at-most” \(range.maximum)", position)
        }
        return range
    }
}

// MARK: Conditions with more to say

extension Planner {
    private mutating func limit(_ span: Located<Span>) -> Duration {
        if span.value.duration < .zero { refuse(span, "“at-most” is not negative") }
        return span.value.duration
    }

    private mutating func certificate(_ entry: Located<CertificateEntry>) -> PlannedCondition {
        if entry.value.age == nil, entry.value.left == nil {
            refuse(entry, "say “age-at-most” or “left-at-least”")
        }
        liveCannot("certificates are compared with the true time", entry.position)
        return each(
            entry.value.nodes,
            .certificate(age: entry.value.age.map { limit($0) }, left: entry.value.left.map { limit($0) }))
    }

    private mutating func reachable(_ located: Located<ReachableEntry>) -> PlannedCondition {
        let entry = located.value
        let least = entry.atLeast?.partsPerMillion ?? 0
        let most = entry.atMost?.partsPerMillion ?? 1_000_000
        if entry.atLeast == nil, entry.atMost == nil { refuse(located, "what share? add “at-least” or “at-most”") }
        if least > most { refuse(located, "“at-least” is more than “at-most”") }
        let test: NodeCondition.Test =
            if case .text("policy") = entry.to.form { .reachesPolicy } else { .reaches(select(entry.to)) }
        guard case .nodes(let pairs) = each(entry.from, test) else { return .all([]) }
        return .reachable(pairs, atLeast: least, atMost: most)
    }
}
