internal import FabricCore

/// What the tunnel reads of an IP packet: its length, addresses and mark; the mark it also writes.
///
/// ```
/// IPv4 (RFC 791):   0 version, IHL   2 total length (2)     12 source (4)    16 destination (4)   20
/// IPv6 (RFC 8200):  0 version        4 payload length (2)    8 source (16)   24 destination (16)  40
/// may not be fragmented:  IPv4: bit 6 of byte 6; IPv6: always
/// mark (RFC 3168):  IPv4: the low two bits of byte 1, under the checksum at 10; IPv6: bits 4 and 5 of byte 1
/// ```
enum InnerPacket {
    /// The packet's own length and one of its addresses. Nil when the header does not fit or claims more than there is.
    @inline(__always)
    static func parse(_ bytes: UnsafeRawBufferPointer, destination: Bool) -> (length: Int, address: IPAddress)? {
        guard bytes.count >= 20 else { return nil }
        switch bytes[0] >> 4 {
        case 4:
            let length = Int(bytes[2]) << 8 | Int(bytes[3])
            guard bytes[0] & 15 >= 5, length >= 20, length <= bytes.count else { return nil }
            return (length, IPAddress(v4: bytes.bigEndian32(at: destination ? 16 : 12)))
        case 6:
            let length = 40 + (Int(bytes[4]) << 8 | Int(bytes[5]))
            guard length <= bytes.count else { return nil }
            let offset = destination ? 24 : 8
            return (length, IPAddress(v6High: bytes.bigEndian64(at: offset), low: bytes.bigEndian64(at: offset + 8)))
        default: return nil
        }
    }

    /// What every link that carries IPv6 takes (RFC 8200, section 5); below it, what is around the packet is fragmented.
    static let leastMTUv6 = 1280

    /// Where packets of `largest` bytes pass: what the sender of this larger one, which `parse` takes, is to be told. Nil when
    /// it goes on its way, and what is around it is fragmented.
    static func refusal(_ bytes: UnsafeRawBufferPointer, largest: Int) -> Int? {
        let isV4 = bytes[0] >> 4 == 4
        if isV4, bytes[6] & 0x40 == 0 { return nil }
        let limit = isV4 ? largest : max(largest, leastMTUv6)
        return bytes.count > limit ? limit : nil
    }

    /// The mark of a packet that `parse` takes.
    @inline(__always)
    static func ecn(_ bytes: UnsafeRawBufferPointer) -> ECN {
        ECN(trafficClass: bytes[0] >> 4 == 4 ? bytes[1] : bytes[1] >> 4)
    }

    /// Gives a packet that `parse` takes what the datagram around it was marked with (RFC 6040). False when it is to be dropped.
    static func take(_ outer: ECN, _ bytes: UnsafeMutableRawBufferPointer) -> Bool {
        let inner = ecn(UnsafeRawBufferPointer(bytes))
        guard let mark = inner.decapsulated(from: outer) else { return false }
        guard mark != inner else { return true }
        if bytes[0] >> 4 == 4 {
            let former = UInt16(bytes[0]) << 8 | UInt16(bytes[1])
            bytes[1] = bytes[1] & ~3 | mark.rawValue
            let new = UInt16(bytes[0]) << 8 | UInt16(bytes[1])
            // RFC 1624, equation 3. A wrong checksum stays as wrong as it was.
            let checksum = UInt16(bytes[10]) << 8 | UInt16(bytes[11])
            var sum = UInt32(~checksum) + UInt32(~former) + UInt32(new)
            sum = (sum & 0xFFFF) + (sum >> 16)
            sum = (sum & 0xFFFF) + (sum >> 16)
            let updated = ~UInt16(truncatingIfNeeded: sum)
            bytes[10] = UInt8(updated >> 8)
            bytes[11] = UInt8(updated & 255)
        } else {
            bytes[1] = bytes[1] & ~0x30 | mark.rawValue << 4
        }
        return true
    }
}
