/// Joins consecutive packets of a flow into super-packets, which a TUN device takes in one write.
///
/// It is generic receive offload for what comes out of a tunnel. Packets stay where they are: an item is its first packet
/// with its headers, and pointers to the payloads of the others. The packets belong together when a host that had received
/// the super-packet could not tell it from them: all of their headers agree but for what counts on, TCP's sequence numbers
/// join, each payload but the last is as long as the first, and each checksum is right. Whatever else goes as it came, in its
/// place.
///
/// ```
/// before the first packet   the first packet            of each other packet
/// | virtio header (10)    | | headers | payload |       | payload |  …
/// ```
public struct Coalescer: ~Copyable {
    /// Packets in one item at most.
    public static let maximumPackets = 64
    /// How many of the newest items a packet is compared with.
    static let window = 8

    /// What is joined. A device that does not split UDP gets each datagram by itself.
    public struct Kinds: OptionSet, Sendable {
        public let rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }
        public static let tcp = Kinds(rawValue: 1)
        public static let udp = Kinds(rawValue: 2)
    }

    /// A piece of memory to be written.
    public struct Slice {
        public var start: UnsafeMutableRawPointer
        public var count: Int
    }

    /// What is known of a packet that may be joined.
    private struct Shape {
        var isV6: Bool
        var isTCP: Bool
        /// Where transport header and payload begin.
        var transport: Int
        var headers: Int
        var payload: Int
    }

    private struct Item {
        var first: UnsafeMutableRawPointer
        var firstCount: Int
        /// Nil for a packet that nothing may join.
        var shape: Shape?
        var slices: Int
        var total: Int
        var nextSequence: UInt32
        var isClosed: Bool
        var isFirstVerified: Bool
        var push: Bool
    }

    public let capacity: Int
    /// Items so far.
    public private(set) var count = 0
    /// Packets that have joined another.
    public private(set) var joined: UInt64 = 0
    private let kinds: Kinds
    private let items: UnsafeMutablePointer<Item>
    private let slices: UnsafeMutablePointer<Slice>

    /// Room for `capacity` items.
    public init(capacity: Int, kinds: Kinds) {
        precondition(capacity > 0)
        self.capacity = capacity
        self.kinds = kinds
        items = .allocate(capacity: capacity)
        slices = .allocate(capacity: capacity * Coalescer.maximumPackets)
    }

    deinit {
        items.deallocate()
        slices.deallocate()
    }

    public var isFull: Bool { count == capacity }

    public mutating func removeAll() { count = 0 }

    /// Takes an IP packet, as long as its header says, with 10 bytes of room before it. The memory stays as it is until the
    /// items have been written. There is room for another item.
    public mutating func append(_ packet: UnsafeMutableRawPointer, count length: Int) {
        let shape = Coalescer.shape(packet, length, kinds)
        if let shape {
            var index = count - 1
            let oldest = max(0, count - Coalescer.window)
            while index >= oldest {
                if isSameFlow(index, packet, shape) {
                    if join(index, packet, length, shape) { return }
                    break
                }
                index -= 1
            }
        }
        precondition(count < capacity)
        let isTCP = shape?.isTCP ?? false
        let flags = isTCP ? UnsafeRawPointer(packet).byte(shape!.transport + 13) : 0
        (items + count).initialize(
            to: Item(
                first: packet, firstCount: length, shape: shape, slices: 0, total: length,
                nextSequence: isTCP
                    ? UnsafeRawPointer(packet).big32(shape!.transport + 4)
                        &+ UInt32(truncatingIfNeeded: shape!.payload) : 0,
                isClosed: flags & TCPFlags.push != 0, isFirstVerified: false, push: flags & TCPFlags.push != 0))
        count += 1
    }

    // MARK: Joining

    /// Nil for what is never joined: other protocols, options and extension headers, fragments, control segments, empty ones.
    @inline(__always)
    private static func shape(_ packet: UnsafeRawPointer, _ length: Int, _ kinds: Kinds) -> Shape? {
        guard length >= IPLayout.v4Header + IPLayout.udpHeader else { return nil }
        let isV6: Bool
        let transport: Int
        let proto: UInt8
        switch packet.byte(0) {
        case 0x45:
            guard Int(packet.big16(2)) == length, packet.big16(6) & 0x3FFF == 0 else { return nil }
            (isV6, transport, proto) = (false, IPLayout.v4Header, packet.byte(9))
        case 0x60...0x6F:
            guard length >= IPLayout.v6Header + IPLayout.udpHeader, Int(packet.big16(4)) + IPLayout.v6Header == length
            else { return nil }
            (isV6, transport, proto) = (true, IPLayout.v6Header, packet.byte(6))
        default: return nil
        }
        let headers: Int
        let isTCP: Bool
        if proto == IPLayout.tcp, kinds.contains(.tcp) {
            guard length >= transport + IPLayout.tcpHeader,
                packet.byte(transport + 13) & ~TCPFlags.push == TCPFlags.acknowledge
            else { return nil }
            let offset = Int(packet.byte(transport + 12) >> 4) * 4
            guard offset >= IPLayout.tcpHeader else { return nil }
            (isTCP, headers) = (true, transport + offset)
        } else if proto == IPLayout.udp, kinds.contains(.udp) {
            guard Int(packet.big16(transport + 4)) == length - transport,
                packet.raw16(transport + IPLayout.udpChecksum) != 0
            else { return nil }
            (isTCP, headers) = (false, transport + IPLayout.udpHeader)
        } else {
            return nil
        }
        guard headers < length else { return nil }
        return Shape(
            isV6: isV6, isTCP: isTCP, transport: transport, headers: headers, payload: length - headers)
    }

    /// Addresses, protocol and ports; whether they can be joined is another question.
    @inline(__always)
    private func isSameFlow(_ index: Int, _ packet: UnsafeRawPointer, _ shape: Shape) -> Bool {
        let item = items + index
        guard let its = item.pointee.shape, its.isV6 == shape.isV6, its.isTCP == shape.isTCP else { return false }
        let first = UnsafeRawPointer(item.pointee.first)
        guard first.raw32(shape.transport) == packet.raw32(shape.transport) else { return false }
        if shape.isV6 {
            return first.raw64(8) == packet.raw64(8) && first.raw64(16) == packet.raw64(16)
                && first.raw64(24) == packet.raw64(24) && first.raw64(32) == packet.raw64(32)
        }
        return first.raw64(12) == packet.raw64(12)
    }

    /// All that must be equal beyond addresses and ports.
    @inline(__always)
    private func headersAgree(_ item: UnsafeMutablePointer<Item>, _ packet: UnsafeRawPointer, _ shape: Shape) -> Bool {
        let first = UnsafeRawPointer(item.pointee.first)
        if shape.isV6 {
            guard first.raw32(0) == packet.raw32(0), first.byte(7) == packet.byte(7) else { return false }
        } else {
            guard first.byte(1) == packet.byte(1), first.raw16(6) == packet.raw16(6), first.byte(8) == packet.byte(8)
            else { return false }
            // Without “don't fragment” the identification matters, and splitting counts it on.
            if first.byte(6) & 0x40 == 0 {
                let expected = first.big16(4) &+ UInt16(truncatingIfNeeded: item.pointee.slices + 1)
                guard packet.big16(4) == expected else { return false }
            }
        }
        guard shape.isTCP else { return true }
        guard item.pointee.shape!.headers == shape.headers else { return false }
        let (a, b) = (first + shape.transport, packet + shape.transport)
        guard a.raw32(8) == b.raw32(8), a.byte(12) == b.byte(12), a.raw16(14) == b.raw16(14),
            a.raw16(18) == b.raw16(18),
            b.big32(4) == item.pointee.nextSequence
        else { return false }
        var offset = IPLayout.tcpHeader
        while offset < shape.headers - shape.transport {
            guard a.raw32(offset) == b.raw32(offset) else { return false }
            offset += 4
        }
        return true
    }

    private mutating func join(
        _ index: Int, _ packet: UnsafeMutableRawPointer, _ length: Int, _ shape: Shape
    ) -> Bool {
        let item = items + index
        guard !item.pointee.isClosed, let its = item.pointee.shape, shape.payload <= its.payload,
            item.pointee.slices + 1 < Coalescer.maximumPackets,
            item.pointee.total + shape.payload <= IPLayout.longestPacket,
            headersAgree(item, packet, shape)
        else { return false }
        if !item.pointee.isFirstVerified {
            guard Coalescer.isIntact(item.pointee.first, item.pointee.firstCount, its) else {
                item.pointee.isClosed = true
                return false
            }
            item.pointee.isFirstVerified = true
        }
        guard Coalescer.isIntact(packet, length, shape) else { return false }
        slices[index * Coalescer.maximumPackets + item.pointee.slices + 1] = Slice(
            start: packet + shape.headers, count: shape.payload)
        item.pointee.slices += 1
        item.pointee.total += shape.payload
        item.pointee.nextSequence &+= UInt32(truncatingIfNeeded: shape.payload)
        let push = shape.isTCP && UnsafeRawPointer(packet).byte(shape.transport + 13) & TCPFlags.push != 0
        if push || shape.payload < its.payload { item.pointee.isClosed = true }
        if push { item.pointee.push = true }
        joined += 1
        return true
    }

    /// The device would take a joined packet's checksum on trust, so the damage of one must show here.
    private static func isIntact(_ packet: UnsafeRawPointer, _ length: Int, _ shape: Shape) -> Bool {
        if !shape.isV6, InternetChecksum.fold(InternetChecksum.sum(packet, count: IPLayout.v4Header)) != 0xFFFF {
            return false
        }
        let sum = pseudoHeader(packet, shape, length: length - shape.transport)
        return InternetChecksum.fold(
            InternetChecksum.sum(packet + shape.transport, count: length - shape.transport, initial: sum)) == 0xFFFF
    }

    private static func pseudoHeader(_ packet: UnsafeRawPointer, _ shape: Shape, length: Int) -> UInt64 {
        let sum = InternetChecksum.word(Int(shape.isTCP ? IPLayout.tcp : IPLayout.udp)) + InternetChecksum.word(length)
        return shape.isV6
            ? InternetChecksum.sum(packet + 8, count: 32, initial: sum)
            : InternetChecksum.sum(packet + 12, count: 8, initial: sum)
    }

    // MARK: Writing

    /// Finishes an item's headers and gives what to write, in order; once. The virtio header is written before the first
    /// packet when `virtio` says that the device wants one.
    public mutating func slices(of index: Int, virtio: Bool) -> UnsafeBufferPointer<Slice> {
        precondition(index >= 0 && index < count)
        let item = items + index
        let first = item.pointee.first
        var header = VirtioHeader()
        if item.pointee.slices > 0, let shape = item.pointee.shape {
            let total = item.pointee.total
            let checksum = shape.isTCP ? IPLayout.tcpChecksum : IPLayout.udpChecksum
            header = VirtioHeader(
                flags: VirtioHeader.needsChecksum,
                type: (!shape.isTCP
                    ? VirtioHeader.Segmentation.udp : shape.isV6 ? VirtioHeader.Segmentation.tcp6 : .tcp4).rawValue,
                headerLength: UInt16(shape.headers), segmentSize: UInt16(shape.payload),
                checksumStart: UInt16(shape.transport), checksumOffset: UInt16(checksum))
            if shape.isV6 {
                first.storeBig16(total - IPLayout.v6Header, 4)
            } else {
                first.storeBig16(total, 2)
                first.sealIPv4Header(length: IPLayout.v4Header)
            }
            let transport = first + shape.transport
            if shape.isTCP {
                if item.pointee.push {
                    let flags = UnsafeRawPointer(transport).byte(13) | TCPFlags.push
                    transport.storeBytes(of: flags, toByteOffset: 13, as: UInt8.self)
                }
            } else {
                transport.storeBig16(total - shape.transport, 4)
            }
            let sum = Coalescer.pseudoHeader(first, shape, length: total - shape.transport)
            transport.storeRaw16(InternetChecksum.fold(sum), checksum)
        }
        let room = virtio ? VirtioHeader.length : 0
        if virtio { header.write(to: first - room) }
        let start = slices + index * Coalescer.maximumPackets
        start.initialize(to: Slice(start: first - room, count: item.pointee.firstCount + room))
        return UnsafeBufferPointer(start: start, count: item.pointee.slices + 1)
    }
}
