public import FabricCore

/// A UDP datagram in an IPv6 packet without extension headers: what agents and flow generators put into tunnels.
///
/// ```
/// offset  bytes  field
/// 0       40     IPv6 header (RFC 8200): next header 17, hop limit 64
/// 40      8      UDP header (RFC 768), whose checksum is mandatory over IPv6
/// 48             payload
/// ```
public enum UDPInIPv6 {
    public static let headerBytes = 48

    /// Both headers for the whole of `packet`, from and to the same port. The checksum comes last, by `writeChecksum`.
    public static func writeHeaders(
        to packet: UnsafeMutableRawBufferPointer, from source: IPAddress, to destination: IPAddress, port: UInt16
    ) {
        precondition(packet.count >= headerBytes && packet.count <= 40 + Int(UInt16.max))
        packet.store32(0x6000_0000, at: 0)
        packet.store16(UInt16(packet.count - 40), at: 4)
        packet[6] = 17
        packet[7] = 64
        packet.store64(source.high, at: 8)
        packet.store64(source.low, at: 16)
        packet.store64(destination.high, at: 24)
        packet.store64(destination.low, at: 32)
        packet.store16(port, at: 40)
        packet.store16(port, at: 42)
        packet.store16(UInt16(packet.count - 40), at: 44)
        packet.store16(0, at: 46)
    }

    /// Call it when headers and payload stand.
    public static func writeChecksum(to packet: UnsafeMutableRawBufferPointer) {
        packet.store16(0, at: 46)
        packet.store16(checksum(of: UnsafeRawBufferPointer(packet)), at: 46)
    }

    /// The checksum (RFC 1071) of a whole packet; never 0.
    public static func checksum(of packet: UnsafeRawBufferPointer, skippingChecksumField: Bool = false) -> UInt16 {
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
