import FabricCore
import FabricTestSupport
import Testing

@testable import FabricPacket

@Suite struct MaximumSegmentSizeTests {
    private static func syn(v6: Bool, _ options: [UInt8], flags: UInt8 = 2) -> ReferencePacket {
        var packet = ReferencePacket()
        packet.isV6 = v6
        packet.flags = flags
        packet.options = options
        return packet
    }

    private func clamp(_ packet: [UInt8], _ largest: Int) -> (bytes: [UInt8], changed: Bool) {
        var bytes = packet
        let changed = bytes.withUnsafeMutableBytes { MaximumSegmentSize.clamp($0, largest: largest) }
        return (bytes, changed)
    }

    /// Options before and after the size of 1,460 at an even or an odd place.
    static let places: [(before: [UInt8], after: [UInt8])] = [
        ([], []), ([1, 1], [4, 2]), ([1], [1, 1, 1]), ([3, 3, 7], [0]), ([8, 10, 1, 2, 3, 4, 5, 6, 7, 8], [1, 0]),
    ]

    @Test(arguments: [false, true], places)
    func `the size is lowered wherever it stands, and the checksum is right`(
        v6: Bool, place: (before: [UInt8], after: [UInt8])
    ) {
        // To 1,280 bytes less the headers of IP and TCP.
        let size: [UInt8] = v6 ? [0x04, 0xC4] : [0x04, 0xD8]
        for flags: UInt8 in [0x02, 0x12] {
            let before = Self.syn(v6: v6, place.before + [2, 4, 0x05, 0xB4] + place.after, flags: flags)
            let after = Self.syn(v6: v6, place.before + [2, 4] + size + place.after, flags: flags)
            let result = clamp(before.bytes, 1280)
            #expect(result.changed && result.bytes == after.bytes)
        }
    }

    static let left: [(String, ReferencePacket)] = [
        ("a smaller size", syn(v6: false, [2, 4, 0x02, 0x18])), ("just that size", syn(v6: true, [2, 4, 0x04, 0xC4])),
        ("no options", syn(v6: false, [])), ("other options", syn(v6: true, [1, 3, 3, 7])),
        ("the size behind the end", syn(v6: false, [0, 0, 0, 0, 2, 4, 0x05, 0xB4])),
        ("no opening packet", syn(v6: false, [2, 4, 0x05, 0xB4], flags: 0x10)),
        ("an option of length zero", syn(v6: false, [8, 0, 2, 4, 0x05, 0xB4, 0, 0])),
        ("an option past the header", syn(v6: false, [8, 40, 2, 4])),
        ("a size of another length", syn(v6: false, [2, 3, 0x05, 0])),
    ]

    @Test(arguments: left) func `what says no larger size stays`(what: String, packet: ReferencePacket) {
        let result = clamp(packet.bytes, 1280)
        #expect(!result.changed && result.bytes == packet.bytes, "\(what)")
    }

    @Test func `UDP, later fragments, and packets cut short stay`() {
        var udp = ReferencePacket()
        udp.isTCP = false
        udp.payload = [UInt8](repeating: 2, count: 40)
        var fragment = Self.syn(v6: false, [2, 4, 0x05, 0xB4]).bytes
        fragment[7] = 9
        let whole = Self.syn(v6: true, [2, 4, 0x05, 0xB4]).bytes
        for packet in [udp.bytes, fragment, Array(whole.dropLast(1)), Array(whole[..<40]), []] {
            let result = clamp(packet, 1280)
            #expect(!result.changed && result.bytes == packet)
        }
    }

    @Test func `no size becomes less than what every link carries`() {
        let result = clamp(Self.syn(v6: false, [2, 4, 0x05, 0xB4]).bytes, 10)
        #expect(result.bytes == Self.syn(v6: false, [2, 4, 0, 28]).bytes)
    }

    @Test func `whatever the bytes, nothing but a size and the checksum changes, and that was right stays right`()
        throws
    {
        let corpus =
            Self.left.map(\.1.bytes)
            + Self.places.map { Self.syn(v6: false, $0.before + [2, 4, 5, 180] + $0.after).bytes }
        try Fuzz.run(corpus: corpus, seed: 1, iterations: 5_000) { packet in
            let (bytes, changed) = clamp(packet, 600)
            let differences = zip(packet, bytes).count { $0 != $1 }
            #expect(bytes.count == packet.count && differences <= 4)
            #expect(changed == (differences > 0))
            guard changed, packet[0] == 0x45 else { return }
            // The sum over all of TCP is what it was.
            let transport = 20
            #expect(ReferencePacket.sum(Array(packet[transport...])) == ReferencePacket.sum(Array(bytes[transport...])))
        }
    }
}
