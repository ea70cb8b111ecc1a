import FabricCore
import FabricTestSupport
import Testing

@testable import FabricPacket

@Suite struct SplitTests {
    @Test func `a split super-packet is what the reference says, byte for byte`() throws {
        let random = SeededRandom(seed: 3, stream: "split")
        for _ in 0..<400 {
            let size = [1, 7, 48, 536, 1372, 9000][random.below(6)]
            let count = 1 + random.below(min(20_000, size * 40))
            let whole = ReferencePacket.random(random, payload: count)
            let expected = whole.segments(size).map(\.bytes)
            if expected.count > SuperPacket.maximumSegments {
                #expect(throws: SuperPacket.Refusal.segmentSize) {
                    try split(whole.virtio(segmentSize: size), whole.partial)
                }
            } else {
                #expect(try split(whole.virtio(segmentSize: size), whole.partial) == expected)
            }
        }
    }

    @Test func `a partial checksum is completed`() throws {
        let random = SeededRandom(seed: 4, stream: "complete")
        for _ in 0..<200 {
            let packet = ReferencePacket.random(random, payload: random.below(1500))
            var bytes = packet.partial
            try bytes.withUnsafeMutableBytes { try SuperPacket.complete(packet.virtio(segmentSize: 0), $0) }
            #expect(bytes == packet.bytes)
        }
    }

    static let whole = ReferencePacket(payload: [UInt8](repeating: 5, count: 3000))

    struct Lie: Sendable, CustomTestStringConvertible {
        var refusal: SuperPacket.Refusal
        var change: @Sendable (inout VirtioHeader, inout [UInt8]) -> Void
        var testDescription: String { refusal.description }

        init(_ refusal: SuperPacket.Refusal, _ change: @escaping @Sendable (inout VirtioHeader, inout [UInt8]) -> Void)
        {
            self.refusal = refusal
            self.change = change
        }
    }

    static let lies = [
        Lie(.unknownSegmentation) { h, _ in h.type = 3 }, Lie(.unknownSegmentation) { h, _ in h.type = 2 },
        Lie(.contradiction) { h, _ in h.type = 4 }, Lie(.contradiction) { h, _ in h.type = 5 },
        Lie(.contradiction) { h, _ in h.checksumStart = 24 }, Lie(.contradiction) { _, b in b.removeLast() },
        Lie(.contradiction) { _, b in b.append(0) }, Lie(.contradiction) { _, b in b = [] },
        Lie(.contradiction) { _, b in b = Array(b[..<19]) }, Lie(.contradiction) { _, b in b[0] = 0x55 },
        Lie(.fragment) { _, b in b[6] = 0x20 }, Lie(.outside) { h, _ in h.flags = 0 },
        Lie(.outside) { h, _ in h.checksumOffset = 6 }, Lie(.outside) { h, _ in h.headerLength = 5000 },
        Lie(.outside) { _, b in b[32] = 0x40 }, Lie(.segmentSize) { h, _ in h.segmentSize = 0 },
        Lie(.segmentSize) { h, _ in h.segmentSize = 1 },
    ]

    @Test(arguments: lies) func `a lying header is refused, and says why`(lie: Lie) throws {
        var (header, bytes) = (Self.whole.virtio(segmentSize: 1000), Self.whole.partial)
        #expect(try split(header, bytes).count == 3)
        lie.change(&header, &bytes)
        #expect(throws: lie.refusal) { try split(header, bytes) }
    }

    @Test func `a checksum outside the packet is refused`() {
        for (start, offset, length) in [(20, 16, 37), (20, 65_535, 100), (65_535, 6, 100), (0, 6, 100), (19, 6, 100)] {
            var bytes = [UInt8](repeating: 0x45, count: length)
            let header = VirtioHeader(flags: 1, checksumStart: UInt16(start), checksumOffset: UInt16(offset))
            #expect(throws: SuperPacket.Refusal.outside) {
                try bytes.withUnsafeMutableBytes { (memory) throws in try SuperPacket.complete(header, memory) }
            }
        }
    }

    @Test func `no header and no packet makes splitting read or write outside`() throws {
        let packets = [
            Self.whole, ReferencePacket(isV6: true, isTCP: false, payload: [UInt8](repeating: 1, count: 900)),
        ]
        let corpus = packets.map { packet in
            var header = [UInt8](repeating: 0, count: VirtioHeader.length)
            header.withUnsafeMutableBytes { packet.virtio(segmentSize: 400).write(to: $0.baseAddress!) }
            return header + packet.partial
        }
        try Fuzz.run(corpus: corpus, seed: 11, iterations: 3000) { input in
            guard input.count > VirtioHeader.length else { return }
            let header = input.withUnsafeBytes { VirtioHeader($0.baseAddress!) }
            var bytes = Array(input[VirtioHeader.length...])
            if let parts = try? split(header, bytes) {
                #expect(parts.allSatisfy { $0.count <= bytes.count } && !parts.isEmpty)
            }
            bytes.withUnsafeMutableBytes { try? SuperPacket.complete(header, $0) }
        }
    }

    @Test(arguments: [0, 1, 2, 3, 31, 32, 33, 63, 64, 65, 1419, 1420])
    func `a checksum of any length is the reference's`(count: Int) {
        let bytes = SeededRandom(seed: 9, stream: "sum").bytes(count)
        let sum = bytes.withUnsafeBytes {
            InternetChecksum.sum($0.baseAddress ?? UnsafeRawPointer(bitPattern: 8)!, count: count)
        }
        let reference = ReferencePacket.sum(bytes)
        #expect(InternetChecksum.fold(sum).bigEndian == reference)
    }
}
