internal import FabricCore
internal import FabricDocument

/// NATs of the world, and the steps that hurt the network beyond partitions and links.
extension Planner {
    // MARK: Links

    /// What a link entry says about shapes, bursts and black holes, over what `link` has already.
    mutating func readFaults(
        _ entry: LinkEntry, into link: inout LinkProperties, _ position: DocumentPosition?, _ path: String
    ) {
        if let shape = entry.shape {
            link.shape = shape
            if link.jitter == .zero { refuse("“shape” says how jitter is spread; give a jitter", position, path) }
        }
        // What means nothing is as if nobody had said it.
        if link.jitter == .zero { link.shape = .uniform }
        if let span = entry.reorderBy {
            link.reorderBy = span.duration
            if link.reorderPartsPerMillion == 0 {
                refuse("“reorder-by” needs “reorder”, the share of packets that it holds back", position, path)
            }
            if !(Duration.microseconds(1)...(.seconds(60))).contains(span.duration) {
                refuse("packets are held back by 1us to 1m", position, path)
            }
        }
        if link.reorderPartsPerMillion == 0 { link.reorderBy = LinkProperties.defaultReorderBy }
        if let bursts = entry.bursts { link.bursts = self.bursts(bursts, position, path) }
        if let blackHole = entry.blackHole {
            link.blackHoleBytes = blackHole.value?.bytes
            if let bytes = blackHole.value?.bytes, bytes < 128 {
                refuse("a black hole lets at least 128B through; to lose everything, use a partition", position, path)
            }
        }
        if let bytes = link.blackHoleBytes, bytes >= link.mtu, entry.blackHole != nil || entry.mtu != nil {
            refuse(
                "a black hole at \(ByteSize(bytes: bytes)) means nothing with an MTU of \(ByteSize(bytes: link.mtu)); "
                    + "it swallows what the MTU lets through, so make it smaller", position, path)
        }
    }

    private mutating func bursts(_ entry: BurstsEntry, _ position: DocumentPosition?, _ path: String) -> PlannedBursts?
    {
        guard let share = entry.share, let mean = entry.mean else { return nil }
        if !(1...990_000).contains(share.partsPerMillion) {
            refuse("bursts take more than 0% and at most 99% of the time; for more, use “loss”", position, path)
        }
        if !(Duration.milliseconds(10)...(.minutes(10))).contains(mean.duration) {
            refuse("a burst lasts 10ms to 10m on average", position, path)
        }
        if entry.loss?.partsPerMillion == 0 { refuse("bursts that lose nothing are none", position, path) }
        return PlannedBursts(
            sharePartsPerMillion: share.partsPerMillion, mean: mean.duration,
            lossPartsPerMillion: entry.loss?.partsPerMillion ?? 1_000_000)
    }

    // MARK: NATs

    mutating func readNATs() {
        guard let entries = header.world.nats, !entries.isEmpty else { return }
        liveCannot("there are NATs", entries[0].position)
        if entries.count > ScenarioLimits.maximumNATs {
            return refuse(entries[0], "a world has \(ScenarioLimits.maximumNATs) NATs at most")
        }
        var natOfNode = [String?](repeating: nil, count: plan.nodes.count)
        var entryOfName: [String: Located<NATEntry>] = [:]
        for entry in entries where !hasEnoughProblems {
            let name = entry.value.nat
            if !Planner.isName(name.value) {
                refuse(name, "“\(name.value.prefix(40))” is no name for a NAT; \(Planner.nameForm)")
            }
            if entryOfName.updateValue(entry, forKey: name.value) != nil {
                refuse(name, "the NAT “\(name.value)” stands twice")
                continue
            }
            let nodes = members(entry)
            for node in nodes {
                if let other = natOfNode[node] {
                    refuse(
                        entry,
                        "“\(plan.nodes[node].name)” is behind “\(other)” already; nest NATs by “behind: \(other)”")
                    break
                }
                natOfNode[node] = name.value
            }
            addBoxes(entry, nodes, behind: carrier(entry))
        }
        var isCarrier = [Bool](repeating: false, count: plan.nats.count)
        for nat in plan.nats { if let behind = nat.behind { isCarrier[behind] = true } }
        for (index, nat) in plan.nats.enumerated()
        where nat.nodes.isEmpty && !isCarrier[index] && !hasEnoughProblems {
            guard let entry = entryOfName[nat.entry] else { continue }
            refuse(entry, "nothing is behind the NAT “\(nat.entry)”; give it nodes, a place, or NATs behind it")
        }
        if plan.nats.count > ScenarioLimits.maximumNATs {
            refuse(entries[0], "the world has more than \(ScenarioLimits.maximumNATs) NATs")
        }
    }

