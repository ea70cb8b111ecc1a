import FabricCore
import Testing

@testable import FabricTunnel

@Suite struct PathMTUTests {
    /// An IPv4 packet of `length` bytes from A to B.
    private func v4(_ length: Int, fragmentable: Bool = false) -> [UInt8] {
        var packet = ipv4("10.0.0.1", "10.0.0.2", payload: length - 20)
        if !fragmentable { packet[6] = 0x40 }
        return packet
    }

    private func v6(_ length: Int) -> [UInt8] { ipv6("fd00::1", "fd00::2", payload: length - 40) }

    /// A pair with a session, over IPv4 or IPv6, whose interfaces take 8,912 bytes.
    private func pair(over family: IPAddress.Family = .v4) -> TunnelPair {
        let pair = TunnelPair(interfaceMTU: 8912, family: family)
        for (node, handle, other, address) in [
            (pair.a, pair.peerB, pair.b, 2), (pair.b, pair.peerA, pair.a, 1),
        ] {
            node.tunnels.updatePeer(
                handle,
                PeerConfiguration(
                    publicKey: other.tunnels.publicKey(of: TunnelPair.blue)!, presharedKey: nil,
                    allowedIPs: [IPPrefix("10.0.0.\(address)/32")!, IPPrefix("fd00::\(address)/128")!],
                    endpoint: other.address, persistentKeepalive: nil))
        }
        pair.harness.mtu = 9000
        pair.establish()
        return pair
    }

    private func send(_ packet: [UInt8], _ pair: TunnelPair) -> SendOutcome {
        pair.harness.send(pair.a, TunnelPair.blue, packet)
    }

    @Test(arguments: [IPAddress.Family.v4, .v6], [1280, 1281, 1400, 1492, 1500, 8971, 8972])
    func `the largest packet's datagram fits the path, whatever its padding, and one byte more is refused`(
        family: IPAddress.Family, mtu: Int
    ) throws {
        let pair = pair(over: family)
        pair.a.tunnels.setPathMTU(pair.peerB, at: pair.b.address, mtu)
        let headers = family == .v4 ? 28 : 48
        let largest = try #require(pair.a.tunnels.largestPacket(to: pair.peerB))
        #expect(largest == mtu - headers - 32)
        #expect(pair.a.tunnels.largestPacket(domain: TunnelPair.blue, to: IPAddress("10.0.0.2")!) == largest)
        for length in (largest - 17)...largest {
            #expect(send(v4(length), pair) == .transmit(pair.b.address))
            #expect(try #require(pair.harness.sent.last).bytes.count + headers <= mtu)
        }
        #expect(send(v4(largest + 1), pair) == .tooBig(largest: largest))
        #expect(pair.a.tunnels.counters[.tooBig] == 1)
        pair.harness.run(for: .seconds(1))
        #expect(pair.b.delivered.last?.packet == v4(largest))
    }

    @Test func `IPv6 gets its 1,280 bytes over any path, and its sender is told no less`() {
        let pair = pair()
        pair.a.tunnels.setPathMTU(pair.peerB, at: pair.b.address, 1280)
        #expect(send(v6(1280), pair) == .transmit(pair.b.address))
        #expect(send(v6(1281), pair) == .tooBig(largest: 1280))
        pair.a.tunnels.setPathMTU(pair.peerB, at: pair.b.address, 1500)
        #expect(send(v6(1440), pair) == .transmit(pair.b.address))
        #expect(send(v6(1441), pair) == .tooBig(largest: 1440))
    }

    @Test func `what may be fragmented goes on its way, and so does all while nobody knows the path`() {
        let pair = pair()
        #expect(send(v4(8912), pair) == .transmit(pair.b.address))
        #expect(send(v6(8912), pair) == .transmit(pair.b.address))
        pair.a.tunnels.setPathMTU(pair.peerB, at: pair.b.address, 1280)
        #expect(send(v4(8912, fragmentable: true), pair) == .transmit(pair.b.address))
        #expect(send(v4(1300, fragmentable: true), pair) == .transmit(pair.b.address))
        pair.harness.run(for: .seconds(1))
        #expect(pair.b.delivered.last?.packet == v4(1300, fragmentable: true))
    }

    @Test func `another endpoint is another path, and what is told of a former one comes too late`() {
        let pair = pair()
        let elsewhere = Endpoint("192.0.2.77:51820")!
        pair.a.tunnels.setPathMTU(pair.peerB, at: pair.b.address, 1280)
        #expect(send(v4(1400), pair) == .tooBig(largest: 1220))
        pair.b.address = elsewhere
        pair.pong()
        pair.harness.run(for: .seconds(1))
        #expect(send(v4(1400), pair) == .transmit(elsewhere))
        pair.a.tunnels.setPathMTU(pair.peerB, at: Endpoint("192.0.2.2:51820")!, 1280)
        #expect(send(v4(1400), pair) == .transmit(elsewhere))
        pair.a.tunnels.setPathMTU(pair.peerB, at: elsewhere, 1300)
        #expect(send(v4(1400), pair) == .tooBig(largest: 1240))
        // The same place again changes nothing.
        pair.a.tunnels.setEndpoint(pair.peerB, elsewhere)
        #expect(send(v4(1400), pair) == .tooBig(largest: 1240))
        pair.a.tunnels.setEndpoint(pair.peerB, Endpoint("192.0.2.2:51820")!)
        #expect(pair.a.tunnels.largestPacket(to: pair.peerB) == .max)
    }

    @Test func `a packet that waits for the handshake is judged too, and no path is too small for a keepalive`() {
        let pair = TunnelPair(keepalive: .seconds(5))
        pair.a.tunnels.setPathMTU(pair.peerB, at: pair.b.address, 0)
        #expect(pair.a.tunnels.largestPacket(to: pair.peerB) == 1220)
        #expect(send(v4(1221), pair) == .tooBig(largest: 1220))
        pair.harness.run(for: .seconds(12))
        #expect(pair.a.tunnels.counters.sessionsEstablished == 1 && pair.b.tunnels.counters.keepalivesReceived >= 2)
    }

    @Test func `a peer that is gone has no path`() {
        let pair = pair()
        pair.a.tunnels.removePeer(pair.peerB)
        pair.a.tunnels.setPathMTU(pair.peerB, at: pair.b.address, 1280)
        #expect(pair.a.tunnels.largestPacket(to: pair.peerB) == nil)
        #expect(pair.a.tunnels.largestPacket(domain: TunnelPair.blue, to: IPAddress("10.0.0.2")!) == nil)
    }
}
