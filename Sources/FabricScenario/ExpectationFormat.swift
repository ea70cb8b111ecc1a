internal import FabricCore
internal import FabricDocument

/// One entry of `expect`: a window of time and a condition.
struct ExpectationEntry: Decodable, Sendable {
    var name: String?
    var form: Form
    /// A time, or `LABEL`, `LABEL.end`.
    var after: Located<String>?
    var from: Located<Span>?
    var until: Located<Span>?
    var stays: Located<Span>?
    var condition: ConditionEntry

    enum Form: Sendable {
        case always
        case sometimes
        case within(Located<Span>)
        case at(Located<Span>)
        case by(Located<Span>)
    }

    enum FormKeys: String, CodingKey, CaseIterable { case always, sometimes, within, at, by }

    enum CodingKeys: String, CodingKey, CaseIterable {
        case name, after, from, until
        case stays = "for"
        case that
    }

    init(from decoder: any Decoder) throws {
        let forms = try decoder.container(keyedBy: FormKeys.self)
        let container = try decoder.container(keyedBy: CodingKeys.self)
        name = try container.decodeIfPresent(String.self, forKey: .name)
        after = try container.decodeIfPresent(Located<String>.self, forKey: .after)
        from = try container.decodeIfPresent(Located<Span>.self, forKey: .from)
        until = try container.decodeIfPresent(Located<Span>.self, forKey: .until)
        stays = try container.decodeIfPresent(Located<Span>.self, forKey: .stays)
        let that = try container.decodeIfPresent(ConditionEntry.self, forKey: .that)
        let key = try SoleKey.find(
            forms, decoder, beside: CodingKeys.allCases.map(\.stringValue), noun: "expectation")
        func timed() throws -> Located<Span> { try forms.decode(Located<Span>.self, forKey: key) }
        func refused(_ message: String) -> DecodingError {
            .dataCorrupted(.init(codingPath: decoder.codingPath, debugDescription: message))
        }
        switch key {
        case .always, .sometimes:
            form = key == .always ? .always : .sometimes
            condition = try forms.decode(ConditionEntry.self, forKey: key)
            if that != nil { throw refused("“\(key.stringValue)” holds the condition itself; leave “that” out") }
        case .within, .at, .by:
            form = key == .within ? .within(try timed()) : key == .at ? .at(try timed()) : .by(try timed())
            guard let that else { throw refused("“\(key.stringValue)” needs “that”, the condition to judge") }
            condition = that
        }
        if after != nil, key != .within { throw refused("“after” goes with “within” only; use “from”") }
        if from != nil || until != nil, key != .always, key != .sometimes {
            throw refused("“from” and “until” go with “always” and “sometimes” only")
        }
        if stays != nil, key != .within, key != .by { throw refused("“for” goes with “within” and “by” only") }
    }
}

indirect enum ConditionEntry: Decodable, Sendable {
    case enrolled(Selector)
    case tunnels(Selector, atLeast: Located<Int>?)
    case reaches(ReachEntry)
    case unreachable(ReachEntry)
    case rekeyed(Selector, atLeast: Located<Int>?)
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
        case requests, records, flow, all, any, not
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
        case .rekeyed:
            let entry = try decode(AtLeastEntry.self)
            self = .rekeyed(entry.nodes, atLeast: entry.atLeast)
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
