internal import FabricCore
internal import FabricDocument

indirect enum ConditionEntry: Decodable, Sendable {
    case enrolled(Selector)
    case tunnels(Selector, atLeast: Located<Int>?)
    case reaches(ReachEntry)
    case unreachable(ReachEntry)
    case rekeyed(Located<RekeyedEntry>)
    case phase(PhaseEntry)
    case peers(Located<CountedNodesEntry>)
    case snapshotsAgree(Selector)
    case snapshotVersion(Located<CountedNodesEntry>)
    case certificate(Located<CertificateEntry>)
    case clockOffset(Located<LimitEntry>)
    case sessionAge(Located<LimitEntry>)
    case inFault(Selector)
    case reachable(Located<ReachableEntry>)
    case control(ControlState)
    case count(Located<CountEntry>)
    case refused(RefusedEntry)
    case audit(AuditEntry)
    case nodesOnline(Selector)
    case nodesOffline(Selector)
    case requests(Located<CountedNodesEntry>)
    case records(Located<CountedNodesEntry>)
    case flow(FlowExpectationEntry)
    case all([ConditionEntry])
    case any([ConditionEntry])
    case not(ConditionEntry)

    enum CodingKeys: String, CodingKey, CaseIterable {
        case enrolled, tunnels, reaches, unreachable, rekeyed, refused, audit
        case nodesOnline = "nodes-online"
        case nodesOffline = "nodes-offline"
        case requests, records, flow, phase, peers, certificate, reachable, control, count, all, any, not
        case snapshotsAgree = "snapshots-agree"
        case snapshotVersion = "snapshot-version"
        case clockOffset = "clock-offset"
        case sessionAge = "session-age"
        case inFault = "in-fault"
    }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        let key = try SoleKey.find(container, decoder, beside: [], noun: "condition")
        func decode<T: Decodable>(_ type: T.Type) throws -> T { try container.decode(type, forKey: key) }
        switch key {
        case .enrolled: self = .enrolled(try decode(Selector.self))
        case .tunnels:
            let entry = try decode(AtLeastEntry.self)
            self = .tunnels(entry.nodes, atLeast: entry.atLeast)
        case .rekeyed: self = .rekeyed(try decode(Located<RekeyedEntry>.self))
        case .phase: self = .phase(try decode(PhaseEntry.self))
        case .peers: self = .peers(try decode(Located<CountedNodesEntry>.self))
        case .snapshotsAgree: self = .snapshotsAgree(try decode(Selector.self))
        case .snapshotVersion: self = .snapshotVersion(try decode(Located<CountedNodesEntry>.self))
        case .certificate: self = .certificate(try decode(Located<CertificateEntry>.self))
        case .clockOffset: self = .clockOffset(try decode(Located<LimitEntry>.self))
        case .sessionAge: self = .sessionAge(try decode(Located<LimitEntry>.self))
        case .inFault: self = .inFault(try decode(Selector.self))
        case .reachable: self = .reachable(try decode(Located<ReachableEntry>.self))
        case .control: self = .control(try decode(ControlState.self))
        case .count: self = .count(try decode(Located<CountEntry>.self))
        case .reaches: self = .reaches(try decode(ReachEntry.self))
        case .unreachable: self = .unreachable(try decode(ReachEntry.self))
        case .refused: self = .refused(try decode(RefusedEntry.self))
        case .audit: self = .audit(try decode(AuditEntry.self))
        case .nodesOnline: self = .nodesOnline(try decode(Selector.self))
        case .nodesOffline: self = .nodesOffline(try decode(Selector.self))
        case .requests: self = .requests(try decode(Located<CountedNodesEntry>.self))
        case .records: self = .records(try decode(Located<CountedNodesEntry>.self))
        case .flow: self = .flow(try decode(FlowExpectationEntry.self))
        case .all: self = .all(try decode([ConditionEntry].self))
        case .any: self = .any(try decode([ConditionEntry].self))
        case .not: self = .not(try decode(ConditionEntry.self))
        }
    }
}

