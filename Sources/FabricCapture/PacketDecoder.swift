public import FabricCore

/// The addresses of a packet; ports are 0 where the protocol has none.
public struct Flow: Hashable, Sendable, CustomStringConvertible {
    public var source: Endpoint
    public var destination: Endpoint
    /// The IP protocol number (IANA): 6 TCP, 17 UDP.
    public var protocolNumber: UInt8

    public init(source: Endpoint, destination: Endpoint, protocolNumber: UInt8) {
        self.source = source
        self.destination = destination
        self.protocolNumber = protocolNumber
    }

    public var description: String {
        let name =
            switch protocolNumber {
            case 1: "icmp"
            case 6: "tcp"
            case 17: "udp"
            case 58: "icmpv6"
            default: "protocol \(protocolNumber)"
            }
        guard protocolNumber == 6 || protocolNumber == 17 else {
            return "\(name) \(source.address) > \(destination.address)"
        }
        return "\(name) \(source) > \(destination)"
    }
}

public struct TCPSegment: Hashable, Sendable {
    public var sequence: UInt32
    public var isSYN: Bool
    public var isACK: Bool
    public var isFIN: Bool
    public var isRST: Bool
    /// Where the payload stands in the frame.
    public var payload: Range<Int>

    public init(sequence: UInt32, isSYN: Bool, isACK: Bool, isFIN: Bool, isRST: Bool, payload: Range<Int>) {
        self.sequence = sequence
        self.isSYN = isSYN
        self.isACK = isACK
        self.isFIN = isFIN
        self.isRST = isRST
        self.payload = payload
    }
}

/// What one frame is, down to the transport.
public struct DecodedPacket: Hashable, Sendable {
    public enum Content: Hashable, Sendable {
        case arp
        case icmp(type: UInt8)
        case icmpv6(type: UInt8)
        case igmp
        /// Where the payload stands in the frame.
        case udp(payload: Range<Int>)
        case tcp(TCPSegment)
        /// A part of an IP packet that was split; nothing more can be told of it.
        case fragment
        case otherIP
        case otherLink(etherType: UInt16)
        /// It contradicts its own lengths, or ends before its headers do.
        case malformed(String)
    }

    public var flow: Flow?
    public var content: Content
}

/// Link layers that the decoder knows, by their number in capture files (tcpdump.org/linktypes.html).
public enum LinkType: Hashable, Sendable {
    case ethernet
    /// Linux "cooked" capture, as the device `any` gives it.
    case linuxCooked
    case linuxCooked2
    case rawIP

    public init?(number: Int32) {
        switch number {
        case 1: self = .ethernet
        case 113: self = .linuxCooked
        case 276: self = .linuxCooked2
        // LINKTYPE_RAW, the DLT_RAW of several systems, and the two that name the version.
        case 12, 14, 101, 228, 229: self = .rawIP
        default: return nil
        }
    }

    /// The number that libpcap wants for writing.
    public var number: Int32 {
        switch self {
        case .ethernet: 1
        case .linuxCooked: 113
        case .linuxCooked2: 276
        // libpcap wants the DLT_RAW of this system; files hold 101.
        case .rawIP: 12
        }
    }
}

/// Ethernet, Linux-cooked or raw IP, then IPv4 or IPv6, then UDP or TCP. Never traps, whatever the bytes.
public enum PacketDecoder {
    /// IPv6 extension headers, and VLAN tags, that one packet may have.
    static let maximumNesting = 8

    public static func decode(_ frame: UnsafeRawBufferPointer, link: LinkType) -> DecodedPacket {
        var reader = ByteReader(frame)
        guard let etherType = linkHeader(&reader, link) else { return .malformed("it ends in its link header") }
        switch etherType {
        case 0x0800: return ipv4(&reader)
        case 0x86DD: return ipv6(&reader)
        case 0x0806: return DecodedPacket(flow: nil, content: .arp)
        default: return DecodedPacket(flow: nil, content: .otherLink(etherType: etherType))
        }
    }

    /// Reads the link header and returns the EtherType of what follows.
    private static func linkHeader(_ reader: inout ByteReader, _ link: LinkType) -> UInt16? {
        var etherType: UInt16
        switch link {
        case .ethernet:
            guard reader.skip(12) != nil, let type = reader.uint16() else { return nil }
            etherType = type
        case .linuxCooked:
            guard reader.skip(14) != nil, let type = reader.uint16() else { return nil }
            etherType = type
        case .linuxCooked2:
            guard let type = reader.uint16(), reader.skip(18) != nil else { return nil }
            etherType = type
        case .rawIP:
            var look = reader
            guard let first = look.uint8() else { return nil }
            return first >> 4 == 4 ? 0x0800 : first >> 4 == 6 ? 0x86DD : 0
        }
        for _ in 0..<maximumNesting where etherType == 0x8100 || etherType == 0x88A8 {
            guard reader.skip(2) != nil, let type = reader.uint16() else { return nil }
            etherType = type
        }
        return etherType
    }

