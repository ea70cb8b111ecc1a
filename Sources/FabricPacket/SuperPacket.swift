/// What a TUN device with offloads gave: one packet, or a super-packet that stands for many (TSO, USO).
///
/// The kernel's word is checked all the same: nothing outside the bytes is read, whatever the header says.
public struct SuperPacket {
    /// Why a packet can't be sent on.
    public enum Refusal: UInt8, Error, CaseIterable, Sendable, CustomStringConvertible {
        /// A kind of offload that was not asked for.
        case unknownSegmentation
        /// The kind and the packet's IP version, or the packet's own length and what there is, don't go together.
        case contradiction
        /// The transport header or its checksum would stand outside the packet.
        case outside
        /// Segments without payload, or more of them than `maximumSegments`.
        case segmentSize
        /// A fragment can't be a super-packet.
        case fragment

        public var description: String {
            switch self {
            case .unknownSegmentation: "offload_unknown"
            case .contradiction: "offload_contradiction"
            case .outside: "offload_outside"
            case .segmentSize: "offload_segment_size"
            case .fragment: "offload_fragment"
            }
        }
    }

    /// TCP's smallest segments (RFC 9293, 536 bytes, but hosts go down to 48) make 1,365 of the longest packet.
    public static let maximumSegments = 2048

    public let segmentCount: Int

    private let bytes: UnsafeRawPointer
    private let count: Int
    private let isV6: Bool
    private let isTCP: Bool
    private let transport: Int
    private let headers: Int
    private let segmentSize: Int
    /// The sum of the pseudo header without its length, in the memory's order.
    private let pseudo: UInt64

    /// Judges a super-packet, whose bytes must stay as they are while this is used.
    public init(_ header: VirtioHeader, _ packet: UnsafeRawBufferPointer) throws(Refusal) {
        guard let kind = header.segmentation, kind != .none else { throw .unknownSegmentation }
        guard let base = packet.baseAddress, packet.count >= IPLayout.v4Header,
            packet.count <= IPLayout.longestPacket
        else { throw .contradiction }
        bytes = base
        count = packet.count
        transport = Int(header.checksumStart)
        isTCP = kind != .udp
        switch base.byte(0) >> 4 {
        case 4:
            guard kind != .tcp6, transport == Int(base.byte(0) & 15) * 4, transport >= IPLayout.v4Header,
                Int(base.big16(2)) == count, base.byte(9) == (kind == .udp ? IPLayout.udp : IPLayout.tcp)
            else { throw .contradiction }
            guard base.big16(6) & 0x3FFF == 0 else { throw .fragment }
            isV6 = false
        case 6:
            guard kind != .tcp4, transport >= IPLayout.v6Header, count >= IPLayout.v6Header,
                Int(base.big16(4)) + IPLayout.v6Header == count,
                transport > IPLayout.v6Header || base.byte(6) == (kind == .udp ? IPLayout.udp : IPLayout.tcp)
            else { throw .contradiction }
            isV6 = true
        default: throw .contradiction
        }
        let place = isTCP ? IPLayout.tcpChecksum : IPLayout.udpChecksum
        guard header.needsChecksum, Int(header.checksumOffset) == place,
            transport + (isTCP ? IPLayout.tcpHeader : IPLayout.udpHeader) <= count
        else { throw .outside }
        headers = transport + (isTCP ? Int(base.byte(transport + 12) >> 4) * 4 : IPLayout.udpHeader)
        guard headers <= count, headers >= transport + (isTCP ? IPLayout.tcpHeader : IPLayout.udpHeader),
            Int(header.headerLength) <= count
        else { throw .outside }
        segmentSize = Int(header.segmentSize)
        guard segmentSize > 0, headers < count else { throw .segmentSize }
        segmentCount = (count - headers + segmentSize - 1) / segmentSize
        guard segmentCount <= SuperPacket.maximumSegments else { throw .segmentSize }
        // What the checksum field holds is the sum of the pseudo header, with the length of the whole.
        pseudo =
            UInt64(base.raw16(transport + place)) + UInt64(~UInt16(truncatingIfNeeded: count - transport).bigEndian)
    }

    /// The length of a segment, headers and all.
    @inline(__always)
    public func length(of index: Int) -> Int { headers + min(segmentSize, count - headers - index * segmentSize) }

    /// Writes segment `index`, a whole IP packet with its checksums, and returns its length. There is room for it, and it
    /// does not overlap the super-packet.
    @inline(__always)
    public func write(_ index: Int, to place: UnsafeMutableRawPointer) -> Int {
        precondition(index >= 0 && index < segmentCount)
        let offset = index * segmentSize
        let payload = min(segmentSize, count - headers - offset)
        let length = headers + payload
        place.copyMemory(from: bytes, byteCount: headers)
        (place + headers).copyMemory(from: bytes + headers + offset, byteCount: payload)
        if isV6 {
            place.storeBig16(length - IPLayout.v6Header, 4)
        } else {
            place.storeBig16(length, 2)
            place.storeBig16(Int(bytes.big16(4)) + index, 4)
            place.sealIPv4Header(length: transport)
        }
        let header = place + transport
        let checksum = isTCP ? IPLayout.tcpChecksum : IPLayout.udpChecksum
        if isTCP {
            let sequence = (bytes + transport).big32(4) &+ UInt32(truncatingIfNeeded: offset)
            header.storeBytes(of: sequence.bigEndian, toByteOffset: 4, as: UInt32.self)
            var flags = (bytes + transport).byte(13)
            if index > 0 { flags &= ~TCPFlags.congestionWindowReduced }
            if index < segmentCount - 1 { flags &= ~(TCPFlags.fin | TCPFlags.push) }
            header.storeBytes(of: flags, toByteOffset: 13, as: UInt8.self)
        } else {
            header.storeBig16(length - transport, 4)
        }
        header.storeRaw16(0, checksum)
        let sum = InternetChecksum.sum(
            header, count: length - transport, initial: pseudo + InternetChecksum.word(length - transport))
        let folded = ~InternetChecksum.fold(sum)
        // In UDP zero says that there is no checksum; its other spelling is all ones.
        header.storeRaw16(!isTCP && folded == 0 ? 0xFFFF : folded, checksum)
        return length
    }

    /// Completes the checksum of a packet that stands for itself, where the header asks for it.
    @inline(__always)
    public static func complete(
        _ header: VirtioHeader, _ packet: UnsafeMutableRawBufferPointer
    ) throws(Refusal) {
        guard header.needsChecksum else { return }
        let (start, offset) = (Int(header.checksumStart), Int(header.checksumOffset))
        guard let base = packet.baseAddress, start >= IPLayout.v4Header, start + offset + 2 <= packet.count else {
            throw .outside
        }
        let sum = ~InternetChecksum.fold(InternetChecksum.sum(base + start, count: packet.count - start))
        (base + start).storeRaw16(sum == 0 && offset == IPLayout.udpChecksum ? 0xFFFF : sum, offset)
    }
}
