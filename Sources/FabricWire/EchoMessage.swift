public import FabricCore

/// `synthetic.echo`: what agents send each other to learn whether a path works. UDP in IPv6 inside the tunnel, to and from
/// port 7 (RFC 862) of the agents' overlay addresses. The whole packet, network byte order:
///
/// ```
/// offset  bytes  field
/// 0       40     IPv6 header (RFC 8200): next header 17, hop limit 64, overlay addresses
/// 40      8      UDP header (RFC 768): ports 7 and 7, length 32, checksum (mandatory over IPv6)
/// 48      4      "RAPe"
/// 52      1      kind: 1 request, 2 reply
/// 53      3      zero
/// 56      8      sequence number, the requester's
/// 64      8      the requester's monotonic clock when it sent, nanoseconds; opaque to the answerer
/// ```
public struct EchoMessage: Hashable, Sendable {
    public enum Kind: UInt8, Sendable { case request = 1, reply = 2 }

    public static let packetBytes = 72
    public static let port: UInt16 = 7

    public var kind: Kind
    public var source: IPAddress
    public var destination: IPAddress
    public var sequence: UInt64
    public var sentAt: Int64

    public init(kind: Kind, source: IPAddress, destination: IPAddress, sequence: UInt64, sentAt: Int64) {
        self.kind = kind
        self.source = source
        self.destination = destination
        self.sequence = sequence
        self.sentAt = sentAt
    }

    /// Writes the packet to the start of `bytes`, which has room for `packetBytes`.
    public func write(to bytes: UnsafeMutableRawBufferPointer) {
        precondition(bytes.count >= Self.packetBytes)
        let packet = UnsafeMutableRawBufferPointer(rebasing: bytes[..<Self.packetBytes])
        UDPInIPv6.writeHeaders(to: packet, from: source, to: destination, port: Self.port)
        packet.store32(0x5241_5065, at: 48)
        packet.store32(UInt32(kind.rawValue) << 24, at: 52)
        packet.store64(sequence, at: 56)
        packet.store64(UInt64(bitPattern: sentAt), at: 64)
        UDPInIPv6.writeChecksum(to: packet)
    }

    /// Nil for anything that is not exactly an echo packet with a right checksum.
    public init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count == Self.packetBytes, bytes[0] >> 4 == 6, bytes.load16(at: 4) == UInt16(Self.packetBytes - 40),
            bytes[6] == 17, bytes.load16(at: 40) == Self.port, bytes.load16(at: 42) == Self.port,
            bytes.load16(at: 44) == UInt16(Self.packetBytes - 40), bytes.load32(at: 48) == 0x5241_5065,
            let kind = Kind(rawValue: bytes[52]), bytes.load32(at: 52) << 8 == 0, bytes.load16(at: 46) != 0,
            UDPInIPv6.checksum(of: bytes, skippingChecksumField: true) == bytes.load16(at: 46)
        else { return nil }
        self.kind = kind
        source = IPAddress(v6High: bytes.load64(at: 8), low: bytes.load64(at: 16))
        destination = IPAddress(v6High: bytes.load64(at: 24), low: bytes.load64(at: 32))
        sequence = bytes.load64(at: 56)
        sentAt = Int64(bitPattern: bytes.load64(at: 64))
    }
}
