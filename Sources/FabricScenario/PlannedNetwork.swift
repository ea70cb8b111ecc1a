internal import FabricCore

/// Loss in bursts, besides the loss that is always there.
public struct PlannedBursts: Sendable, Hashable {
    /// The part of the time that bursts take, in parts per million; above 0 and at most 990,000.
    public var sharePartsPerMillion: Int64
    /// How long one lasts on average.
    public var mean: Duration
    /// What is lost while one lasts.
    public var lossPartsPerMillion: Int64
}

/// How a NAT behaves; the terms are those of RFC 4787.
public struct NATProperties: Sendable, Hashable {
    public var mapping: NATDependence = .endpointIndependent
    public var filtering: NATDependence = .addressAndPortDependent
    public var ports: NATPorts = .preserving
    public var hairpin = true
    /// A UDP mapping ends when nothing went out by it for so long.
    public var expiry: Duration = .minutes(5)
    /// What comes in keeps a mapping alive, too.
    public var inboundRefresh = false
    public var tcpExpiry: Duration = .minutes(124)
    /// Mappings at most.
    public var table = 16_384

    public init() {}
}

/// One address translator.
public struct PlannedNAT: Sendable, Hashable {
    /// The name of the entry in the file; several NATs have it when one stands before each node or place.
    public var entry: String
    /// Unique: the entry's name, or that and the node's or the place's.
    public var name: String
    public var properties: NATProperties
    /// The NAT that it stands behind, itself before this one in the plan; nil on the public network.
    public var behind: Int?
    /// Directly behind it, sorted. A node is in one NAT's list at most.
    public var nodes: [Int]
}

/// What a swizzle cuts off, one by one.
public enum SwizzleTarget: Sendable, Hashable {
    /// Each from everything else.
    case nodes([Int])
    /// Each from all other places.
    case places([Int])

    public var count: Int {
        switch self {
        case .nodes(let list), .places(let list): list.count
        }
    }
}

extension PlannedStep.Action {
    /// The number by which a heal ends what this step begins; nil when it begins no partition.
    var partitionID: Int? {
        switch self {
        case .cut(let cut): cut.id
        case .swizzle(let swizzle): swizzle.id
        default: nil
        }
    }
}

/// Cuts that come one by one, in an order drawn from the seed, and go one by one in another. The first is made at the step's
/// time, the last heals at the end of `duration`.
public struct PlannedSwizzle: Sendable, Hashable {
    /// Unique among the plan's partitions; a heal names it.
    public var id: Int
    public var target: SwizzleTarget
    public var duration: Duration
    /// The cuts are made at even distances over this time from the start …
    public var cutting: Duration
    /// … and healed over this time at the end. Together at most `duration`.
    public var healing: Duration
}
