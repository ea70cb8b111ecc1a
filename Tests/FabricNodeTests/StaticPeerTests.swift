import FabricCore
import FabricMesh
import FabricTunnel
import FabricWire
import Testing

@testable import FabricNode

/// Hand-configured peers: WireGuard beyond the fabric.
@Suite struct StaticPeerTests {
    static let blue = RoutingDomainID("blue")!
    static let own = "[Interface]\nAddress = 10.78.0.1/24\n"

    /// A member with one static peer, which knows it.
    func join(
        _ bench: NodeBench, _ stock: StockPeer, nodeBegins: Bool, presharedKey: [UInt8]? = nil
    ) throws -> NodeHost {
        let more = presharedKey.map { "PresharedKey = \(Base64.encode($0))\n" } ?? ""
        let host = bench.addHost(
            "a", token: try bench.makeToken().token,
            staticPeers: [
                try .file(Self.own + stock.section(allowedIPs: "10.78.0.2/32", knowsEndpoint: nodeBegins, more: more))
            ])
        bench.start(host)
        try #require(bench.run { host.agent.phase == .active && host.agent.tunnelsReady })
        try stock.learn(
            host, presharedKey: presharedKey, knowsEndpoint: !nodeBegins, allowedIPs: ["10.78.0.1/32"])
        return host
    }

    func staticStatus(_ host: NodeHost, _ bench: NodeBench) throws -> NodeStatus.StaticPeer {
        try #require(host.agent.status(now: bench.time(of: host)).domains.first?.staticPeers.first)
    }

    let there = Packets.udp4(from: "10.78.0.1", to: "10.78.0.2", [1, 2, 3])
    let back = Packets.udp4(from: "10.78.0.2", to: "10.78.0.1", [4, 5])

    @Test func `a network that holds where a node is reached is warned of, once, and while it does`() throws {
        let bench = try NodeBench()
        let stock = try StockPeer(bench)
        let host = bench.addHost(
            "a", token: try bench.makeToken().token,
            staticPeers: [try .file(stock.section(allowedIPs: "10.78.0.2/32, 192.0.2.2/31"))])
        bench.start(host)
        try #require(bench.run { host.agent.phase == .active })
        func warnings() -> [String] { host.agent.status(now: bench.time(of: host)).domains[0].warnings }
        #expect(warnings().isEmpty)
        let other = try bench.join("b")
        #expect(other.endpoint == Endpoint("192.0.2.2:51820"))
        #expect(bench.run { warnings().count == 1 && bench.isUp(host) })
        #expect(warnings()[0].contains("192.0.2.2/31 holds 192.0.2.2:51820"))
        #expect(warnings()[0].contains(other.agent.nodeID!.text))
        bench.run(.seconds(60))
        let told = host.reports.count { if case .staticShadows(.fabric, _) = $0 { true } else { false } }
        #expect(told == 1)
        // It is where it was, and works: the host's own routing decides.
        #expect(bench.isUp(host) && host.agent.staticPeers.allSatisfy { $0.handle != nil && $0.refusal == nil })
    }

    @Test(arguments: [true, false]) func `packets pass both ways, whoever begins`(_ nodeBegins: Bool) throws {
        let bench = try NodeBench()
        let stock = try StockPeer(bench)
        let host = try join(bench, stock, nodeBegins: nodeBegins, presharedKey: [UInt8](repeating: 9, count: 32))
        #expect(try staticStatus(host, bench).latestHandshake == nil)
        if nodeBegins { bench.inject(there, host) } else { stock.send(back) }
        bench.run(.milliseconds(100))
        if nodeBegins { stock.send(back) } else { bench.inject(there, host) }
        bench.run(.milliseconds(100))
        #expect(stock.received == [there])
        #expect(host.delivered.map(\.packet) == [back])
        #expect(host.delivered.map(\.domain) == [.fabric])
        let status = try staticStatus(host, bench)
        #expect(status.handshakes == 1 && status.hasSession && status.endpoint == stock.endpoint)
        #expect(status.receivedBytes == UInt64(back.count) && status.sentBytes == UInt64(there.count))
        let latest = try #require(status.latestHandshake)
        #expect(latest <= bench.now.wall.seconds && latest >= bench.now.wall.seconds - 1)
        // It is no node: it is not probed, and the control plane hears nothing of it.
        #expect(host.agent.peers.isEmpty)
    }

