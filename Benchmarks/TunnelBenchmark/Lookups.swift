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
                ? IPAddress(v4: UInt32(truncatingIfNeeded: random.uint64()) & ~1)
                : IPAddress(v6High: 0xFD00 << 48 | random.uint64() >> 16, low: random.uint64() & ~1)
        }
        var table = AllowedIPs()
        var present: [IPAddress] = []
        for peer in 0..<prefixes {
            let one = address()
            table.insert(IPPrefix(host: one), peer: peer)
            present.append(one)
        }
        // Beside each that some peer has: the whole way down.
        let absent =
            family == .v4
            ? present.map { IPAddress(v4: UInt32(truncatingIfNeeded: $0.low) | 1) }
            : present.map { IPAddress(v6High: $0.high, low: $0.low | 1) }
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

    /// By how much the process grows for each of so many peers without a session.
    private static func idlePeerBytes(_ count: Int) -> Int {
        let domain = RoutingDomainID("bench")!
        let random = SeededRandom(seed: 1, stream: "peers")
        let tunnels = TunnelEndpoint(cryptography: SystemCryptography(), random: random, limits: .default)
        tunnels.addDomain(id: domain, privateKey: random.bytes(32), mtu: 1420)
        let before = residentBytes()
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
        let after = residentBytes()
        return withExtendedLifetime(tunnels) { (after - before) / count }
    }

    /// Of this process (proc(5): the second number of statm, in pages).
    private static func residentBytes() -> Int {
        var text = [UInt8](repeating: 0, count: 128)
        let file = open("/proc/self/statm", O_RDONLY)
        let count = read(file, &text, text.count)
        close(file)
        let numbers = String(decoding: text.prefix(max(0, count)), as: UTF8.self).split(separator: " ")
        return (numbers.count > 1 ? Int(numbers[1]) ?? 0 : 0) * Int(sysconf(Int32(_SC_PAGESIZE)))
    }

    static func run() {
        func text(_ value: Double) -> String { "\((value * 10).rounded() / 10)" }
        // First: memory that others gave back would hide it.
        print("idle peer: \(idlePeerBytes(10_000)) bytes")
        for (family, name) in [(IPAddress.Family.v4, "IPv4"), (.v6, "IPv6")] {
            for prefixes in [10, 1_000, 100_000] {
                let cost = lookup(family, prefixes: prefixes)
                print(
                    "lookup among \(prefixes) \(name) prefixes: found \(text(cost.found)) ns, missed \(text(cost.missed)) ns"
                )
            }
        }
    }
}
