/// A network interface as a host finds it.
public struct InterfaceState: Hashable, Sendable {
    public var isUp: Bool
    /// Bytes.
    public var mtu: Int
    public var addresses: [InterfaceAddress]
    /// Prefixes that the host's main table routes into it, those of the addresses' networks among them.
    public var routes: [IPPrefix]

    public init(isUp: Bool, mtu: Int, addresses: [InterfaceAddress], routes: [IPPrefix]) {
        self.isUp = isUp
        self.mtu = mtu
        self.addresses = addresses
        self.routes = routes
    }
}
