internal import FabricCore
internal import FabricLinux
internal import FabricNode
internal import FabricPacket
internal import Glibc

/// The TUN device of one routing domain, made to look like the agent's configuration.
final class AgentInterface {
    let domain: RoutingDomainID
    let device: TUNDevice
    private var addresses: [InterfaceAddress] = []
    /// Of the virtio header that stands before each packet, where the device has them.
    let headerLength: Int
    /// Super-packets that wait for being written, of one turn.
    static let deliveries = 64
    private var coalescer: Coalescer
    private let pieces: UnsafeMutablePointer<iovec>
    private var routes: [IPPrefix] = []

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

    /// Does all that can be done, and returns what could not: a route that the host has already takes nothing from the others.
    /// What failed is tried again with the next configuration, which comes soon when something did.
    func apply(_ configuration: InterfaceConfiguration) -> [SystemError] {
        var failures: [SystemError] = []
        func attempt(_ body: () throws(SystemError) -> Void) -> Bool {
            do throws(SystemError) {
                try body()
                return true
            } catch {
                failures.append(error)
                return false
            }
        }
        routes.removeAll { route in
            !configuration.routes.contains(route) && attempt { () throws(SystemError) in try device.removeRoute(route) }
        }
        addresses.removeAll { address in
            !configuration.addresses.contains(address)
                && attempt { () throws(SystemError) in
                    try device.removeAddress(address.address, prefixLength: address.length)
                }
        }
        for address in configuration.addresses where !addresses.contains(address) {
            let isAdded = attempt { () throws(SystemError) in
                try device.addAddress(address.address, prefixLength: address.length)
            }
            if isAdded { addresses.append(address) }
        }
        for route in configuration.routes where !routes.contains(route) {
            if attempt({ () throws(SystemError) in try device.addRoute(route) }) { routes.append(route) }
        }
        return failures
    }

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