    @Test func `another preshared key opens nothing`() throws {
        let bench = try NodeBench()
        let stock = try StockPeer(bench)
        let host = bench.addHost(
            "a", token: try bench.makeToken().token,
            staticPeers: [
                try .file(
                    stock.section(
                        allowedIPs: "10.78.0.2/32",
                        more: "PresharedKey = \(Base64.encode([UInt8](repeating: 9, count: 32)))\n"))
            ])
        bench.start(host)
        try #require(bench.run { host.agent.phase == .active && host.agent.tunnelsReady })
        try stock.learn(host, presharedKey: [UInt8](repeating: 8, count: 32), allowedIPs: ["10.78.0.1/32"])
        stock.send(back)
        bench.inject(there, host)
        bench.run(.seconds(10))
        #expect(host.delivered.isEmpty && stock.received.isEmpty)
    }

    @Test func `a keepalive opens the tunnel before there is traffic`() throws {
        let bench = try NodeBench()
        let stock = try StockPeer(bench)
        let host = bench.addHost(
            "a", token: try bench.makeToken().token,
            staticPeers: [try .file(stock.section(allowedIPs: "10.78.0.2/32", more: "PersistentKeepalive = 25\n"))])
        bench.start(host)
        try #require(bench.run { host.agent.phase == .active })
        try stock.learn(host, allowedIPs: ["10.78.0.1/32"])
        #expect(bench.run(until: { stock.handshakes == 1 }, limit: .seconds(10)))
    }

    @Test func `the interface gets the addresses and routes, and keeps them`() throws {
        let bench = try NodeBench()
        let stock = try StockPeer(bench)
        let host = bench.addHost(
            "a", token: try bench.makeToken().token,
            staticPeers: [
                try .file(
                    "[Interface]\nAddress = 10.78.0.1/24, 10.79.0.1\n"
                        + stock.section(allowedIPs: "10.78.0.0/24, 192.168.7.0/24, 2001:db8:7::/48"))
            ])
        bench.start(host)
        try #require(bench.run { host.agent.phase == .active && !host.interfaces.isEmpty })
        let interface = host.interfaces[0]
        #expect(interface.addresses.map(\.description) == ["10.78.0.1/24", "10.79.0.1/32"])
        // The kernel routes the network of an address by itself.
        #expect(interface.routes.map(\.description) == ["192.168.7.0/24", "2001:db8:7::/48"])
        let other = try bench.join("b")
        try #require(bench.run { host.agent.peers.count == 1 })
        #expect(host.interfaces[0].addresses == interface.addresses)
        #expect(host.interfaces[0].routes == (interface.routes + [other.agent.domains[0].overlay]).sorted())
    }

    @Test func `it works after a reboot with the control plane away`() throws {
        let bench = try NodeBench()
        let stock = try StockPeer(bench)
        let host = try join(bench, stock, nodeBegins: true)
        bench.run(.seconds(5))
        bench.isControlPlaneAway = true
        bench.reboot(host)
        try #require(bench.run { host.agent.tunnelsReady })
        #expect(host.interfaces[0].addresses.map(\.description) == ["10.78.0.1/24"])
        bench.inject(there, host)
        bench.run(.milliseconds(100))
        stock.send(back)
        bench.run(.milliseconds(100))
        #expect(stock.received == [there] && host.delivered.map(\.packet) == [back])
    }

    @Test func `snapshots bring and take nodes, and leave a static peer its session`() throws {
        let bench = try NodeBench()
        let stock = try StockPeer(bench)
        let host = try join(bench, stock, nodeBegins: true)
        bench.inject(there, host)
        bench.run(.milliseconds(100))
        let handle = try #require(host.agent.staticPeers[0].handle)
        let version = host.agent.snapshotVersion
        let others = [try bench.join("b"), try bench.join("c")]
        try #require(bench.run { host.agent.peers.count == others.count })
        #expect(host.agent.snapshotVersion > version)
        bench.inject(there, host)
        bench.run(.milliseconds(100))
        #expect(host.agent.staticPeers[0].handle == handle)
        #expect(stock.received.count == 2 && stock.handshakes == 1)
    }

    // MARK: What passes

