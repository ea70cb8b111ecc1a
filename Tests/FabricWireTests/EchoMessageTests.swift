import FabricCore
import FabricTestSupport
import FabricWire
import Testing

@Suite struct EchoMessageTests {
    let message = EchoMessage(
        source: IPAddress("fd00:1:2:3:4:5:6:7")!, destination: IPAddress("fd00:1:2:3:8:9:a:b")!,
        probe: EchoMessage.Probe(
            sentAt: 0x0102_0304_0506_0708, echo: 1_234_567_890_123, held: 0x1112, wantsAnswer: true))

    static let others = [
        EchoMessage.Probe(sentAt: .max, echo: .min, held: .min, wantsAnswer: false),
        EchoMessage.Probe(sentAt: .min, echo: nil, held: 0, wantsAnswer: true),
        EchoMessage.Probe(sentAt: 0, echo: nil, held: 0, wantsAnswer: false),
    ]

    func packet(_ message: EchoMessage) -> [UInt8] {
        var bytes = [UInt8](repeating: 0xEE, count: EchoMessage.packetBytes)
        bytes.withUnsafeMutableBytes { message.write(to: $0) }
        return bytes
    }

    func parse(_ bytes: [UInt8]) -> EchoMessage? { bytes.withUnsafeBytes { EchoMessage($0) } }

    /// The checksum of RFC 768 over the pseudo-header of RFC 8200, written anew here: sixteen bits at a time with an
    /// end-around carry.
    func checksum(_ packet: [UInt8]) -> UInt16 {
        var words = Array(packet[8..<40])
        let length = UInt32(packet.count - 40)
        for shift in [24, 16, 8, 0] as [UInt32] { words.append(UInt8(length >> shift & 0xFF)) }
        words += [0, 0, 0, 17] + packet[40..<46] + [0, 0] + packet[48...]
        if words.count % 2 == 1 { words.append(0) }
        var sum: UInt16 = 0
        for index in stride(from: 0, to: words.count, by: 2) {
            let (next, carry) = sum.addingReportingOverflow(UInt16(words[index]) << 8 | UInt16(words[index + 1]))
            sum = next + (carry ? 1 : 0)
        }
        return sum == 0xFFFF ? 0xFFFF : ~sum
    }

    @Test func `an echo survives its packet`() {
        #expect(parse(packet(message)) == message)
        for probe in Self.others {
            let other = EchoMessage(source: message.destination, destination: message.source, probe: probe)
            #expect(parse(packet(other)) == other)
        }
    }

    @Test func `the packet is the one of the specification`() {
        let bytes = packet(message)
        #expect(Hex.encode(bytes[..<8]) == "6000000000281140")
        #expect(Array(bytes[8..<24]) == message.source.bytes)
        #expect(Array(bytes[24..<40]) == message.destination.bytes)
        #expect(Hex.encode(bytes[40..<46]) == "000700070028")
        #expect(Hex.encode(bytes[48..<64]) == "524150650300000001020304050607" + "08")
        #expect(Hex.encode(bytes[64...]) == "0000011f71fb04cb" + "0000000000001112")
        #expect(UInt16(bytes[46]) << 8 | UInt16(bytes[47]) == checksum(bytes))
    }

    @Test func `every changed bit that a checksum covers is noticed, and the others change nothing`() {
        let bytes = packet(message)
        // Version's low half, traffic class, flow label and hop limit: what routers may write.
        let free = Set([0, 1, 2, 3, 7])
        for index in bytes.indices {
            for bit in 0..<8 {
                var changed = bytes
                changed[index] ^= 1 << UInt8(bit)
                let isFree = free.contains(index) && !(index == 0 && bit >= 4)
                #expect(parse(changed) == (isFree ? message : nil), "byte \(index) bit \(bit)")
            }
        }
    }

    @Test func `packets that are cut or too long are refused`() {
        let bytes = packet(message)
        for count in 0..<bytes.count {
            #expect(parse(Array(bytes.prefix(count))) == nil)
            #expect(parse(Array(bytes.suffix(count))) == nil)
        }
        #expect(parse(bytes + [0]) == nil)
    }

