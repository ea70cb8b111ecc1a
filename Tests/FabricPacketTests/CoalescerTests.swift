import FabricCore
import FabricTestSupport
import Testing

@testable import FabricPacket

/// Packets in memory with room before each, as a receiving driver has them.
private struct Joined {
    /// What each write would give the device: header and bytes.
    var items: [(header: VirtioHeader, bytes: [UInt8])] = []
    var joined: UInt64 = 0

    init(_ packets: [[UInt8]], kinds: Coalescer.Kinds = [.tcp, .udp]) {
        var coalescer = Coalescer(capacity: max(1, packets.count), kinds: kinds)
        let memory = packets.map { packet in
            let place = UnsafeMutableRawPointer.allocate(byteCount: packet.count + 16, alignment: 1)
            (place + 16).copyMemory(from: packet, byteCount: packet.count)
            return place
        }
        defer { for place in memory { place.deallocate() } }
        for (place, packet) in zip(memory, packets) { coalescer.append(place + 16, count: packet.count) }
        for index in 0..<coalescer.count {
            let bytes = coalescer.slices(of: index, virtio: true).flatMap {
                Array(UnsafeRawBufferPointer(start: $0.start, count: $0.count))
            }
            let header = bytes.withUnsafeBytes { VirtioHeader($0.baseAddress!) }
            items.append((header, Array(bytes[VirtioHeader.length...])))
        }
        joined = coalescer.joined
    }

    /// What the host sees, once super-packets are split as the kernel would.
    func packets() throws -> [[UInt8]] {
        try items.flatMap { try $0.header.type == 0 ? [$0.bytes] : split($0.header, $0.bytes) }
    }
}

@Suite struct CoalescerTests {
    /// A flow's consecutive packets.
    static func run(_ first: ReferencePacket, _ sizes: [Int]) -> [ReferencePacket] {
        var next = first
        return sizes.map { size in
            defer {
                next.sequence &+= UInt32(size)
                next.identification &+= 1
            }
            var packet = next
            packet.payload = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            return packet
        }
    }

    @Test(arguments: [(false, true), (true, true), (false, false), (true, false)])
    func `consecutive packets of a flow become one that stands for the same`(isV6: Bool, isTCP: Bool) throws {
        let packets = Self.run(ReferencePacket(isV6: isV6, isTCP: isTCP), [1000, 1000, 1000, 300]).map(\.bytes)
        let joined = Joined(packets)
        #expect(joined.items.count == 1 && joined.joined == 3)
        #expect(joined.items[0].header.segmentSize == 1000)
        #expect(try joined.packets() == packets)
    }

    @Test func `a kind that the device does not split is not joined`() {
        for isTCP in [true, false] {
            let packets = Self.run(ReferencePacket(isTCP: isTCP), [100, 100]).map(\.bytes)
            #expect(Joined(packets, kinds: isTCP ? .udp : .tcp).items.count == 2)
        }
    }

    static let changes: [@Sendable (inout ReferencePacket) -> Void] = [
        { $0.sequence &+= 1 }, { $0.acknowledgement = 5 }, { $0.window = 9 }, { $0.trafficClass = 3 },
        { $0.hopLimit = 9 }, { $0.flags = 0x11 }, { $0.flags = 0x12 }, { $0.flags = 0x30 },
        { $0.options = [1, 1, 1, 1] }, { $0.dontFragment = false }, { $0.payload.append(1) }, { $0.payload = [] },
        { $0.source = 9 }, { $0.destination = 9 }, { $0.ports.0 = 1 }, { $0.ports.1 = 1 }, { $0.isV6 = true },
        { $0.isTCP = false },
    ]

    @Test(arguments: changes.indices) func `what differs is not joined`(change: Int) throws {
        var packets = Self.run(ReferencePacket(), [500, 500])
        Self.changes[change](&packets[1])
        let joined = Joined(packets.map(\.bytes))
        #expect(joined.joined == 0)
        #expect(try joined.packets() == packets.map(\.bytes))
    }

