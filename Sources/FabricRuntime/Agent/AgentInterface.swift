internal import FabricCore
internal import FabricLinux
internal import FabricNode
internal import FabricPacket
internal import Glibc

/// The TUN device of one routing domain, made to look like the agent's configuration.
final class AgentInterface {
    let domain: RoutingDomainID
    let device: TUNDevice
    /// Beside the overlay address, those that were asked for.
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

    /// Makes the device what it should be, whatever it is now. Does all that can be done, and returns what could not: a route that
    /// the host has already takes nothing from the others. What failed is tried again with the next configuration, which comes
    /// soon when something did.
    func apply(_ configuration: InterfaceConfiguration) -> [SystemError] {
        var failures: [SystemError] = []
        func attempt(_ body: () throws(SystemError) -> Void) {
            do throws(SystemError) { try body() } catch { failures.append(error) }
        }
        attempt { () throws(SystemError) in try raiseLink(configuration.mtu) }
        var found = InterfaceState(isUp: true, mtu: configuration.mtu, addresses: [], routes: [])
        attempt { () throws(SystemError) in found = try presentState() }
        for route in routes where !configuration.routes.contains(route) && found.routes.contains(route) {
            attempt { () throws(SystemError) in try device.removeRoute(route) }
        }
        for address in addresses where !configuration.addresses.contains(address) && found.addresses.contains(address) {
            attempt { () throws(SystemError) in
                try device.removeAddress(address.address, prefixLength: address.length)
            }
        }
        for address in configuration.allAddresses {
            if found.addresses.contains(address) {
                guard let network = address.routedNetwork, !found.routes.contains(network) else { continue }
                // The kernel makes this route with the address, and not without.
                attempt { () throws(SystemError) in
                    try device.removeAddress(address.address, prefixLength: address.length)
                }
            }
            attempt { () throws(SystemError) in
                try device.addAddress(address.address, prefixLength: address.length)
            }
        }
        for route in configuration.routes where !found.routes.contains(route) {
            attempt { () throws(SystemError) in try device.addRoute(route) }
        }
        addresses = configuration.addresses
        routes = configuration.routes
        return failures
    }

    private func presentState() throws(SystemError) -> InterfaceState {
        guard let state = try device.state() else { throw device.absence }
        return state
    }

    private func raiseLink(_ mtu: Int) throws(SystemError) {
        let state = try presentState()
        var isUp = state.isUp
        if state.mtu != mtu {
            // IPv6 comes back to a device that is up with an address of its own making.
            if isUp, state.mtu < TUNDevice.leastIPv6MTU {
                try device.setUp(false)
                isUp = false
            }
            try device.setMTU(mtu)
            device.disableAutoconfiguration()
        }
        if !isUp { try device.setUp(true) }
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