    @Test func `a packet without a checksum is refused, and 0 is sent as 0xFFFF`() throws {
        var bytes = packet(message)
        (bytes[46], bytes[47]) = (0, 0)
        #expect(parse(bytes) == nil)
        // Choose a time for which the sum comes out as 0xFFFF.
        var special = message
        special.probe.sentAt = 0
        let sum = checksum(packet(special))
        special.probe.sentAt = Int64(sum)
        let written = packet(special)
        #expect(written[46] == 0xFF && written[47] == 0xFF)
        #expect(parse(written) == special)
    }

    @Test func `bytes that shall be zero are not 0xFFFF, which sums to the same`() {
        var bytes = packet(message)
        (bytes[53], bytes[54], bytes[55]) = (0, 0xFF, 0xFF)
        #expect(parse(bytes) == nil)
        bytes = packet(message)
        (bytes[53], bytes[54]) = (0xFF, 0xFF)
        #expect(parse(bytes) == nil)
    }

    @Test func `checksums agree with an independent computation, for odd lengths too`() {
        let random = SeededRandom(seed: 5, stream: "checksums")
        for length in 48..<130 {
            var bytes = random.bytes(length)
            bytes[0] = 0x60
            let computed = bytes.withUnsafeBytes { UDPInIPv6.checksum(of: $0, skippingChecksumField: true) }
            #expect(computed == checksum(bytes))
            #expect(computed != 0)
        }
    }

    @Test func `a known datagram has its known checksum`() throws {
        // From fe80::1 port 1234 to fe80::2 port 5678, "hello world!"; summed by hand:
        // fe80+0001+fe80+0002 (addresses) + 0014+0011 (length, protocol) + 04d2+162e+0014 (header) + 6865+6c6c+6f20+776f+726c+6421
        // = 4b01c, folded 0xb020; complement 0x4fdf.
        let header = "600000000014114" + "0"
        let addresses = "fe800000000000000000000000000001fe800000000000000000000000000002"
        let datagram = "04d2162e00140000" + "68656c6c6f20776f726c6421"
        let bytes = try #require(Hex.decode(header + addresses + datagram))
        let sum = bytes.withUnsafeBytes { UDPInIPv6.checksum(of: $0) }
        var expected: UInt32 = 0
        for word in [
            0xFE80, 0x0001, 0xFE80, 0x0002, 0x0014, 0x0011, 0x04D2, 0x162E, 0x0014, 0x6865, 0x6C6C, 0x6F20, 0x776F,
            0x726C,
            0x6421,
        ] as [UInt32] { expected += word }
        expected = expected & 0xFFFF + expected >> 16
        #expect(sum == UInt16(~expected & 0xFFFF))
        #expect(sum == checksum(bytes))
    }

    @Test func `what is not carried is zero`() {
        let silent = EchoMessage(source: message.source, destination: message.destination, probe: Self.others[1])
        for offset in 64..<EchoMessage.packetBytes {
            var bytes = packet(silent)
            bytes[offset] = 1
            (bytes[46], bytes[47]) = (0, 0)
            let sum = checksum(bytes)
            (bytes[46], bytes[47]) = (UInt8(sum >> 8), UInt8(sum & 0xFF))
            #expect(parse(bytes) == nil)
            bytes[52] |= 2
            (bytes[46], bytes[47]) = (0, 0)
            let carried = checksum(bytes)
            (bytes[46], bytes[47]) = (UInt8(carried >> 8), UInt8(carried & 0xFF))
            #expect(parse(bytes) != nil)
        }
    }

    @Test func `mutated packets are refused or say what they hold`() throws {
        let others = Self.others.map {
            packet(EchoMessage(source: message.source, destination: message.destination, probe: $0))
        }
        try Fuzz.run(corpus: [packet(message)] + others, seed: 41, iterations: 4_000) { bytes in
            guard let parsed = parse(bytes) else { return }
            #expect(bytes.count == EchoMessage.packetBytes)
            #expect(packet(parsed)[40...] == bytes[40...])
        }
    }
}
