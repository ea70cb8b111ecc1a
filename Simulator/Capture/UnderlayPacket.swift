public import FabricCore

/// Datagrams as the IP packets that they travel in: IPv4 (RFC 791, don't fragment) or IPv6 (RFC 8200), then UDP (RFC 768).
///
/// The IPv4 header checksum is right; the UDP checksum is right over IPv6 and absent (0) over IPv4.
public enum UnderlayPacket {
    /// Nil for a payload of which the packet would not fit 65,535 bytes, or addresses of two families.
    public static func packet(
        source: Endpoint, destination: Endpoint, payload: UnsafeRawBufferPointer
    ) -> [UInt8]? {
        let version4 = destination.address.family == .v4
        let header = version4 ? 28 : 48
        guard header + payload.count <= 65_535, source.address.family == destination.address.family else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(header + payload.count)
        if version4 {
            bytes += [0x45, 0] + big16(header + payload.count) + [0, 0, 0x40, 0, 64, 17, 0, 0]
            bytes += source.address.bytes + destination.address.bytes
            let checksum = ~sum(bytes[...], from: 0)
            bytes[10] = UInt8(checksum >> 8)
            bytes[11] = UInt8(checksum & 0xFF)
        } else {
            bytes += [0x60, 0, 0, 0] + big16(8 + payload.count) + [17, 64]
            bytes += source.address.bytes + destination.address.bytes
        }
        let udp = bytes.count
        bytes += big16(Int(source.port)) + big16(Int(destination.port)) + big16(8 + payload.count) + [0, 0]
        bytes.append(contentsOf: payload)
        if !version4 {
            let pseudo = sum(bytes[8..<udp], from: UInt32(17 + 8 + payload.count))
            let checksum = ~sum(bytes[udp...], from: UInt32(pseudo))
            let written = checksum == 0 ? 0xFFFF : checksum
            bytes[udp + 6] = UInt8(written >> 8)
            bytes[udp + 7] = UInt8(written & 0xFF)
        }
        return bytes
    }

    /// The ones' complement sum of 16-bit words (RFC 1071).
    private static func sum(_ bytes: ArraySlice<UInt8>, from initial: UInt32) -> UInt16 {
        var total = UInt64(initial)
        var index = bytes.startIndex
        while index + 1 < bytes.endIndex {
            total += UInt64(bytes[index]) << 8 | UInt64(bytes[index + 1])
            index += 2
        }
        if index < bytes.endIndex { total += UInt64(bytes[index]) << 8 }
        while total >> 16 != 0 { total = total & 0xFFFF + total >> 16 }
        return UInt16(total)
    }

    private static func big16(_ value: Int) -> [UInt8] { [UInt8(value >> 8 & 0xFF), UInt8(value & 0xFF)] }
}
