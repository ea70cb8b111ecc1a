import FabricCore
import FabricTunnel
import FabricWire
import Testing

@testable import FabricNode

/// As many static peers as may be configured.
@Suite struct ManyPeersTests {
    @Test func `of 10,000 configured peers only those cost a handshake to whom something is sent`() throws {
        let bench = try NodeBench()
        let stock = try StockPeer(bench)
        let count = WireGuardConfiguration.maximumPeers
        #expect(count == 10_000)
        var text = "[Interface]\nAddress = 10.78.0.1\n" + stock.section(allowedIPs: "10.78.0.2/32")
        for index in 1..<count {
            let key = [UInt8(index >> 8), UInt8(index & 255)] + [UInt8](repeating: 9, count: 30)
            text += "[Peer]\nPublicKey=\(Base64.encode(key))\nAllowedIPs=10.\(80 + index / 256).\(index % 256).0/24\n"
            text += "Endpoint=198.51.100.9:\(index)\n"
        }
        let host = bench.addHost("a", token: try bench.makeToken().token, staticPeers: [try .file(text)])
        bench.start(host)
        try #require(bench.run { host.agent.phase == .active && host.agent.tunnelsReady })
        let other = try bench.join("b")
        try #require(bench.run { bench.isUp(host) && bench.isUp(other) })
        bench.run(.seconds(60))
        #expect(host.agent.staticPeers.allSatisfy { $0.handle != nil })
        #expect(host.interfaces[0].routes.count == count + 1)
        // That with the other node alone.
        #expect(host.agent.tunnelCounters.sessionsEstablished == 1 && host.agent.tunnelQueues.longestStaged == 0)
        try stock.learn(host, knowsEndpoint: false, allowedIPs: ["10.78.0.1/32"])
        let packet = Packets.udp4(from: "10.78.0.1", to: "10.78.0.2", [1, 2, 3])
        bench.inject(packet, host)
        stock.send(Packets.udp4(from: "10.78.0.2", to: "10.78.0.1", [4]))
        bench.run(.seconds(1))
        #expect(stock.received == [packet])
        #expect(host.agent.tunnelCounters.sessionsEstablished == 2)
        // And one that does not answer, whose handshake waits for it.
        bench.inject(Packets.udp4(from: "10.78.0.1", to: "10.90.7.7", [1]), host)
        bench.run(.seconds(1))
        #expect(host.agent.tunnelQueues.longestStaged == 1)
        #expect(host.agent.status(now: bench.time(of: host)).domains[0].staticPeers.count { $0.hasSession } == 1)
    }
}
