import CFabricAllocations
import FabricCore
import FabricLinux
import FabricPacket
import Glibc
import Testing

@Suite struct AllocationTests {
    private func loopback() throws -> UDPSocket { try UDPSocket(bind: Endpoint("127.0.0.1:0")!) }

    /// Sends runs of datagrams over and over and receives them. Returns how many datagrams came, and what that allocated.
    private func exchange(
        _ turns: Int, _ sender: UDPSocket, _ receiver: UDPSocket, joins: Bool
    ) throws -> (came: Int, allocations: UInt64) {
        let size = 400
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 64 * size, alignment: 64)
        defer { memory.deallocate() }
        memory.initializeMemory(as: UInt8.self, repeating: 7, count: 64 * size)
        var runs = DatagramRuns(capacity: 64, joins: joins)
        var slots = ReceiveSlots(capacity: 16)
        var came = 0
        let before = fabric_allocations()
        for _ in 0..<turns {
            for index in 0..<20 { runs.append(memory + index * size, length: size, to: receiver.localEndpoint) }
            _ = try sender.send(runs)
            runs.removeAll()
            _ = try sender.send(UnsafeRawBufferPointer(start: memory, count: 3), to: receiver.localEndpoint)
            // On the loopback interface what was sent is there. The last look finds nothing.
            while try receiver.receive(into: &slots) > 0 {
                for index in 0..<slots.count {
                    let run = slots[index]
                    came += (run.length + run.segmentSize - 1) / run.segmentSize
                }
            }
        }
        return (came, fabric_allocations() - before)
    }

    @Test(arguments: [true, false]) func `sending and receiving datagrams allocates nothing`(joins: Bool) throws {
        let (sender, receiver) = (try loopback(), try loopback())
        if joins { _ = receiver.joinReceived() }
        _ = try exchange(1, sender, receiver, joins: joins)
        let (came, allocations) = try exchange(50, sender, receiver, joins: joins)
        #expect(came == 50 * 21)
        #expect(allocations == 0)
    }

    @Test func `datagrams that the network refuses allocate nothing`() throws {
        let sender = try loopback()
        let bytes: [UInt8] = [1]
        var refused = 0
        let nowhere = Endpoint("[::1]:9")!
        let before = fabric_allocations()
        for _ in 0..<50 {
            let isSent = try bytes.withUnsafeBytes { try sender.send($0, to: nowhere) }
            if !isSent { refused += 1 }
        }
        let allocations = fabric_allocations() - before
        #expect(refused == 50)
        #expect(allocations == 0)
    }

    @Test(.enabled(if: canMakeNetworks, "needs root, ip(8) and /dev/net/tun"))
    func `reading from a device and writing to it allocates nothing`() throws {
        let namespace = try NetworkNamespace.create("tun-alloc")
        defer { try? namespace.delete() }
        try namespace.withThread {
            let device = try TUNDevice(pattern: "rap%d", offloads: .all)
            try device.addAddress(IPAddress("10.9.0.1")!, prefixLength: 24)
            try device.setUp(true)
            let socket = try UDPSocket(bind: Endpoint("10.9.0.1:4000")!)
            let area = UnsafeMutableRawBufferPointer.allocate(byteCount: TUNDevice.longestRead, alignment: 64)
            defer { area.deallocate() }
            let pieces = UnsafeMutablePointer<iovec>.allocate(capacity: 2)
            defer { pieces.deallocate() }
            let bytes = [UInt8](repeating: 7, count: 200)
            let peer = Endpoint("10.9.0.2:9")!
            var (read, written) = (0, 0)
            var allocations: UInt64 = 0
            for turn in 0..<51 {
                let before = fabric_allocations()
                _ = try bytes.withUnsafeBytes { try socket.send($0, to: peer) }
                // The last look finds nothing.
                while true {
                    let count = try device.read(into: area)
                    guard count > 0 else { break }
                    read += 1
                    // In two pieces, back to where it came from: the host does with it what it likes.
                    pieces[0] = iovec(iov_base: area.baseAddress, iov_len: 30)
                    pieces[1] = iovec(iov_base: area.baseAddress! + 30, iov_len: count - 30)
                    if try device.write(UnsafeBufferPointer(start: pieces, count: 2)) == .written { written += 1 }
                }
                if turn > 0 { allocations += fabric_allocations() - before }
            }
            #expect(read >= 51 && written >= 51)
            #expect(allocations == 0)
        }
    }
}
