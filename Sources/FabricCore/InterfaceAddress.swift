/// An address of a network interface with the length of its network's prefix: `10.78.0.1/24`. Other than in `IPPrefix`, the
/// bits behind the prefix count.
public struct InterfaceAddress: Hashable, Comparable, Sendable {
    public let address: IPAddress
    public let length: Int

    /// Nil when `length` is not within the family's width.
    public init?(_ address: IPAddress, length: Int) {
        guard (0...address.bitWidth).contains(length) else { return nil }
        self.address = address
        self.length = length
    }

    /// What the address' network reaches.
    public var network: IPPrefix { IPPrefix(address, length: length)! }

    public static func < (a: InterfaceAddress, b: InterfaceAddress) -> Bool {
        a.address != b.address ? a.address < b.address : a.length < b.length
    }
}

extension InterfaceAddress: LosslessStringConvertible {
    /// `10.78.0.1/24`; without a length the address stands alone, as with wg(8) and ip(8).
    public init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, let address = IPAddress(String(first)) else { return nil }
        guard parts.count == 2 else {
            self.init(address, length: address.bitWidth)
            return
        }
        guard let length: Int = parseDecimal(parts[1]) else { return nil }
        self.init(address, length: length)
    }

    public var description: String { "\(address)/\(length)" }
}

extension InterfaceAddress: Codable {
    public init(from decoder: any Decoder) throws {
        self = try decodeText(decoder, "an interface's address such as 10.78.0.1/24")
    }
    public func encode(to encoder: any Encoder) throws { try encodeText(description, encoder) }
}
