/// One side of a partition.
public enum NetworkSelector: Hashable, Sendable {
    case host(HostID)
    /// All hosts of a place, also those that come later.
    case place(PlaceID)
    /// These hosts.
    case hosts([HostID])
    /// All hosts. Hosts on both sides of a partition still reach themselves.
    case everything
}

/// The two kinds of packet that the network tells apart.
public enum TransportProtocol: UInt8, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    case udp, tcp

    public var description: String {
        switch self {
        case .udp: "udp"
        case .tcp: "tcp"
        }
    }
}

/// A cut in the network: packets from one side to the other are dropped, at sending and on arrival.
public struct Partition: Hashable, Sendable {
    public var from: NetworkSelector
    public var to: NetworkSelector
    /// Only packets from `from` to `to` are dropped; otherwise those of both directions.
    public var oneWay: Bool
    /// Only packets of this protocol are dropped; nil for all.
    public var only: TransportProtocol?

    public init(from: NetworkSelector, to: NetworkSelector, oneWay: Bool = false, only: TransportProtocol? = nil) {
        self.from = from
        self.to = to
        self.oneWay = oneWay
        self.only = only
    }

    /// The hosts of `place` are cut off from all other places; among themselves they still talk.
    public static func isolate(_ place: PlaceID) -> Partition { Partition(from: .place(place), to: .everything) }
    /// The host talks to nobody.
    public static func isolate(_ host: HostID) -> Partition { Partition(from: .host(host), to: .everything) }
}

extension Partition: CustomStringConvertible {
    /// Bounded, whatever the sides hold: a set of more than four hosts is its size and a digest of its members.
    public var description: String {
        "\(Self.text(from)) \(oneWay ? "to" : "and") \(Self.text(to))" + (only.map { ", \($0) only" } ?? "")
    }

    private static func text(_ selector: NetworkSelector) -> String {
        switch selector {
        case .everything: return "everything"
        case .host(let host): return "host \(host.index)"
        case .place(let place): return "place \(place.index)"
        case .hosts(let hosts) where hosts.count <= 4:
            return "hosts \(hosts.map { "\($0.index)" }.joined(separator: ","))"
        case .hosts(let hosts):
            let digest = hosts.reduce(0xCBF2_9CE4_8422_2325 as UInt64) {
                ($0 ^ UInt64($1.index)) &* 0x0000_0100_0000_01B3
            }
            return "\(hosts.count) hosts #\(String(digest, radix: 16))"
        }
    }
}

/// A cut that is in force; give it to `VirtualNetwork.heal`.
public struct PartitionID: Hashable, Sendable {
    let index: Int
}

/// The cuts in force for one protocol; overlapping ones heal independently.
///
/// What is cut off from everything (a host, a place) is counted. Every other direction of a cut takes a bit: its sending side
/// carries the bit in one mask, its receiving side in another, and a packet is dropped when the two masks share one. So a cut
/// costs as much as its sides have members, and a packet one `and` for each 64 directions in force.
struct PartitionTable {
    /// Directions in force at once, besides those that are counted.
    static let maximumDirections = 8192

    /// The number of cuts in force; none costs the packet path one comparison.
    private(set) var count = 0
    private var hostOut: [Int32] = []
    private var hostIn: [Int32] = []
    private var placeOut: [Int32] = []
    private var placeIn: [Int32] = []

    private struct Side {
        /// By word, then by index; short where no member stands.
        var hosts: [[UInt64]] = []
        var places: [[UInt64]] = []
        var all: [UInt64] = []

        func mask(_ word: Int, _ host: Int, _ place: Int) -> UInt64 {
            all[word] | (host < hosts[word].count ? hosts[word][host] : 0)
                | (place < places[word].count ? places[word][place] : 0)
        }

        mutating func set(_ selector: NetworkSelector, _ word: Int, _ bit: UInt64, _ value: Bool) {
            func change(_ masks: inout [UInt64], _ index: Int) {
                while masks.count <= index { masks.append(0) }
                if value { masks[index] |= bit } else { masks[index] &= ~bit }
            }
            switch selector {
            case .host(let host): change(&hosts[word], host.index)
            case .hosts(let members): for host in members { change(&hosts[word], host.index) }
            case .place(let place): change(&places[word], place.index)
            case .everything: if value { all[word] |= bit } else { all[word] &= ~bit }
            }
        }

        mutating func addWord() {
            hosts.append([])
            places.append([])
            all.append(0)
        }
    }

    private var senders = Side()
    private var receivers = Side()
    private var words = 0
    private var freeBits: [Int] = []

    /// The bits that a cut took, for `heal`.
    struct Bits: Hashable {
        var forward: Int?
        var backward: Int?
    }

