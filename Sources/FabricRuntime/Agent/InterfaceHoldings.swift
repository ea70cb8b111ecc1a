internal import FabricCore
internal import FabricLinux
internal import FabricNode

/// A network device as far as it is configured: the kernel's, or a test's that fails where it is told to.
protocol ConfigurableDevice: AnyObject {
    var absence: SystemError { get }
    func state() throws(SystemError) -> InterfaceState?
    func disableAutoconfiguration()
    func setMTU(_ bytes: Int) throws(SystemError)
    func setUp(_ up: Bool) throws(SystemError)
    func addAddress(_ address: IPAddress, prefixLength: Int) throws(SystemError)
    func removeAddress(_ address: IPAddress, prefixLength: Int) throws(SystemError)
    func addRoute(_ prefix: IPPrefix) throws(SystemError)
    func removeRoute(_ prefix: IPPrefix) throws(SystemError)
}

extension TUNDevice: ConfigurableDevice {}

/// What a device has beside its overlay address because it was asked for, and loses when it is asked for no more.
struct InterfaceHoldings {
    private(set) var addresses: [InterfaceAddress] = []
    private(set) var routes: [IPPrefix] = []

    /// Makes the device what it should be, whatever it is now. Does all that can be done, and returns what could not: a route that
    /// the host has already takes nothing from the others. What failed is tried again with the next configuration, which comes
    /// soon when something did. While the device's state can't be read, nothing is done and nothing forgotten.
    mutating func apply(_ configuration: InterfaceConfiguration, to device: some ConfigurableDevice) -> [SystemError] {
        var failures: [SystemError] = []
        /// True when it was done.
        func attempt(_ body: () throws(SystemError) -> Void) -> Bool {
            do throws(SystemError) {
                try body()
                return true
            } catch {
                failures.append(error)
                return false
            }
        }
        let before: InterfaceState
        do throws(SystemError) { before = try Self.presentState(of: device) } catch { return [error] }
        _ = attempt { () throws(SystemError) in try Self.raise(device, from: before, mtu: configuration.mtu) }
        let found: InterfaceState
        do throws(SystemError) { found = try Self.presentState(of: device) } catch { return failures + [error] }

        let (wanted, present) = (Set(configuration.routes), Set(found.routes))
        var routesThatStay: [IPPrefix] = []
        for route in routes where !wanted.contains(route) && present.contains(route) {
            let isGone = attempt { () throws(SystemError) in try device.removeRoute(route) }
            if !isGone { routesThatStay.append(route) }
        }
        var addressesThatStay: [InterfaceAddress] = []
        for address in addresses where !configuration.addresses.contains(address) && found.addresses.contains(address) {
            let isGone = attempt { () throws(SystemError) in
                try device.removeAddress(address.address, prefixLength: address.length)
            }
            if !isGone { addressesThatStay.append(address) }
        }
        for address in configuration.allAddresses {
            if found.addresses.contains(address) {
                guard let network = address.routedNetwork, !found.routes.contains(network) else { continue }
                // The kernel makes this route with the address, and not without.
                _ = attempt { () throws(SystemError) in
                    try device.removeAddress(address.address, prefixLength: address.length)
                }
            }
            _ = attempt { () throws(SystemError) in
                try device.addAddress(address.address, prefixLength: address.length)
            }
        }
        for route in configuration.routes where !present.contains(route) {
            _ = attempt { () throws(SystemError) in try device.addRoute(route) }
        }
        addresses = configuration.addresses + addressesThatStay
        routes = configuration.routes + routesThatStay
        return failures
    }

    private static func presentState(of device: some ConfigurableDevice) throws(SystemError) -> InterfaceState {
        guard let state = try device.state() else { throw device.absence }
        return state
    }

    private static func raise(
        _ device: some ConfigurableDevice, from state: InterfaceState, mtu: Int
    ) throws(SystemError) {
        var isUp = state.isUp
        if state.mtu != mtu {
            // IPv6 comes back to a device that is up with an address of its own making.
            if isUp, state.mtu < TUNDevice.leastIPv6MTU {
                try device.setUp(false)
                isUp = false
            }
            try device.setMTU(mtu)
        }
        // Somebody may have allowed it meanwhile, or taken IPv6 off the device and given it back.
        if !isUp || state.mtu != mtu { device.disableAutoconfiguration() }
        if !isUp { try device.setUp(true) }
    }
}
