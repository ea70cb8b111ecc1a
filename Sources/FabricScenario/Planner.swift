internal import FabricCore
internal import FabricDocument

/// Resolves a decoded file into a plan. Problems are collected, not thrown: a person mends them in one go.
struct Planner {
    let header: ScenarioHeader
    var problems: [DocumentError] = []
    var scope = SelectorScope()
    var plan: Plan
    /// Start and end of labelled steps; by name, never iterated.
    var labels: [String: (start: Duration, end: Duration, partitions: Range<Int>)] = [:]
    var labelNames: [String] = []
    var partitionCount = 0
    /// What each heal may end, by its step's `order`: `renumber` says what it ends. Never iterated. The repetitions of an
    /// entry share one list.
    var heals: [Int: [Range<Int>]] = [:]
    /// What the heal at hand may end.
    var healed: [Range<Int>]?
    /// More steps than a plan may have were asked for; those beyond were not made.
    var hasTooManySteps = false
    var conditionCount = 0
    /// What the selectors of the entry at hand resolve to, by their places; never iterated.
    var selections: [DocumentPosition: EndpointSet] = [:]
    /// What is in a place and what is not; never iterated.
    var sidesOfPlaces: [Int: (EndpointSet, EndpointSet)] = [:]
    /// The NATs that a step rebinds, by its place; never iterated.
    var boxesOfSteps: [DocumentPosition: [Int]] = [:]
    lazy var everyone = EndpointSet(nodes: Array(plan.nodes.indices), control: true)
    var selectedNodes = 0
    /// Tests lower it.
    var mostSelectedNodes = ScenarioLimits.maximumSelectedNodes
    /// More problems than are reported need not be looked for: each may take a walk over all names.
    var hasEnoughProblems: Bool { problems.count >= ScenarioLimits.maximumProblems }

    init(_ header: ScenarioHeader) {
        self.header = header
        plan = Plan(
            name: header.scenario.value, about: header.about ?? "", duration: header.duration.value.duration, seed: 1,
            hosts: [], liveObstacles: [], places: [], defaultLink: .defaultBetween, links: [], controlPlace: 0,
            cluster: ClusterSettings(), groups: [], nodes: [], tokens: [], flows: [], auditEvents: [], steps: [],
            expectations: [])
    }

    mutating func makePlan() -> Plan {
        readHeader()
        readPlaces()
        // None of the names would be known below.
        guard header.world.places.value.entries.count <= ScenarioLimits.maximumPlaces else { return plan }
        readLinks()
        readCluster()
        readGroups()
        if problems.isEmpty { readNATs() }
        // What follows names nodes and places; without them every line would be a problem.
        guard problems.isEmpty else { return plan }
        readTimeline()
        checkFlowLoad()
        readExpectations()
        readSwarm()
        if !hasTooManySteps { checkOrder() }
        readHosts()
        return plan
    }

    mutating func refuse(_ located: Located<some Decodable & Sendable>, _ message: String) {
        problems.append(located.problem(message))
    }

    mutating func refuse(_ message: String, _ position: DocumentPosition?, _ path: String = "") {
        problems.append(DocumentError(message, path: path, position: position))
    }

    /// A name has the form of an identifier and leaves room for a number behind it.
    static func isName(_ text: String) -> Bool {
        text.utf8.count <= 40 && ClusterID(text) != nil && text.utf8.first.map { (97...122).contains($0) } == true
    }

    static let nameForm = "a name has 1 to 40 characters from a-z, 0-9 and -, and begins with a letter"
    static let reserved = ["all", "control", "policy", "place"]

    /// Checks a name and that nothing else has it. Groups, places and nodes share one name space.
    mutating func claim(_ name: String, _ noun: String, _ position: DocumentPosition?, _ path: String) -> Bool {
        if !Planner.isName(name) {
            refuse("“\(name.prefix(40))” is no name for a \(noun); \(Planner.nameForm)", position, path)
            return false
        }
        if Planner.reserved.contains(name) {
            refuse("“\(name)” has a meaning of its own in selectors; choose another name", position, path)
            return false
        }
        if let other = owner(name) {
            refuse("the name “\(name)” is that of a \(other) already; choose another name", position, path)
            return false
        }
        scope.names.append(name)
        return true
    }

