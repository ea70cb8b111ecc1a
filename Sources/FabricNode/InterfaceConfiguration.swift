public import FabricCore

public struct InterfaceConfiguration: Hashable, Sendable {
    public var domain: RoutingDomainID
    /// The host's overlay address. It never changes.
    public var address: IPPrefix
    /// Further addresses, which go with static peers.
    public var addresses: [InterfaceAddress]
    /// Prefixes that lie behind peers, sorted. The networks of `addresses` are not among them.
    public var routes: [IPPrefix]
    public var mtu: Int

    public init(
        domain: RoutingDomainID, address: IPPrefix, addresses: [InterfaceAddress], routes: [IPPrefix], mtu: Int
    ) {
        self.domain = domain
        self.address = address
        self.addresses = addresses
        self.routes = routes
        self.mtu = mtu
    }

    /// The overlay address first.
    public var allAddresses: [InterfaceAddress] {
        [InterfaceAddress(address.address, length: address.length)!] + addresses
    }

    /// As many of one kind are named.
    static let namedShortcomings = 3

    /// What the interface lacks, in words; nil when it is as it should be. What it has beyond is its owner's business.
    func shortcomings(of state: InterfaceState) -> String? {
        // Addresses and routes go with the link, and come back with it.
        guard state.isUp else { return "it is down" }
        var found: [String] = []
        if state.mtu != mtu { found.append("its MTU is \(state.mtu), not \(mtu)") }
        func note(_ what: String, _ missing: [String]) {
            guard !missing.isEmpty else { return }
            let named = missing.prefix(Self.namedShortcomings).joined(separator: ", ")
            let rest = missing.count - Self.namedShortcomings
            found.append("without \(what) \(named)" + (rest > 0 ? " and \(rest) more" : ""))
        }
        let gone = allAddresses.filter { !state.addresses.contains($0) }
        note("address", gone.map(\.description))
        let networks = allAddresses.filter { !gone.contains($0) }.compactMap(\.routedNetwork)
        let present = Set(state.routes)
        note("route", (networks + routes).filter { !present.contains($0) }.map(\.description))
        return found.isEmpty ? nil : found.joined(separator: "; ")
    }
}

extension InterfaceAddress {
    /// The network to which the host has a route by having the address; nil for an address that stands alone.
    public var routedNetwork: IPPrefix? { (1..<address.bitWidth).contains(length) ? network : nil }
}
