public import FabricCore

/// A scenario in its canonical, expanded form: what both hosts run. Nodes, places and flows are indices into the lists.
public struct Plan: Sendable, Hashable {
    public var name: String
    public var about: String
    public var duration: Duration
    /// Below 2^63. A host may set another before it runs the plan.
    public var seed: UInt64
    /// The hosts that can run it, in `ScenarioHost`'s order.
    public var hosts: [ScenarioHost]
    /// Why the live host can't run it; empty when it can. Each names a line of the file.
    public var liveObstacles: [String]
    public var places: [PlannedPlace]
    /// The link between two places where no other is named.
    public var defaultLink: LinkProperties
    /// Links that differ from the default, `a < b`, sorted.
    public var links: [PlannedLink]
    /// The place of the control plane.
    public var controlPlace: Int
    /// The name by which nodes know the control plane; nil when they know its address.
    public var controlName: HostName?
    /// How long resolvers say that an answer may be relied on.
    public var answerLifetime = Duration.minutes(5)
    public var cluster: ClusterSettings
    public var groups: [PlannedGroup]
    public var nodes: [PlannedNode]
    /// Address translators; one stands behind another that comes before it.
    public var nats: [PlannedNAT] = []
    /// Token names in order of creation; steps refer to them by index.
    public var tokens: [PlannedToken]
    public var flows: [PlannedFlow]
    /// The events that audit conditions count; `WorldView.auditCount` takes the index.
    public var auditEvents: [String]
    /// Sorted by (time, order in the file).
    public var steps: [PlannedStep]
    public var expectations: [PlannedExpectation]
    /// What a swarm may draw on top; it changes nothing of the run itself.
    public var swarm = SwarmSettings()

    /// The link between the networks of two places, or within one.
    public func link(between a: Int, and b: Int) -> LinkProperties {
        if a == b { return places[a].link }
        return links.first { $0.a == min(a, b) && $0.b == max(a, b) }?.link ?? defaultLink
    }
}

public struct PlannedPlace: Sendable, Hashable {
    public var name: String
    /// The network within the place.
    public var link: LinkProperties
    /// Whether the file says something about it; the live host then refuses.
    public var isShaped: Bool
}

public struct PlannedLink: Sendable, Hashable {
    public var a: Int
    public var b: Int
    public var link: LinkProperties
}

/// How packets fare in one direction; both directions of a link are alike.
public struct LinkProperties: Sendable, Hashable {
    /// Each packet takes `delay` and a random part that `jitter` measures and `shape` spreads.
    public var delay: Duration
    public var jitter: Duration
    public var shape: JitterShape = .uniform
    /// Shares in parts per million.
    public var lossPartsPerMillion: Int64 = 0
    public var duplicatePartsPerMillion: Int64 = 0
    public var reorderPartsPerMillion: Int64 = 0
    public var corruptPartsPerMillion: Int64 = 0
    public var bursts: PlannedBursts?
    /// How much longer packets take that are held back.
    public var reorderBy = LinkProperties.defaultReorderBy
    /// Bits per second; nil for no limit.
    public var bitsPerSecond: Int64?
    /// What waits for the line at most; means nothing without a rate.
    public var queueBytes = 256 << 10
    /// The largest IP packet.
    public var mtu = 1500
    /// Larger packets vanish, and nobody is told; less than `mtu`.
    public var blackHoleBytes: Int?

    public static let defaultReorderBy = Duration.milliseconds(5)

    public init(delay: Duration, jitter: Duration) {
        self.delay = delay
        self.jitter = jitter
    }

    /// Between places when the file says nothing: 1 ms and up to 0.2 ms more.
    public static let defaultBetween = LinkProperties(delay: .milliseconds(1), jitter: .microseconds(200))
    /// Within a place: 100 to 200 µs.
    public static let defaultWithin = LinkProperties(delay: .microseconds(100), jitter: .microseconds(100))
}

