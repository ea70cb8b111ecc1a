import FabricCore
import FabricLinux
import FabricPacket
import Glibc
import Testing

/// ECN marks through the kernel, over loopback.
@Suite struct UDPMarkTests {
    /// The sender's address, the receiver's, and where the receiver is reached.
    static let ways = [
        ("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "[::1]:0", "[::1]"),
        ("[::]:0", "[::]:0", "127.0.0.1"), ("[::]:0", "[::]:0", "[::1]"), ("127.0.0.1:0", "[::]:0", "127.0.0.1"),
    ]

    private func wait(_ socket: UDPSocket) {
        var descriptor = pollfd(fd: socket.descriptor, events: Int16(POLLIN), revents: 0)
        #expect(poll(&descriptor, 1, 10_000) == 1)
    }

    @Test(arguments: ways) func `a datagram arrives with the mark that it was sent with`(
        from: String, to: String, host: String
    ) throws {
        let sender = try UDPSocket(bind: Endpoint(from)!)
        let receiver = try UDPSocket(bind: Endpoint(to)!)
        let target = Endpoint("\(host):\(receiver.localEndpoint.port)")!
        var batch = DatagramBatch(capacity: 1, packetCapacity: 100)
        var slots = ReceiveSlots(capacity: 1)
        for ecn in ECN.allCases {
            for _ in 0..<2 { _ = try [1, 2].withUnsafeBytes { try sender.send($0, to: target, ecn: ecn) } }
            wait(receiver)
            try receiver.receive(into: &batch)
            let mark = batch[0].ecn
            wait(receiver)
            try receiver.receive(into: &slots)
            let runMark = slots[0].ecn
            #expect(mark == ecn && runMark == ecn)
        }
        #expect(sender.sendCounters.errors == 0)
    }

    /// Sends datagrams of 100 bytes with these marks as runs, and gives count and mark of each run that arrives.
    private func runs(_ marks: [ECN], _ from: String, _ to: String, _ host: String) throws -> [(Int, ECN)] {
        let sender = try UDPSocket(bind: Endpoint(from)!)
        let receiver = try UDPSocket(bind: Endpoint(to)!)
        let target = Endpoint("\(host):\(receiver.localEndpoint.port)")!
        #expect(receiver.joinReceived())
        var bytes = [UInt8](repeating: 7, count: 100 * marks.count)
        try bytes.withUnsafeMutableBytes { memory in
            var runs = DatagramRuns(capacity: marks.count, joins: sender.canSegment)
            for (index, ecn) in marks.enumerated() {
                runs.append(memory.baseAddress! + 100 * index, length: 100, to: target, ecn: ecn)
            }
            let lost = try sender.send(runs)
            #expect(lost == 0)
        }
        var slots = ReceiveSlots(capacity: 16)
        var arrived: [(Int, ECN)] = []
        while arrived.reduce(0, { $0 + $1.0 }) < marks.count {
            wait(receiver)
            try receiver.receive(into: &slots)
            for index in 0..<slots.count { arrived.append((slots[index].length / 100, slots[index].ecn)) }
        }
        return arrived
    }

    @Test(arguments: ways) func `each datagram of a run has the run's mark, and no run has two`(
        from: String, to: String, host: String
    ) throws {
        let marks: [ECN] = [.ect0, .ect0, .ect0, .ce, .ce, .notECT, .ect1, .ect1]
        let arrived = try runs(marks, from, to, host)
        #expect(arrived.flatMap { Array(repeating: $0.1, count: $0.0) } == marks)
        // Whole runs pass over loopback where the kernel has both offloads.
        if try UDPSocket(bind: Endpoint(from)!).canSegment { #expect(arrived.map(\.0) == [3, 2, 1, 2]) }
    }
}
