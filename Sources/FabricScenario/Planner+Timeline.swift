internal import FabricCore
internal import FabricDocument

extension Planner {
    mutating func readTimeline() {
        for step in header.timeline ?? [] where !hasEnoughProblems {
            readStep(step)
            if hasTooManySteps { break }
        }
        plan.steps.sort { ($0.time, $0.order) < ($1.time, $1.order) }
        if problems.isEmpty { renumber() }
    }

    // MARK: When

    private mutating func readStep(_ step: Located<StepEntry>) {
        let entry = step.value
        let start: Duration
        switch (entry.at, entry.every) {
        case (let at?, _): start = time(at)
        case (nil, .some): start = .zero
        case (nil, nil):
            refuse(step, "the step has no time; add “at: 10s”, or “every: 1s”")
            return
        }
        var times = [start]
        var end = start
        if let every = entry.every {
            times = repetitions(step, every, from: start)
            end = times.last ?? start
        } else if let until = entry.until {
            refuse(until, "“until” goes with “every”")
        }
        var spread = Duration.zero
        if let over = entry.over {
            spread = over.value.duration
            if spread <= .zero { refuse(over, "“over” is a positive duration") }
            if entry.every != nil { refuse(over, "“over” and “every” exclude each other") }
            if start + spread > plan.duration { refuse(over, pastTheEnd(start + spread)) }
            switch entry.action {
            case .enrol, .crash, .restart, .readdress: break
            default: refuse(over, "“over” spreads nodes, so it goes with enrol, crash, restart and readdress only")
            }
            end = start + spread
        }
        if times.count * plan.nodes.count > ScenarioLimits.maximumStepNodes {
            refuse(step, "\(times.count) steps for \(plan.nodes.count) nodes are too many; repeat it less often")
            return
        }
        if case .heal(let heal) = entry.action,
            times.count * heal.step.value.count > ScenarioLimits.maximumStepNodes
        {
            refuse(heal.step, "\(times.count) heals of \(heal.step.value.count) steps are too many; heal less often")
            return
        }
        let firstPartition = partitionCount
        selections.removeAll(keepingCapacity: true)
        healed = nil
        let problemsBefore = problems.count
        for time in times {
            end = max(end, add(step, at: time, spread: spread))
            // One mistake in a repeated step is one problem.
            if problems.count > problemsBefore || plan.steps.count > ScenarioLimits.maximumSteps { break }
        }
        guard let label = entry.label else { return }
        if !Planner.isName(label.value) || Planner.reserved.contains(label.value) {
            refuse(label, "“\(label.value.prefix(40))” is no label; \(Planner.nameForm)")
        } else if labels[label.value] != nil {
            refuse(label, "the label “\(label.value)” stands twice")
        } else {
            labels[label.value] = (start, end, firstPartition..<partitionCount)
            labelNames.append(label.value)
        }
    }

    private mutating func repetitions(_ step: Located<StepEntry>, _ every: Located<Span>, from start: Duration)
        -> [Duration]
    {
        let period = every.value.duration
        let last = step.value.until.map { time($0) } ?? plan.duration
        if let until = step.value.until, last < start {
            refuse(until, "“until” is before the first time, \(Span(start))")
        }
        guard period >= .milliseconds(1) else {
            refuse(every, "“every” is at least 1ms")
            return [start]
        }
        let count = max(0, (last - start).nanoseconds / period.nanoseconds) + 1
        guard plan.steps.count + Int(count) <= ScenarioLimits.maximumSteps else {
            refuse(every, "this makes \(count) steps; a timeline has \(ScenarioLimits.maximumSteps) at most")
            return [start]
        }
        return (0..<count).map { start + .nanoseconds($0 * period.nanoseconds) }
    }

    mutating func time(_ span: Located<Span>) -> Duration {
        let time = span.value.duration
        if time < .zero { refuse(span, "times count from the start and are not negative") }
        if time > plan.duration { refuse(span, pastTheEnd(time)) }
        return time
    }

    func pastTheEnd(_ time: Duration) -> String { "\(Span(time)) is past the scenario's end at \(Span(plan.duration))" }

    // MARK: What