public struct ClusterSettings: Sendable, Hashable {
    public var name = "fabric"
    /// The peers that policy gives each node.
    public var peers = 4
    public var heartbeat: Duration = .seconds(10)
    /// How often a node sends a probe to each peer.
    public var probe: Duration = .seconds(5)
    public var certificateLifetime: Duration = .hours(72)
}

public struct PlannedGroup: Sendable, Hashable {
    public var name: String
    public var nodes: Range<Int>
}

public struct PlannedNode: Sendable, Hashable {
    public var name: String
    public var group: Int
    public var place: Int
    public var domains: [RoutingDomainID]
    /// The wall clock's error at the start.
    public var clockSkew: Duration
    /// How much faster than the truth its clocks run, in parts per billion.
    public var clockDriftPartsPerBillion: Int64 = 0
}

public struct PlannedToken: Sendable, Hashable {
    public var name: String
    public var uses: Int
    public var lifetime: Duration
    /// Routing domains that the token covers.
    public var domains: [RoutingDomainID]
    /// Node names must begin with this.
    public var namePrefix: String
}

public struct PlannedFlow: Sendable, Hashable {
    public var name: String
    /// Every sender and receiver, in order.
    public var pairs: [Pair]
    /// Of each pair.
    public var bitsPerSecond: Int64
    /// The inner IP packets.
    public var packetBytes: Int
    public var domain: RoutingDomainID
    /// The packets claim to come from this node; nil for the sender.
    public var spoof: Int?
    public var start: Duration
    public var duration: Duration

    public struct Pair: Sendable, Hashable {
        public var from: Int
        public var to: Int
    }
}

/// Nodes, and perhaps the control plane.
public struct EndpointSet: Sendable, Hashable {
    /// Sorted.
    public var nodes: [Int]
    public var control: Bool

    public init(nodes: [Int], control: Bool) {
        self.nodes = nodes
        self.control = control
    }
}

/// Traffic from one set to the other is cut; in both directions when `isSymmetric`.
public struct PlannedPartition: Sendable, Hashable {
    /// Unique in the plan; a heal names it.
    public var id: Int
    public var from: EndpointSet
    public var to: EndpointSet
    public var isSymmetric: Bool
    /// Only packets of this protocol are dropped; nil for all. The sides may overlap then.
    public var only: PacketProtocol?
}

public struct PlannedStep: Sendable, Hashable {
    public var time: Duration
    /// Position in the file and within the entry's expansion: the order of steps at one time.
    public var order: Int
    public var label: String?
    public var action: Action
    /// The line and column of the entry in the file; 0 when they are not known.
    public var line: Int
    public var column: Int

    public enum Action: Sendable, Hashable {
        /// Index into `Plan.tokens`.
        case createToken(Int)
        case revokeToken(Int)
        /// The nodes are started with this token. One that runs already is not started again.
        case enrol(nodes: [Int], token: Int)
        /// The virtual operator approves the requests of these nodes that wait now.
        case approve(nodes: [Int])
        case reject(nodes: [Int])
        case cut(PlannedPartition)
        case swizzle(PlannedSwizzle)
        /// Ends the partitions and swizzles with these identifiers: those in force then, or one that has ended already
        /// and stays so.
        case heal(partitions: [Int])
        /// The links are from now on as said, whole.
        case setLinks([PlannedLink])
        /// The nodes have other underlay addresses from now on; their agents are told, or find out.
        case readdress(nodes: [Int], told: Bool)
        /// Indices into `Plan.nats`: they forget their mappings, and may have another outer address.
        case rebind(nats: [Int], newAddress: Bool)
        /// Power is lost: what was not synced is gone.
        case crash(nodes: [Int])
        /// Crashed nodes come up again with what their disks hold.
        case restart(nodes: [Int])
        case stopControl
        case startControl
        /// Wall clocks are moved by so much.
        case moveClock(EndpointSet, by: Duration)
        /// The next answers of the kind are lost after their transaction.
        case loseAnswers(RequestKind, count: Int)
        /// Index into `Plan.flows`.
        case startFlow(Int)
        case hostFault(HostFault)
        case attack(Attack)
        /// The operator disables the membership of these nodes, or enables it again; of those that are members then.
        case setMembership(nodes: [Int], active: Bool)
    }
}

