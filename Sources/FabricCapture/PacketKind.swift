/// What a packet on an underlay link counts as.
public enum PacketKind: String, Hashable, Sendable, CaseIterable, Comparable {
    case wireGuardInitiation = "wireguard-initiation"
    case wireGuardResponse = "wireguard-response"
    case wireGuardCookie = "wireguard-cookie"
    case wireGuardTransport = "wireguard-transport"
    /// Payload of a TCP connection that has been TLS 1.3 so far.
    case tls
    /// A TCP segment without payload: SYN, ACK, FIN, RST.
    case tcpControl = "tcp-control"
    case arp
    case icmp
    /// ICMP type 3 (RFC 792) and ICMPv6 type 1 (RFC 4443): what a kernel says when nobody listens, or no way leads there.
    case destinationUnreachable = "destination-unreachable"
    /// Neighbour and router discovery, redirects (RFC 4861).
    case neighborDiscovery = "neighbor-discovery"
    /// Multicast group membership: MLD and IGMP.
    case groupMembership = "group-membership"
    case icmpv6
    case otherUDP = "other-udp"
    case otherTCP = "other-tcp"
    case otherIP = "other-ip"
    case otherLink = "other-link"
    case fragment
    case malformed

    public static func < (a: PacketKind, b: PacketKind) -> Bool { a.rawValue < b.rawValue }

    public static let wireGuard: Set<PacketKind> = [
        .wireGuardInitiation, .wireGuardResponse, .wireGuardCookie, .wireGuardTransport,
    ]
    /// What links need to work at all; it carries nothing of the fabric's.
    public static let infrastructure: Set<PacketKind> = [.arp, .neighborDiscovery, .groupMembership]
}

/// WireGuard's messages, by their type byte, three zero bytes and exact length.
/// Source: Donenfeld, "WireGuard: Next Generation Kernel Network Tunnel", section 5.4.
public enum WireGuardMessage {
    /// Nil for anything else. Senders pad contents to a multiple of 16, but never beyond their interface's MTU:
    /// `tunnelMTUs` are those whose full packets count too.
    public static func classify(_ payload: UnsafeRawBufferPointer, tunnelMTUs: Set<Int>) -> PacketKind? {
        guard payload.count >= 4, payload[1] == 0, payload[2] == 0, payload[3] == 0 else { return nil }
        switch (payload[0], payload.count) {
        case (1, 148): return .wireGuardInitiation
        case (2, 92): return .wireGuardResponse
        case (3, 64): return .wireGuardCookie
        // Header 16, padded contents, tag 16.
        case (4, let count) where isTransport(count, tunnelMTUs) || isRun(payload, tunnelMTUs):
            return .wireGuardTransport
        default: return nil
        }
    }

    private static func isTransport(_ count: Int, _ tunnelMTUs: Set<Int>) -> Bool {
        count >= 32 && (count % 16 == 0 || tunnelMTUs.contains(count - 32))
    }

    /// Linux shows datagrams that were sent in one call (UDP_SEGMENT) as one packet: transport messages of one size, the last
    /// maybe shorter.
    private static func isRun(_ payload: UnsafeRawBufferPointer, _ tunnelMTUs: Set<Int>) -> Bool {
        guard payload.count >= 64 else { return false }
        return (32...payload.count - 32).contains { isTransport($0, tunnelMTUs) && isRun(payload, of: $0, tunnelMTUs) }
    }

    /// The counters of one session follow one another; a rekey may fall between two messages.
    private static func isRun(
        _ payload: UnsafeRawBufferPointer, of size: Int, _ tunnelMTUs: Set<Int>
    ) -> Bool {
        func receiver(_ offset: Int) -> UInt32 { payload.loadUnaligned(fromByteOffset: offset + 4, as: UInt32.self) }
        func counter(_ offset: Int) -> UInt64 {
            UInt64(littleEndian: payload.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self))
        }
        return stride(from: size, to: payload.count, by: size).allSatisfy { offset in
            guard isTransport(min(size, payload.count - offset), tunnelMTUs),
                payload[offset..<offset + 4].elementsEqual([4, 0, 0, 0])
            else { return false }
            return receiver(offset) != receiver(offset - size) || counter(offset) == counter(offset - size) &+ 1
        }
    }
}
