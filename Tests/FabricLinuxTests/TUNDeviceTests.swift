import FabricCore
import FabricLinux
import Glibc
import Testing

/// Root with ip(8) and /dev/net/tun: what the tests below need, each in namespaces of its own.
let canMakeNetworks = NetworkNamespace.isSupported && access("/dev/net/tun", R_OK | W_OK) == 0

@Suite(.enabled(if: canMakeNetworks, "needs root, ip(8) and /dev/net/tun"))
struct TUNDeviceTests {
    @Test func `a device carries packets both ways and takes its addresses and routes with it`() throws {
        let namespace = try NetworkNamespace.create("tun-test")
        defer { try? namespace.delete() }
        let before = try state(namespace)
        try namespace.withThread {
            let device = try TUNDevice(pattern: "rap%d")
            #expect(device.name == "rap0")
            try device.setMTU(1380)
            try device.addAddress(IPAddress("10.9.0.1")!, prefixLength: 32)
            try device.addAddress(IPAddress("fd00:9::1")!, prefixLength: 128)
            var packet = PacketBuffer(packetCapacity: 1500)
            fill(&packet, udp(from: "10.9.1.2", to: "10.9.0.1", port: 4000, "early"))
            let result1 = try device.write(packet)
            #expect(result1 == .linkDown)
            try device.setUp(true)
            try device.addRoute(IPPrefix("10.9.1.0/24")!)
            try device.addRoute(IPPrefix("fd00:9:1::/64")!)
            let listing = try state(namespace)
            for line in ["10.9.0.1/32", "fd00:9::1/128", "10.9.1.0/24 dev rap0", "fd00:9:1::/64 dev rap0", "mtu 1380"] {
                #expect(listing.contains(line), "\(line) in \(listing)")
            }
            // Without a link-local address there are no router solicitations into the tunnel.
            #expect(!listing.contains("fe80::"))

            // From the host into the device.
            let socket = try UDPSocket(bind: Endpoint("10.9.0.1:4000")!)
            _ = try Array("hello".utf8).withUnsafeBytes { try socket.send($0, to: Endpoint("10.9.1.2:4001")!) }
            // The kernel may have announced its multicast groups before.
            var bytes: [UInt8] = []
            while bytes.first != 0x45 {
                var descriptor = pollfd(fd: device.descriptor, events: Int16(POLLIN), revents: 0)
                try #require(poll(&descriptor, 1, 10_000) == 1)
                let hasPacket = try device.read(into: &packet)
                bytes = hasPacket ? Array(packet.bytes) : []
            }
            #expect(bytes.count == 20 + 8 + 5)
            #expect(Array(bytes[12..<20]) == [10, 9, 0, 1, 10, 9, 1, 2])

            // From the device into the host.
            fill(&packet, udp(from: "10.9.1.2", to: "10.9.0.1", port: 4000, "there"))
            let result2 = try device.write(packet)
            #expect(result2 == .written)
            var batch = DatagramBatch(capacity: 4, packetCapacity: 1500)
            var descriptor = pollfd(fd: socket.descriptor, events: Int16(POLLIN), revents: 0)
            #expect(poll(&descriptor, 1, 10_000) == 1)
            let count = try socket.receive(into: &batch)
            #expect(count == 1)
            let text = String(decoding: batch[0].bytes, as: UTF8.self)
            let source = batch.endpoint(0)
            #expect(text == "there")
            #expect(source.address == IPAddress("10.9.1.2")!)

            // Not IP.
            fill(&packet, [0xFF, 1, 2, 3])
            let result3 = try device.write(packet)
            #expect(result3 == .refused)

            try device.removeRoute(IPPrefix("10.9.1.0/24")!)
            try device.removeAddress(IPAddress("10.9.0.1")!, prefixLength: 32)
            #expect(throws: SystemError.self) { try device.removeRoute(IPPrefix("10.9.1.0/24")!) }
        }
        // A child that another test is just starting may hold a copy of the descriptor for a moment.
        var after = try state(namespace)
        for _ in 0..<100 where after != before {
            usleep(50_000)
            after = try state(namespace)
        }
        #expect(after == before)
    }

    @Test func `a name that is too long or taken is a clear error`() throws {
        let namespace = try NetworkNamespace.create("tun-names")
        defer { try? namespace.delete() }
        try namespace.withThread {
            #expect(throws: SystemError.self) { _ = try TUNDevice(pattern: "a-name-that-is-too-long") }
            let first = try TUNDevice(pattern: "rapx")
            let error = #expect(throws: SystemError.self) { _ = try TUNDevice(pattern: first.name) }
            #expect(error?.code == EBUSY)
        }
    }

    /// All that ip(8) tells of a namespace, without counters that move.
    private func state(_ namespace: NetworkNamespace) throws -> String {
        try namespace.command(["ip", "-o", "link"]) + namespace.command(["ip", "-o", "address"])
            + namespace.command(["ip", "route", "show", "table", "all"])
            + namespace.command(["ip", "-6", "route", "show", "table", "all"])
    }

    /// An IPv4 UDP packet without UDP checksum.
    private func udp(from source: String, to destination: String, port: UInt16, _ text: String) -> [UInt8] {
        let payload = Array(text.utf8)
        var header: [UInt8] = [0x45, 0, 0, UInt8(28 + payload.count), 0, 0, 0, 0, 64, 17, 0, 0]
        header += IPAddress(source)!.bytes + IPAddress(destination)!.bytes
        var sum = stride(from: 0, to: 20, by: 2).reduce(UInt32(0)) {
            $0 + UInt32(header[$1]) << 8 + UInt32(header[$1 + 1])
        }
        while sum > 0xFFFF { sum = sum & 0xFFFF + sum >> 16 }
        (header[10], header[11]) = (UInt8(~sum >> 8 & 0xFF), UInt8(~sum & 0xFF))
        let length = UInt8(8 + payload.count)
        return header + [0x0F, 0xA1, UInt8(port >> 8), UInt8(port & 0xFF), 0, length, 0, 0] + payload
    }
}
