internal import FabricCore
internal import FabricLinux
internal import FabricNode

/// The TUN device of one routing domain, made to look like the agent's configuration.
final class AgentInterface {
    let domain: RoutingDomainID
    let device: TUNDevice
    private var routes: [IPPrefix] = []

    init(pattern: String, _ configuration: InterfaceConfiguration) throws {
        domain = configuration.domain
        device = try TUNDevice(pattern: pattern)
        try device.setMTU(configuration.mtu)
        try device.addAddress(configuration.address.address, prefixLength: configuration.address.length)
        try device.setUp(true)
        try apply(configuration)
    }

    func apply(_ configuration: InterfaceConfiguration) throws {
        for route in routes where !configuration.routes.contains(route) { try device.removeRoute(route) }
        for route in configuration.routes where !routes.contains(route) { try device.addRoute(route) }
        routes = configuration.routes
    }
}
