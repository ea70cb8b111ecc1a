internal import FabricCore

/// What the tunnel reads of an IP packet: its length and addresses.
///
/// ```
/// IPv4 (RFC 791):   0 version, IHL   2 total length (2)     12 source (4)    16 destination (4)   20
/// IPv6 (RFC 8200):  0 version        4 payload length (2)    8 source (16)   24 destination (16)  40
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
}
