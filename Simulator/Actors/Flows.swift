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
    /// Whose overlay address the packets carry: the sender's, unless it lies.
    unowned var source: AgentActor
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
    /// What each flow's packets must be where they come out.
    private var expectations: [() -> InnerPacketsIntact.Expected] = []

    func open(_ expected: @escaping () -> InnerPacketsIntact.Expected) -> Int {
        counts.append(Counts())
        expectations.append(expected)
        return counts.count - 1
    }

    func expected(_ flow: Int) -> InnerPacketsIntact.Expected { expectations[flow]() }

    func sent(_ flow: Int) { counts[flow].sent += 1 }

    func delivered(
        _ packet: UnsafeRawBufferPointer, to host: HostID, in domain: RoutingDomainID, _ checks: SafetyChecks
    ) {
        guard let flow = FlowPacket(packet), flow.flow < counts.count else { return }
        checks.delivered(packet, flow, self, at: host, in: domain)
        counts[flow.flow].delivered += 1
    }
}

/// An IPv6/UDP packet of a flow: port 9 (discard, RFC 863), payload flow u64, sequence u64, and then the checkers' canary
/// over and over.
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
        var offset = 64
        while offset + 8 <= packet.count {
            packet.store64(SecretsStaySecret.canary, at: offset)
            offset += 8
        }
        UDPInIPv6.writeChecksum(to: packet)
        buffer.count = packet.count
    }

    init(flow: Int, sequence: UInt64, source: IPAddress, destination: IPAddress, bytes: Int) {
        self.flow = flow
        self.sequence = sequence
        self.source = source
        self.destination = destination
        self.bytes = bytes
    }

    /// Nil for what is no flow's packet.
    init?(_ packet: UnsafeRawBufferPointer) {
        guard packet.count >= Self.smallest, packet[0] >> 4 == 6, packet[6] == 17,
            packet.load16(at: 42) == Self.port, let flow = Int(exactly: packet.load64(at: 48))
        else { return nil }
        self.init(
            flow: flow, sequence: packet.load64(at: 56),
            source: IPAddress(v6High: packet.load64(at: 8), low: packet.load64(at: 16)),
            destination: IPAddress(v6High: packet.load64(at: 24), low: packet.load64(at: 32)), bytes: packet.count)
    }

    /// Whether the bytes are those that the packet was written with: its own length, the checksum, the canary.
    func matches(_ packet: UnsafeRawBufferPointer) -> Bool {
        guard Int(packet.load16(at: 4)) + 40 == packet.count,
            UDPInIPv6.checksum(of: packet, skippingChecksumField: true) == packet.load16(at: 46)
        else { return false }
        var offset = 64
        while offset + 8 <= packet.count {
            if packet.load64(at: offset) != SecretsStaySecret.canary { return false }
            offset += 8
        }
        while offset < packet.count {
            if packet[offset] != 0 { return false }
            offset += 1
        }
        return true
    }
}
