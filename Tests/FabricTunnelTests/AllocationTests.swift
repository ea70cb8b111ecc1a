import CFabricAllocations
import FabricCore
import Testing

@testable import FabricTunnel

/// The packet path allocates nothing while there is a session. What a session itself takes (handshakes, the replay
/// window's ring) is done before it is counted.
@Suite struct AllocationTests {
    static let count = 500

    @Test func `the count counts`() {
        let before = fabric_allocations()
        let bytes = [UInt8](repeating: 1, count: Int(before & 1) + 100)
        #expect(fabric_allocations() > before && bytes.count >= 100)
    }

    /// Two endpoints with a session both ways, whose domain's name is too long for a string without memory of its own.
    private struct Ends {
        let harness = TunnelHarness()
        let a: TunnelHarness.Node
        let b: TunnelHarness.Node
        let domainA: DomainHandle
        let domainB: DomainHandle

        init(keepalive: Duration? = nil) {
            let domain = RoutingDomainID("a-domain-with-a-long-name")!
            a = harness.addNode("192.0.2.1:51820")
            b = harness.addNode("192.0.2.2:51820")
            _ = TunnelPair.connect(harness, a, b, domain, "10.0.0.1/32", "10.0.0.2/32", keepalive: keepalive)
            harness.send(a, domain, ipv4("10.0.0.1", "10.0.0.2"))
            harness.run(for: .seconds(1))
            harness.send(b, domain, ipv4("10.0.0.2", "10.0.0.1"))
            harness.run(for: .seconds(1))
            (domainA, domainB) = (a.tunnels.domain(domain)!, b.tunnels.domain(domain)!)
        }
    }

    /// What a host does after each call.
    private func settle(_ node: TunnelHarness.Node, _ buffer: inout PacketBuffer) -> Int {
        var sent = 0
        while node.tunnels.nextTransmit(into: &buffer) != nil { sent += 1 }
        while node.tunnels.nextEvent() != nil {}
        _ = node.tunnels.nextDeadline()
        return sent
    }

    /// Sends packets there and back, and returns how many arrived and what that allocated.
    private func pass(_ ends: Ends, _ there: [UInt8], _ back: [UInt8]) -> (arrived: Int, allocations: UInt64) {
        var buffer = PacketBuffer(packetCapacity: 2048)
        let (now, from, to) = (ends.harness.time(ends.a), ends.a.address, ends.b.address)
        var arrived = 0
        let before = fabric_allocations()
        for _ in 0..<Self.count {
            if buffer.assign(there), case .transmit = ends.a.tunnels.send(domain: ends.domainA, &buffer, now: now),
                case .packet = ends.b.tunnels.receive(&buffer, from: from, now: now)
            {
                arrived += 1
            }
            if buffer.assign(back), case .transmit = ends.b.tunnels.send(domain: ends.domainB, &buffer, now: now),
                case .packet = ends.a.tunnels.receive(&buffer, from: to, now: now)
            {
                arrived += 1
            }
            _ = settle(ends.a, &buffer)
            _ = settle(ends.b, &buffer)
        }
        return (arrived, fabric_allocations() - before)
    }

    @Test(arguments: [(20, nil), (1372, nil), (1372, Duration.seconds(10))])
    func `a packet under a session allocates nothing, there and back`(payload: Int, keepalive: Duration?) {
        let ends = Ends(keepalive: keepalive)
        let there = ipv4("10.0.0.1", "10.0.0.2", payload: payload)
        let back = ipv4("10.0.0.2", "10.0.0.1", payload: payload)
        // The windows' rings are made, and the queues have their size.
        _ = pass(ends, there, back)
        let (arrived, allocations) = pass(ends, there, back)
        #expect(arrived == 2 * Self.count)
        #expect(allocations == 0)
    }

    @Test func `what is dropped without a look at a handshake allocates nothing`() throws {
        let ends = Ends()
        var buffer = PacketBuffer(packetCapacity: 2048)
        let sent = try #require(ends.harness.sent(.transportData).last { $0.to == ends.b.address }).bytes
        var forged = sent
        forged[8] = 200
        var unknown = sent
        unknown[4] ^= 0x55
        // A replay, a forgery, an index that nobody has, a type that there is not, half a header, nothing, and answers to
        // handshakes that nobody began.
        let response = [2, 0, 0, 0] + [UInt8](repeating: 9, count: HandshakeResponse.length - 4)
        let cookie = [3, 0, 0, 0] + [UInt8](repeating: 9, count: CookieReply.length - 4)
        let garbage: [[UInt8]] = [
            sent, forged, unknown, [9] + sent.dropFirst(), Array(sent.prefix(10)), [], response, cookie,
        ]
        let now = ends.harness.time(ends.b)
        let nowhere = ipv4("10.0.0.1", "10.9.9.9")
        var dropped = 0
        var allocations: UInt64 = 0
        for round in 0..<2 {
            dropped = 0
            let before = fabric_allocations()
            for _ in 0..<Self.count {
                for index in 0..<garbage.count {
                    if buffer.assign(garbage[index]),
                        case .dropped = ends.b.tunnels.receive(&buffer, from: ends.a.address, now: now)
                    {
                        dropped += 1
                    }
                }
                if buffer.assign(nowhere),
                    case .dropped(.noRoute) = ends.a.tunnels.send(domain: ends.domainA, &buffer, now: now)
                {
                    dropped += 1
                }
                _ = settle(ends.b, &buffer)
            }
            if round == 1 { allocations = fabric_allocations() - before }
        }
        #expect(dropped == Self.count * (garbage.count + 1))
        #expect(allocations == 0)
    }
}
