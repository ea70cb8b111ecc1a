internal import FabricCore
internal import FabricWire

/// A flow of packets from a program on one host to one on another.
struct FlowState {
    var number: Int
    var domain: RoutingDomainID
    var interval: Duration
    var packetBytes: Int
    /// World time.
    var end: Instant
    var sequence: UInt64 = 0
    /// The other host's overlay address, once that host has one.
    var destination: () -> IPAddress?
}

/// What was sent and what came, by flow.
final class FlowLedger {
    struct Counts: Hashable {
        var sent: UInt64 = 0
        var delivered: UInt64 = 0
    }

    private(set) var counts: [Counts] = []

    func open() -> Int {
        counts.append(Counts())
        return counts.count - 1
    }

    func sent(_ flow: Int) { counts[flow].sent += 1 }

    func delivered(_ packet: UnsafeRawBufferPointer, to host: HostID, _ now: Instant) {
        guard let flow = FlowPacket.flow(of: packet), flow < counts.count else { return }
        counts[flow].delivered += 1
    }
}

/// An IPv6/UDP packet of a flow: port 9 (discard, RFC 863), payload flow u64, sequence u64, zeros.
struct FlowPacket {
    static let port: UInt16 = 9
    static let smallest = 64

    var flow: Int
    var sequence: UInt64
    var source: IPAddress
    var destination: IPAddress
    var bytes: Int

    func write(to buffer: inout PacketBuffer) {
        let area = buffer.writableArea()
        let packet = UnsafeMutableRawBufferPointer(rebasing: area[..<max(Self.smallest, bytes)])
        packet.initializeMemory(as: UInt8.self, repeating: 0)
        UDPInIPv6.writeHeaders(to: packet, from: source, to: destination, port: Self.port)
        packet.store64(UInt64(flow), at: 48)
        packet.store64(sequence, at: 56)
        UDPInIPv6.writeChecksum(to: packet)
        buffer.count = packet.count
    }

    static func flow(of packet: UnsafeRawBufferPointer) -> Int? {
        guard packet.count >= smallest, packet[0] >> 4 == 6, packet[6] == 17, packet.load16(at: 42) == port else {
            return nil
        }
        return Int(exactly: packet.load64(at: 48))
    }
}
