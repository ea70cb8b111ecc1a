internal import FabricCore

/// When which part of the world may be hit by a drawn fault that bears no other beside it: a process that is down can't be
/// paused, and the end of one disk's fault would end the other's.
struct FaultRoom {
    enum Part {
        /// Of a node, or of the control plane (`FaultDraw.control`).
        case process(Int)
        case disk(Int)
        case database
    }

    private let nodeCount: Int
    /// By part: the stretches that are free, ascending.
    private var free: [[Range<Duration>]]

    /// What the file's own steps leave.
    init(_ plan: Plan) {
        nodeCount = plan.nodes.count
        free = []
        let hosts = nodeCount + 1
        var since = [Duration?](repeating: nil, count: 2 * hosts + 1)
        free = [[Range<Duration>]](repeating: [], count: since.count)
        // Whatever stands at the start is free before it.
        let before = Duration.zero - .nanoseconds(1)
        for index in since.indices where index >= nodeCount { since[index] = before }
        var later: [(part: Int, from: Duration, until: Duration)] = []
        for step in plan.steps {
            for change in FaultRoom.changes(step.action, plan) {
                let index = self.index(change.part)
                if let start = since[index], start < step.time { free[index].append(start..<step.time) }
                since[index] = change.isFree ? step.time : nil
            }
            guard case .hostFault(.crashAt(let set, let point)) = step.action else { continue }
            let until = point.within.map { step.time + $0 + point.downFor } ?? plan.duration
            for node in FaultRoom.members(set) {
                later.append((self.index(.process(node)), step.time, until + .nanoseconds(1)))
            }
        }
        let end = plan.duration + .nanoseconds(1)
        for index in since.indices { if let start = since[index], start < end { free[index].append(start..<end) } }
        for entry in later { remove(entry.part, entry.from, entry.until) }
    }

    private static func members(_ set: EndpointSet) -> [Int] { set.nodes + (set.control ? [FaultDraw.control] : []) }

    /// What a step ends, or begins to leave free.
    private static func changes(_ action: PlannedStep.Action, _ plan: Plan) -> [(part: Part, isFree: Bool)] {
        func processes(_ nodes: [Int], _ isFree: Bool) -> [(part: Part, isFree: Bool)] {
            nodes.map { (.process($0), isFree) }
        }
        switch action {
        case .enrol(let nodes, _), .restart(let nodes): return processes(nodes, true)
        case .crash(let nodes): return processes(nodes, false)
        case .stopControl: return processes([FaultDraw.control], false)
        case .startControl: return processes([FaultDraw.control], true)
        case .hostFault(.kill(let set)), .hostFault(.pause(let set)), .hostFault(.suspend(let set)):
            return processes(members(set), false)
        case .hostFault(.resume(let set)): return processes(members(set), true)
        // Nothing that lasts may lie across it.
        case .hostFault(.restoreControl): return processes([FaultDraw.control], true)
        case .hostFault(.disk(let set, let settings)):
            return members(set).map { (.disk($0), settings.allSatisfy { $0 == $0.mended }) }
        case .hostFault(.database(let settings)): return [(.database, settings.allSatisfy { $0 == $0.mended })]
        default: return []
        }
    }

    private func index(_ part: Part) -> Int {
        switch part {
        case .process(let node): node == FaultDraw.control ? nodeCount : node
        case .disk(let node): nodeCount + 1 + (node == FaultDraw.control ? nodeCount : node)
        case .database: free.count - 1
        }
    }

    /// Takes the time from the part; it is free from before to after. False when it is not.
    mutating func claim(_ part: Part, _ start: Duration, _ end: Duration) -> Bool {
        // Steps at one time happen in the file's order; staying clear of the ends needs no thought about it.
        guard free[index(part)].contains(where: { $0.lowerBound < start && end < $0.upperBound }) else { return false }
        remove(index(part), start, end)
        return true
    }

    private mutating func remove(_ part: Int, _ start: Duration, _ end: Duration) {
        free[part] = free[part].flatMap { range -> [Range<Duration>] in
            if range.upperBound <= start || end <= range.lowerBound { return [range] }
            var left: [Range<Duration>] = []
            if range.lowerBound < start { left.append(range.lowerBound..<start) }
            if end < range.upperBound { left.append(end..<range.upperBound) }
            return left
        }
    }
}
