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
        bytes.store32(0x6000_0000, at: 0)
        bytes.store16(UInt16(Self.packetBytes - 40), at: 4)
        bytes[6] = 17
        bytes[7] = 64
        bytes.store64(source.high, at: 8)
        bytes.store64(source.low, at: 16)
        bytes.store64(destination.high, at: 24)
        bytes.store64(destination.low, at: 32)
        bytes.store16(Self.port, at: 40)
        bytes.store16(Self.port, at: 42)
        bytes.store16(UInt16(Self.packetBytes - 40), at: 44)
        bytes.store16(0, at: 46)
        bytes.store32(0x5241_5065, at: 48)
        bytes.store32(UInt32(kind.rawValue) << 24, at: 52)
        bytes.store64(sequence, at: 56)
        bytes.store64(UInt64(bitPattern: sentAt), at: 64)
        let sum = InternetChecksum.ofUDP(inIPv6: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(bytes)[..<72]))
        bytes.store16(sum, at: 46)
    }

    /// Nil for anything that is not exactly an echo packet with a right checksum.
    public init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count == Self.packetBytes, bytes[0] >> 4 == 6, bytes.load16(at: 4) == UInt16(Self.packetBytes - 40),
            bytes[6] == 17, bytes.load16(at: 40) == Self.port, bytes.load16(at: 42) == Self.port,
            bytes.load16(at: 44) == UInt16(Self.packetBytes - 40), bytes.load32(at: 48) == 0x5241_5065,
            let kind = Kind(rawValue: bytes[52]), bytes.load32(at: 52) << 8 == 0, bytes.load16(at: 46) != 0,
            InternetChecksum.ofUDP(inIPv6: bytes, skippingChecksumField: true) == bytes.load16(at: 46)
        else { return nil }
        self.kind = kind
        source = IPAddress(v6High: bytes.load64(at: 8), low: bytes.load64(at: 16))
        destination = IPAddress(v6High: bytes.load64(at: 24), low: bytes.load64(at: 32))
        sequence = bytes.load64(at: 56)
        sentAt = Int64(bitPattern: bytes.load64(at: 64))
    }
}

/// RFC 1071.
public enum InternetChecksum {
    /// The UDP checksum of a whole IPv6 packet without extension headers; never 0.
    public static func ofUDP(inIPv6 packet: UnsafeRawBufferPointer, skippingChecksumField: Bool = false) -> UInt16 {
        var sum = UInt64(packet.count - 40) + 17
        var offset = 8
        while offset + 1 < packet.count {
            if !(skippingChecksumField && offset == 46) { sum += UInt64(packet.load16(at: offset)) }
            offset += 2
        }
        if offset < packet.count { sum += UInt64(packet[offset]) << 8 }
        while sum > 0xFFFF { sum = (sum & 0xFFFF) + (sum >> 16) }
        let checksum = ~UInt16(truncatingIfNeeded: sum)
        return checksum == 0 ? 0xFFFF : checksum
    }
}

extension UnsafeRawBufferPointer {
    @inlinable public func load16(at offset: Int) -> UInt16 {
        UInt16(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt16.self))
    }
    @inlinable public func load32(at offset: Int) -> UInt32 {
        UInt32(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }
    @inlinable public func load64(at offset: Int) -> UInt64 {
        UInt64(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }
}

extension UnsafeMutableRawBufferPointer {
    @inlinable public func store16(_ value: UInt16, at offset: Int) {
        storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt16.self)
    }
    @inlinable public func store32(_ value: UInt32, at offset: Int) {
        storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt32.self)
    }
    @inlinable public func store64(_ value: UInt64, at offset: Int) {
        storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt64.self)
    }
}