struct AtLeastEntry: Decodable, Sendable {
    var nodes: Selector
    var atLeast: Located<Int>?

    enum CodingKeys: String, CodingKey, CaseIterable {
        case nodes
        case atLeast = "at-least"
    }
}

/// `to` is a selector, or the word `policy`: all the peers that policy gives the node.
struct ReachEntry: Decodable, Sendable {
    var from: Selector
    var to: Selector

    enum CodingKeys: String, CodingKey, CaseIterable { case from, to }
}

struct RefusedEntry: Decodable, Sendable {
    var nodes: Selector
    var reason: EnrolmentRefusal

    enum CodingKeys: String, CodingKey, CaseIterable { case nodes, reason }
}

struct AuditEntry: Decodable, Sendable {
    var event: Located<String>
    var range: CountRangeEntry

    enum CodingKeys: String, CodingKey, CaseIterable { case event }

    init(from decoder: any Decoder) throws {
        event = try decoder.container(keyedBy: CodingKeys.self).decode(Located<String>.self, forKey: .event)
        range = try CountRangeEntry(from: decoder)
    }
}

struct CountedNodesEntry: Decodable, Sendable {
    var nodes: Selector
    var range: CountRangeEntry

    enum CodingKeys: String, CodingKey, CaseIterable { case nodes }

    init(from decoder: any Decoder) throws {
        nodes = try decoder.container(keyedBy: CodingKeys.self).decode(Selector.self, forKey: .nodes)
        range = try CountRangeEntry(from: decoder)
    }
}

/// `count`, or `at-least` and `at-most`.
struct CountRangeEntry: Decodable, Sendable {
    var count: Int?
    var atLeast: Int?
    var atMost: Int?

    enum CodingKeys: String, CodingKey, CaseIterable {
        case count
        case atLeast = "at-least"
        case atMost = "at-most"
    }
}

struct FlowExpectationEntry: Decodable, Sendable {
    var name: Located<String>
    var delivered: Ratio

    enum CodingKeys: String, CodingKey, CaseIterable { case name, delivered }
}

struct RekeyedEntry: Decodable, Sendable {
    var nodes: Selector
    var atLeast: Located<Int>?
    var atMost: Located<Int>?

    enum CodingKeys: String, CodingKey, CaseIterable {
        case nodes
        case atLeast = "at-least"
        case atMost = "at-most"
    }
}

struct PhaseEntry: Decodable, Sendable {
    var nodes: Selector
    var phase: PhaseName

    enum CodingKeys: String, CodingKey, CaseIterable {
        case nodes
        case phase = "is"
    }
}

/// Ages and lives of the certificates that nodes hold, by the true time.
struct CertificateEntry: Decodable, Sendable {
    var nodes: Selector
    var age: Located<Span>?
    var left: Located<Span>?

    enum CodingKeys: String, CodingKey, CaseIterable {
        case nodes
        case age = "age-at-most"
        case left = "left-at-least"
    }
}

struct LimitEntry: Decodable, Sendable {
    var nodes: Selector
    var atMost: Located<Span>

    enum CodingKeys: String, CodingKey, CaseIterable {
        case nodes
        case atMost = "at-most"
    }
}

struct ReachableEntry: Decodable, Sendable {
    var from: Selector
    var to: Selector
    var atLeast: Ratio?
    var atMost: Ratio?

    enum CodingKeys: String, CodingKey, CaseIterable {
        case from, to
        case atLeast = "at-least"
        case atMost = "at-most"
    }
}

/// How many nodes a condition about nodes is true of.
struct CountEntry: Decodable, Sendable {
    var of: ConditionEntry
    var range: CountRangeEntry

    enum CodingKeys: String, CodingKey, CaseIterable { case of }

    init(from decoder: any Decoder) throws {
        of = try decoder.container(keyedBy: CodingKeys.self).decode(ConditionEntry.self, forKey: .of)
        range = try CountRangeEntry(from: decoder)
    }
}
