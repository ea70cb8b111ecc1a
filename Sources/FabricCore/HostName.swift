/// A host name as RFC 1123 section 2.1 has it: labels of letters, digits and hyphens, kept in lower case, without the dot at
/// the end. Names whose last label is a number are refused: resolvers take them for addresses.
public struct HostName: Hashable, Comparable, Sendable {
    /// Bytes (RFC 1035 section 2.3.4).
    public static let maximumLength = 253
    public static let maximumLabel = 63

    public let text: String

    public static func < (a: HostName, b: HostName) -> Bool { a.text < b.text }
}

extension HostName: LosslessStringConvertible {
    public init?(_ text: String) {
        var bytes = Array(text.utf8.prefix(Self.maximumLength + 2))
        if bytes.last == UInt8(ascii: ".") { bytes.removeLast() }
        guard !bytes.isEmpty, bytes.count <= Self.maximumLength else { return nil }
        var label = 0
        var isNumber = true
        for index in bytes.indices {
            if (0x41...0x5A).contains(bytes[index]) { bytes[index] |= 0x20 }
            switch bytes[index] {
            case UInt8(ascii: "."):
                guard label > 0, bytes[index - 1] != UInt8(ascii: "-") else { return nil }
                label = 0
                isNumber = true
                continue
            case UInt8(ascii: "a")...UInt8(ascii: "z"): isNumber = false
            case UInt8(ascii: "0")...UInt8(ascii: "9"): break
            case UInt8(ascii: "-"):
                guard label > 0 else { return nil }
                isNumber = false
            default: return nil
            }
            label += 1
            guard label <= Self.maximumLabel else { return nil }
        }
        guard label > 0, !isNumber, bytes.last != UInt8(ascii: "-") else { return nil }
        self.text = String(decoding: bytes, as: UTF8.self)
    }

    public var description: String { text }
}

extension HostName: Codable {
    public init(from decoder: any Decoder) throws { self = try decodeText(decoder, "a host name") }
    public func encode(to encoder: any Encoder) throws { try encodeText(text, encoder) }
}

/// Where a server is, as a person writes it: an address or a name, and a port.
public enum ServerAddress: Hashable, Sendable {
    case address(Endpoint)
    case name(HostName, port: UInt16)
}

extension ServerAddress: LosslessStringConvertible, Codable {
    /// `192.0.2.1:8443`, `[2001:db8::1]:8443` or `control.example.net:8443`.
    public init?(_ text: String) {
        if let endpoint = Endpoint(text) {
            self = .address(endpoint)
        } else if let colon = text.lastIndex(of: ":"), let name = HostName(String(text[..<colon])),
            // The port is read as an endpoint's is.
            let port = Endpoint("0.0.0.0" + text[colon...])?.port, port > 0
        {
            self = .name(name, port: port)
        } else {
            return nil
        }
    }

    public var description: String {
        switch self {
        case .address(let endpoint): "\(endpoint)"
        case .name(let name, let port): "\(name):\(port)"
        }
    }

    public init(from decoder: any Decoder) throws {
        self = try decodeText(decoder, "an address or a name, and a port, such as control.example.net:8443")
    }
    public func encode(to encoder: any Encoder) throws { try encodeText(description, encoder) }
}

/// What a resolver says of a name. It proves nothing: whoever answers at an address must still show who he is.
public struct ResolvedAddresses: Hashable, Sendable {
    /// In the order in which they should be tried.
    public var addresses: [IPAddress]
    /// How long the answer may be relied on; nil when the resolver does not tell.
    public var lifetime: Duration?

    public init(addresses: [IPAddress], lifetime: Duration?) {
        self.addresses = addresses
        self.lifetime = lifetime
    }
}

/// Why a name has no addresses.
public enum ResolutionFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// The resolver says that there is no such name, or that it has no address.
    case noSuchName
    /// No resolver answered in time.
    case timedOut
    /// The resolver can't tell now, in its words.
    case failed(String)

    public var description: String {
        switch self {
        case .noSuchName: "there is no such name"
        case .timedOut: "no resolver answered in time"
        case .failed(let why): "the resolver failed: \(why)"
        }
    }
}