    @Test(arguments: [0, 1, 2]) func `a damaged packet goes as it came, and its neighbours are joined`(bad: Int) throws
    {
        for isTCP in [true, false] {
            var packets = Self.run(ReferencePacket(isTCP: isTCP), [500, 500, 500]).map(\.bytes)
            packets[bad][200] ^= 1
            let joined = Joined(packets)
            #expect(try joined.packets() == packets)
            let damaged = joined.items.filter { $0.bytes == packets[bad] }
            #expect(damaged.count == 1 && damaged[0].header == VirtioHeader())
            #expect(joined.joined == (bad == 1 ? 0 : 1))
        }
    }

    @Test func `UDP without a checksum is not joined`() {
        var packets = Self.run(ReferencePacket(isTCP: false), [500, 500]).map(\.bytes)
        for index in packets.indices { packets[index].replaceSubrange(26..<28, with: [0, 0]) }
        #expect(Joined(packets).joined == 0)
    }

    @Test func `no item grows past the limits`() throws {
        let many = Self.run(ReferencePacket(), [Int](repeating: 100, count: 200)).map(\.bytes)
        #expect(Joined(many).items.count == 4)
        #expect(try Joined(many).packets() == many)
        let large = Self.run(ReferencePacket(), [Int](repeating: 8000, count: 20)).map(\.bytes)
        #expect(Joined(large).items.allSatisfy { $0.bytes.count <= 65_535 } && Joined(large).items.count == 3)
        #expect(try Joined(large).packets() == large)
    }

    /// The identification of packets that must not be fragmented means nothing and may change.
    private func comparable(_ packet: [UInt8]) -> [UInt8] {
        guard packet.count >= 20, packet[0] == 0x45, packet[6] & 0x40 != 0 else { return packet }
        var packet = packet
        for index in [4, 5, 10, 11] { packet[index] = 0 }
        return packet
    }

    /// Protocol, addresses and ports.
    private func flow(_ packet: [UInt8]) -> [UInt8] {
        guard packet.count >= 24 else { return [] }
        return packet[0] >> 4 == 6 ? Array(packet[6...].prefix(38)) : [packet[9]] + packet[12..<24]
    }

    @Test func `any mixture comes out as it went in, each flow in its order`() throws {
        let random = SeededRandom(seed: 21, stream: "mixture")
        for _ in 0..<25 {
            var flows = (0..<1 + random.below(12)).map { index in
                var packet = ReferencePacket.random(random, payload: 0)
                packet.ports.0 = UInt16(index)
                packet.flags = 0x10
                return packet
            }
            var packets: [[UInt8]] = []
            while packets.count < 60 {
                let index = random.below(flows.count)
                let size = [1 + random.below(40), 200][random.below(2)]
                for var packet in Self.run(flows[index], [Int](repeating: size, count: 1 + random.below(9))) {
                    if random.below(12) == 0 { packet.flags = [0x18, 0x11, 0x12][random.below(3)] }
                    flows[index].sequence = packet.sequence &+ UInt32(packet.payload.count)
                    flows[index].identification = packet.identification &+ 1
                    var bytes = packet.bytes
                    switch random.below(30) {
                    case 0: bytes[bytes.count - 1] ^= 1
                    case 1: bytes = random.bytes(random.below(60))
                    default: break
                    }
                    packets.append(bytes)
                }
            }
            let out = try Joined(packets).packets()
            #expect(out.count == packets.count)
            let expected = Dictionary(grouping: packets.map(comparable), by: flow)
            let got = Dictionary(grouping: out.map(comparable), by: flow)
            #expect(expected == got)
        }
    }

    @Test func `no bytes make joining read outside or lose a packet`() throws {
        let corpus = [ReferencePacket(), ReferencePacket(isV6: true, isTCP: false)].map {
            Self.run($0, [40])[0].bytes
        }
        try Fuzz.run(corpus: corpus, seed: 5, iterations: 1000) { input in
            let packets = [corpus[0], input, input, corpus[0], corpus[1]]
            let out = try Joined(packets).packets()
            #expect(
                out.map(comparable).sorted { $0.lexicographicallyPrecedes($1) }
                    == packets.map(comparable).sorted { $0.lexicographicallyPrecedes($1) })
        }
    }
}
