import FabricCore
import FabricCrypto

@testable import FabricTunnel

/// Endpoints on a network with a clock, a latency, an MTU and losses of its own. Nothing here waits: time is a number.
final class TunnelHarness {
    final class Node {
        let tunnels: TunnelEndpoint
        /// Where its datagrams come from; change it to roam.
        var address: Endpoint
        /// How far its wall clock is off.
        var wallOffset = Duration.zero
        var delivered: [(domain: RoutingDomainID, peer: PeerHandle, packet: [UInt8])] = []
        var events: [TunnelEvent] = []
        var outcomes: [ReceiveOutcome] = []

        init(_ tunnels: TunnelEndpoint, _ address: Endpoint) {
            self.tunnels = tunnels
            self.address = address
        }

        func initiated() -> Int { events.count { if case .sessionEstablished(_, true) = $0 { true } else { false } } }
    }

    struct Datagram {
        var arrivesAt: Instant
        var sequence: Int
        var from: Endpoint
        var to: Endpoint
        var bytes: [UInt8]
        var ecn: ECN
    }

    static let wallStart = WallTime(seconds: 1_800_000_000)

    let cryptography = SystemCryptography()
    var now = Instant(nanoseconds: 1_000_000_000)
    var latency = Duration.milliseconds(20)
    /// When set, asked for the latency of each datagram.
    var latencies: (() -> Duration)?
    var mtu = 1500
    /// True loses the datagram.
    var loses: (Datagram) -> Bool = { _ in false }
    /// What the network makes of a datagram's mark.
    var marks: (ECN) -> ECN = { $0 }
    /// Every datagram that was sent, in order, lost ones too.
    var sent: [Datagram] = []
    private(set) var nodes: [Node] = []
    private var inFlight: [Datagram] = []
    private var sequence = 0
    private var buffer = PacketBuffer(packetCapacity: 9216)

    func addNode(_ address: String, limits: TunnelLimits = .default, random: (any RandomSource)? = nil) -> Node {
        let random = random ?? SeededRandom(seed: 1, stream: "node \(nodes.count)")
        let tunnels = TunnelEndpoint(cryptography: cryptography, random: random, limits: limits)
        let node = Node(tunnels, Endpoint(address)!)
        nodes.append(node)
        return node
    }

    func time(_ node: Node) -> Now {
        Now(
            monotonic: now,
            wall: TunnelHarness.wallStart + .nanoseconds(now.nanoseconds) + node.wallOffset)
    }

    /// Sends an IP packet as the host would.
    @discardableResult
    func send(_ node: Node, _ domain: RoutingDomainID, _ packet: [UInt8]) -> SendOutcome {
        precondition(buffer.assign(packet))
        let outcome = node.tunnels.send(domain: domain, &buffer, now: time(node))
        if case .transmit(let to) = outcome { transmit(Array(buffer.bytes), from: node, to: to) }
        drain(node)
        return outcome
    }

    /// Gives a node a datagram now, as if the network had delivered it.
    @discardableResult
    func deliver(
        _ bytes: [UInt8], to node: Node, from source: Endpoint, ecn: ECN = .notECT
    ) -> ReceiveOutcome {
        precondition(buffer.assign(bytes))
        buffer.ecn = ecn
        let outcome = node.tunnels.receive(&buffer, from: source, now: time(node))
        node.outcomes.append(outcome)
        if case .packet(let domain, let peer) = outcome { node.delivered.append((domain, peer, Array(buffer.bytes))) }
        drain(node)
        return outcome
    }

    func drain(_ node: Node) {
        while let to = node.tunnels.nextTransmit(into: &buffer) { transmit(Array(buffer.bytes), from: node, to: to) }
        while let event = node.tunnels.nextEvent() { node.events.append(event) }
    }

    private func transmit(_ bytes: [UInt8], from node: Node, to: Endpoint) {
        sequence += 1
        let datagram = Datagram(
            arrivesAt: now + (latencies?() ?? latency), sequence: sequence, from: node.address, to: to, bytes: bytes,
            ecn: buffer.ecn)
        sent.append(datagram)
        // IP and UDP.
        if bytes.count + (to.address.family == .v4 ? 28 : 48) <= mtu, !loses(datagram) { inFlight.append(datagram) }
    }

    /// Lets everything happen that is due within `duration`, in order of time.
    func run(for duration: Duration) {
        let end = now + duration
        while true {
            let arrival = inFlight.indices.min {
                (inFlight[$0].arrivesAt, inFlight[$0].sequence) < (inFlight[$1].arrivesAt, inFlight[$1].sequence)
            }
            let arrivesAt = arrival.map { inFlight[$0].arrivesAt } ?? .distantFuture
            let wakes = nodes.compactMap { node in node.tunnels.nextDeadline().map { ($0.instant, node) } }
            let wake = wakes.min { $0.0 < $1.0 }
            let next = min(arrivesAt, wake?.0 ?? .distantFuture)
            guard next <= end else { break }
            now = max(now, next)
            if let wake, wake.0 < arrivesAt {
                wake.1.tunnels.handleDeadline(now: time(wake.1))
                drain(wake.1)
            } else if let arrival {
                let datagram = inFlight.remove(at: arrival)
                if let node = nodes.first(where: { $0.address == datagram.to }) {
                    deliver(datagram.bytes, to: node, from: datagram.from, ecn: marks(datagram.ecn))
                }
            }
        }
        now = end
    }

    /// Messages of one type that were sent since the start.
    func sent(_ type: MessageType) -> [Datagram] { sent.filter { $0.bytes.first == UInt8(type.rawValue) } }
}

