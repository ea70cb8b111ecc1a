/// An identifier of one kind of thing: lower-case text of 1 to 64 characters from `a-z 0-9 -`, with no hyphen
/// at either end.
///
/// New ones are 128 random bits in hex; names that people choose (a cluster's slug, a routing domain) have the same form.
public struct Identifier<Kind>: Hashable, Comparable, Sendable, LosslessStringConvertible, Codable {
    public let text: String

    public init?(_ text: String) {
        let bytes = text.utf8
        guard (1...64).contains(bytes.count), bytes.first != 45, bytes.last != 45,
            bytes.allSatisfy({ (97...122).contains($0) || (48...57).contains($0) || $0 == 45 })
        else { return nil }
        self.text = text
    }

    public init(random: any RandomSource) { text = Hex.encode(random.bytes(16)) }

    public var description: String { text }
    public static func < (a: Identifier, b: Identifier) -> Bool { a.text < b.text }

    public init(from decoder: any Decoder) throws {
        self = try decodeText(decoder, "an identifier (1 to 64 characters from a-z, 0-9 and -)")
    }
    public func encode(to encoder: any Encoder) throws { try encodeText(text, encoder) }
}

public enum ClusterKind: Sendable {}
public enum NodeKind: Sendable {}
public enum JoinTokenKind: Sendable {}
public enum JoinRequestKind: Sendable {}
public enum RoutingDomainKind: Sendable {}

public typealias ClusterID = Identifier<ClusterKind>
public typealias NodeID = Identifier<NodeKind>
public typealias JoinTokenID = Identifier<JoinTokenKind>
public typealias JoinRequestID = Identifier<JoinRequestKind>
public typealias RoutingDomainID = Identifier<RoutingDomainKind>

extension RoutingDomainID {
    /// The domain of fabric messages between nodes; every node has it.
    public static let fabric = RoutingDomainID("fabric")!
}
