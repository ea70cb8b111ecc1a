internal import FabricCore
internal import FabricLinux
internal import FabricNode
internal import FabricPacket
internal import Glibc

/// The TUN device of one routing domain, made to look like the agent's configuration.
final class AgentInterface {
    let domain: RoutingDomainID
    let device: TUNDevice
    private var holdings = InterfaceHoldings()
    /// Of the virtio header that stands before each packet, where the device has them.
    let headerLength: Int
    /// Super-packets that wait for being written, of one turn.
    static let deliveries = 64
    private var coalescer: Coalescer
    private let pieces: UnsafeMutablePointer<iovec>

    init(pattern: String, offloads: Bool, _ configuration: InterfaceConfiguration) throws {
        domain = configuration.domain
        device = try TUNDevice(pattern: pattern, offloads: offloads ? .all : [])
        headerLength = device.offloads.contains(.header) ? VirtioHeader.length : 0
        var kinds: Coalescer.Kinds = []
        if device.offloads.contains(.tcp) { kinds.insert(.tcp) }
        if device.offloads.contains(.udp) { kinds.insert(.udp) }
        coalescer = Coalescer(capacity: Self.deliveries, kinds: kinds)
        pieces = .allocate(capacity: Coalescer.maximumPackets)
        try device.setMTU(configuration.mtu)
        try device.addAddress(configuration.address.address, prefixLength: configuration.address.length)
        try device.setUp(true)
    }

    /// Makes the device what it should be, as far as it can, and returns what failed.
    func apply(_ configuration: InterfaceConfiguration) -> [SystemError] { holdings.apply(configuration, to: device) }

    deinit { pieces.deallocate() }

    // MARK: Packets for this host

    /// Takes a packet whose memory stays until `writeOut`, with room for a virtio header before it.
    @inline(__always)
    func deliver(_ packet: borrowing PacketBuffer, _ counters: inout OffloadCounters) throws(SystemError) {
        if coalescer.isFull { try writeOut(&counters) }
        coalescer.append(packet.bytes.baseAddress!, count: packet.count)
    }

    /// Gives the host what waits.
    func writeOut(_ counters: inout OffloadCounters) throws(SystemError) {
        guard coalescer.count > 0 else { return }
        defer { coalescer.removeAll() }
        for index in 0..<coalescer.count {
            let slices = coalescer.slices(of: index, virtio: headerLength > 0)
            for place in 0..<slices.count {
                pieces[place] = iovec(iov_base: slices[place].start, iov_len: slices[place].count)
            }
            if slices.count > 1 { counters.superPacketsWritten += 1 }
            let outcome = try device.write(UnsafeBufferPointer(start: pieces, count: slices.count))
            if outcome != .written { counters.writesLost += 1 }
        }
    }

    func forgetDeliveries() { coalescer.removeAll() }
}