    private func owner(_ name: String) -> String? {
        if scope.places[name] != nil { return "place" }
        if scope.groups[name] != nil { return "group" }
        return scope.nodes[name] != nil ? "node" : nil
    }

    // MARK: Header

    private mutating func readHeader() {
        if !Planner.isName(header.scenario.value) {
            refuse(header.scenario, "“\(header.scenario.value.prefix(40))” is no scenario name; \(Planner.nameForm)")
        }
        if plan.duration <= .zero { refuse(header.duration, "a scenario lasts longer than nothing") }
        if plan.duration > .hours(24 * 30) { refuse(header.duration, "a scenario lasts 30 days at most") }
        if let seed = header.seed {
            if seed.value < 0 { refuse(seed, "a seed is 0 or more") } else { plan.seed = UInt64(seed.value) }
        }
        if header.expect.isEmpty {
            refuse("“expect” is empty: a scenario says what must be true", header.duration.position, "expect")
        }
        if header.expect.count > ScenarioLimits.maximumExpectations {
            let first = header.expect[ScenarioLimits.maximumExpectations]
            refuse(first, "a scenario has \(ScenarioLimits.maximumExpectations) expectations at most")
        }
    }

    /// Last, when it is known what the live host can't do.
    private mutating func readHosts() {
        let canLive = plan.liveObstacles.isEmpty
        guard let hosts = header.hosts else {
            plan.hosts = canLive ? [.simulator, .live] : [.simulator]
            return
        }
        if hosts.value.isEmpty { refuse(hosts, "“hosts” is empty; leave it out or name a host") }
        if hosts.value.contains(.live), let obstacle = plan.liveObstacles.first {
            refuse(hosts, "the live host can't run this: \(obstacle); leave that out, or “live”")
        }
        plan.hosts = ScenarioHost.allCases.filter { hosts.value.contains($0) }
        if plan.hosts.count != hosts.value.count { refuse(hosts, "a host is named twice") }
    }

    mutating func liveCannot(_ what: String, _ position: DocumentPosition?) {
        plan.liveObstacles.append(what + (position.map { " (line \($0.line))" } ?? ""))
    }

    /// The live host shapes links in user space, between real interfaces whose captures it judges.
    mutating func checkLive(_ link: LinkProperties, _ position: DocumentPosition?) {
        if link.corruptPartsPerMillion > 0 { liveCannot("packets are corrupted", position) }
        if link.mtu > Self.largestLiveMTU {
            liveCannot("a link takes packets of more than \(Self.largestLiveMTU) bytes", position)
        }
    }

    static var largestLiveMTU: Int { 1500 }

    // MARK: World

    private mutating func readPlaces() {
        let list = header.world.places
        if list.value.entries.isEmpty { refuse(list, "a world has at least one place") }
        if list.value.entries.count > ScenarioLimits.maximumPlaces {
            return refuse(list, "a world has \(ScenarioLimits.maximumPlaces) places at most")
        }
        for entry in list.value.entries where !hasEnoughProblems {
            guard claim(entry.name, "place", entry.position, list.path) else { continue }
            scope.places[entry.name] = plan.places.count
            let link = properties(entry.value, over: .defaultWithin, entry.position, list.path)
            plan.places.append(PlannedPlace(name: entry.name, link: link, isShaped: !entry.value.isEmpty))
            checkLive(link, entry.position)
        }
    }

