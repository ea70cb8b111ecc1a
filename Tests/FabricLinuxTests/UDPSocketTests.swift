import FabricCore
import FabricLinux
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

    private func expectOne(_ socket: UDPSocket, _ batch: inout DatagramBatch) throws {
        let count = try receive(socket, &batch)
        #expect(count == 1)
    }

    @Test func `a batch arrives whole, in order and with its source`() throws {
        let sender = try loopback()
        let receiver = try loopback()
        var outgoing = DatagramBatch(capacity: 64, packetCapacity: 1500)
        for index in 0..<64 {
            fill(&outgoing[index], [UInt8](repeating: UInt8(index), count: index + 1))
            outgoing.setEndpoint(index, receiver.localEndpoint)
        }
        outgoing.count = 64
        let sent = try sender.send(outgoing)
        #expect(sent == 64)
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

    @Test func `empty entries are skipped and an entry for another family is counted, not fatal`() throws {
        let sender = try loopback()
        let receiver = try loopback()
        var batch = DatagramBatch(capacity: 4, packetCapacity: 100)
        for index in 0..<4 { batch.setEndpoint(index, receiver.localEndpoint) }
        fill(&batch[1], [7])
        fill(&batch[2], [8])
        batch.setEndpoint(2, Endpoint("[::1]:9")!)
        fill(&batch[3], [9])
        batch.count = 4
        let sent = try sender.send(batch)
        #expect(sent == 4)
        #expect(sender.sendCounters.datagrams == 2)
        #expect(sender.sendCounters.errors == 1)
        #expect(sender.sendCounters.lastError == EAFNOSUPPORT)
        var seen: [UInt8] = []
        while seen.count < 2 {
            for index in 0..<(try receive(receiver, &batch)) { seen += batch[index].bytes }
        }
        #expect(seen == [7, 9])
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
