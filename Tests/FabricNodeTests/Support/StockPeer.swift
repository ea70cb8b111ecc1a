import FabricCore
import FabricCrypto
import FabricTunnel
import FabricWire
import Testing

@testable import FabricNode

/// A WireGuard endpoint that knows nothing of the fabric, at an address of the bench.
final class StockPeer {
    static let domain = RoutingDomainID("stock")!

    let bench: NodeBench
    let endpoint: Endpoint
    let publicKey: [UInt8]
    let tunnels: TunnelEndpoint
    private(set) var received: [[UInt8]] = []
    private(set) var datagrams = 0
    private var peer: PeerHandle?
    private var buffer = PacketBuffer(packetCapacity: 2048)

    init(_ bench: NodeBench, at endpoint: String = "198.51.100.7:51820", seed: UInt8 = 7) throws {
        self.bench = bench
        self.endpoint = Endpoint(endpoint)!
        let privateKey = [UInt8](repeating: seed, count: 32)
        publicKey = try bench.cryptography.x25519PublicKey(privateKey: privateKey)
        tunnels = TunnelEndpoint(
            cryptography: bench.cryptography, random: SeededRandom(seed: UInt64(seed), stream: "stock"),
            limits: .default)
        tunnels.addDomain(id: Self.domain, privateKey: privateKey, mtu: 1420)
        bench.strangers[self.endpoint] = { [unowned self] in receive($0, from: $1) }
    }

    /// A [Peer] section for this peer.
    func section(allowedIPs: String, knowsEndpoint: Bool = true, more: String = "") -> String {
        "[Peer]\nPublicKey = \(Base64.encode(publicKey))\nAllowedIPs = \(allowedIPs)\n"
            + (knowsEndpoint ? "Endpoint = \(endpoint)\n" : "") + more
    }

    /// Learns of a node: its key in a domain, and what lies behind it.
    func learn(
        _ host: NodeHost, domain: RoutingDomainID = .fabric, presharedKey: [UInt8]? = nil, knowsEndpoint: Bool = true,
        allowedIPs: [String]
    ) throws {
        let status = try #require(
            host.agent.status(now: bench.time(of: host)).domains.first { $0.domain == domain })
        peer = tunnels.addPeer(
            domain: Self.domain,
            PeerConfiguration(
                publicKey: try #require(Base64.decode(status.publicKey)), presharedKey: presharedKey,
                allowedIPs: [IPPrefix(host: status.overlayAddress)] + allowedIPs.map { IPPrefix($0)! },
                endpoint: knowsEndpoint ? host.endpoint : nil, persistentKeepalive: nil))
        #expect(peer != nil)
    }

    var handshakes: UInt64 { peer.flatMap { tunnels.peerStatus($0) }?.handshakes ?? 0 }

    func send(_ packet: [UInt8]) {
        let fits = buffer.assign(packet)
        #expect(fits)
        if case .transmit(let target) = tunnels.send(domain: Self.domain, &buffer, now: bench.now) {
            transmit(to: target)
        }
        drain()
    }

    private func receive(_ datagram: [UInt8], from source: Endpoint) {
        datagrams += 1
        guard buffer.assign(datagram) else { return }
        if case .packet = tunnels.receive(&buffer, from: source, now: bench.now) {
            received.append(Array(buffer.bytes))
        }
        drain()
    }

    private func drain() {
        while let target = tunnels.nextTransmit(into: &buffer) { transmit(to: target) }
    }

    private func transmit(to target: Endpoint) {
        let bytes = Array(buffer.bytes)
        bench.schedule(after: .milliseconds(5)) { [self] in
            guard let host = bench.hosts.first(where: { $0.endpoint == target }) else { return }
            bench.receive(bytes, host, from: endpoint)
        }
    }
}

extension StaticPeers {
    static func file(_ text: String) throws -> StaticPeers { try file(.fabric, text) }

    /// A file with this text.
    static func file(
        _ domain: RoutingDomainID, _ text: String, file: String = "peers.conf"
    ) throws -> StaticPeers {
        StaticPeers(
            domain: domain, file: file, configuration: try WireGuardConfiguration(parsing: Array(text.utf8)))
    }
}