    private mutating func readLinks() {
        if let link = header.world.link {
            plan.defaultLink = properties(link.value, over: .defaultBetween, link.position, link.path)
            checkLive(plan.defaultLink, link.position)
        }
        for link in header.world.links ?? [] where !hasEnoughProblems {
            guard let (a, b) = placePair(link.value.between) else { continue }
            if link.value.link.isEmpty { refuse(link, "this link says nothing; give it a delay or another property") }
            if plan.links.contains(where: { $0.a == a && $0.b == b }) {
                refuse(link, "the link between “\(plan.places[a].name)” and “\(plan.places[b].name)” stands twice")
            }
            let whole = properties(link.value.link, over: plan.defaultLink, link.position, link.path)
            plan.links.append(PlannedLink(a: a, b: b, link: whole))
            checkLive(whole, link.position)
        }
        plan.links.sort { ($0.a, $0.b) < ($1.a, $1.b) }
    }

    mutating func placePair(_ between: Located<[String]>) -> (Int, Int)? {
        guard between.value.count == 2 else {
            refuse(between, "“between” takes two places")
            return nil
        }
        let found = between.value.map { place($0, between) }
        guard let a = found[0], let b = found[1] else { return nil }
        if a == b {
            refuse(between, "a link is between two different places; the network within one is said at “places”")
            return nil
        }
        return (min(a, b), max(a, b))
    }

    mutating func place(_ name: String, _ located: Located<some Decodable & Sendable>) -> Int? {
        if let place = scope.places[name] { return place }
        refuse(located, scope.unknownPlace(name))
        return nil
    }

    mutating func properties(
        _ entry: LinkEntry, over base: LinkProperties, _ position: DocumentPosition?, _ path: String
    ) -> LinkProperties {
        var link = base
        // A delay of its own has no jitter unless it says so.
        if let delay = entry.delay { (link.delay, link.jitter) = (delay.duration, .zero) }
        if let jitter = entry.jitter { link.jitter = jitter.duration }
        if link.delay < .zero || link.jitter < .zero { refuse("a delay is not negative", position, path) }
        if link.delay > .seconds(60) || link.jitter > .seconds(60) {
            refuse("a delay or jitter of more than a minute is surely a slip", position, path)
        }
        if let share = entry.loss { link.lossPartsPerMillion = share.partsPerMillion }
        if let share = entry.duplicate { link.duplicatePartsPerMillion = share.partsPerMillion }
        if let share = entry.reorder { link.reorderPartsPerMillion = share.partsPerMillion }
        if let share = entry.corrupt { link.corruptPartsPerMillion = share.partsPerMillion }
        if let rate = entry.rate { link.bitsPerSecond = rate.value?.bitsPerSecond }
        if let queue = entry.queue {
            link.queueBytes = queue.bytes
            if link.bitsPerSecond == nil {
                refuse("a queue needs a rate: nothing waits for a line without one", position, path)
            }
            if queue.bytes > 256 << 20 { refuse("a queue holds 256MiB at most", position, path) }
        }
        if let mtu = entry.mtu {
            link.mtu = mtu.bytes
            if !(576...65_535).contains(mtu.bytes) { refuse("an MTU is from 576B to 65535B", position, path) }
        }
        readFaults(entry, into: &link, position, path)
        return link
    }

    private mutating func readCluster() {
        if let place = header.world.control?.value.place { plan.controlPlace = self.place(place.value, place) ?? 0 }
        readControlName()
        guard let cluster = header.world.cluster?.value else { return }
        if let name = cluster.name {
            if !Planner.isName(name.value) {
                refuse(name, "“\(name.value.prefix(40))” is no name; \(Planner.nameForm)")
            }
            plan.cluster.name = name.value
        }
        if let peers = cluster.peers {
            if !(2...64).contains(peers.value) || peers.value % 2 != 0 {
                refuse(peers, "a node has an even number of peers, from 2 to 64")
            }
            plan.cluster.peers = peers.value
        }
        func period(_ span: Located<Span>?, _ range: ClosedRange<Duration>, _ into: inout Duration) {
            guard let span else { return }
            if !range.contains(span.value.duration) {
                problems.append(
                    span.problem(
                        "\(span.value) is out of range; from \(Span(range.lowerBound)) to \(Span(range.upperBound))"))
            }
            into = span.value.duration
        }
        var settings = plan.cluster
        period(cluster.heartbeat, .seconds(1)...(.minutes(5)), &settings.heartbeat)
        period(cluster.probe, .milliseconds(100)...(.minutes(5)), &settings.probe)
        period(cluster.certificateLifetime, .minutes(5)...(.hours(24 * 400)), &settings.certificateLifetime)
        plan.cluster = settings
    }

