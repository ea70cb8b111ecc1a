public import FabricCore

/// What a router tells the sender of a packet that is larger than what the way on takes (RFC 1191, RFC 8201).
///
/// ```
/// IPv4:  header (20) | 3  4  checksum (2)  0 (2)  MTU (2) | of the packet, so that it makes 576 bytes at most (RFC 1812)
/// IPv6:  header (40) | 2  0  checksum (2)  MTU (4)        | of the packet, so that it makes 1,280 bytes at most (RFC 4443)
/// ```
public enum PacketTooBig {
    static let longestV4 = 576
    static let longestV6 = 1280
    static let icmpHeader = 8
    private static let icmp: UInt8 = 1
    private static let icmp6: UInt8 = 58
    /// Extension headers that are looked through for what the packet is.
    private static let extensionHeaders = 8

    /// Makes of the IP packet in the buffer the message to its sender that `largest` bytes pass. False, and the packet is as it
    /// was, where there may be none: for what is no whole IP packet, an ICMP error, a later fragment, or one to or from an
    /// address that is not one host's.
    ///
    /// The message's source is `source` over IPv6. Over IPv4 it is the packet's destination: Linux takes no packet from an
    /// interface that has the interface's own address.
    public static func answer(_ packet: inout PacketBuffer, largest: Int, source: IPAddress) -> Bool {
        guard let base = packet.bytes.baseAddress, packet.count >= IPLayout.v4Header else { return false }
        let bytes = UnsafeRawPointer(base)
        switch bytes.byte(0) >> 4 {
        case 4:
            guard isAnswerableV4(bytes, packet.count) else { return false }
            let (from, to) = (bytes.raw32(16), bytes.raw32(12))
            let message = quote(&packet, header: IPLayout.v4Header + icmpHeader, longest: longestV4)
            writeV4(message, packet.count, largest, from: from, to: to)
        case 6:
            guard source.family == .v6, packet.count >= IPLayout.v6Header, isAnswerableV6(bytes, packet.count) else {
                return false
            }
            let to = (bytes.raw64(8), bytes.raw64(16))
            let message = quote(&packet, header: IPLayout.v6Header + icmpHeader, longest: longestV6)
            writeV6(message, packet.count, largest, from: (source.high.bigEndian, source.low.bigEndian), to: to)
        default: return false
        }
        return true
    }

    /// Moves the packet back behind `header` bytes of zeros, and cuts it.
    private static func quote(
        _ packet: inout PacketBuffer, header: Int, longest: Int
    ) -> UnsafeMutableRawPointer {
        let quoted = min(packet.count, longest - header, packet.capacity - packet.start - header)
        precondition(quoted >= 0, "a buffer has more room than the headers of a message take")
        packet.count = header + quoted
        let base = packet.bytes.baseAddress!
        (base + header).copyMemory(from: base, byteCount: quoted)
        base.initializeMemory(as: UInt8.self, repeating: 0, count: header)
        return base
    }

    private static func writeV4(
        _ message: UnsafeMutableRawPointer, _ count: Int, _ largest: Int, from: UInt32, to: UInt32
    ) {
        message.storeBytes(of: 0x45, as: UInt8.self)
        // Internetwork control, as routers' messages have it (RFC 1812, section 4.3.2.5).
        message.storeBytes(of: 0xC0, toByteOffset: 1, as: UInt8.self)
        message.storeBig16(count, 2)
        message.storeBig16(0x4000, 6)
        message.storeBytes(of: 64, toByteOffset: 8, as: UInt8.self)
        message.storeBytes(of: icmp, toByteOffset: 9, as: UInt8.self)
        message.storeBytes(of: from, toByteOffset: 12, as: UInt32.self)
        message.storeBytes(of: to, toByteOffset: 16, as: UInt32.self)
        message.sealIPv4Header(length: IPLayout.v4Header)
        let body = message + IPLayout.v4Header
        body.storeBytes(of: 3, as: UInt8.self)
        body.storeBytes(of: 4, toByteOffset: 1, as: UInt8.self)
        body.storeBig16(min(largest, IPLayout.longestPacket), 6)
        body.storeRaw16(~InternetChecksum.fold(InternetChecksum.sum(body, count: count - IPLayout.v4Header)), 2)
    }

    private static func writeV6(
        _ message: UnsafeMutableRawPointer, _ count: Int, _ largest: Int, from: (UInt64, UInt64), to: (UInt64, UInt64)
    ) {
        let length = count - IPLayout.v6Header
        message.storeBytes(of: 0x60, as: UInt8.self)
        message.storeBig16(length, 4)
        message.storeBytes(of: icmp6, toByteOffset: 6, as: UInt8.self)
        message.storeBytes(of: 64, toByteOffset: 7, as: UInt8.self)
        for (place, word) in [(8, from.0), (16, from.1), (24, to.0), (32, to.1)] {
            message.storeBytes(of: word, toByteOffset: place, as: UInt64.self)
        }
        let body = message + IPLayout.v6Header
        body.storeBytes(of: 2, as: UInt8.self)
        body.storeBytes(of: UInt32(clamping: largest).bigEndian, toByteOffset: 4, as: UInt32.self)
        let pseudo = InternetChecksum.sum(
            message + 8, count: 32, initial: InternetChecksum.word(Int(icmp6)) + InternetChecksum.word(length))
        body.storeRaw16(~InternetChecksum.fold(InternetChecksum.sum(body, count: length, initial: pseudo)), 2)
    }

    // MARK: What may be answered (RFC 1122, section 3.2.2; RFC 4443, section 2.4)

    private static func isAnswerableV4(_ packet: UnsafeRawPointer, _ count: Int) -> Bool {
        let header = Int(packet.byte(0) & 15) * 4
        guard header >= IPLayout.v4Header, header <= count, packet.big16(6) & 0x1FFF == 0 else { return false }
        // This network, loopback, multicast, broadcast: none of them is one host's.
        for place in [12, 16] {
            let first = packet.byte(place)
            if first == 0 || first == 127 || first >= 224 { return false }
        }
        guard packet.byte(9) == icmp else { return true }
        return header < count && ![3, 4, 5, 11, 12].contains(packet.byte(header))
    }

    private static func isAnswerableV6(_ packet: UnsafeRawPointer, _ count: Int) -> Bool {
        let isUnspecified = packet.raw64(8) == 0 && packet.raw64(16) == 0
        guard !isUnspecified, packet.byte(8) != 0xFF, packet.byte(24) != 0xFF else { return false }
        var kind = packet.byte(6)
        var place = IPLayout.v6Header
        for _ in 0..<extensionHeaders {
            switch kind {
            case icmp6: return place < count && packet.byte(place) >= 128
            case 0, 43, 60:
                guard place + 8 <= count else { return false }
                kind = packet.byte(place)
                place += 8 * (Int(packet.byte(place + 1)) + 1)
                guard place <= count else { return false }
            case 44:
                // Of a later fragment nobody can tell what it is of.
                guard place + 8 <= count, packet.big16(place + 2) & 0xFFF8 == 0 else { return false }
                kind = packet.byte(place)
                place += 8
            default: return true
            }
        }
        return false
    }
}
