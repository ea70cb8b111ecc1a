internal import FabricCore
public import FabricScenario

/// What the live host says about a plan before it starts anything.
public enum LivePlan {
    /// Nodes of one live run: each is a namespace, a process and a capture.
    public static let maximumNodes = 100
    /// Of all flows together, at any time: one thread sends and receives them.
    public static let maximumFlowPacketsPerSecond: Int64 = 5_000
    /// In a run. Each is captured whole, on two links.
    public static let maximumFlowPackets: Int64 = 200_000

    /// What of the plan this host can't do; empty when it can run. Nothing is ever left out silently.
    public static func refusals(_ plan: Plan) -> [String] {
        var refusals = plan.liveObstacles
        if !plan.hosts.contains(.live), refusals.isEmpty { refusals.append("“hosts” does not name the live host") }
        if plan.nodes.count > maximumNodes {
            refusals.append("\(plan.nodes.count) nodes; a live run has \(maximumNodes) at most")
        }
        if plan.places.count > TestBedLimits.places {
            refusals.append("\(plan.places.count) places; a live run has \(TestBedLimits.places) at most")
        }
        refusals += clusterRefusals(plan)
        refusals += flowRefusals(plan)
        for token in plan.tokens where !isWholeSeconds(token.lifetime) {
            refusals.append("the lifetime of token “\(token.name)” is not in whole seconds")
        }
        for node in plan.nodes where node.clockSkew != .zero && plan.liveObstacles.isEmpty {
            refusals.append("the clock of “\(node.name)” is off")
        }
        for step in plan.steps where plan.liveObstacles.isEmpty {
            if let what = obstacle(step.action) { refusals.append("\(what) (line \(step.line))") }
        }
        return refusals
    }

    private static func clusterRefusals(_ plan: Plan) -> [String] {
        let cluster = plan.cluster
        var refusals: [String] = []
        if !isWholeSeconds(cluster.heartbeat) || cluster.heartbeat < .seconds(1) {
            refusals.append("the cluster's heartbeat is not in whole seconds")
        }
        if cluster.probe < .milliseconds(200) || cluster.probe > .seconds(60) {
            refusals.append("the cluster's probe is not from 200ms to 60s")
        }
        // rap-control has no option for it; it makes no difference to a run that ends before certificates are renewed.
        if cluster.certificateLifetime < plan.duration + plan.duration {
            refusals.append("the cluster's certificates would be renewed during the run")
        }
        return refusals
    }

    private static func flowRefusals(_ plan: Plan) -> [String] {
        var refusals: [String] = []
        for flow in plan.flows where flow.packetBytes > CaptureSummary.tunnelMTU {
            refusals.append(
                "packets of \(flow.packetBytes) bytes in “\(flow.name)”; agents' interfaces take \(CaptureSummary.tunnelMTU)"
            )
        }
        func rate(_ flow: PlannedFlow) -> Double {
            Double(flow.pairs.count) * 1e9 / Double(flow.interval.nanoseconds)
        }
        // At the start of each, with those that run then.
        let perSecond =
            plan.flows.map { flow in
                plan.flows.filter { $0.start <= flow.start && flow.start < $0.start + $0.duration }
                    .reduce(0) { $0 + rate($1) }
            }.max() ?? 0
        let packets = plan.flows.reduce(0) { $0 + rate($1) * Double($1.duration.nanoseconds) / 1e9 }
        if perSecond > Double(maximumFlowPacketsPerSecond) {
            refusals.append(
                "\(Int64(perSecond)) packets of flows a second; a live run sends \(maximumFlowPacketsPerSecond) at most"
            )
        }
        if packets > Double(maximumFlowPackets) {
            refusals.append("\(Int64(packets)) packets of flows; a live run captures \(maximumFlowPackets) at most")
        }
        return refusals
    }

    private static func obstacle(_ action: PlannedStep.Action) -> String? {
        switch action {
        case .createToken, .revokeToken, .enrol, .approve, .reject, .cut, .heal, .setLinks, .crash, .restart,
            .stopControl, .startControl, .setMembership, .startFlow:
            nil
        case .moveClock: "clocks are moved"
        case .loseAnswers: "answers are lost"
        case .swizzle: "a swizzle draws from the seed"
        case .readdress: "addresses change"
        case .rebind: "NATs are rebound"
        case .attack: "somebody attacks"
        case .hostFault(.kill), .hostFault(.pause), .hostFault(.resume): nil
        case .hostFault: "hosts have faults that only the simulator makes"
        }
    }

    private static func isWholeSeconds(_ duration: Duration) -> Bool { duration.components.attoseconds == 0 }
}

/// Addresses are 10.PLACE.0.0/16.
enum TestBedLimits {
    static let places = 64
}

/// A run that could not be carried out: what, and what the programs said.
public struct LiveFailure: Error, Hashable, Sendable, CustomStringConvertible {
    public var description: String
    public init(_ description: String) { self.description = description }
}
