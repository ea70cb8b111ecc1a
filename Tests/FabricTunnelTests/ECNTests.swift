import FabricCore
import Testing

@testable import FabricTunnel

@Suite struct ECNTests {
    /// A packet from A to B (or the reverse) with this mark, its IPv4 header checksum right.
    private func packet(_ ecn: ECN, v6: Bool = false, back: Bool = false) -> [UInt8] {
        let ends = back ? (2, 1) : (1, 2)
        if v6 {
            var packet = ipv6("fd00::\(ends.0)", "fd00::\(ends.1)")
            // A traffic class and a flow label around the mark, which must stay.
            packet[1] = 0b1100_0101 | ecn.rawValue << 4
            packet[0] |= 0x0B
            return packet
        }
        var packet = ipv4("10.0.0.\(ends.0)", "10.0.0.\(ends.1)")
        packet[1] = 0b1011_1000 | ecn.rawValue
        let sum = ~headerSum(packet)
        (packet[10], packet[11]) = (UInt8(sum >> 8), UInt8(sum & 255))
        return packet
    }

    /// All ones when an IPv4 header's checksum is right.
    private func headerSum(_ packet: [UInt8]) -> UInt16 {
        var sum = (0..<10).reduce(0) { $0 + Int(packet[2 * $1]) << 8 + Int(packet[2 * $1 + 1]) }
        while sum > 0xFFFF { sum = sum & 0xFFFF + sum >> 16 }
        return UInt16(sum)
    }

    /// A pair whose peers have IPv6 prefixes too, and a session.
    private func pair(copiesECN: Bool = true) -> TunnelPair {
        let pair = TunnelPair()
        for (node, handle, other, address) in [
            (pair.a, pair.peerB, pair.b, 2), (pair.b, pair.peerA, pair.a, 1),
        ] {
            node.tunnels.updatePeer(
                handle,
                PeerConfiguration(
                    publicKey: other.tunnels.publicKey(of: TunnelPair.blue)!, presharedKey: nil,
                    allowedIPs: [IPPrefix("10.0.0.\(address)/32")!, IPPrefix("fd00::\(address)/128")!],
                    endpoint: other.address, persistentKeepalive: nil, copiesECN: copiesECN))
        }
        return pair
    }

    @Test(arguments: [false, true]) func `a datagram has the mark of the packet in it`(v6: Bool) {
        let pair = pair()
        pair.establish()
        for ecn in ECN.allCases {
            let inner = packet(ecn, v6: v6)
            pair.harness.send(pair.a, TunnelPair.blue, inner)
            #expect(pair.harness.sent.last?.ecn == ecn)
            pair.harness.run(for: .seconds(1))
            #expect(pair.b.delivered.last?.packet == inner)
        }
    }

    @Test func `a packet that waited for the handshake keeps its mark, and handshakes and keepalives have none`() {
        let pair = pair()
        pair.harness.send(pair.a, TunnelPair.blue, packet(.ect0))
        pair.harness.send(pair.a, TunnelPair.blue, packet(.ce))
        pair.harness.run(for: .seconds(30))
        // Initiation, response, both packets, and B's keepalive.
        #expect(pair.harness.sent.map(\.ecn) == [.notECT, .notECT, .ect0, .ce, .notECT])
        #expect(pair.a.tunnels.counters.keepalivesReceived == 1)
    }

    @Test func `to a peer that may lose a mark datagrams say that nobody speaks ECN, and its own marks are taken`() {
        let pair = pair(copiesECN: false)
        pair.establish()
        for ecn in ECN.allCases {
            pair.harness.send(pair.a, TunnelPair.blue, packet(ecn))
            #expect(pair.harness.sent.last?.ecn == .notECT)
        }
        pair.harness.run(for: .seconds(1))
        pair.harness.marks = { _ in .ce }
        pair.harness.send(pair.b, TunnelPair.blue, packet(.ect0, back: true))
        pair.harness.run(for: .seconds(1))
        #expect(pair.a.delivered.last?.packet == packet(.ce, back: true))
    }

    @Test(arguments: [false, true], ECN.allCases)
    func `the path's mark becomes the packet's as RFC 6040 says, and nothing else in it changes`(v6: Bool, outer: ECN) {
        let pair = pair()
        pair.establish()
        pair.harness.marks = { _ in outer }
        for inner in ECN.allCases {
            let before = pair.b.delivered.count
            pair.harness.send(pair.a, TunnelPair.blue, packet(inner, v6: v6))
            pair.harness.run(for: .seconds(1))
            guard let result = inner.decapsulated(from: outer) else {
                #expect(pair.b.delivered.count == before && pair.b.tunnels.counters[.congestion] == 1)
                #expect(pair.b.outcomes.last == .dropped(.congestion))
                continue
            }
            #expect(pair.b.delivered.count == before + 1)
            #expect(pair.b.delivered.last?.packet == packet(result, v6: v6), "\(inner) in \(outer)")
            if !v6 { #expect(headerSum(pair.b.delivered.last!.packet) == 0xFFFF) }
        }
        #expect(pair.b.tunnels.counters[.congestion] == (outer == .ce ? 1 : 0))
    }

    @Test func `a header checksum that was wrong is as wrong after the mark`() {
        let pair = pair()
        pair.establish()
        pair.harness.marks = { _ in .ce }
        var inner = packet(.ect0)
        inner[11] ^= 1
        let wrong = headerSum(inner)
        pair.harness.send(pair.a, TunnelPair.blue, inner)
        pair.harness.run(for: .seconds(1))
        #expect(wrong != 0xFFFF && headerSum(pair.b.delivered.last!.packet) == wrong)
    }

    @Test func `a congested path carries handshakes and keepalives all the same`() {
        let pair = pair()
        pair.harness.marks = { _ in .ce }
        pair.harness.send(pair.a, TunnelPair.blue, packet(.ect0))
        pair.harness.run(for: .seconds(30))
        #expect(pair.b.delivered.map(\.packet) == [packet(.ce)])
        #expect(pair.a.tunnels.counters.keepalivesReceived == 1)
        #expect(pair.b.tunnels.counters[.congestion] == 0 && pair.a.tunnels.counters[.congestion] == 0)
    }

    @Test func `a forged mark on a datagram that is not authentic changes nothing`() {
        let pair = pair()
        pair.establish()
        pair.harness.loses = { _ in true }
        pair.harness.send(pair.a, TunnelPair.blue, packet(.notECT))
        var forged = pair.harness.sent.last!.bytes
        forged[20] ^= 1
        #expect(pair.harness.deliver(forged, to: pair.b, from: pair.a.address, ecn: .ce) == .dropped(.notAuthentic))
        #expect(pair.b.tunnels.counters[.congestion] == 0)
    }
}
