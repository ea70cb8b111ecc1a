import FabricCore
import FabricLinux
import FabricPacket
import Glibc
import Testing

@Suite(.serialized) struct PathMTUTests {
    @Test func `the way to this host itself takes what loopback takes`() throws {
        let socket = try UDPSocket(bind: Endpoint("127.0.0.1:0")!)
        // Of 65,536 bytes IPv4 can use all but one.
        #expect(socket.pathMTU(to: Endpoint("127.0.0.1:9")!) == 65_535)
        let both = try UDPSocket(bind: Endpoint("[::]:0")!)
        #expect(both.pathMTU(to: Endpoint("127.0.0.1:9")!) == 65_535)
        #expect(both.pathMTU(to: Endpoint("[::1]:9")!) == 65_536)
    }

    /// Sends so many datagrams as one run, and takes in what arrives.
    private func send(_ count: Int, _ length: Int, _ sender: UDPSocket, to receiver: UDPSocket) throws -> [Int] {
        var memory = [UInt8](repeating: 7, count: count * length)
        try memory.withUnsafeMutableBytes { bytes in
            var runs = DatagramRuns(capacity: count, joins: true)
            for index in 0..<count {
                runs.append(bytes.baseAddress! + index * length, length: length, to: receiver.localEndpoint)
            }
            let lost = try sender.send(runs)
            #expect(lost == 0)
        }
        var batch = DatagramBatch(capacity: 16, packetCapacity: 2048)
        var lengths: [Int] = []
        while lengths.count < count {
            var descriptor = pollfd(fd: receiver.descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&descriptor, 1, 10_000) == 1 else { break }
            for index in 0..<(try receiver.receive(into: &batch)) { lengths.append(batch[index].count) }
        }
        return lengths
    }

    @Test(
        .enabled(if: canMakeNetworks, "needs root, ip(8) and /dev/net/tun"),
        arguments: [("10.1.0.0/24", "10.2.0.0/24"), ("fd01::/64", "fd02::/64")])
    func `a small line near or far is found, and datagrams that do not fit it arrive all the same`(
        first: String, second: String
    ) throws {
        let bed = try TestBed(label: "mtu")
        defer { bed.tearDown() }
        try bed.addPlace("north", IPPrefix(first)!)
        try bed.addPlace("south", IPPrefix(second)!)
        try bed.addNode("near", place: "north", mtu: 1280)
        try bed.addNode("far", place: "south")
        let (near, far) = try (open(bed, "near"), open(bed, "far"))
        #expect(try pathMTU(bed, "near", near, to: far.localEndpoint) == 1280)
        let nowhere = Endpoint(near.localEndpoint.address.family == .v4 ? "[2001:db8::1]:9" : "192.0.2.1:9")!
        #expect(try pathMTU(bed, "near", near, to: nowhere) == nil)
        // A run that is too large for the first line is refused, and its datagrams go one by one, in fragments.
        #expect(try send(8, 1400, near, to: far) == [Int](repeating: 1400, count: 8))
        #expect(near.takeSizeRefusal() == far.localEndpoint && near.takeSizeRefusal() == nil)
        #expect(near.canSegment)
        let calls = near.sendCounters.calls
        #expect(try send(8, 1400, near, to: far).count == 8)
        #expect(near.sendCounters.calls == calls + 8 && near.takeSizeRefusal() == nil)
        // Smaller ones go as a run.
        #expect(try send(8, 1200, near, to: far) == [Int](repeating: 1200, count: 8))
        #expect(near.sendCounters.calls == calls + 9)

        // From the far side the first line takes more, and the router tells of the second.
        func known() throws -> Int? { try pathMTU(bed, "far", far, to: near.localEndpoint) }
        #expect(try known() == 1500)
        for _ in 0..<50 where try known() != 1280 {
            _ = try [UInt8](repeating: 1, count: 1400).withUnsafeBytes { try far.send($0, to: near.localEndpoint) }
            usleep(100_000)
        }
        #expect(try known() == 1280)
    }

    /// As a program in the node's namespace is told.
    private func pathMTU(_ bed: TestBed, _ name: String, _ socket: UDPSocket, to endpoint: Endpoint) throws -> Int? {
        try bed.node(name)!.namespace.withThread { socket.pathMTU(to: endpoint) }
    }

    private func open(_ bed: TestBed, _ name: String) throws -> UDPSocket {
        let node = bed.node(name)!
        return try node.namespace.withThread { try UDPSocket(bind: Endpoint(address: node.address, port: 7000)) }
    }
}
