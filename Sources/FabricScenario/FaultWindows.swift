internal import FabricCore

/// When which node is in a fault, read off the timeline: what a healthy core is judged by.
///
/// In a fault are: a node that is crashed, paused, asleep or slow, or whose disk has a fault; whoever a swizzle may cut off, all the while; of a partition, also one of UDP or TCP
/// alone, the side that is cut from the control plane, and when that is on neither
/// side, the smaller one (the first of two equal ones). Changed links and moved clocks are no faults in this sense: the
/// fabric must stand them. A node that is not switched on yet is in no fault. When a crash at a boundary is over, only the
/// run knows: `WorldView.awaitsCrash`.
public struct FaultWindows: Sendable {
    /// By node: (from, until), half open.
    private var windows: [[(from: Duration, until: Duration)]]

    public init(_ plan: Plan) {
        windows = plan.nodes.map { _ in [] }
        var open: [(key: Int, nodes: [Int], from: Duration)] = []
        /// When swizzles end by themselves; by key only.
        var ends: [Int: Duration] = [:]
        func close(_ keys: [Int], _ nodes: [Int]?, _ time: Duration, _ windows: inout [[(Duration, Duration)]]) {
            for index in open.indices where keys.contains(open[index].key) {
                let ended = nodes.map { nodes in open[index].nodes.filter { nodes.contains($0) } } ?? open[index].nodes
                let until = min(time, ends[open[index].key] ?? time)
                for node in ended { windows[node].append((open[index].from, until)) }
                open[index].nodes.removeAll { ended.contains($0) }
            }
            open.removeAll { $0.nodes.isEmpty }
        }
        var found = windows.map { $0.map { ($0.from, $0.until) } }
        // Faults of hosts have the keys of `HostKey`, partitions their own numbers.
        for step in plan.steps {
            switch step.action {
            case .crash(let nodes):
                // A pause ends with its process.
                close([HostKey.stopped], nodes, step.time, &found)
                open.append((HostKey.down, nodes, step.time))
            case .restart(let nodes): close([HostKey.down], nodes, step.time, &found)
            case .cut(let partition): open.append((partition.id, Self.cutOff(partition, plan), step.time))
            case .swizzle(let swizzle):
                open.append((swizzle.id, Self.cutOff(swizzle.target, plan), step.time))
                ends[swizzle.id] = step.time + swizzle.duration
            case .heal(let ids): close(ids, nil, step.time, &found)
            case .hostFault(let fault):
                if case .kill(let set) = fault { close([HostKey.stopped], set.nodes, step.time, &found) }
                for (key, nodes, begins) in Self.windows(fault) {
                    if begins { open.append((key, nodes, step.time)) } else { close([key], nodes, step.time, &found) }
                }
            default: break
            }
        }
        for entry in open {
            let until = ends[entry.key] ?? plan.duration + .seconds(1)
            for node in entry.nodes { found[node].append((entry.from, until)) }
        }
        windows = found.map { $0.map { (from: $0.0, until: $0.1) } }
    }

    /// What ends together; below zero, where no partition has its number.
    private enum HostKey {
        static let down = -1
        static let stopped = -2
        static let slow = -3

        /// Each property of a disk is set right by itself.
        static func disk(_ setting: DiskSetting) -> Int {
            switch setting {
            case .room: -10
            case .readErrors: -11
            case .writeErrors: -12
            case .syncErrors: -13
            case .lostSyncs: -14
            case .tornWrites: -15
            case .bitRot: -16
            case .syncTime: -17
            }
        }
    }

    /// What a fault of hosts begins or ends, by its keys; empty for what the fabric must stand, and for what the run knows.
    private static func windows(_ fault: HostFault) -> [(key: Int, nodes: [Int], begins: Bool)] {
        switch fault {
        case .kill(let set): [(HostKey.down, set.nodes, true)]
        case .pause(let set), .suspend(let set): [(HostKey.stopped, set.nodes, true)]
        case .resume(let set): [(HostKey.stopped, set.nodes, false)]
        case .slowProcessor(let set, let cost): [(HostKey.slow, set.nodes, cost != .none)]
        case .disk(let set, let settings): settings.map { (HostKey.disk($0), set.nodes, $0 != $0.mended) }
        case .crashAt, .drift, .bitRot, .database, .backUpControl, .restoreControl, .dnsAnswers, .moveControl: []
        }
    }

    private static func cutOff(_ partition: PlannedPartition, _ plan: Plan) -> [Int] {
        if partition.from.control { return partition.to.nodes }
        if partition.to.control { return partition.from.nodes }
        return partition.to.nodes.count < partition.from.nodes.count ? partition.to.nodes : partition.from.nodes
    }

    /// When the control plane's place may be cut off, everybody else may lose it.
    private static func cutOff(_ target: SwizzleTarget, _ plan: Plan) -> [Int] {
        switch target {
        case .nodes(let nodes): nodes
        case .places(let places):
            places.contains(plan.controlPlace)
                ? Array(plan.nodes.indices) : plan.nodes.indices.filter { places.contains(plan.nodes[$0].place) }
        }
    }

    public func isInFault(_ node: Int, at time: Duration) -> Bool {
        windows[node].contains { $0.from <= time && time < $0.until }
    }
}
