import FabricCore
import Testing

@Suite struct PacketBufferTests {
    // `#expect` can't take a noncopyable value's mutating method.
    private func assign(_ bytes: [UInt8], to buffer: inout PacketBuffer) -> Bool { buffer.assign(bytes) }

    private func contents(_ buffer: borrowing PacketBuffer) -> [UInt8] { Array(buffer.bytes) }

    @Test("a buffer holds its capacity and refuses one byte more", arguments: [0, 1, 1420, PacketBuffer.maximumPacket])
    func capacity(size: Int) {
        var buffer = PacketBuffer(packetCapacity: size)
        #expect(buffer.packetCapacity == size)
        #expect(buffer.count == 0)
        let full = [UInt8](repeating: 0xA5, count: size)
        #expect(assign(full, to: &buffer))
        #expect(contents(buffer) == full)
        #expect(!assign(full + [1], to: &buffer))
        #expect(contents(buffer) == full)
        #expect(buffer.start == PacketBuffer.headroom)
    }

    @Test func `layers move the ends, never the bytes`() {
        var buffer = PacketBuffer(packetCapacity: 4)
        #expect(assign([1, 2, 3, 4], to: &buffer))
        buffer.prepend(16)
        #expect(buffer.count == 20)
        #expect(Array(contents(buffer)[16...]) == [1, 2, 3, 4])
        buffer.append(16)
        #expect(buffer.count == 36)
        buffer.dropFirst(17)
        buffer.dropLast(17)
        #expect(contents(buffer) == [2, 3])
        buffer.reset()
        #expect(buffer.count == 0)
        #expect(buffer.start == PacketBuffer.headroom)
    }

    @Test func `all of headroom and tailroom can be used, and written`() {
        var buffer = PacketBuffer(packetCapacity: 8)
        #expect(assign([UInt8](repeating: 7, count: 8), to: &buffer))
        buffer.prepend(PacketBuffer.headroom)
        buffer.append(PacketBuffer.tailroom)
        #expect(buffer.start == 0)
        #expect(buffer.count == buffer.capacity)
        let bytes = buffer.bytes
        for index in bytes.indices { bytes[index] = UInt8(truncatingIfNeeded: index) }
        #expect(contents(buffer) == (0..<buffer.capacity).map { UInt8(truncatingIfNeeded: $0) })
    }

    @Test func `the writable area is where contents begin, whatever stood there`() {
        var buffer = PacketBuffer(packetCapacity: 32)
        #expect(assign([9, 9, 9], to: &buffer))
        buffer.prepend(8)
        let area = buffer.writableArea()
        #expect(area.count == 32)
        area[0] = 5
        buffer.count = 1
        #expect(contents(buffer) == [5])
    }

    @Test func `contents may be assigned from the buffer itself`() {
        var buffer = PacketBuffer(packetCapacity: 8)
        #expect(assign([1, 2, 3, 4, 5, 6], to: &buffer))
        buffer.dropFirst(2)
        let tail = UnsafeRawBufferPointer(buffer.bytes)
        let fits = buffer.assign(tail)
        #expect(fits)
        #expect(contents(buffer) == [3, 4, 5, 6])
    }

    @Test func `going past the room left is our bug and stops the program`() async {
        await #expect(processExitsWith: .failure) {
            var buffer = PacketBuffer(packetCapacity: 8)
            buffer.prepend(PacketBuffer.headroom + 1)
        }
        await #expect(processExitsWith: .failure) {
            var buffer = PacketBuffer(packetCapacity: 8)
            buffer.append(8 + PacketBuffer.tailroom + 1)
        }
        await #expect(processExitsWith: .failure) {
            var buffer = PacketBuffer(packetCapacity: 8)
            buffer.dropFirst(1)
        }
    }
}
