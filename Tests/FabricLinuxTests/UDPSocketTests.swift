import FabricCore
import FabricLinux
import FabricPacket
import Glibc
import Testing

@Suite struct UDPSocketTests {
    private func loopback(_ text: String = "127.0.0.1:0") throws -> UDPSocket { try UDPSocket(bind: Endpoint(text)!) }

    /// Waits for readiness in the kernel, then takes what is there.
    private func receive(_ socket: UDPSocket, _ batch: inout DatagramBatch) throws -> Int {
        var descriptor = pollfd(fd: socket.descriptor, events: Int16(POLLIN), revents: 0)
        #expect(poll(&descriptor, 1, 10_000) == 1)
        return try socket.receive(into: &batch)
    }

    /// Sends datagrams as one batch of runs and returns how many were lost.
    private func send(_ datagrams: [([UInt8], Endpoint)], by socket: UDPSocket) throws -> Int {
        var bytes = datagrams.flatMap(\.0)
        return try bytes.withUnsafeMutableBytes { memory in
            var runs = DatagramRuns(capacity: datagrams.count, joins: false)
            var offset = 0
            for (datagram, endpoint) in datagrams {
                runs.append(memory.baseAddress! + offset, length: datagram.count, to: endpoint)
                offset += datagram.count
            }
            return try socket.send(runs)
        }
    }

    private func expectOne(_ socket: UDPSocket, _ batch: inout DatagramBatch) throws {
        let count = try receive(socket, &batch)
        #expect(count == 1)
    }

    @Test func `a batch arrives whole, in order and with its source`() throws {
        let sender = try loopback()
        let receiver = try loopback()
        let lost = try send(
            (0..<64).map { ([UInt8](repeating: UInt8($0), count: $0 + 1), receiver.localEndpoint) }, by: sender)
        #expect(lost == 0)
        var incoming = DatagramBatch(capacity: 64, packetCapacity: 1500)
        var next = 0
        while next < 64 {
            let count = try receive(receiver, &incoming)
            for index in 0..<count {
                let bytes = Array(incoming[index].bytes)
                #expect(bytes == [UInt8](repeating: UInt8(next), count: next + 1))
                let source = incoming.endpoint(index)
                #expect(source == sender.localEndpoint)
                next += 1
            }
        }
        #expect(sender.sendCounters.datagrams == 64)
        #expect(receiver.receiveCounters.datagrams == 64)
    }

    @Test func `a socket bound to the IPv6 wildcard speaks both families`() throws {
        let both = try loopback("[::]:0")
        var batch = DatagramBatch(capacity: 4, packetCapacity: 100)
        for peer in ["127.0.0.1:0", "[::1]:0"] {
            let other = try loopback(peer)
            let host = String(peer.dropLast(2))
            let target = Endpoint("\(host):\(both.localEndpoint.port)")!
            #expect(try [1, 2, 3].withUnsafeBytes { try other.send($0, to: target) })
            try expectOne(both, &batch)
            let source = batch.endpoint(0)
            #expect(source == other.localEndpoint)
            // And back, by the address as it was reported.
            let answered = try both.send(batch[0], to: batch.endpoint(0))
            #expect(answered)
            try expectOne(other, &batch)
            let size = batch[0].count
            #expect(size == 3 * MemoryLayout<Int>.size)
        }
    }

    @Test func `a run for another family is counted, not fatal, and its neighbours leave`() throws {
        let sender = try loopback()
        let receiver = try loopback()
        let lost = try send(
            [([7], receiver.localEndpoint), ([8], Endpoint("[::1]:9")!), ([9], receiver.localEndpoint)], by: sender)
        #expect(lost == 1)
        #expect(sender.sendCounters.datagrams == 2)
        #expect(sender.sendCounters.errors == 1)
        #expect(sender.sendCounters.lastError == EAFNOSUPPORT)
        var batch = DatagramBatch(capacity: 4, packetCapacity: 100)
        var seen: [UInt8] = []
        while seen.count < 2 {
            for index in 0..<(try receive(receiver, &batch)) { seen += batch[index].bytes }
        }
        #expect(seen == [7, 9])
    }

    @Test func `a destination with port 0 costs its own datagram alone`() throws {
        let sender = try loopback()
        let receiver = try loopback()
        let lost = try send([([8], Endpoint("127.0.0.1:0")!), ([9], receiver.localEndpoint)], by: sender)
        #expect(lost == 1 && sender.sendCounters.lastError == EINVAL)
        var batch = DatagramBatch(capacity: 4, packetCapacity: 100)
        try expectOne(receiver, &batch)
    }

    @Test func `a datagram that does not fit is counted and left empty`() throws {
        let sender = try loopback()
        let receiver = try loopback()
        _ = try [UInt8](repeating: 1, count: 101).withUnsafeBytes { try sender.send($0, to: receiver.localEndpoint) }
        var batch = DatagramBatch(capacity: 4, packetCapacity: 100)
        try expectOne(receiver, &batch)
        let size = batch[0].count
        #expect(size == 0)
        #expect(receiver.receiveCounters.truncated == 1)
    }

    @Test func `a datagram without payload is a run without bytes, so that somebody counts it`() throws {
        let sender = try loopback()
        let receiver = try loopback()
        for bytes in [[], [7], []] as [[UInt8]] {
            _ = try bytes.withUnsafeBytes { try sender.send($0, to: receiver.localEndpoint) }
        }
        var slots = ReceiveSlots(capacity: 4)
        let count = try receiver.receive(into: &slots)
        let lengths = (0..<slots.count).map { slots[$0].length }
        #expect(count == 3 && lengths == [0, 1, 0])
        #expect(receiver.receiveCounters.datagrams == 3)
    }

    @Test func `what finds the kernel's queue full is counted by the kernel`() throws {
        let sender = try loopback()
        let receiver = try loopback()
        #expect(receiver.kernelDrops == 0)
        // More than twice the buffer that was asked for, as the kernel counts them.
        let sent = 40_000
        for _ in 0..<sent { _ = try [1].withUnsafeBytes { try sender.send($0, to: receiver.localEndpoint) } }
        var batch = DatagramBatch(capacity: 64, packetCapacity: 100)
        while try receiver.receive(into: &batch) > 0 {}
        #expect(receiver.kernelDrops > 0)
        #expect(receiver.receiveCounters.datagrams + receiver.kernelDrops == UInt64(sent))
    }

    @Test func `nothing to receive is no error`() throws {
        let socket = try loopback()
        var batch = DatagramBatch(capacity: 4, packetCapacity: 100)
        let count = try socket.receive(into: &batch)
        #expect(count == 0)
        #expect(socket.receiveCounters.wouldBlock == 1)
    }

    @Test func `an address in use is a clear error`() throws {
        let socket = try loopback()
        let error = #expect(throws: SystemError.self) { _ = try UDPSocket(bind: socket.localEndpoint) }
        #expect(error?.code == EADDRINUSE)
        #expect("\(try #require(error))".contains("\(socket.localEndpoint)"))
    }
}

/// Macros can't take what can't be copied, hence this.
func fill(_ packet: inout PacketBuffer, _ contents: [UInt8]) {
    let fits = packet.assign(contents)
    #expect(fits)
}