    @Test func `a source outside the allowed IPs is dropped`() throws {
        let bench = try NodeBench()
        let stock = try StockPeer(bench)
        let host = try join(bench, stock, nodeBegins: false)
        stock.send(back)
        stock.send(Packets.udp4(from: "10.78.0.3", to: "10.78.0.1", [1]))
        bench.run(.milliseconds(100))
        #expect(host.delivered.map(\.packet) == [back])
        #expect(host.agent.tunnelCounters[.sourceNotAllowed] == 1)
    }

    @Test func `a static peer reaches this host and what it routes, and nothing of the fabric`() throws {
        let bench = try NodeBench()
        let stock = try StockPeer(bench)
        let domains: [RoutingDomainID] = [.fabric, Self.blue]
        let host = bench.addHost(
            "a", token: try bench.makeToken(domains: domains).token, domains: domains,
            staticPeers: [
                try .file(Self.own + stock.section(allowedIPs: "10.78.0.2/32, 2001:db8:7::/48")),
                try .file(
                    Self.blue,
                    "[Interface]\nAddress=10.90.0.1/24\n[Peer]\nPublicKey=\(WireGuardKeys.some)\n"
                        + "AllowedIPs=10.91.0.0/16\n", file: "blue.conf"),
            ])
        bench.start(host)
        try #require(bench.run { host.agent.phase == .active && host.agent.tunnelsReady })
        let other = try bench.join("b", domains: domains)
        try #require(bench.run { host.agent.peers.count == 2 && bench.isUp(host) })
        try stock.learn(host, allowedIPs: ["10.0.0.0/8", "192.168.0.0/16", "fd00::/8"])
        let overlay = try #require(host.agent.overlayAddress(in: .fabric))
        let source = IPAddress("2001:db8:7::1")!
        let passes = [
            back, Packets.udp4(from: "10.78.0.2", to: "192.168.1.1", [1]), Packets.udp(from: source, to: overlay, [1]),
        ]
        let stops = [
            // Another node, our agent, this host in another domain, that domain's static network and address.
            Packets.udp(from: source, to: other.agent.overlayAddress(in: .fabric)!, [1]),
            Packets.udp(from: source, to: host.agent.domains[0].overlay.overlayAgent, [1]),
            Packets.udp(from: source, to: host.agent.overlayAddress(in: Self.blue)!, [1]),
            Packets.udp4(from: "10.78.0.2", to: "10.91.3.4", [1]),
            Packets.udp4(from: "10.78.0.2", to: "10.90.0.1", [1]),
        ]
        let drops = host.agent.counters
        for packet in passes + stops { stock.send(packet) }
        bench.run(.milliseconds(100))
        #expect(host.delivered.map(\.packet) == passes)
        #expect(host.agent.counters.dropsNotOurs == drops.dropsNotOurs + 4)
        #expect(host.agent.counters.dropsMalformedFabricMessage == drops.dropsMalformedFabricMessage + 1)
        // What goes for static peers goes for no node.
        bench.inject(
            Packets.udp(from: other.agent.overlayAddress(in: .fabric)!, to: IPAddress("2001:db8::1")!, [1]), other)
        #expect(other.agent.tunnelCounters[.noRoute] == 1)
    }

    @Test func `a node's packets to a static address are dropped as before`() throws {
        let bench = try NodeBench()
        let stock = try StockPeer(bench)
        let host = try join(bench, stock, nodeBegins: true)
        let other = try bench.join("b")
        try #require(bench.run { bench.isUp(host) && bench.isUp(other) })
        // A node that has been made to send what it should not: its tunnel to us takes any destination.
        let peer = try #require(other.agent.peers.first)
        let taken = other.agent.tunnels.updatePeer(
            peer.handle,
            PeerConfiguration(
                publicKey: peer.publicKey, presharedKey: nil,
                allowedIPs: [peer.overlay, IPPrefix("2001:db8:78::1/128")!], endpoint: nil, persistentKeepalive: nil))
        #expect(taken)
        bench.inject(
            Packets.udp(from: other.agent.overlayAddress(in: .fabric)!, to: IPAddress("2001:db8:78::1")!, [1]), other)
        bench.run(.milliseconds(100))
        #expect(host.delivered.isEmpty && host.agent.counters.dropsNotOurs == 1)
    }

