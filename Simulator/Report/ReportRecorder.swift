internal import FabricCore
internal import FabricMesh
internal import FabricNode
internal import FabricScenario
internal import FabricTunnel

/// Watches a run for its report: looks at the observations of the judge, at a virtual pace, and never acts.
public final class ReportRecorder {
    /// Looks are spread so that there are about so many.
    public static let maximumSamples = 1200
    /// Changes of nodes' and paths' states that are kept; later ones are missing, and the report says so.
    public static let maximumChanges = 300_000

    /// A node's state on the map.
    enum NodeState: Int {
        case off, joining, awaiting, reachesAll, reachesSome, reachesNone, refused
    }

    struct NodeChange {
        var sample: Int
        var node: Int
        var state: NodeState
    }

    struct PathChange {
        var sample: Int
        var from: Int
        var to: Int
        /// 0 no peer, 1 no session, 2 a session but no echo, 3 up.
        var state: Int
    }

    struct Series {
        var name: String
        var values: [Double]
    }

    private(set) var times: [Duration] = []
    private(set) var nodeChanges: [NodeChange] = []
    private(set) var pathChanges: [PathChange] = []
    private(set) var curves: [Series] = ReportRecorder.names.map { Series(name: $0, values: []) }
    private(set) var changesTruncatedAt: Duration?
    private let interval: Duration
    private var states: [NodeState]
    private var paths: [[(to: Int, state: Int)]]
    private var tallies: [UInt64]
    private var events: UInt64 = 0
    private var counters = NetworkCounters()
    /// Looked up by key only.
    private var nodeIndex: [NodeID: Int] = [:]

    static let names = [
        "enrolled", "reach", "rtt50", "rtt95", "rttMax", "queue", "heartbeats", "requests", "handshakes", "datagrams",
        "lost", "cut", "events",
    ]

    /// The run must keep a journal.
    public init(_ run: ScenarioRun) {
        precondition(run.world.journal != nil, "a report needs a journal")
        interval = run.plan.duration / Self.maximumSamples
        states = run.plan.nodes.map { _ in .off }
        paths = run.plan.nodes.map { _ in [] }
        tallies = [UInt64](repeating: 0, count: Journal.Tally.allCases.count)
    }

    /// Called at each observation, after the judge.
    public func observe(_ run: ScenarioRun) {
        let time = run.elapsed
        if let last = times.last, time < run.plan.duration, time - last < interval || time == last { return }
        if times.last == time { return }
        let span = times.last.map { time - $0 } ?? .zero
        times.append(time)
        look(run)
        rates(run, span)
    }

    // MARK: What is so

    private func look(_ run: ScenarioRun) {
        var enrolled = 0
        var up = 0
        var all = 0
        var trips: [Int64] = []
        for index in run.agents.indices {
            let peers = look(at: index, run, &trips)
            all += peers.count
            let reached = peers.count { $0.state == 3 }
            up += reached
            let state = state(of: index, run, reached, peers.count)
            if run.view.phase(of: index) == .active { enrolled += 1 }
            if state != states[index] {
                states[index] = state
                keep(run) { nodeChanges.append(NodeChange(sample: times.count - 1, node: index, state: state)) }
            }
        }
        trips.sort()
        func percentile(_ share: Int) -> Double {
            trips.isEmpty ? .nan : Double(trips[min(trips.count - 1, trips.count * share / 100)]) / 1e6
        }
        let nodes = max(1, run.agents.count)
        add("enrolled", Double(enrolled) * 100 / Double(nodes))
        add("reach", all == 0 ? .nan : Double(up) * 100 / Double(all))
        add("rtt50", percentile(50))
        add("rtt95", percentile(95))
        add("rttMax", trips.last.map { Double($0) / 1e6 } ?? .nan)
        var queued: Int64 = 0
        for from in run.places {
            for to in run.places { queued = max(queued, run.world.network.queuedBytes(from: from, to: to)) }
        }
        add("queue", Double(queued) / 1024)
    }

    private func state(of index: Int, _ run: ScenarioRun, _ reached: Int, _ peers: Int) -> NodeState {
        switch run.view.phase(of: index) {
        case .off: .off
        case .joining: .joining
        case .awaitingApproval: .awaiting
        case .refused: .refused
        case .active: peers > 0 && reached == peers ? .reachesAll : reached > 0 ? .reachesSome : .reachesNone
        }
    }

    /// The paths of one node; changes are kept, round trips of those that are up added to `trips`.
    private func look(at index: Int, _ run: ScenarioRun, _ trips: inout [Int64]) -> [(to: Int, state: Int)] {
        var now: [(to: Int, state: Int)] = []
        if let agent = run.agents[index].agent {
            let clock = run.world.now(of: run.agents[index].host).monotonic
            for position in agent.peers.indices where agent.peers[position].domain == .fabric {
                guard let to = node(agent.peers[position].node, run) else { continue }
                let health = agent.peers[position].health
                let status = agent.tunnelStatus(agent.peers[position].handle)
                let isUp = health.isUp(at: clock)
                if isUp, let trip = health.roundTrip { trips.append(trip.nanoseconds) }
                now.append((to, isUp ? 3 : status?.hasSession == true ? 2 : 1))
            }
        }
        let before = paths[index]
        for path in now where !before.contains(where: { $0.to == path.to && $0.state == path.state }) {
            keep(run) {
                pathChanges.append(PathChange(sample: times.count - 1, from: index, to: path.to, state: path.state))
            }
        }
        for path in before where !now.contains(where: { $0.to == path.to }) {
            keep(run) { pathChanges.append(PathChange(sample: times.count - 1, from: index, to: path.to, state: 0)) }
        }
        paths[index] = now
        return now
    }

    private func node(_ id: NodeID, _ run: ScenarioRun) -> Int? {
        if let known = nodeIndex[id] { return known }
        for (index, agent) in run.agents.enumerated() { if let id = agent.nodeID { nodeIndex[id] = index } }
        return nodeIndex[id]
    }

    private func keep(_ run: ScenarioRun, _ body: () -> Void) {
        guard nodeChanges.count + pathChanges.count < Self.maximumChanges else {
            if changesTruncatedAt == nil { changesTruncatedAt = run.elapsed }
            return
        }
        body()
    }

    // MARK: How fast

    private func rates(_ run: ScenarioRun, _ span: Duration) {
        guard let journal = run.world.journal else { return }
        let seconds = Double(span.nanoseconds) / 1e9
        func rate(_ now: UInt64, _ before: UInt64) -> Double { seconds > 0 ? Double(now - before) / seconds : .nan }
        func tally(_ tally: Journal.Tally) -> Double { rate(journal.tally(tally), tallies[tally.rawValue]) }
        let network = run.networkCounters
        add("heartbeats", tally(.heartbeats))
        add("requests", tally(.transactions))
        add("handshakes", tally(.handshakes))
        add("datagrams", tally(.sent))
        add("cut", rate(network.partitionDropped, counters.partitionDropped))
        // What was cut is told apart; the rest was lost to lines, queues and hosts that were down.
        add("lost", max(0, tally(.lost) - curves[index(of: "cut")].values[times.count - 1]))
        add("events", rate(run.eventCount, events))
        events = run.eventCount
        counters = network
        tallies = journal.tallies
    }

    private func index(of name: String) -> Int { Self.names.firstIndex(of: name)! }

    private func add(_ name: String, _ value: Double) { curves[index(of: name)].values.append(value) }
}
