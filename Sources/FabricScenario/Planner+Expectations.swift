internal import FabricCore
internal import FabricDocument

extension Planner {
    mutating func readExpectations() {
        for expectation in header.expect { readExpectation(expectation) }
    }

    private mutating func readExpectation(_ located: Located<ExpectationEntry>) {
        let entry = located.value
        selections.removeAll(keepingCapacity: true)
        let condition = condition(entry.condition, located)
        let window: PlannedExpectation.Window
        switch entry.form {
        case .always, .sometimes:
            let from = entry.from.map { time($0) } ?? .zero
            let until = entry.until.map { time($0) } ?? plan.duration
            if until < from { refuse(located, "“until” is before “from”") }
            window =
                if case .always = entry.form { .always(from: from, until: until) } else {
                    .within(from: from, until: until, stays: .zero)
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
        let name = entry.name ?? PlanText(plan).expectation(window, condition)
        plan.expectations.append(
            PlannedExpectation(name: name, window: window, condition: condition, line: located.position?.line ?? 0))
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

    /// A time, a label's start, or `LABEL.end`.
    private mutating func moment(_ text: Located<String>) -> Duration {
        if let span = Span(text.value) {
            if span.duration < .zero || span.duration > plan.duration { refuse(text, pastTheEnd(span.duration)) }
            return span.duration
        }
        let isEnd = text.value.hasSuffix(".end")
        let name = isEnd ? String(text.value.dropLast(4)) : text.value
        guard let label = labels[name] else {
            let mend = NearestName.mend(name, among: labelNames, noun: "labelled step")
            refuse(text, "“\(text.value.prefix(40))” is neither a time nor a step's label; \(mend)")
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
        case .rekeyed(let nodes, let number): return each(nodes, .rekeyed(atLeast: count(number)))
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
