/// One side of a partition.
public enum NetworkSelector: Hashable, Sendable {
    case host(HostID)
    /// All hosts of a place, also those that come later.
    case place(PlaceID)
    /// All hosts. Hosts on both sides of a partition still reach themselves.
    case everything
}

/// A cut in the network: packets from one side to the other are dropped, at sending and on arrival.
public struct Partition: Hashable, Sendable {
    public var from: NetworkSelector
    public var to: NetworkSelector
    /// Only packets from `from` to `to` are dropped; otherwise those of both directions.
    public var oneWay: Bool

    public init(from: NetworkSelector, to: NetworkSelector, oneWay: Bool = false) {
        self.from = from
        self.to = to
        self.oneWay = oneWay
    }

    /// The hosts of `place` are cut off from all other places; among themselves they still talk.
    public static func isolate(_ place: PlaceID) -> Partition { Partition(from: .place(place), to: .everything) }
    /// The host talks to nobody.
    public static func isolate(_ host: HostID) -> Partition { Partition(from: .host(host), to: .everything) }
}

/// A cut that is in force; give it to `VirtualNetwork.heal`.
public struct PartitionID: Hashable, Sendable {
    let index: Int
}

/// The cuts in force, as counts, so that overlapping ones heal independently.
struct PartitionTable {
    private(set) var inForce: [Partition?] = []
    /// The number in force; none costs the packet path one comparison.
    private(set) var count = 0
    private var hostOut: [Int32] = []
    private var hostIn: [Int32] = []
    private var placeOut: [Int32] = []
    private var placeIn: [Int32] = []
    /// Cuts between two named sides, looked up by key only.
    private var pairs: [UInt64: Int32] = [:]

    mutating func cut(_ partition: Partition) -> PartitionID {
        inForce.append(partition)
        apply(partition, 1)
        return PartitionID(index: inForce.count - 1)
    }

    /// False when it was healed before.
    mutating func heal(_ id: PartitionID) -> Partition? {
        guard let partition = inForce[id.index] else { return nil }
        inForce[id.index] = nil
        apply(partition, -1)
        return partition
    }

    func blocks(fromHost: Int, fromPlace: Int, toHost: Int, toPlace: Int) -> Bool {
        if count == 0 || fromHost == toHost { return false }
        if PartitionTable.value(hostOut, fromHost) > 0 || PartitionTable.value(hostIn, toHost) > 0 { return true }
        if fromPlace != toPlace,
            PartitionTable.value(placeOut, fromPlace) > 0 || PartitionTable.value(placeIn, toPlace) > 0
        {
            return true
        }
        if pairs.isEmpty { return false }
        let hostFrom = PartitionTable.key(.host(HostID(index: fromHost)))
        let hostTo = PartitionTable.key(.host(HostID(index: toHost)))
        let placeFrom = PartitionTable.key(.place(PlaceID(index: fromPlace)))
        let placeTo = PartitionTable.key(.place(PlaceID(index: toPlace)))
        let everything = PartitionTable.key(.everything)
        return pairs[hostFrom << 32 | hostTo] != nil || pairs[hostFrom << 32 | placeTo] != nil
            || pairs[placeFrom << 32 | hostTo] != nil || pairs[placeFrom << 32 | placeTo] != nil
            || pairs[everything << 32 | everything] != nil
    }

    private mutating func apply(_ partition: Partition, _ step: Int32) {
        count += Int(step)
        block(partition.from, partition.to, step)
        if !partition.oneWay { block(partition.to, partition.from, step) }
    }

    private mutating func block(_ from: NetworkSelector, _ to: NetworkSelector, _ step: Int32) {
        switch (from, to) {
        case (.host(let host), .everything): PartitionTable.add(&hostOut, host.index, step)
        case (.everything, .host(let host)): PartitionTable.add(&hostIn, host.index, step)
        case (.place(let place), .everything): PartitionTable.add(&placeOut, place.index, step)
        case (.everything, .place(let place)): PartitionTable.add(&placeIn, place.index, step)
        default:
            let key = PartitionTable.key(from) << 32 | PartitionTable.key(to)
            let value = (pairs[key] ?? 0) + step
            pairs[key] = value == 0 ? nil : value
        }
    }

    private static func key(_ selector: NetworkSelector) -> UInt64 {
        switch selector {
        case .everything: 0
        case .host(let host): UInt64(host.index) << 1 | 1
        case .place(let place): UInt64(place.index + 1) << 1
        }
    }

    private static func value(_ counts: [Int32], _ index: Int) -> Int32 { index < counts.count ? counts[index] : 0 }

    private static func add(_ counts: inout [Int32], _ index: Int, _ step: Int32) {
        while counts.count <= index { counts.append(0) }
        counts[index] += step
    }
}
