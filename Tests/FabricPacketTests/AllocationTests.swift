import CFabricAllocations
import FabricCore
import Testing

@testable import FabricPacket

@Suite struct AllocationTests {
    /// Splits a super-packet, makes runs of its segments, joins them and looks at what would be written, over and over.
    /// Returns the packets that joined others, and what that allocated.
    private func turns(_ count: Int, _ packet: ReferencePacket, segmentSize: Int) throws -> (joined: UInt64, UInt64) {
        let bytes = packet.partial
        let header = packet.virtio(segmentSize: segmentSize)
        let room = 32
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 256 * 1024, alignment: 64)
        defer { memory.deallocate() }
        var runs = DatagramRuns(capacity: 64, joins: true)
        var coalescer = Coalescer(capacity: 64, kinds: [.tcp, .udp])
        let endpoint = Endpoint("192.0.2.1:1")!
        var written = 0
        let before = fabric_allocations()
        for _ in 0..<count {
            try bytes.withUnsafeBytes { source in
                let parts = try SuperPacket(header, source)
                var cursor = memory
                for index in 0..<parts.segmentCount {
                    let length = parts.write(index, to: cursor + room)
                    runs.append(cursor, length: length + room, to: endpoint)
                    if coalescer.isFull { coalescer.removeAll() }
                    coalescer.append(cursor + room, count: length)
                    cursor += length + room
                }
            }
            for index in 0..<coalescer.count {
                let slices = coalescer.slices(of: index, virtio: true)
                for place in 0..<slices.count { written += slices[place].count }
            }
            for index in 0..<runs.count { written += runs[index].count }
            runs.removeAll()
            coalescer.removeAll()
        }
        let allocations = fabric_allocations() - before
        #expect(written > count * bytes.count)
        return (coalescer.joined, allocations)
    }

    @Test(arguments: [(true, false), (true, true), (false, false), (false, true)])
    func `splitting and joining allocate nothing`(isTCP: Bool, isV6: Bool) throws {
        var packet = ReferencePacket()
        (packet.isTCP, packet.isV6) = (isTCP, isV6)
        packet.payload = (0..<40_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        _ = try turns(1, packet, segmentSize: 1300)
        let (joined, allocations) = try turns(20, packet, segmentSize: 1300)
        #expect(joined == 20 * 30)
        #expect(allocations == 0)
    }

    @Test func `packets that can't be joined allocate nothing`() {
        var coalescer = Coalescer(capacity: 64, kinds: [.tcp, .udp])
        var damaged = ReferencePacket()
        damaged.payload = [UInt8](repeating: 1, count: 100)
        var bytes = damaged.bytes
        bytes[bytes.count - 1] ^= 1
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 256, alignment: 64)
        defer { memory.deallocate() }
        (memory + 16).copyMemory(from: bytes, byteCount: bytes.count)
        let before = fabric_allocations()
        for _ in 0..<100 {
            coalescer.append(memory + 16, count: bytes.count)
            coalescer.append(memory + 16, count: bytes.count)
            coalescer.append(memory + 16, count: 30)
            coalescer.removeAll()
        }
        let allocations = fabric_allocations() - before
        #expect(coalescer.joined == 0)
        #expect(allocations == 0)
    }
}