    private mutating func readGroups() {
        let groups = header.world.nodes
        if groups.value.isEmpty { refuse(groups, "a world has at least one group of nodes") }
        for entry in groups.value where !hasEnoughProblems { readGroup(entry) }
    }

    private mutating func readGroup(_ entry: Located<GroupEntry>) {
        let group = entry.value
        let name = group.group.value
        let places = groupPlaces(entry)
        let count = group.count?.value ?? 1
        guard claim(name, "group", group.group.position, group.group.path), !places.isEmpty else { return }
        guard count >= 1, count <= ScenarioLimits.maximumNodes - plan.nodes.count else {
            problems.append(
                (group.count.map { $0.problem } ?? entry.problem)(
                    count < 1
                        ? "a group has at least one node" : "a world has \(ScenarioLimits.maximumNodes) nodes at most"))
            return
        }
        let skew = group.clock?.value.skew?.duration ?? .zero
        let drift = group.clock?.value.drift?.partsPerBillion ?? 0
        if let clock = group.clock, clock.value.skew == nil, clock.value.drift == nil {
            refuse(clock, "a clock has a “skew”, a “drift”, or both")
        }
        if skew != .zero || drift != 0 { liveCannot("the clocks of “\(name)” are off", group.clock?.position) }
        let domains = domains(group.domains)
        let first = plan.nodes.count
        for index in 0..<count {
            // A group with a count numbers its nodes, whatever the count is; one without is a single node of its name.
            let node = group.count == nil ? name : "\(name)-\(index + 1)"
            if group.count != nil, !claim(node, "node", entry.position, entry.path) { return }
            scope.nodes[node] = plan.nodes.count
            let place = places[index % places.count]
            scope.placeOfNode.append(place)
            plan.nodes.append(
                PlannedNode(
                    name: node, group: plan.groups.count, place: place, domains: domains, clockSkew: skew,
                    clockDriftPartsPerBillion: drift))
        }
        scope.groups[name] = first..<plan.nodes.count
        plan.groups.append(PlannedGroup(name: name, nodes: first..<plan.nodes.count))
    }

    private mutating func groupPlaces(_ entry: Located<GroupEntry>) -> [Int] {
        switch (entry.value.place, entry.value.places) {
        case (let one?, nil): return place(one.value, one).map { [$0] } ?? []
        case (nil, let several?):
            if several.value.isEmpty { refuse(several, "“places” is empty; name the group's places") }
            if several.value.count > ScenarioLimits.maximumPlaces {
                refuse(several, "a world has \(ScenarioLimits.maximumPlaces) places at most")
                return []
            }
            return several.value.compactMap { place($0, several) }
        case (.some, .some):
            refuse(entry, "a group has “place” or “places”, not both")
            return []
        case (nil, nil):
            if plan.places.count == 1 { return [0] }
            refuse(entry, "the group has no place; add “place: NAME” or “places: [NAME, NAME]”")
            return []
        }
    }

    mutating func domains(_ names: Located<[String]>?) -> [RoutingDomainID] {
        guard let names else { return [.fabric] }
        if names.value.count > ScenarioLimits.maximumDomains {
            refuse(names, "there are \(ScenarioLimits.maximumDomains) routing domains at most")
            return [.fabric]
        }
        var domains: [RoutingDomainID] = []
        for name in names.value {
            guard let domain = RoutingDomainID(name) else {
                refuse(names, "“\(name.prefix(40))” is no routing domain; \(Planner.nameForm)")
                continue
            }
            if domains.contains(domain) {
                refuse(names, "the domain “\(name)” stands twice")
            } else {
                domains.append(domain)
            }
        }
        // Every node has the fabric's own domain.
        if !domains.contains(.fabric) { domains.insert(.fabric, at: 0) }
        return domains
    }
}