extension TunnelEndpoint {
    func keyPairs(of peer: PeerHandle) -> KeyPairs { state.pointee.resolve(peer)!.pointee.keyPairs }
}

/// Two nodes that are peers in domain `blue`: A is 10.0.0.1, B is 10.0.0.2.
final class TunnelPair {
    let harness = TunnelHarness()
    let a: TunnelHarness.Node
    let b: TunnelHarness.Node
    let peerB: PeerHandle
    let peerA: PeerHandle
    static let blue = RoutingDomainID("blue")!

    init(
        limits: TunnelLimits = .default, presharedKey: [UInt8]? = nil, keepalive: Duration? = nil,
        aKnowsEndpoint: Bool = true, bKnowsEndpoint: Bool = true, interfaceMTU: Int = 1420,
        family: IPAddress.Family = .v4
    ) {
        a = harness.addNode(family == .v4 ? "192.0.2.1:51820" : "[2001:db8::1]:51820", limits: limits)
        b = harness.addNode(family == .v4 ? "192.0.2.2:51820" : "[2001:db8::2]:51820", limits: limits)
        (peerB, peerA) = TunnelPair.connect(
            harness, a, b, TunnelPair.blue, "10.0.0.1/32", "10.0.0.2/32", presharedKey: presharedKey,
            keepalive: keepalive, aKnowsEndpoint: aKnowsEndpoint, bKnowsEndpoint: bKnowsEndpoint,
            interfaceMTU: interfaceMTU)
    }

    /// Makes two nodes peers in a domain, with keys that follow from names.
    static func connect(
        _ harness: TunnelHarness, _ a: TunnelHarness.Node, _ b: TunnelHarness.Node, _ domain: RoutingDomainID,
        _ prefixA: String, _ prefixB: String, presharedKey: [UInt8]? = nil, keepalive: Duration? = nil,
        aKnowsEndpoint: Bool = true, bKnowsEndpoint: Bool = true, interfaceMTU: Int = 1420
    ) -> (PeerHandle, PeerHandle) {
        for node in [a, b] where node.tunnels.domain(domain) == nil {
            let key = SeededRandom(seed: 9, stream: "\(node.address) \(domain)").bytes(32)
            node.tunnels.addDomain(id: domain, privateKey: key, mtu: interfaceMTU)
        }
        let peerB = a.tunnels.addPeer(
            domain: domain,
            PeerConfiguration(
                publicKey: b.tunnels.publicKey(of: domain)!, presharedKey: presharedKey,
                allowedIPs: [IPPrefix(prefixB)!], endpoint: aKnowsEndpoint ? b.address : nil,
                persistentKeepalive: keepalive))!
        let peerA = b.tunnels.addPeer(
            domain: domain,
            PeerConfiguration(
                publicKey: a.tunnels.publicKey(of: domain)!, presharedKey: presharedKey,
                allowedIPs: [IPPrefix(prefixA)!], endpoint: bKnowsEndpoint ? a.address : nil,
                persistentKeepalive: nil))!
        return (peerB, peerA)
    }

    /// A to B, with a payload of that length.
    @discardableResult
    func ping(_ payload: Int = 20) -> SendOutcome {
        harness.send(a, TunnelPair.blue, ipv4("10.0.0.1", "10.0.0.2", payload: payload))
    }

    /// B to A.
    @discardableResult
    func pong(_ payload: Int = 20) -> SendOutcome {
        harness.send(b, TunnelPair.blue, ipv4("10.0.0.2", "10.0.0.1", payload: payload))
    }

    /// Who goes first when both begin at once.
    static func first(_ pair: TunnelPair) -> TunnelHarness.Node {
        let keys = [pair.a, pair.b].map { $0.tunnels.publicKey(of: blue)! }
        return keys[0].lexicographicallyPrecedes(keys[1]) ? pair.a : pair.b
    }

    /// Runs the first handshake, which A initiates.
    func establish() {
        ping()
        harness.run(for: .seconds(1))
        precondition(b.delivered.count == 1)
    }

    /// Both sides send once a second.
    func chat(seconds: Int) {
        for _ in 0..<seconds {
            ping()
            pong()
            harness.run(for: .seconds(1))
        }
    }
}

func ipv4(_ source: String, _ destination: String, payload: Int = 20, tag: UInt8 = 0) -> [UInt8] {
    let length = 20 + payload
    return [0x45, 0, UInt8(length >> 8), UInt8(length & 255), 0, 0, 0, 0, 64, 17, 0, 0]
        + IPAddress(source)!.bytes + IPAddress(destination)!.bytes
        + (0..<payload).map { UInt8(truncatingIfNeeded: $0) ^ tag }
}

func ipv6(_ source: String, _ destination: String, payload: Int = 20) -> [UInt8] {
    [0x60, 0, 0, 0, UInt8(payload >> 8), UInt8(payload & 255), 17, 64]
        + IPAddress(source)!.bytes + IPAddress(destination)!.bytes + [UInt8](repeating: 0xAB, count: payload)
}

/// Gives what it was told to give, then a seeded stream.
final class ScriptedRandom: RandomSource {
    private var script: [[UInt8]]
    private let rest = SeededRandom(seed: 3, stream: "after the script")

    init(_ script: [[UInt8]]) { self.script = script }

    func fill(_ buffer: UnsafeMutableRawBufferPointer) {
        guard !script.isEmpty else { return rest.fill(buffer) }
        let bytes = script.removeFirst()
        precondition(bytes.count == buffer.count, "the script has \(bytes.count) bytes, \(buffer.count) were asked for")
        buffer.copyBytes(from: bytes)
    }
}

extension SendOutcome {
    var isStaged: Bool { if case .staged = self { true } else { false } }
}