    private mutating func members(_ entry: Located<NATEntry>) -> [Int] {
        switch (entry.value.place, entry.value.nodes) {
        case (let name?, nil):
            guard let place = place(name.value, name) else { return [] }
            if place == plan.controlPlace {
                refuse(
                    name,
                    "the control plane stands in “\(name.value)” and can't be behind a NAT: nodes could not reach it; "
                        + "put the NAT before nodes")
            }
            let nodes = plan.nodes.indices.filter { plan.nodes[$0].place == place }
            if nodes.isEmpty { refuse(name, "no node is in “\(name.value)”") }
            return nodes
        case (nil, let selector?):
            if case .text("control") = selector.form {
                problems.append(
                    selector.problem("the control plane can't be behind a NAT: nodes could not reach it"))
                return []
            }
            return scope.resolve(selector, into: &problems)
        case (.some, .some):
            refuse(entry, "a NAT stands before “nodes” or a “place”, not both")
            return []
        case (nil, nil): return []
        }
    }

    private mutating func carrier(_ entry: Located<NATEntry>) -> Int? {
        guard let behind = entry.value.behind else { return nil }
        let found = plan.nats.indices.filter { plan.nats[$0].entry == behind.value }
        guard let first = found.first else {
            let names = plan.nats.map(\.entry)
            let mend = NearestName.mend(behind.value, among: names, noun: "NAT before this one")
            refuse(behind, "there is no NAT “\(behind.value.prefix(40))” above; \(mend)")
            return nil
        }
        if found.count > 1 || plan.nats[first].name != behind.value {
            refuse(behind, "“\(behind.value)” is several NATs; one stands behind one")
        }
        var depth = 2
        var above = plan.nats[first].behind
        while let next = above {
            depth += 1
            above = plan.nats[next].behind
        }
        if depth > ScenarioLimits.maximumNATDepth {
            refuse(behind, "NATs are nested \(ScenarioLimits.maximumNATDepth) deep at most")
        }
        return first
    }

    private mutating func addBoxes(_ entry: Located<NATEntry>, _ nodes: [Int], behind: Int?) {
        let properties = properties(entry.value)
        let name = entry.value.nat.value
        func add(_ suffix: String, _ nodes: [Int]) {
            plan.nats.append(
                PlannedNAT(entry: name, name: name + suffix, properties: properties, behind: behind, nodes: nodes))
        }
        guard let per = entry.value.per else { return add("", nodes) }
        if nodes.isEmpty { refuse(per, "“per” deals out NATs among nodes, and this one has none") }
        switch per.value {
        case .node: for node in nodes { add("/" + plan.nodes[node].name, [node]) }
        case .place:
            for place in plan.places.indices {
                let here = nodes.filter { plan.nodes[$0].place == place }
                if !here.isEmpty { add("/" + plan.places[place].name, here) }
            }
        }
    }

    private mutating func properties(_ entry: NATEntry) -> NATProperties {
        var properties = NATProperties()
        if let mapping = entry.mapping { properties.mapping = mapping }
        if let filtering = entry.filtering { properties.filtering = filtering }
        if let ports = entry.ports { properties.ports = ports }
        if let hairpin = entry.hairpin { properties.hairpin = hairpin }
        if let refresh = entry.inboundRefresh { properties.inboundRefresh = refresh }
        func lifetime(_ span: Located<Span>?, _ value: inout Duration) {
            guard let span else { return }
            if !(Duration.seconds(1)...(.hours(24))).contains(span.value.duration) {
                refuse(span, "a mapping ends after 1s to 24h without packets")
            }
            value = span.value.duration
        }
        lifetime(entry.expiry, &properties.expiry)
        lifetime(entry.tcpExpiry, &properties.tcpExpiry)
        if let table = entry.table {
            if !(1...60_000).contains(table.value) { refuse(table, "a NAT's table has room for 1 to 60000 mappings") }
            properties.table = table.value
        }
        return properties
    }

    // MARK: Steps