public struct PlannedExpectation: Sendable, Hashable {
    /// The file's name for it, or its text.
    public var name: String
    public var window: Window
    public var condition: PlannedCondition
    /// When not nil, only those of these nodes that are in no fault are judged; see `FaultWindows`.
    public var core: [Int]?
    public var line: Int
    /// A run in which it does not hold is broken. Of `sometimes` the window says it.
    var mustHold = true
    public var isRequired: Bool { if case .sometimes(_, _, let required) = window { required } else { mustHold } }
    /// The runs of a swarm must reach it; a single run need not.
    public var isSometimes: Bool { if case .sometimes = window { true } else { false } }

    public enum Window: Sendable, Hashable {
        /// Held at every observation from `from` to `until`.
        case always(from: Duration, until: Duration)
        /// Held at no observation from `from` to `until`.
        case never(from: Duration, until: Duration)
        /// Held at some observation from `from` to `until`. Unless it is required, a run that does not reach it is not
        /// broken: a set of runs must reach it.
        case sometimes(from: Duration, until: Duration, required: Bool)
        /// Held at some observation from `from` to `until`; when `stays` is positive, without a break for that long.
        case within(from: Duration, until: Duration, stays: Duration)
        /// Held at the first observation at or after this time.
        case at(Duration)
    }
}

public indirect enum PlannedCondition: Sendable, Hashable {
    case nodes(NodeCondition)
    /// Of so many of the nodes the test is true.
    case count(NodeCondition, CountRange)
    /// Of the pairs that a reach condition names, this share is up; parts per million.
    case reachable(NodeCondition, atLeast: Int64, atMost: Int64)
    case controlUp(Bool)
    case audit(event: Int, CountRange)
    case flow(Int, deliveredPartsPerMillion: Int64)
    case all([PlannedCondition])
    case any([PlannedCondition])
    case not(PlannedCondition)
}

/// A condition that must hold for each of some nodes.
public struct NodeCondition: Sendable, Hashable {
    public var nodes: [Int]
    public var test: Test
    /// Unique in the plan, counted from 0; judges keep what they remember of a condition by it.
    public var id: Int

    public enum Test: Sendable, Hashable {
        case enrolled
        /// Sessions with at least so many peers.
        case tunnels(atLeast: Int)
        /// An echo came back lately from each of these (but itself).
        case reaches([Int])
        /// An echo came back lately from each peer that policy gives, and there is one.
        case reachesPolicy
        /// No echo came back lately from any of these.
        case unreachable([Int])
        /// Each session was renewed so often.
        case rekeyed(CountRange)
        case phase(PhaseName)
        /// Policy gives the node so many peers.
        case peers(CountRange)
        /// The applied snapshot is the newest that the control plane has made.
        case snapshotAgrees
        case snapshotVersion(CountRange)
        /// The node holds a certificate at most so old, with at least so much life left.
        case certificate(age: Duration?, left: Duration?)
        /// The wall clock is off by at most so much, either way.
        case clockOffset(atMost: Duration)
        /// No session that is used to send is older.
        case sessionAge(atMost: Duration)
        /// A fault of the timeline holds the node now.
        case inFault
        case refused(EnrolmentRefusal)
        case online
        case offline
        case requests(CountRange)
        case records(CountRange)
    }
}

public struct CountRange: Sendable, Hashable, CustomStringConvertible {
    public var minimum: Int
    public var maximum: Int

    public func contains(_ count: Int) -> Bool { count >= minimum && count <= maximum }

    public var description: String {
        if minimum == maximum { return "\(minimum)" }
        if maximum == .max { return "at least \(minimum)" }
        return minimum == 0 ? "at most \(maximum)" : "\(minimum) to \(maximum)"
    }
}
