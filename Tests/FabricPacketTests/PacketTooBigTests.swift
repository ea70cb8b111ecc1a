import FabricCore
import FabricTestSupport
import Testing

@testable import FabricPacket

@Suite struct PacketTooBigTests {
    static let own = IPAddress("fd00::99")!

    /// What becomes of a packet, in a buffer with the room that a driver leaves; nil for no message.
    private func answer(_ packet: [UInt8], largest: Int = 1300, source: IPAddress = Self.own) -> [UInt8]? {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 16 + packet.count + 31, alignment: 16)
        defer { memory.deallocate() }
        UnsafeMutableRawBufferPointer(rebasing: memory[16...]).copyBytes(from: packet)
        var buffer = PacketBuffer(
            viewing: memory.baseAddress!, capacity: memory.count, start: 16, count: packet.count)
        guard PacketTooBig.answer(&buffer, largest: largest, source: source) else {
            #expect(Array(buffer.bytes) == packet)
            return nil
        }
        return Array(buffer.bytes)
    }

    private func reference(v6: Bool, payload: Int) -> ReferencePacket {
        var packet = ReferencePacket()
        packet.isV6 = v6
        packet.payload = (0..<payload).map { UInt8(truncatingIfNeeded: $0) }
        return packet
    }

    @Test(arguments: [1400, 8000]) func `an IPv6 sender is told the MTU and shown what fits 1,280 bytes`(payload: Int) {
        let packet = reference(v6: true, payload: payload).bytes
        let message = answer(packet)!
        #expect(message.count == 1280)
        #expect(message[..<8] == [0x60, 0, 0, 0, 0x04, 0xD8, 58, 64])
        #expect(message[8..<24].elementsEqual(Self.own.bytes))
        #expect(message[24..<40].elementsEqual(packet[8..<24]))
        #expect(message[40..<42] == [2, 0] && message[44..<48] == [0, 0, 0x05, 0x14])
        #expect(message[48...].elementsEqual(packet[..<1232]))
        #expect(
            ReferencePacket.sum(Array(message[8..<40]) + [0, 0, 0x04, 0xD8, 0, 0, 0, 58] + message[40...]) == 0xFFFF)
    }

    @Test(arguments: [560, 1400]) func `an IPv4 sender is told the MTU and shown what fits 576 bytes`(payload: Int) {
        let packet = reference(v6: false, payload: payload).bytes
        let message = answer(packet, largest: 500)!
        #expect(message.count == 576)
        #expect(message[..<10] == [0x45, 0xC0, 0x02, 0x40, 0, 0, 0x40, 0, 64, 1])
        // From where the packet was going: the kernel takes none from its own address.
        #expect(message[12..<16].elementsEqual(packet[16..<20]) && message[16..<20].elementsEqual(packet[12..<16]))
        #expect(message[20..<22] == [3, 4] && message[24..<28] == [0, 0, 0x01, 0xF4])
        #expect(message[28...].elementsEqual(packet[..<548]))
        #expect(ReferencePacket.sum(Array(message[..<20])) == 0xFFFF)
        #expect(ReferencePacket.sum(Array(message[20...])) == 0xFFFF)
    }

    @Test func `a packet that fits the message is shown whole`() {
        let packet = reference(v6: false, payload: 500).bytes
        let message = answer(packet, largest: 500)!
        #expect(message.count == packet.count + 28 && message[28...].elementsEqual(packet))
    }

    @Test func `a buffer without room behind the packet shows less of it`() {
        var buffer = PacketBuffer(packetCapacity: 600)
        let packet = reference(v6: false, payload: 500).bytes
        let fits = buffer.assign(packet)
        var tight = PacketBuffer(
            viewing: buffer.bytes.baseAddress!, capacity: packet.count + 4, start: 0, count: packet.count)
        let isAnswered = PacketTooBig.answer(&tight, largest: 500, source: Self.own)
        let message = Array(tight.bytes)
        #expect(fits && isAnswered)
        #expect(message.count == packet.count + 4 && message[28...].elementsEqual(packet[..<(packet.count - 24)]))
    }

    static func changed(_ v6: Bool, _ change: (inout [UInt8]) -> Void) -> [UInt8] {
        var packet = ReferencePacket()
        packet.isV6 = v6
        packet.payload = [UInt8](repeating: 7, count: 1400)
        var bytes = packet.bytes
        change(&bytes)
        return bytes
    }

    static let silent: [(String, [UInt8])] = [
        ("an ICMP error", changed(false) { ($0[9], $0[20]) = (1, 3) }),
        ("a redirect", changed(false) { ($0[9], $0[20]) = (1, 5) }),
        ("a later fragment", changed(false) { $0[7] = 1 }),
        ("to a multicast group", changed(false) { $0[16] = 224 }),
        ("to all", changed(false) { $0.replaceSubrange(16..<20, with: [255, 255, 255, 255]) }),
        ("from a multicast group", changed(false) { $0[12] = 239 }),
        ("from nowhere", changed(false) { $0.replaceSubrange(12..<16, with: [0, 0, 0, 0]) }),
        ("from loopback", changed(false) { $0[12] = 127 }),
        ("a header longer than the packet", [0x4F, 0, 0, 24] + [UInt8](repeating: 1, count: 20)),
        ("an ICMPv6 error", changed(true) { ($0[6], $0[40]) = (58, 1) }),
        ("packet too big itself", changed(true) { ($0[6], $0[40]) = (58, 2) }),
        (
            "an ICMPv6 error behind an extension header",
            changed(true) { ($0[6], $0[40], $0[41], $0[48]) = (60, 58, 0, 3) }
        ),
        ("a later IPv6 fragment", changed(true) { ($0[6], $0[40], $0[42], $0[43]) = (44, 17, 0, 8) }),
        ("an extension header past the end", changed(true) { ($0[6], $0[40], $0[41]) = (60, 17, 255) }),
        (
            "extension headers without end",
            changed(true) {
                $0[6] = 0
                $0.replaceSubrange(40..<400, with: [UInt8](repeating: 0, count: 360))
            }
        ),
        ("to an IPv6 multicast group", changed(true) { $0[24] = 0xFF }),
        ("from an IPv6 multicast group", changed(true) { $0[8] = 0xFF }),
        ("from nowhere in IPv6", changed(true) { $0.replaceSubrange(8..<24, with: [UInt8](repeating: 0, count: 16)) }),
        ("half an IPv6 header", [0x60] + [UInt8](repeating: 0, count: 30)),
        ("no IP", [UInt8](repeating: 0x55, count: 60)),
        ("nothing", []),
    ]

    @Test(arguments: silent) func `nobody is told about what may cause no message`(what: String, packet: [UInt8]) {
        #expect(answer(packet) == nil, "\(what)")
    }

    static let answered: [(String, [UInt8])] = [
        ("an echo request", changed(false) { ($0[9], $0[20]) = (1, 8) }),
        ("an ICMPv6 echo request", changed(true) { ($0[6], $0[40]) = (58, 128) }),
        (
            "an echo request behind an extension header",
            changed(true) { ($0[6], $0[40], $0[41], $0[48]) = (0, 58, 0, 128) }
        ),
        ("the first fragment", changed(true) { ($0[6], $0[40], $0[42], $0[43]) = (44, 17, 0, 1) }),
    ]

    @Test(arguments: answered) func `other packets are answered, whatever they carry`(what: String, packet: [UInt8]) {
        #expect(answer(packet) != nil, "\(what)")
    }

    @Test func `an IPv4 source is no source of an IPv6 message`() {
        #expect(answer(reference(v6: true, payload: 1400).bytes, source: IPAddress("10.0.0.1")!) == nil)
    }

    @Test func `whatever the packet, a message is whole, short enough, and about no message`() throws {
        let corpus = Self.silent.map(\.1).filter { !$0.isEmpty } + Self.answered.map(\.1)
        try Fuzz.run(corpus: corpus, seed: 1, iterations: 3_000) { packet in
            guard let message = answer(packet, largest: packet.count) else { return }
            let isV4 = message[0] >> 4 == 4
            #expect(message.count <= (isV4 ? 576 : 1280))
            if isV4 {
                #expect(ReferencePacket.sum(Array(message[..<20])) == 0xFFFF)
                #expect(ReferencePacket.sum(Array(message[20...])) == 0xFFFF)
                #expect(Int(message[2]) << 8 + Int(message[3]) == message.count)
            } else {
                let length = message.count - 40
                let pseudo = Array(message[8..<40]) + [0, 0, UInt8(length >> 8), UInt8(length & 255), 0, 0, 0, 58]
                #expect(ReferencePacket.sum(pseudo + message[40...]) == 0xFFFF)
            }
            #expect(answer(message) == nil)
        }
    }
}