    /// Adds a step; refuses the entry at the first that is one too many, and adds none from then on.
    mutating func emit(_ action: PlannedStep.Action, at time: Duration, _ step: Located<StepEntry>) {
        guard plan.steps.count < ScenarioLimits.maximumSteps else {
            if !hasTooManySteps {
                refuse(
                    step,
                    "the timeline has more than \(ScenarioLimits.maximumSteps) steps when expanded; "
                        + "repeat this less often, or name fewer places or nodes")
            }
            hasTooManySteps = true
            return
        }
        plan.steps.append(
            PlannedStep(
                time: time, order: plan.steps.count, label: step.value.label?.value, action: action,
                line: step.position?.line ?? 0, column: step.position?.column ?? 0))
    }

    /// The steps of one occurrence; gives the time of the last.
    private mutating func add(_ step: Located<StepEntry>, at start: Duration, spread: Duration) -> Duration {
        switch step.value.action {
        case .token(let entry): addToken(entry, step, start)
        case .revokeToken(let entry):
            if let token = token(entry.name) { emit(.revokeToken(token), at: start, step) }
        case .enrol(let entry):
            guard let token = token(entry.token) else { break }
            spreadOut(select(entry.nodes), start, spread, step) { .enrol(nodes: $0, token: token) }
        case .approve(let entry): emit(.approve(nodes: select(entry.nodes)), at: start, step)
        case .reject(let entry): emit(.reject(nodes: select(entry.nodes)), at: start, step)
        case .partition(let entry): return addPartition(entry, step, start)
        case .heal(let entry): addHeal(entry, step, start)
        case .link(let entry): return addLinkChange(entry, step, start)
        case .crash(let entry):
            let nodes = select(entry.nodes)
            let isProcess = entry.kind == .process
            spreadOut(nodes, start, spread, step) { nodes in
                isProcess ? .hostFault(.kill(EndpointSet(nodes: nodes, control: false))) : .crash(nodes: nodes)
            }
            guard let end = ending(entry.duration, from: start + spread) else { break }
            spreadOut(nodes, end - spread, spread, step) { .restart(nodes: $0) }
            return end
        case .restart(let entry): spreadOut(select(entry.nodes), start, spread, step) { .restart(nodes: $0) }
        case .stopControl(let entry):
            let isProcess = entry.kind == .process
            emit(
                isProcess ? .hostFault(.kill(EndpointSet(nodes: [], control: true))) : .stopControl, at: start, step)
            guard let end = ending(entry.duration, from: start) else { break }
            emit(.startControl, at: end, step)
            return end
        case .startControl: emit(.startControl, at: start, step)
        case .clock(let entry):
            return addClock(entry, step, start)
        case .loseAnswers(let entry):
            let count = entry.count?.value ?? 1
            if !(1...1_000_000).contains(count), let located = entry.count { refuse(located, "the count is 1 or more") }
            emit(.loseAnswers(entry.request, count: count), at: start, step)
            liveCannot("answers are lost", step.position)
        case .flow(let entry): return addFlow(entry, step, start)
        case .swizzle(let entry): return addSwizzle(entry, step, start)
        case .block(let entry): return addBlock(entry, step, start)
        case .readdress(let entry):
            if case .text("control") = entry.nodes.form {
                moveControl(entry, step, start)
                break
            }
            let told = entry.told ?? true
            spreadOut(select(entry.nodes), start, spread, step) { .readdress(nodes: $0, told: told) }
            liveCannot("addresses change", step.position)
        case .rebind(let entry): addRebind(entry, step, start)
        case .hostFault(let entry): return addHostFault(entry, step, start)
        case .attack(let entry): return addAttack(entry, step, start)
        case .disable(let entry):
            emit(.setMembership(nodes: select(entry.nodes), active: false), at: start, step)
        case .enable(let entry): emit(.setMembership(nodes: select(entry.nodes), active: true), at: start, step)
        }
        return start + spread
    }

    /// One step for all nodes, or one a node at even distances.
    private mutating func spreadOut(
        _ nodes: [Int], _ start: Duration, _ spread: Duration, _ step: Located<StepEntry>,
        _ action: ([Int]) -> PlannedStep.Action
    ) {
        if spread <= .zero { return emit(action(nodes), at: start, step) }
        let nanoseconds = spread.nanoseconds
        for (index, node) in nodes.enumerated() {
            // The product stays below 2^63: 10,000 nodes, 30 days.
            let offset = nanoseconds / Int64(nodes.count) * Int64(index)
            emit(action([node]), at: start + .nanoseconds(offset), step)
        }
    }