    /// Gives the time at which the last is healed.
    mutating func addSwizzle(_ entry: SwizzleEntry, _ step: Located<StepEntry>, _ start: Duration) -> Duration {
        let target: SwizzleTarget
        switch (entry.nodes, entry.places) {
        case (let selector?, nil): target = .nodes(select(selector))
        case (nil, let names?):
            let places = names.value.compactMap { place($0, names) }
            if places.isEmpty { refuse(names, "“places” is empty; name the places to cut off") }
            if Set(places).count != places.count { refuse(names, "a place is named twice") }
            target = .places(places.sorted())
        default:
            refuse(step, "a swizzle says one of: nodes: SELECTOR; places: [A, B]")
            return start
        }
        let duration = entry.duration.value.duration
        let end = ending(entry.duration, from: start) ?? start
        let cutting =
            entry.cutting?.value.duration ?? (entry.healing.map { duration - $0.value.duration } ?? duration / 2)
        let healing = entry.healing?.value.duration ?? duration - cutting
        if cutting < .zero || healing < .zero || cutting + healing > duration {
            refuse(
                entry.cutting ?? entry.healing ?? entry.duration,
                "“cutting” and “healing” are parts of “for”, together \(entry.duration.value) at most")
        }
        let swizzle = PlannedSwizzle(
            id: partitionCount, target: target, duration: duration, cutting: cutting, healing: healing)
        partitionCount += 1
        emit(.swizzle(swizzle), at: start, step)
        liveCannot("a swizzle draws from the seed", step.position)
        return end
    }

    mutating func addBlock(_ entry: BlockEntry, _ step: Located<StepEntry>, _ start: Duration) -> Duration {
        var from = EndpointSet(nodes: [], control: false)
        var to = everyone
        switch (entry.place, entry.nodes) {
        case (let name?, nil):
            guard let place = place(name.value, name) else { return start }
            (from, to) = sides(of: place)
            if from.nodes.isEmpty, !from.control { refuse(name, "nothing is in “\(name.value)”") }
        case (nil, let selector?): from = endpoints(selector)
        default:
            refuse(step, "a block stands before “nodes” or around a “place”, one of them")
            return start
        }
        return addCut(
            PlannedPartition(id: partitionCount, from: from, to: to, isSymmetric: true, only: entry.transport),
            entry.duration, step, start)
    }

    /// All that is in a place, and all that is not.
    mutating func sides(of place: Int) -> (EndpointSet, EndpointSet) {
        if let known = sidesOfPlaces[place] { return known }
        let isHere = plan.controlPlace == place
        let sides = (
            EndpointSet(nodes: plan.nodes.indices.filter { plan.nodes[$0].place == place }, control: isHere),
            EndpointSet(nodes: plan.nodes.indices.filter { plan.nodes[$0].place != place }, control: !isHere)
        )
        sidesOfPlaces[place] = sides
        return sides
    }

    /// A cut and, when it is `for` a while, its end.
    mutating func addCut(
        _ partition: PlannedPartition, _ duration: Located<Span>?, _ step: Located<StepEntry>, _ start: Duration
    ) -> Duration {
        partitionCount += 1
        emit(.cut(partition), at: start, step)
        guard let end = ending(duration, from: start) else { return start }
        emit(.heal(partitions: [partition.id]), at: end, step)
        return end
    }

    mutating func addRebind(_ entry: RebindEntry, _ step: Located<StepEntry>, _ time: Duration) {
        if let position = entry.nat.position, let known = boxesOfSteps[position] {
            return emit(.rebind(nats: known, newAddress: entry.address == .new), at: time, step)
        }
        var boxes = plan.nats.indices.filter { plan.nats[$0].entry == entry.nat.value }
        if boxes.isEmpty {
            let mend = NearestName.mend(entry.nat.value, among: plan.nats.map(\.entry), noun: "NAT")
            return refuse(entry.nat, "there is no NAT “\(entry.nat.value.prefix(40))”; \(mend)")
        }
        if let selector = entry.nodes {
            let chosen = Set(select(selector))
            boxes = boxes.filter { box in plan.nats[box].nodes.contains { chosen.contains($0) } }
            if boxes.isEmpty { problems.append(selector.problem("none of these is behind “\(entry.nat.value)”")) }
        }
        if let position = entry.nat.position { boxesOfSteps[position] = boxes }
        emit(.rebind(nats: boxes, newAddress: entry.address == .new), at: time, step)
        liveCannot("NATs are rebound", step.position)
    }
}
