internal import FabricCore
internal import FabricDocument

extension Planner {
    mutating func addFlow(_ entry: FlowEntry, _ step: Located<StepEntry>, _ start: Duration) -> Duration {
        let from = select(entry.from)
        let to = select(entry.to)
        let packet = entry.packet?.value.bytes ?? 1200
        if !Planner.isName(entry.name.value) {
            refuse(entry.name, "“\(entry.name.value.prefix(40))” is no name; \(Planner.nameForm)")
        }
        if plan.flows.contains(where: { $0.name == entry.name.value }) {
            refuse(entry.name, "the flow “\(entry.name.value)” stands twice")
        }
        if let located = entry.packet, !(64...1420).contains(packet) { refuse(located, "a packet has 64B to 1420B") }
        guard from.count * to.count <= ScenarioLimits.maximumFlowPairs * 2 else {
            refuse(step, "a flow has \(ScenarioLimits.maximumFlowPairs) pairs of nodes at most")
            return start
        }
        let pairs = from.flatMap { a in to.filter { $0 != a }.map { PlannedFlow.Pair(from: a, to: $0) } }
        if pairs.isEmpty { refuse(step, "the flow has no two different ends") }
        if pairs.count > ScenarioLimits.maximumFlowPairs {
            refuse(step, "a flow has \(ScenarioLimits.maximumFlowPairs) pairs of nodes at most")
        }
        let end = ending(entry.duration, from: start) ?? start
        let domain = flowDomain(entry, Array(Set(from + to)).sorted())
        let spoof = entry.spoof.flatMap { spoofed($0, from: from) }
        plan.flows.append(
            PlannedFlow(
                name: entry.name.value, pairs: pairs, bitsPerSecond: entry.rate.bitsPerSecond, packetBytes: packet,
                domain: domain, spoof: spoof, start: start, duration: end - start))
        emit(.startFlow(plan.flows.count - 1), at: start, step)
        if spoof != nil { liveCannot("a flow's packets claim to come from another node", step.position) }
        return end
    }

    private mutating func flowDomain(_ entry: FlowEntry, _ ends: [Int]) -> RoutingDomainID {
        guard let name = entry.domain else { return .fabric }
        guard let domain = RoutingDomainID(name.value) else {
            refuse(name, "“\(name.value.prefix(40))” is no routing domain; \(Planner.nameForm)")
            return .fabric
        }
        if let stranger = ends.first(where: { !plan.nodes[$0].domains.contains(domain) }) {
            refuse(
                name, "“\(plan.nodes[stranger].name)” is not in the domain “\(domain)”; add it to its group's “domains”"
            )
        }
        return domain
    }

    private mutating func spoofed(_ name: Located<String>, from senders: [Int]) -> Int? {
        guard let node = scope.nodes[name.value] else {
            refuse(name, "there is no node “\(name.value.prefix(40))” whose address the packets could carry")
            return nil
        }
        if senders.contains(node) { refuse(name, "“\(name.value)” sends itself; name another node") }
        return node
    }
}

// MARK: Load

extension Planner {
    /// Refuses flows that a run could not carry: each packet that is sent is an event, and each that is under way is kept.
    mutating func checkFlowLoad() {
        var changes: [(time: Duration, packets: Int64, flow: Int)] = []
        for (index, flow) in plan.flows.enumerated() {
            changes.append((flow.start, flow.packetsPerSecond, index))
            changes.append((flow.start + flow.duration, -flow.packetsPerSecond, index))
        }
        // Of those at one time the ends come first.
        changes.sort { ($0.time, $0.packets, $0.flow) < ($1.time, $1.packets, $1.flow) }
        let longest = plan.longestTrip
        var packets: Int64 = 0
        for change in changes where !hasEnoughProblems {
            packets += change.packets
            guard change.packets > 0 else { continue }
            let together = "at \(Span(change.time)) the flows send \(packets) packets a second"
            if packets > ScenarioLimits.maximumFlowPacketsPerSecond {
                return refuse(
                    "\(together); \(ScenarioLimits.maximumFlowPacketsPerSecond) at most: lower the rate, name fewer nodes, "
                        + "or make the packets larger", positionOfFlow(change.flow))
            }
            if Plan.packetsUnderWay(packets, longest) > ScenarioLimits.maximumFlowPacketsUnderWay {
                return refuse(
                    "\(together), and packets take up to \(Span(longest)), so that "
                        + "\(Plan.packetsUnderWay(packets, longest)) could be under way at once; "
                        + "\(ScenarioLimits.maximumFlowPacketsUnderWay) at most: lower the rate or the delay",
                    positionOfFlow(change.flow))
            }
        }
    }

    private func positionOfFlow(_ index: Int) -> DocumentPosition? {
        for step in plan.steps { if case .startFlow(index) = step.action { return step.position } }
        return nil
    }
}

extension ScenarioLimits {
    /// Of all flows together, at any time: each costs a run some microseconds.
    public static let maximumFlowPacketsPerSecond: Int64 = 500_000
    /// Of all flows together: each takes up to 2 KiB. At the most packets a second this is a delay of 200 ms.
    public static let maximumFlowPacketsUnderWay: Int64 = 100_000
}

extension PlannedFlow {
    /// Between two packets of a pair.
    public var interval: Duration {
        .nanoseconds(max(1, Int64(packetBytes) * 8 * 1_000_000_000 / max(1, bitsPerSecond)))
    }

    /// Of all its pairs together, rounded up.
    var packetsPerSecond: Int64 {
        let bits = Int64(packetBytes) * 8
        // The product stays below 2^63: 1,000 pairs, 1,000 Gbit/s.
        return (Int64(pairs.count) * bitsPerSecond + bits - 1) / bits
    }
}

extension Plan {
    /// How long a packet may be on its way over any line of the file, as long as it does not wait for a slow one: what
    /// waits there is bounded by the queue.
    var longestTrip: Duration {
        var links = allLinks
        for step in steps { if case .setLinks(let changed) = step.action { links += changed.map(\.link) } }
        return links.map { link in
            max(link.delay + link.jitter, link.reorderPartsPerMillion > 0 ? link.reorderBy : .zero)
        }.max() ?? .zero
    }

    /// Packets of flows a second, all flows together as if they ran at once.
    var flowPacketsPerSecond: Int64 { flows.reduce(0) { $0 + $1.packetsPerSecond } }

    static func packetsUnderWay(_ packetsPerSecond: Int64, _ trip: Duration) -> Int64 {
        // At most 5e5 packets and 1.2e5 milliseconds.
        packetsPerSecond * (trip.nanoseconds / 1_000_000) / 1_000
    }
}
