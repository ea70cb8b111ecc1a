public import FabricCore
internal import FabricTunnel
public import FabricWire

/// The peers of one routing domain that a person configured on this host: WireGuard implementations that are no nodes.
public struct StaticPeers: Hashable, Sendable {
    public var domain: RoutingDomainID
    /// Where the configuration was read, for messages.
    public var file: String
    public var configuration: WireGuardConfiguration

    public init(domain: RoutingDomainID, file: String, configuration: WireGuardConfiguration) {
        self.domain = domain
        self.file = file
        self.configuration = configuration
    }

    /// Networks that the files of several domains may hold together: each is held against those of the other domains, also for
    /// packets.
    public static let mostNetworksOfSeveral = 1_024

    /// Throws for what one file alone does not show: `underlay` are the addresses that this host needs outside its tunnels.
    public static func check(
        _ all: [StaticPeers], domains: [RoutingDomainID], underlay: [Endpoint]
    ) throws(StaticPeersError) {
        let networks = all.reduce(0) { $0 + $1.networks.count }
        if all.count > 1, networks > mostNetworksOfSeveral {
            throw StaticPeersError(
                file: all[all.count - 1].file, line: nil,
                "the files of \(all.count) routing domains hold \(networks) networks together, and \(mostNetworksOfSeveral) is the most: "
                    + "give a domain with so many a host of its own")
        }
        for (index, one) in all.enumerated() {
            guard domains.contains(one.domain) else {
                let known = domains.map(\.text).joined(separator: ", ")
                throw StaticPeersError(
                    file: one.file, line: nil, "this node is not in routing domain \(one.domain), but in: \(known)")
            }
            if let other = all[..<index].first(where: { $0.domain == one.domain }) {
                throw StaticPeersError(
                    file: one.file, line: nil,
                    "routing domain \(one.domain) has its peers from \(other.file) already: put them into one file")
            }
            for peer in one.configuration.peers {
                try one.checkUnderlay(peer, underlay)
            }
            for other in all[..<index] { try one.check(against: other) }
            for address in one.configuration.addresses {
                if let endpoint = underlay.first(where: { address.network.contains($0.address) }) {
                    throw StaticPeersError(
                        file: one.file, line: nil,
                        "Address: the network of \(address) holds \(endpoint), which this host needs outside the tunnel"
                    )
                }
                for other in all[..<index] where other.networks.contains(where: { $0.overlaps(address.network) }) {
                    throw StaticPeersError(
                        file: one.file, line: nil, "Address \(address) overlaps a network of \(other.file)")
                }
            }
        }
    }

    /// The networks that the host routes to this domain's interface.
    private var networks: [IPPrefix] {
        configuration.peers.flatMap(\.allowedIPs) + configuration.addresses.map(\.network)
    }

    private func checkUnderlay(
        _ peer: WireGuardConfiguration.Peer, _ underlay: [Endpoint]
    ) throws(StaticPeersError) {
        for prefix in peer.allowedIPs {
            if let endpoint = underlay.first(where: { prefix.contains($0.address) }) {
                throw StaticPeersError(
                    file: file, line: peer.line,
                    "AllowedIPs: \(prefix) holds \(endpoint), which this host needs outside the tunnel")
            }
        }
    }

    /// One routing table serves all domains of a host.
    private func check(against other: StaticPeers) throws(StaticPeersError) {
        let networks = other.networks
        let endpoints = other.configuration.peers.compactMap(\.endpoint)
        for peer in configuration.peers { try check(peer, networks, endpoints, of: other.file) }
    }

    private func check(
        _ peer: WireGuardConfiguration.Peer, _ networks: [IPPrefix], _ endpoints: [Endpoint], of other: String
    ) throws(StaticPeersError) {
        for prefix in peer.allowedIPs {
            if let network = networks.first(where: { $0.overlaps(prefix) }) {
                throw StaticPeersError(
                    file: file, line: peer.line,
                    "AllowedIPs: \(prefix) overlaps \(network) of \(other); this host has one routing table")
            }
            if let endpoint = endpoints.first(where: { prefix.contains($0.address) }) {
                throw StaticPeersError(
                    file: file, line: peer.line, "AllowedIPs: \(prefix) holds the Endpoint \(endpoint) of \(other)"
                )
            }
        }
        if let endpoint = peer.endpoint, let network = networks.first(where: { $0.contains(endpoint.address) }) {
            throw StaticPeersError(
                file: file, line: peer.line, "Endpoint: \(endpoint) is within \(network) of \(other)")
        }
    }
}

/// What is wrong with the files together, and where.
public struct StaticPeersError: Error, Hashable, Sendable, CustomStringConvertible {
    public var description: String

    init(file: String, line: Int?, _ what: String) {
        description = "\(file)\(line.map { ":\($0)" } ?? ""): \(what)"
    }
}

/// What decides which networks of static peers hold underlay addresses of nodes.
struct ShadowBasis: Equatable {
    var peers: [PathPlace]
    var staticPeers: Set<PeerHandle>
}

struct PathPlace: Equatable {
    var peer: PeerHandle
    var endpoint: Endpoint?
}

/// One hand-configured peer, and what became of it.
struct StaticPeer {
    let domain: RoutingDomainID
    let configuration: WireGuardConfiguration.Peer
    /// Nil while it has no tunnel.
    var handle: PeerHandle?
    /// Why it has none.
    var refusal: String?
}