    /// Repetitions of a step share what its selectors resolve to.
    mutating func select(_ selector: Selector) -> [Int] {
        remembered(selector) { planner in
            EndpointSet(nodes: planner.scope.resolve(selector, into: &planner.problems), control: false)
        }.nodes
    }

    private mutating func remembered(_ selector: Selector, _ resolve: (inout Planner) -> EndpointSet) -> EndpointSet {
        // Without a place it is of a program's making: cut from a file that was measured, or drawn.
        guard let place = selector.position else { return resolve(&self) }
        if let known = selections[place] { return known }
        let most = mostSelectedNodes
        // What comes after the refusal selects nothing, and costs nothing.
        if selectedNodes > most { return EndpointSet(nodes: [], control: false) }
        let set = resolve(&self)
        selectedNodes += set.nodes.count
        if selectedNodes > most {
            problems.append(
                selector.problem("the selectors of this file name more than \(most) nodes together; name fewer"))
        }
        selections[place] = set
        return set
    }

    /// A selector in which the word `control` stands for the control plane.
    mutating func endpoints(_ selector: Selector) -> EndpointSet {
        switch selector.form {
        case .text("control"): return EndpointSet(nodes: [], control: true)
        case .list(let parts):
            return remembered(selector) { planner in
                if parts.isEmpty { planner.problems.append(selector.problem("an empty list selects nothing")) }
                var seen = [Bool](repeating: false, count: planner.plan.nodes.count)
                var control = false
                for part in parts where !planner.hasEnoughProblems {
                    let set = planner.endpoints(part)
                    for node in set.nodes { seen[node] = true }
                    control = control || set.control
                }
                return EndpointSet(nodes: seen.indices.filter { seen[$0] }, control: control)
            }
        default: return EndpointSet(nodes: select(selector), control: false)
        }
    }

    /// The end of what lasts `for` a while; nil when nothing is said.
    mutating func ending(_ duration: Located<Span>?, from start: Duration) -> Duration? {
        guard let duration else { return nil }
        if duration.value.duration <= .zero { refuse(duration, "“for” is a positive duration") }
        let end = start + duration.value.duration
        if end > plan.duration { refuse(duration, pastTheEnd(end)) }
        return end
    }

    private mutating func addToken(_ entry: TokenEntry, _ step: Located<StepEntry>, _ time: Duration) {
        if !Planner.isName(entry.name.value) {
            refuse(entry.name, "“\(entry.name.value.prefix(40))” is no name for a token; \(Planner.nameForm)")
        }
        if plan.tokens.contains(where: { $0.name == entry.name.value }) {
            return refuse(entry.name, "the token “\(entry.name.value)” is created twice")
        }
        let uses = entry.uses?.value ?? 1
        if let located = entry.uses, !(1...100_000).contains(uses) {
            refuse(located, "a token has 1 to 100000 uses")
        }
        let lifetime = entry.lifetime?.value.duration ?? .hours(1)
        if let located = entry.lifetime, lifetime < .seconds(1) || lifetime > .hours(24 * 7) {
            refuse(located, "a token lives from 1s to 168h")
        }
        // Without a scope a token covers what the nodes of this world have; those of a group have the same.
        var all: [RoutingDomainID] = []
        for group in plan.groups {
            for domain in plan.nodes[group.nodes.lowerBound].domains where !all.contains(domain) { all.append(domain) }
        }
        let domains = entry.domains == nil ? all : domains(entry.domains)
        plan.tokens.append(
            PlannedToken(
                name: entry.name.value, uses: uses, lifetime: lifetime, domains: domains,
                namePrefix: entry.namePrefix ?? ""))
        emit(.createToken(plan.tokens.count - 1), at: time, step)
    }

    mutating func token(_ name: Located<String>) -> Int? {
        if let index = plan.tokens.firstIndex(where: { $0.name == name.value }) { return index }
        let mend = NearestName.mend(name.value, among: plan.tokens.map(\.name), noun: "token before this step")
        refuse(name, "there is no token “\(name.value.prefix(40))” in the steps before; \(mend)")
        return nil
    }

    // MARK: Network