    private static func ipv4(_ reader: inout ByteReader) -> DecodedPacket {
        let available = reader.remaining
        guard let first = reader.uint8(), reader.skip(1) != nil, let total = reader.uint16(), reader.skip(2) != nil,
            let fragment = reader.uint16(), reader.skip(1) != nil, let proto = reader.uint8(), reader.skip(2) != nil,
            let source = reader.uint32(), let destination = reader.uint32()
        else { return .malformed("it ends in its IPv4 header") }
        let headerBytes = Int(first & 15) * 4
        // The kernel writes 0 for segments that offloading has made larger than the field.
        let totalBytes = total == 0 ? available : Int(total)
        guard first >> 4 == 4, headerBytes >= 20, totalBytes >= headerBytes, reader.skip(headerBytes - 20) != nil,
            // What follows the packet is the link's padding.
            reader.limit(to: totalBytes - headerBytes) != nil
        else { return .malformed("its IPv4 lengths contradict each other or the frame") }
        let addresses = (IPAddress(v4: source), IPAddress(v4: destination))
        if fragment & 0x3FFF != 0 { return packet(addresses, proto, .fragment) }
        return transport(&reader, addresses, proto)
    }

    private static func ipv6(_ reader: inout ByteReader) -> DecodedPacket {
        guard let first = reader.uint32(), let payload = reader.uint16(), var next = reader.uint8(),
            reader.skip(1) != nil, let sourceHigh = reader.uint64(), let sourceLow = reader.uint64(),
            let destinationHigh = reader.uint64(), let destinationLow = reader.uint64()
        else { return .malformed("it ends in its IPv6 header") }
        guard first >> 28 == 6, reader.limit(to: payload == 0 ? reader.remaining : Int(payload)) != nil else {
            return .malformed("its IPv6 length contradicts the frame")
        }
        let addresses = (
            IPAddress(v6High: sourceHigh, low: sourceLow), IPAddress(v6High: destinationHigh, low: destinationLow)
        )
        for _ in 0..<maximumNesting {
            switch next {
            case 0, 43, 60:
                guard let following = reader.uint8(), let length = reader.uint8(),
                    reader.skip(Int(length) * 8 + 6) != nil
                else { return .malformed("it ends in an IPv6 extension header") }
                next = following
            case 44: return packet(addresses, next, .fragment)
            default: return transport(&reader, addresses, next)
            }
        }
        return .malformed("it has more than \(maximumNesting) IPv6 extension headers")
    }

    private static func transport(
        _ reader: inout ByteReader, _ addresses: (IPAddress, IPAddress), _ proto: UInt8
    ) -> DecodedPacket {
        switch proto {
        case 17: return udp(&reader, addresses)
        case 6: return tcp(&reader, addresses)
        case 1, 58:
            guard let type = reader.uint8() else {
                return packet(addresses, proto, .malformed("an empty ICMP message"))
            }
            return packet(addresses, proto, proto == 1 ? .icmp(type: type) : .icmpv6(type: type))
        case 2: return packet(addresses, proto, .igmp)
        default: return packet(addresses, proto, .otherIP)
        }
    }

    private static func udp(_ reader: inout ByteReader, _ addresses: (IPAddress, IPAddress)) -> DecodedPacket {
        let available = reader.remaining
        guard let source = reader.uint16(), let destination = reader.uint16(), let length = reader.uint16(),
            reader.skip(2) != nil
        else { return packet(addresses, 17, .malformed("it ends in its UDP header")) }
        let content: DecodedPacket.Content =
            Int(length) == available
            ? .udp(payload: reader.offset..<reader.end) : .malformed("its UDP length contradicts its IP length")
        return packet(addresses, 17, content, ports: (source, destination))
    }

    private static func tcp(_ reader: inout ByteReader, _ addresses: (IPAddress, IPAddress)) -> DecodedPacket {
        guard let source = reader.uint16(), let destination = reader.uint16(), let sequence = reader.uint32(),
            reader.skip(4) != nil, let headerWords = reader.uint8(), let flags = reader.uint8(), reader.skip(6) != nil
        else { return packet(addresses, 6, .malformed("it ends in its TCP header")) }
        let headerBytes = Int(headerWords >> 4) * 4
        guard headerBytes >= 20, reader.skip(headerBytes - 20) != nil else {
            return packet(addresses, 6, .malformed("its TCP header length contradicts the packet"))
        }
        let segment = TCPSegment(
            sequence: sequence, isSYN: flags & 2 != 0, isACK: flags & 16 != 0, isFIN: flags & 1 != 0,
            isRST: flags & 4 != 0, payload: reader.offset..<reader.end)
        return packet(addresses, 6, .tcp(segment), ports: (source, destination))
    }

    private static func packet(
        _ addresses: (IPAddress, IPAddress), _ proto: UInt8, _ content: DecodedPacket.Content,
        ports: (UInt16, UInt16) = (0, 0)
    ) -> DecodedPacket {
        let flow = Flow(
            source: Endpoint(address: addresses.0, port: ports.0),
            destination: Endpoint(address: addresses.1, port: ports.1), protocolNumber: proto)
        return DecodedPacket(flow: flow, content: content)
    }
}

extension DecodedPacket {
    static func malformed(_ what: String) -> DecodedPacket { DecodedPacket(flow: nil, content: .malformed(what)) }
}
