import FabricCore
import Testing

@testable import FabricTunnel

@Suite struct PeerDropTests {
    private func drops(_ node: TunnelHarness.Node, _ peer: PeerHandle) -> [PeerDrops] {
        node.tunnels.peerStatus(peer)!.drops
    }

    @Test func `a drop is counted for its peer and its reason, and for nobody else`() {
        let pair = TunnelPair()
        let third = pair.harness.addNode("192.0.2.3:51820")
        let (peerC, _) = TunnelPair.connect(
            pair.harness, pair.a, third, TunnelPair.blue, "10.0.0.9/32", "10.0.0.3/32")
        pair.establish()
        #expect(drops(pair.a, pair.peerB).isEmpty && drops(pair.b, pair.peerA).isEmpty)
        pair.ping()
        let datagram = pair.harness.sent.last!
        pair.harness.run(for: .seconds(1))
        pair.harness.deliver(datagram.bytes, to: pair.b, from: pair.a.address)
        pair.harness.deliver(datagram.bytes, to: pair.b, from: pair.a.address)
        var forged = datagram.bytes
        forged[8] = 99
        pair.harness.deliver(forged, to: pair.b, from: pair.a.address)
        pair.harness.send(pair.b, TunnelPair.blue, ipv4("10.0.0.77", "10.0.0.1"))
        pair.harness.run(for: .seconds(1))
        #expect(
            drops(pair.b, pair.peerA)
                == [PeerDrops(reason: .notAuthentic, count: 1), PeerDrops(reason: .replayed, count: 2)])
        #expect(drops(pair.a, pair.peerB) == [PeerDrops(reason: .sourceNotAllowed, count: 1)])
        #expect(drops(pair.a, peerC).isEmpty)
    }

    @Test func `packets that waited in vain are their peer's`() {
        var limits = TunnelLimits.default
        limits.stagedPacketsPerPeer = 4
        let pair = TunnelPair(limits: limits)
        pair.harness.loses = { _ in true }
        for _ in 0..<10 { pair.ping() }
        pair.harness.run(for: .seconds(200))
        #expect(
            drops(pair.a, pair.peerB)
                == [PeerDrops(reason: .stagedOverflow, count: 6), PeerDrops(reason: .stagedExpired, count: 4)])
    }
}
