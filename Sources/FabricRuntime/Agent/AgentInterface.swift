internal import FabricCore
internal import FabricLinux
internal import FabricNode

/// The TUN device of one routing domain, made to look like the agent's configuration.
final class AgentInterface {
    let domain: RoutingDomainID
    let device: TUNDevice
    private var addresses: [InterfaceAddress] = []
    private var routes: [IPPrefix] = []

    init(pattern: String, _ configuration: InterfaceConfiguration) throws {
        domain = configuration.domain
        device = try TUNDevice(pattern: pattern)
        try device.setMTU(configuration.mtu)
        try device.addAddress(configuration.address.address, prefixLength: configuration.address.length)
        try device.setUp(true)
    }

    /// Does all that can be done, and returns what could not: a route that the host has already takes nothing from the others.
    /// What failed is tried again with the next configuration.
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
}
