internal import FabricCore
internal import FabricDocument

/// The kinds of packet that a fault can single out.
public enum PacketProtocol: String, NamedChoice {
    case udp, tcp
    public static let noun = "protocol"
}

/// How the random part of a delay is spread.
public enum JitterShape: String, NamedChoice {
    /// Anything below `jitter`, all alike.
    case uniform
    /// Below `jitter`, mostly about half of it.
    case bell
    /// `jitter` on average: mostly less than half of it, seldom many times as much.
    case tail
    public static let noun = "shape"
}

/// RFC 4787's words for what a NAT's mapping or filtering looks at.
public enum NATDependence: String, NamedChoice {
    case endpointIndependent = "endpoint-independent"
    case addressDependent = "address-dependent"
    case addressAndPortDependent = "address-and-port-dependent"
    public static let noun = "NAT behaviour"
}

/// Which outer port a NAT gives a new mapping.
public enum NATPorts: String, NamedChoice {
    case preserving, random, contiguous
    public static let noun = "port assignment"
}

/// Whether one NAT stands before each node, or each place.
public enum NATPer: String, NamedChoice {
    case node, place
    public static let noun = "way to deal out NATs"
}

/// A quantity, or the word `none`, which takes the property away.
struct OrNone<Value: Quantity>: Decodable, Sendable {
    var value: Value?

    init(from decoder: any Decoder) throws {
        if let source = decoder as? any DocumentSource, case .string("none") = source.node.value { return }
        value = try Value(from: decoder)
    }
}

/// Loss that comes in bursts; or `none`.
struct BurstsEntry: Decodable, Sendable {
    var isNone = false
    var share: Ratio?
    var mean: Span?
    var loss: Ratio?

    enum CodingKeys: String, CodingKey, CaseIterable { case share, mean, loss }

    init(from decoder: any Decoder) throws {
        if let source = decoder as? any DocumentSource, case .string("none") = source.node.value {
            isNone = true
            return
        }
        let container = try decoder.container(keyedBy: CodingKeys.self)
        share = try container.decode(Ratio.self, forKey: .share)
        mean = try container.decode(Span.self, forKey: .mean)
        loss = try container.decodeIfPresent(Ratio.self, forKey: .loss)
    }
}

/// An address translator in the world.
struct NATEntry: Decodable, Sendable {
    var nat: Located<String>
    var place: Located<String>?
    var nodes: Selector?
    var per: Located<NATPer>?
    var behind: Located<String>?
    var mapping: NATDependence?
    var filtering: NATDependence?
    var ports: NATPorts?
    var hairpin: Bool?
    var expiry: Located<Span>?
    var inboundRefresh: Bool?
    var tcpExpiry: Located<Span>?
    var table: Located<Int>?

    enum CodingKeys: String, CodingKey, CaseIterable {
        case nat, place, nodes, per, behind, mapping, filtering, ports, hairpin, expiry
        case inboundRefresh = "inbound-refresh"
        case tcpExpiry = "tcp-expiry"
        case table
    }
}

/// Nodes, or places, are cut off one by one and come back one by one.
struct SwizzleEntry: Decodable, Sendable {
    var nodes: Selector?
    var places: Located<[String]>?
    var duration: Located<Span>
    var cutting: Located<Span>?
    var healing: Located<Span>?

    enum CodingKeys: String, CodingKey, CaseIterable {
        case nodes, places
        case duration = "for"
        case cutting, healing
    }
}

/// A firewall that drops one protocol: around a place, or before each of some nodes.
struct BlockEntry: Decodable, Sendable {
    var transport: PacketProtocol
    var place: Located<String>?
    var nodes: Selector?
    var duration: Located<Span>?

    enum CodingKeys: String, CodingKey, CaseIterable {
        case transport = "protocol"
        case place, nodes
        case duration = "for"
    }
}

/// Nodes get other addresses from their network.
struct ReaddressEntry: Decodable, Sendable {
    var nodes: Selector
    var told: Bool?

    enum CodingKeys: String, CodingKey, CaseIterable { case nodes, told }
}

/// NATs forget their mappings.
struct RebindEntry: Decodable, Sendable {
    var nat: Located<String>
    var nodes: Selector?
    var address: RebindAddress?

    enum CodingKeys: String, CodingKey, CaseIterable { case nat, nodes, address }
}

/// What becomes of the outer address when a NAT forgets its mappings.
public enum RebindAddress: String, NamedChoice {
    case same, new
    public static let noun = "kind of address"
}
