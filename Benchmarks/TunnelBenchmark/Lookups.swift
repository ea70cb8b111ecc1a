internal import FabricCore
internal import FabricCrypto
internal import FabricTunnel
internal import Glibc

/// What many peers cost: a lookup among many prefixes, and the memory of a peer that nothing is sent to.
struct LookupBenchmark {
    private static let lookups = 1 << 20
    private static let rounds = 5

    /// Nanoseconds for each lookup of an address that some peer has, and of one that nobody has, in an order that no cache
    /// knows of.
    private static func lookup(_ family: IPAddress.Family, prefixes: Int) -> (found: Double, missed: Double) {
        let random = SeededRandom(seed: 1, stream: "\(family) \(prefixes)")
        func address() -> IPAddress {
            family == .v4
                ? IPAddress(v4: UInt32(truncatingIfNeeded: random.uint64()) & 0x7FFF_FFFF)
                : IPAddress(v6High: 0xFD00 << 48 | random.uint64() >> 16, low: random.uint64())
        }
        var table = AllowedIPs()
        var present: [IPAddress] = []
        for peer in 0..<prefixes {
            let one = address()
            table.insert(IPPrefix(host: one), peer: peer)
            present.append(one)
        }
        let absent =
            family == .v4
            ? present.map { IPAddress(v4: UInt32(truncatingIfNeeded: $0.low) | 0x8000_0000) }
            : present.map { IPAddress(v6High: $0.high, low: $0.low ^ 1) }
        func measured(_ addresses: [IPAddress], expects: Bool) -> Double {
            let order = (0..<lookups).map { _ in addresses[Int(random.below(UInt64(addresses.count)))] }
            var hits = 0
            let rounds = (0..<Self.rounds).map { _ in
                measure(lookups) { for one in order where table.lookup(one) != nil { hits += 1 } }
            }
            precondition(hits == (expects ? lookups * Self.rounds : 0), "the table answers what was put in")
            return median(rounds)
        }
        return (measured(present, expects: true), measured(absent, expects: false))
    }

    /// Bytes of the heap that an endpoint has for each of so many peers without a session.
    private static func idlePeerBytes(_ count: Int) -> Int {
        let domain = RoutingDomainID("bench")!
        let random = SeededRandom(seed: 1, stream: "peers")
        let tunnels = TunnelEndpoint(cryptography: SystemCryptography(), random: random, limits: .default)
        tunnels.addDomain(id: domain, privateKey: random.bytes(32), mtu: 1420)
        let before = mallinfo2()
        for index in 0..<count {
            let peer = tunnels.addPeer(
                domain: domain,
                PeerConfiguration(
                    publicKey: random.bytes(32), presharedKey: nil,
                    allowedIPs: [IPPrefix(host: IPAddress(v4: 10 << 24 | UInt32(index)))],
                    endpoint: Endpoint(address: IPAddress(v4: 192 << 24 | UInt32(index)), port: 51_820),
                    persistentKeepalive: nil))
            precondition(peer != nil)
        }
        let after = mallinfo2()
        return (after.uordblks + after.hblkhd - before.uordblks - before.hblkhd) / count
    }

    static func run() {
        func text(_ value: Double) -> String { "\((value * 10).rounded() / 10)" }
        for (family, name) in [(IPAddress.Family.v4, "IPv4"), (.v6, "IPv6")] {
            for prefixes in [10, 1_000, 100_000] {
                let cost = lookup(family, prefixes: prefixes)
                print(
                    "lookup among \(prefixes) \(name) prefixes: found \(text(cost.found)) ns, missed \(text(cost.missed)) ns"
                )
            }
        }
        for count in [1_000, 10_000] { print("idle peer, of \(count): \(idlePeerBytes(count)) bytes") }
    }
}
