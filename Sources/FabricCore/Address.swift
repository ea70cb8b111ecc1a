/// An IPv4 or IPv6 address, held as 128 bits (IPv4 in the low 32).
public struct IPAddress: Hashable, Comparable, Sendable {
    public enum Family: UInt8, Sendable { case v4 = 4, v6 = 6 }

    public let family: Family
    public let high: UInt64
    public let low: UInt64

    @inlinable public init(v4: UInt32) {
        family = .v4
        high = 0
        low = UInt64(v4)
    }

    @inlinable public init(v6High: UInt64, low: UInt64) {
        family = .v6
        high = v6High
        self.low = low
    }

    public var bitWidth: Int { family == .v4 ? 32 : 128 }

    public static func < (a: IPAddress, b: IPAddress) -> Bool {
        if a.family != b.family { return a.family == .v4 }
        return a.high != b.high ? a.high < b.high : a.low < b.low
    }

    /// Network byte order: 4 or 16 bytes.
    public var bytes: [UInt8] {
        let wide =
            (0..<8).map { UInt8(truncatingIfNeeded: high >> (56 - 8 * $0)) }
            + (0..<8).map { UInt8(truncatingIfNeeded: low >> (56 - 8 * $0)) }
        return family == .v4 ? Array(wide[12...]) : wide
    }

    public init?(bytes: some Collection<UInt8>) {
        switch bytes.count {
        case 4: self.init(v4: bytes.reduce(0) { $0 << 8 | UInt32($1) })
        case 16:
            self.init(
                v6High: bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) },
                low: bytes.dropFirst(8).reduce(0) { $0 << 8 | UInt64($1) })
        default: return nil
        }
    }
}

extension IPAddress: LosslessStringConvertible {
    /// Dotted quad, or RFC 4291 section 2.2 text (at most one `::`, the last 32 bits in hexadecimal or as a dotted quad,
    /// no zone). Nil for anything else.
    public init?(_ text: String) {
        if text.utf8.contains(UInt8(ascii: ":")) {
            guard let words = IPAddress.parseV6(text) else { return nil }
            let high = words[..<4].reduce(0) { $0 << 16 | UInt64($1) }
            let low = words[4...].reduce(0) { $0 << 16 | UInt64($1) }
            self.init(v6High: high, low: low)
        } else {
            guard let value = IPAddress.parseV4(text[...]) else { return nil }
            self.init(v4: value)
        }
    }

    private static func parseV4(_ text: Substring) -> UInt32? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var value: UInt32 = 0
        for part in parts {
            guard part.utf8.count <= 3, let octet: UInt8 = parseDecimal(part) else { return nil }
            value = value << 8 | UInt32(octet)
        }
        return value
    }

    private static func parseV6(_ text: String) -> [UInt16]? {
        func words(_ part: Substring) -> [UInt16]? {
            if part.isEmpty { return [] }
            var result: [UInt16] = []
            for word in part.split(separator: ":", omittingEmptySubsequences: false) {
                if word.utf8.contains(UInt8(ascii: ".")) {
                    // Only the last 32 bits of the whole address may be a dotted quad.
                    guard word.endIndex == text.endIndex, let quad = parseV4(word) else { return nil }
                    result += [UInt16(quad >> 16), UInt16(truncatingIfNeeded: quad)]
                    continue
                }
                guard (1...4).contains(word.utf8.count), let value = UInt16(word, radix: 16),
                    word.utf8.first != UInt8(ascii: "+"), word.utf8.first != UInt8(ascii: "-")
                else { return nil }
                result.append(value)
            }
            return result
        }
        guard let gap = text.firstRange(of: "::") else {
            guard let all = words(text[...]), all.count == 8 else { return nil }
            return all
        }
        guard let head = words(text[..<gap.lowerBound]), let tail = words(text[gap.upperBound...]),
            head.count + tail.count <= 7
        else { return nil }
        return head + Array(repeating: 0, count: 8 - head.count - tail.count) + tail
    }

    /// Dotted quad, or RFC 5952 canonical text.
    public var description: String {
        if family == .v4 { return bytes.map(String.init).joined(separator: ".") }
        let words = [high, low].flatMap { half in (0..<4).map { UInt16(truncatingIfNeeded: half >> (48 - 16 * $0)) } }
        var best = 0..<0
        var index = 0
        while index < 8 {
            var end = index
            while end < 8, words[end] == 0 { end += 1 }
            if end - index > max(best.count, 1) { best = index..<end }
            index = max(end, index + 1)
        }
        func text(_ range: Range<Int>) -> String {
            words[range].map { String($0, radix: 16) }.joined(separator: ":")
        }
        return best.isEmpty ? text(0..<8) : text(0..<best.lowerBound) + "::" + text(best.upperBound..<8)
    }
}