    // MARK: Refusals

    func refusals(_ host: NodeHost) -> [String] {
        host.reports.compactMap { if case .staticRefused(_, _, let why) = $0 { why } else { nil } }
    }

    @Test func `our own key is refused, and the other peers work`() throws {
        let bench = try NodeBench()
        let stock = try StockPeer(bench)
        let host = try bench.join("a")
        let key = try #require(host.agent.status(now: bench.now).domains.first?.publicKey)
        host.configuration.staticPeers = [
            try .file("[Peer]\nPublicKey=\(key)\nAllowedIPs=10.79.0.2\n" + stock.section(allowedIPs: "10.78.0.2"))
        ]
        bench.reboot(host)
        #expect(refusals(host).count == 1 && refusals(host)[0].contains("own"))
        #expect(host.agent.staticPeers.map { $0.handle != nil } == [false, true])
        #expect(host.interfaces[0].routes.map(\.description) == ["10.78.0.2/32"])
        let status = host.agent.status(now: bench.time(of: host)).domains[0].staticPeers
        #expect(status[0].refused?.contains("own") == true && status[1].refused == nil)
    }

    @Test(arguments: [0, 64, 120]) func `the network of the fabric's addresses is nobody's`(_ length: Int) throws {
        let bench = try NodeBench()
        let stock = try StockPeer(bench)
        let host = try bench.join("a")
        let overlay = host.agent.domains[0].overlay.address
        let prefix = IPPrefix(overlay, length: max(length, 8))!
        host.configuration.staticPeers = [
            try .file("[Interface]\nAddress=\(overlay)/64\n" + stock.section(allowedIPs: "10.78.0.2, \(prefix)"))
        ]
        bench.reboot(host)
        #expect(refusals(host).count == 2)
        #expect(host.agent.staticPeers[0].handle == nil)
        #expect(host.interfaces[0].routes.isEmpty && host.interfaces[0].addresses.isEmpty)
    }

    @Test func `a member's key is the member's while the snapshot names it`() throws {
        let bench = try NodeBench()
        let (a, b) = try bench.joinPair()
        let key = try #require(b.agent.status(now: bench.time(of: b)).domains.first?.publicKey)
        let text = "[Peer]\nPublicKey=\(key)\nAllowedIPs=10.78.0.2\n"
        a.configuration.staticPeers = [try .file(text)]
        bench.reboot(a)
        #expect(refusals(a).count == 1 && refusals(a)[0].contains("\(b.agent.nodeID!)"))
        #expect(a.agent.peers.map(\.node) == [b.agent.nodeID])
        #expect(bench.run(until: { bench.isUp(a) && bench.isUp(b) }, limit: .seconds(20)))
        #expect(a.agent.staticPeers[0].handle == nil && a.interfaces[0].routes == [b.agent.domains[0].overlay])
    }

    @Test func `a static peer gives way to a member with its key, and comes back when the member goes`() throws {
        let forge = try Forge()
        let (bench, host) = (forge.bench, forge.host)
        let full = try forge.next()
        var empty = full
        empty.members = []
        empty.domains = full.domains.map { .init(id: $0.id, peers: []) }
        let key = try #require(forge.peer.agent.status(now: bench.now).domains.first?.publicKey)
        try forge.offer(try forge.sign(empty))
        try #require(host.agent.peers.isEmpty)
        bench.run(.milliseconds(100))
        host.configuration.staticPeers = [try .file("[Peer]\nPublicKey=\(key)\nAllowedIPs=10.78.0.2\n")]
        bench.reboot(host)
        #expect(host.agent.staticPeers[0].handle != nil && refusals(host).isEmpty)

        var next = full
        next.version = host.agent.snapshotVersion + 1
        next.previousHash = host.agent.snapshotEnvelope!.payloadHash(bench.cryptography)
        try forge.offer(try forge.sign(next))
        #expect(host.agent.peers.count == 1 && host.agent.staticPeers[0].handle == nil)
        #expect(refusals(host).count == 1)

        var last = empty
        last.version = host.agent.snapshotVersion + 1
        last.previousHash = host.agent.snapshotEnvelope!.payloadHash(bench.cryptography)
        try forge.offer(try forge.sign(last))
        #expect(host.agent.peers.isEmpty && host.agent.staticPeers[0].handle != nil)
        #expect(host.agent.staticPeers[0].refusal == nil)
        #expect(host.interfaces[0].routes.map(\.description) == ["10.78.0.2/32"])
    }

