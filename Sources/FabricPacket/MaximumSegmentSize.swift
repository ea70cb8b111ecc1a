/// The option by which the ends of a TCP connection tell how long a segment may be that they are sent (RFC 9293, section 3.7.1).
/// It stands in the packets that open the connection.
///
/// ```
/// TCP header: … 12 data offset   13 flags (2: SYN)   16 checksum   20 options: … | 2 | 4 | size (2) | …
/// ```
public enum MaximumSegmentSize {
    private static let synchronize: UInt8 = 0x02
    private static let endOfOptions: UInt8 = 0
    private static let noOperation: UInt8 = 1
    private static let kind: UInt8 = 2
    /// No size is made smaller than that: the smallest packet that every link carries (RFC 791), less the headers.
    static let least = 28

    /// Lowers the size in a packet that opens a connection, so that segments of it make IP packets of `largest` bytes at most, and
    /// mends the checksum. True when something was changed. Whatever else the bytes are, they stay.
    @discardableResult
    public static func clamp(_ packet: UnsafeMutableRawBufferPointer, largest: Int) -> Bool {
        guard let base = packet.baseAddress, let transport = transportHeader(packet) else { return false }
        let tcp = base + transport
        let bytes = UnsafeRawPointer(tcp)
        guard bytes.byte(13) & synchronize != 0 else { return false }
        let end = Int(bytes.byte(12) >> 4) * 4
        guard end >= IPLayout.tcpHeader, transport + end <= packet.count else { return false }
        let network = UnsafeRawPointer(base).byte(0) >> 4 == 4 ? IPLayout.v4Header : IPLayout.v6Header
        let limit = UInt16(clamping: max(largest - network - IPLayout.tcpHeader, least))
        var place = IPLayout.tcpHeader
        while place < end {
            let option = bytes.byte(place)
            if option == endOfOptions { return false }
            if option == noOperation {
                place += 1
                continue
            }
            guard place + 1 < end else { return false }
            let length = Int(bytes.byte(place + 1))
            guard length >= 2, place + length <= end else { return false }
            if option == kind, length == 4 {
                let size = bytes.big16(place + 2)
                guard size > limit else { return false }
                tcp.storeBig16(Int(limit), place + 2)
                // At an odd place its bytes are in two words of the checksum, as if they were swapped.
                let isOdd = place & 1 != 0
                mend(tcp, from: isOdd ? size.byteSwapped : size, to: isOdd ? limit.byteSwapped : limit)
                return true
            }
            place += length
        }
        return false
    }

    /// Nil for what is not TCP, a later fragment, or cut short. TCP behind IPv6 extension headers is not looked for.
    private static func transportHeader(_ packet: UnsafeMutableRawBufferPointer) -> Int? {
        guard packet.count >= IPLayout.v4Header + IPLayout.tcpHeader, let base = packet.baseAddress else { return nil }
        let bytes = UnsafeRawPointer(base)
        switch bytes.byte(0) >> 4 {
        case 4:
            let header = Int(bytes.byte(0) & 15) * 4
            guard header >= IPLayout.v4Header, bytes.byte(9) == IPLayout.tcp, bytes.big16(6) & 0x1FFF == 0,
                header + IPLayout.tcpHeader <= packet.count
            else { return nil }
            return header
        case 6:
            guard bytes.byte(6) == IPLayout.tcp, packet.count >= IPLayout.v6Header + IPLayout.tcpHeader else {
                return nil
            }
            return IPLayout.v6Header
        default: return nil
        }
    }

    /// RFC 1624, equation 3.
    private static func mend(_ tcp: UnsafeMutableRawPointer, from old: UInt16, to new: UInt16) {
        let checksum = UnsafeRawPointer(tcp).big16(IPLayout.tcpChecksum)
        var sum = UInt32(~checksum) + UInt32(~old) + UInt32(new)
        sum = (sum & 0xFFFF) + (sum >> 16)
        sum = (sum & 0xFFFF) + (sum >> 16)
        tcp.storeBig16(Int(~UInt16(truncatingIfNeeded: sum)), IPLayout.tcpChecksum)
    }
}