/// A UDP or TCP address.
public struct Endpoint: Hashable, Comparable, Sendable {
    public var address: IPAddress
    public var port: UInt16

    @inlinable public init(address: IPAddress, port: UInt16) {
        self.address = address
        self.port = port
    }

    public static func < (a: Endpoint, b: Endpoint) -> Bool {
        a.address != b.address ? a.address < b.address : a.port < b.port
    }
}

extension Endpoint: LosslessStringConvertible {
    /// `192.0.2.1:51820` or `[2001:db8::1]:51820`; the port has digits alone and no leading zeros.
    public init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"),
            let port: UInt16 = parseDecimal(text[text.index(after: colon)...])
        else { return nil }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
            guard let address = IPAddress(String(host)), address.family == .v6 else { return nil }
            self.init(address: address, port: port)
        } else {
            guard let address = IPAddress(String(host)), address.family == .v4 else { return nil }
            self.init(address: address, port: port)
        }
    }

    public var description: String { address.family == .v4 ? "\(address):\(port)" : "[\(address)]:\(port)" }
}

/// An IP prefix in CIDR form. The bits after the prefix are zero.
public struct IPPrefix: Hashable, Comparable, Sendable {
    public let address: IPAddress
    public let length: Int

    /// Nil when `length` is not within the family's width. Host bits are cleared.
    public init?(_ address: IPAddress, length: Int) {
        guard (0...address.bitWidth).contains(length) else { return nil }
        self.length = length
        func mask(_ bits: Int) -> UInt64 { bits <= 0 ? 0 : bits >= 64 ? .max : ~(UInt64.max >> UInt64(bits)) }
        switch address.family {
        case .v4: self.address = IPAddress(v4: UInt32(truncatingIfNeeded: address.low & (mask(length) >> 32)))
        case .v6: self.address = IPAddress(v6High: address.high & mask(length), low: address.low & mask(length - 64))
        }
    }

    public init(host address: IPAddress) {
        self.address = address
        length = address.bitWidth
    }

    public func contains(_ other: IPAddress) -> Bool {
        other.family == address.family && IPPrefix(other, length: length)?.address == address
    }

    /// Everything that `other` holds is in this one too.
    public func contains(_ other: IPPrefix) -> Bool { length <= other.length && contains(other.address) }

    /// Some address is in both; then one of the two is within the other.
    public func overlaps(_ other: IPPrefix) -> Bool { contains(other) || other.contains(self) }

    public static func < (a: IPPrefix, b: IPPrefix) -> Bool {
        a.address != b.address ? a.address < b.address : a.length < b.length
    }
}

extension IPPrefix: LosslessStringConvertible {
    /// `10.0.0.0/8`. Nil when host bits are set: such text is a slip more often than a wish.
    public init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let address = IPAddress(String(parts[0])), let length: Int = parseDecimal(parts[1]),
            let prefix = IPPrefix(address, length: length), prefix.address == address
        else { return nil }
        self = prefix
    }

    public var description: String { "\(address)/\(length)" }
}

extension IPAddress: Codable {
    public init(from decoder: any Decoder) throws { self = try decodeText(decoder, "an IP address such as 192.0.2.1") }
    public func encode(to encoder: any Encoder) throws { try encodeText(description, encoder) }
}
extension Endpoint: Codable {
    public init(from decoder: any Decoder) throws {
        self = try decodeText(decoder, "an address and port such as 192.0.2.1:51820")
    }
    public func encode(to encoder: any Encoder) throws { try encodeText(description, encoder) }
}
extension IPPrefix: Codable {
    public init(from decoder: any Decoder) throws { self = try decodeText(decoder, "a CIDR prefix such as 10.0.0.0/8") }
    public func encode(to encoder: any Encoder) throws { try encodeText(description, encoder) }
}

/// A number in decimal digits alone, without sign or leading zeros, so that each number has one spelling.
func parseDecimal<Number: FixedWidthInteger>(_ text: Substring) -> Number? {
    guard text.utf8.allSatisfy({ (48...57).contains($0) }), text.utf8.count == 1 || text.utf8.first != 48 else {
        return nil
    }
    return Number(text)
}

func decodeText<T: LosslessStringConvertible>(_ decoder: any Decoder, _ expectation: String) throws -> T {
    let container = try decoder.singleValueContainer()
    let text = try container.decode(String.self)
    guard let value = T(text) else {
        throw DecodingError.dataCorrupted(
            .init(codingPath: decoder.codingPath, debugDescription: "“\(text.prefix(80))” is not \(expectation)"))
    }
    return value
}

func encodeText(_ text: String, _ encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(text)
}