    struct Refused: CustomTestStringConvertible {
        var files: [(RoutingDomainID, String)]
        var says: String
        var testDescription: String { says }
    }

    static let first =
        "[Interface]\nAddress=10.90.0.1/24\n[Peer]\nPublicKey=\(WireGuardKeys.some)\nAllowedIPs=10.91.0.0/16\n"
        + "Endpoint=198.51.100.1:51820\n"
    static func peer(_ allowedIPs: String, _ more: String = "") -> String {
        "[Peer]\nPublicKey=\(WireGuardKeys.other)\nAllowedIPs=\(allowedIPs)\n\(more)"
    }
    static let refused = [
        Refused(files: [(RoutingDomainID("green")!, first)], says: "not in routing domain green"),
        Refused(files: [(.fabric, first), (.fabric, peer("10.1.0.0/16"))], says: "one file"),
        Refused(files: [(.fabric, first), (blue, peer("10.91.4.0/24"))], says: "overlaps 10.91.0.0/16"),
        Refused(files: [(.fabric, first), (blue, peer("10.90.0.0/16"))], says: "overlaps 10.90.0.0/24"),
        Refused(files: [(.fabric, first), (blue, peer("198.51.100.0/24"))], says: "holds the Endpoint"),
        Refused(
            files: [(.fabric, first), (blue, peer("10.1.0.0/16", "Endpoint=10.91.0.1:51820\n"))], says: "is within"),
        Refused(
            files: [(.fabric, first), (blue, "[Interface]\nAddress=10.91.0.1/24\n" + peer("10.1.0.0/16"))],
            says: "overlaps a network of"),
        Refused(files: [(.fabric, peer("203.0.113.0/24"))], says: "outside the tunnel"),
        Refused(files: [(.fabric, peer("10.0.0.0/32")), (blue, many)], says: "hold 1025 networks together"),
        Refused(
            files: [(.fabric, "[Interface]\nAddress=203.0.113.9/24\n" + peer("10.1.0.0/16"))],
            says: "outside the tunnel"),
    ]

    /// Four peers with 256 networks each.
    private static let many = (1...4).map { number in
        let networks = (0..<256).map { "10.\(number).0.\($0)/32" }.joined(separator: ",")
        return
            "[Peer]\nPublicKey=\(Base64.encode([UInt8](repeating: UInt8(number), count: 32)))\nAllowedIPs=\(networks)\n"
    }.joined()

    @Test(arguments: refused) func `files that don't go together are refused`(_ wrong: Refused) throws {
        let files = try wrong.files.map { try StaticPeers.file($0.0, $0.1, file: "\($0.0).conf") }
        let error = #expect(throws: StaticPeersError.self) {
            try StaticPeers.check(files, domains: [.fabric, Self.blue], underlay: [Endpoint("203.0.113.5:8443")!])
        }
        #expect(error?.description.contains(wrong.says) == true, "\(error?.description ?? "")")
        #expect(error?.description.contains(".conf") == true)
    }

    @Test func `files for two domains go together`() throws {
        let files = [try StaticPeers.file(Self.first), try StaticPeers.file(Self.blue, Self.peer("10.1.0.0/16"))]
        try StaticPeers.check(files, domains: [.fabric, Self.blue], underlay: [Endpoint("203.0.113.5:8443")!])
    }

    @Test func `the other side's section is one that the format's reader takes`() throws {
        let bench = try NodeBench()
        let stock = try StockPeer(bench)
        let host = try join(bench, stock, nodeBegins: true)
        let domain = try #require(host.agent.status(now: bench.time(of: host)).domains.first)
        let text = domain.peerSection(endpoint: "192.0.2.1:51820")
        let peer = try #require(try WireGuardConfiguration(parsing: Array(text.utf8)).peers.first)
        #expect(Base64.encode(peer.publicKey) == domain.publicKey)
        #expect(
            Set(peer.allowedIPs) == [IPPrefix(host: domain.overlayAddress), IPPrefix("10.78.0.1/32")!])
    }
}

enum WireGuardKeys {
    static let some = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
    static let other = "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0="
}