    mutating func cut(_ partition: Partition) -> Bits {
        count += 1
        var bits = Bits()
        bits.forward = block(partition.from, partition.to)
        if !partition.oneWay { bits.backward = block(partition.to, partition.from) }
        return bits
    }

    mutating func heal(_ partition: Partition, _ bits: Bits) {
        count -= 1
        unblock(partition.from, partition.to, bits.forward)
        if !partition.oneWay { unblock(partition.to, partition.from, bits.backward) }
    }

    func blocks(fromHost: Int, fromPlace: Int, toHost: Int, toPlace: Int) -> Bool {
        if count == 0 || fromHost == toHost { return false }
        if PartitionTable.value(hostOut, fromHost) > 0 || PartitionTable.value(hostIn, toHost) > 0 { return true }
        if fromPlace != toPlace,
            PartitionTable.value(placeOut, fromPlace) > 0 || PartitionTable.value(placeIn, toPlace) > 0
        {
            return true
        }
        for word in 0..<words
        where senders.mask(word, fromHost, fromPlace) & receivers.mask(word, toHost, toPlace) != 0 { return true }
        return false
    }

    /// The bit taken; nil when the direction is counted.
    private mutating func block(_ from: NetworkSelector, _ to: NetworkSelector) -> Int? {
        if counted(from, to, 1) { return nil }
        if freeBits.isEmpty {
            precondition(words * 64 < PartitionTable.maximumDirections, "too many cuts in force")
            senders.addWord()
            receivers.addWord()
            freeBits = (words * 64..<words * 64 + 64).reversed()
            words += 1
        }
        let bit = freeBits.removeLast()
        senders.set(from, bit / 64, 1 << UInt64(bit % 64), true)
        receivers.set(to, bit / 64, 1 << UInt64(bit % 64), true)
        return bit
    }

    private mutating func unblock(_ from: NetworkSelector, _ to: NetworkSelector, _ bit: Int?) {
        guard let bit else {
            _ = counted(from, to, -1)
            return
        }
        senders.set(from, bit / 64, 1 << UInt64(bit % 64), false)
        receivers.set(to, bit / 64, 1 << UInt64(bit % 64), false)
        freeBits.append(bit)
    }

    private mutating func counted(_ from: NetworkSelector, _ to: NetworkSelector, _ step: Int32) -> Bool {
        switch (from, to) {
        case (.host(let host), .everything): PartitionTable.add(&hostOut, host.index, step)
        case (.everything, .host(let host)): PartitionTable.add(&hostIn, host.index, step)
        case (.place(let place), .everything): PartitionTable.add(&placeOut, place.index, step)
        case (.everything, .place(let place)): PartitionTable.add(&placeIn, place.index, step)
        default: return false
        }
        return true
    }

    private static func value(_ counts: [Int32], _ index: Int) -> Int32 { index < counts.count ? counts[index] : 0 }

    private static func add(_ counts: inout [Int32], _ index: Int, _ step: Int32) {
        while counts.count <= index { counts.append(0) }
        counts[index] += step
    }
}

/// The cuts of both protocols, and those that were made, by identifier.
struct PartitionTables {
    private struct Entry {
        var partition: Partition
        var bits: [PartitionTable.Bits?]
    }

    private var entries: [Entry?] = []
    private var tables = [PartitionTable(), PartitionTable()]
    /// None in force costs the packet path one comparison.
    private(set) var count = 0

    mutating func cut(_ partition: Partition) -> PartitionID {
        count += 1
        var bits: [PartitionTable.Bits?] = [nil, nil]
        for transport in TransportProtocol.allCases where partition.only ?? transport == transport {
            bits[Int(transport.rawValue)] = tables[Int(transport.rawValue)].cut(partition)
        }
        entries.append(Entry(partition: partition, bits: bits))
        return PartitionID(index: entries.count - 1)
    }

    /// Nil when it was healed before.
    mutating func heal(_ id: PartitionID) -> Partition? {
        guard let entry = entries[id.index] else { return nil }
        entries[id.index] = nil
        count -= 1
        for (index, bits) in entry.bits.enumerated() {
            if let bits { tables[index].heal(entry.partition, bits) }
        }
        return entry.partition
    }

    /// Those that may be in force, in the order of their making.
    var identifiers: [PartitionID] { entries.indices.filter { entries[$0] != nil }.map { PartitionID(index: $0) } }

    func blocks(_ transport: TransportProtocol, fromHost: Int, fromPlace: Int, toHost: Int, toPlace: Int) -> Bool {
        tables[Int(transport.rawValue)].blocks(
            fromHost: fromHost, fromPlace: fromPlace, toHost: toHost, toPlace: toPlace)
    }
}