    private mutating func addPartition(_ entry: PartitionEntry, _ step: Located<StepEntry>, _ start: Duration)
        -> Duration
    {
        let forms = [entry.between != nil, entry.place != nil, entry.from != nil || entry.to != nil]
        guard forms.count(where: { $0 }) == 1 else {
            refuse(step, "a partition says one of: between: [A, B]; place: A; from: A and to: B")
            return start
        }
        var from = EndpointSet(nodes: [], control: false)
        var to = from
        if let between = entry.between {
            guard between.value.count == 2 else {
                refuse(between, "“between” takes two sides")
                return start
            }
            (from, to) = (endpoints(between.value[0]), endpoints(between.value[1]))
        } else if let name = entry.place {
            guard let place = place(name.value, name) else { return start }
            (from, to) = sides(of: place)
            if from.nodes.isEmpty, !from.control { refuse(name, "nothing is in “\(name.value)”") }
        } else {
            guard let a = entry.from, let b = entry.to else {
                refuse(step, "a one-way partition needs “from” and “to”")
                return start
            }
            (from, to) = (endpoints(a), endpoints(b))
        }
        var isInFrom = [Bool](repeating: false, count: plan.nodes.count)
        for node in from.nodes { isInFrom[node] = true }
        // A firewall stands before a host, whoever talks to it.
        if entry.only == nil, from.control && to.control || to.nodes.contains(where: { isInFrom[$0] }) {
            refuse(step, "the two sides of a partition have members in common")
        }
        return addCut(
            PlannedPartition(
                id: partitionCount, from: from, to: to, isSymmetric: entry.from == nil, only: entry.only),
            entry.duration, step, start)
    }

    private mutating func addHeal(_ entry: HealEntry, _ step: Located<StepEntry>, _ time: Duration) {
        // The repetitions heal the same; what they end is found when all is in the order of time.
        let ranges = healed ?? partitions(of: entry, at: time)
        healed = ranges
        heals[plan.steps.count] = ranges
        emit(.heal(partitions: []), at: time, step)
    }

    /// What the steps named have made, by ranges, an entry of the file each.
    private mutating func partitions(of entry: HealEntry, at time: Duration) -> [Range<Int>] {
        if entry.step.value == ["all"] {
            if partitionCount == 0 { refuse(entry.step, "there is no partition in the steps before") }
            return [0..<partitionCount]
        }
        if entry.step.value.isEmpty { refuse(entry.step, "an empty list heals nothing; name a step, or all") }
        var partitions: [Range<Int>] = []
        for name in entry.step.value {
            guard let label = labels[name] else {
                let mend = NearestName.mend(name, among: labelNames, noun: "labelled step before")
                refuse(entry.step, "there is no step labelled “\(name.prefix(40))” before; \(mend)")
                return []
            }
            if label.partitions.isEmpty { refuse(entry.step, "the step “\(name)” makes no partition") }
            if label.start > time {
                refuse(entry.step, "the partition begins at \(Span(label.start)), after this heal")
            }
            partitions.append(label.partitions)
        }
        return partitions
    }

    private mutating func addLinkChange(_ entry: LinkChangeEntry, _ step: Located<StepEntry>, _ start: Duration)
        -> Duration
    {
        if entry.link.isEmpty { refuse(step, "this change says nothing; give it a delay or another property") }
        var pairs: [(Int, Int)] = []
        switch (entry.between, entry.inside) {
        case (let between?, nil):
            if let pair = placePair(between) { pairs.append(pair) }
        case (nil, let inside?):
            if let place = place(inside.value, inside) { pairs.append((place, place)) }
        case (nil, nil):
            for a in plan.places.indices { for b in plan.places.indices where a < b { pairs.append((a, b)) } }
            if pairs.isEmpty { refuse(step, "there is one place only, so no link between places; use “in”") }
        case (.some, .some): refuse(step, "a change is “between” places or “in” one, not both")
        }
        let before = pairs.map { PlannedLink(a: $0.0, b: $0.1, link: plan.link(between: $0.0, and: $0.1)) }
        let after = before.map { link in
            PlannedLink(a: link.a, b: link.b, link: properties(entry.link, over: link.link, step.position, step.path))
        }
        for link in after { emit(.setLinks([link]), at: start, step) }
        for change in after { checkLive(change.link, step.position) }
        guard let end = ending(entry.duration, from: start) else { return start }
        for link in before { emit(.setLinks([link]), at: end, step) }
        return end
    }
}
