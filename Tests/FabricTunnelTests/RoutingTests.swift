import FabricCore
import Testing

@testable import FabricTunnel

@Suite struct Routing {
    @Test func `Prefix lookup agrees with a search through the list`() {
        let random = SeededRandom(seed: 5, stream: "prefixes")
        for _ in 0..<20 {
            var table = AllowedIPs()
            var list: [(IPPrefix, Int)] = []
            func randomAddress() -> IPAddress {
                // Few distinct bits, so that prefixes nest.
                random.below(2) == 0
                    ? IPAddress(v4: UInt32(truncatingIfNeeded: random.uint64() & 0x8F00_010F))
                    : IPAddress(
                        v6High: random.uint64() & 0xC000_0000_0000_0003, low: random.uint64() & 0x8000_0000_0000_0007)
            }
            for peer in 0..<200 {
                let address = randomAddress()
                let prefix = IPPrefix(address, length: Int(random.below(UInt64(address.bitWidth + 1))))!
                if random.below(4) == 0, !list.isEmpty {
                    let gone = list.remove(at: Int(random.below(UInt64(list.count))))
                    table.remove(gone.0, peer: gone.1)
                }
                list.removeAll { $0.0 == prefix }
                list.append((prefix, peer))
                table.insert(prefix, peer: peer)
                for _ in 0..<10 {
                    let probe = randomAddress()
                    let expected = list.filter { $0.0.contains(probe) }.max { $0.0.length < $1.0.length }?.1
                    #expect(table.lookup(probe) == expected)
                }
            }
        }
    }

    @Test func `A prefix given to a second peer moves, and is not lost when the first goes`() {
        var table = AllowedIPs()
        let prefix = IPPrefix("10.0.0.0/8")!
        table.insert(prefix, peer: 1)
        table.insert(prefix, peer: 2)
        table.remove(prefix, peer: 1)
        #expect(table.lookup(IPAddress("10.1.1.1")!) == 2)
    }

    @Test func `Destinations of no peer are dropped`() {
        let pair = TunnelPair()
        #expect(
            pair.harness.send(pair.a, TunnelPair.blue, ipv4("10.0.0.1", "10.0.0.3")) == .dropped(.noRoute))
        #expect(pair.harness.send(pair.a, TunnelPair.blue, ipv6("::1", "::2")) == .dropped(.noRoute))
        #expect(
            pair.harness.send(pair.a, RoutingDomainID("red")!, ipv4("10.0.0.1", "10.0.0.2"))
                == .dropped(.unknownDomain))
        #expect(pair.harness.sent.isEmpty)
    }

    @Test func `An inner source that is not the sender's is dropped`() {
        let pair = TunnelPair()
        pair.establish()
        pair.harness.send(pair.a, TunnelPair.blue, ipv4("10.0.0.9", "10.0.0.2"))
        pair.harness.send(pair.a, TunnelPair.blue, ipv4("10.0.0.2", "10.0.0.2"))
        pair.harness.run(for: .seconds(1))
        #expect(pair.b.delivered.count == 1)
        #expect(pair.b.tunnels.counters[.sourceNotAllowed] == 2)
    }

    @Test func `IPv6 travels too, between prefixes`() {
        let harness = TunnelHarness()
        let a = harness.addNode("[2001:db8::1]:1")
        let b = harness.addNode("[2001:db8::2]:2")
        _ = TunnelPair.connect(harness, a, b, TunnelPair.blue, "fd00:a::/48", "fd00:b::/48")
        for payload in [0, 1, 500] {
            harness.send(a, TunnelPair.blue, ipv6("fd00:a::5", "fd00:b::7", payload: payload))
        }
        harness.run(for: .seconds(1))
        #expect(b.delivered.map(\.packet.count) == [40, 41, 540], "trimmed to their own lengths")
    }

    @Test func `The same inner addresses in two domains never mix`() {
        let harness = TunnelHarness()
        let a = harness.addNode("192.0.2.1:1")
        let b = harness.addNode("192.0.2.2:2")
        let c = harness.addNode("192.0.2.3:3")
        let (blue, red) = (RoutingDomainID("blue")!, RoutingDomainID("red")!)
        // In blue 10.0.0.2 is B, in red it is C; A has 10.0.0.1 in both, and B has a peer in red also.
        let (blueB, _) = TunnelPair.connect(harness, a, b, blue, "10.0.0.1/32", "10.0.0.2/32")
        let (redC, _) = TunnelPair.connect(harness, a, c, red, "10.0.0.1/32", "10.0.0.2/32")
        let (redB, redA) = TunnelPair.connect(harness, a, b, red, "10.0.0.1/32", "10.0.0.8/32")
        for tag in 0..<3 {
            harness.send(a, blue, ipv4("10.0.0.1", "10.0.0.2", tag: UInt8(tag)))
            harness.send(a, red, ipv4("10.0.0.1", "10.0.0.2", tag: UInt8(tag + 100)))
            harness.send(a, red, ipv4("10.0.0.1", "10.0.0.8", tag: UInt8(tag + 200)))
            harness.run(for: .seconds(1))
        }
        #expect(b.delivered.filter { $0.domain == blue }.map { $0.packet[20] } == [0, 1, 2])
        #expect(b.delivered.filter { $0.domain == red }.map { $0.packet[20] } == [200, 201, 202])
        #expect(
            c.delivered.map { $0.domain } == [red, red, red] && c.delivered.map { $0.packet[20] } == [100, 101, 102])
        #expect(Set([blueB, redC, redB]).count == 3)
        #expect(a.tunnels.peerStatus(blueB)?.handshakes == 1 && a.tunnels.peerStatus(redB)?.handshakes == 1)

        // The domain's end is the end of its sessions alone.
        let old = harness.sent.last { $0.to == b.address }!.bytes
        b.tunnels.removeDomain(red)
        #expect(b.tunnels.peerStatus(redA) == nil)
        #expect(harness.deliver(old, to: b, from: a.address) == .dropped(.unknownReceiverIndex))
        harness.send(a, blue, ipv4("10.0.0.1", "10.0.0.2", tag: 9))
        harness.run(for: .seconds(1))
        #expect(b.delivered.last?.packet[20] == 9)
    }

    @Test func `An initiation under one domain's key does not find a peer of another`() {
        let harness = TunnelHarness()
        let a = harness.addNode("192.0.2.1:1")
        let b = harness.addNode("192.0.2.2:2")
        let (blue, red) = (RoutingDomainID("blue")!, RoutingDomainID("red")!)
        _ = TunnelPair.connect(harness, a, b, blue, "10.0.0.1/32", "10.0.0.2/32")
        a.tunnels.addDomain(id: red, privateKey: [UInt8](repeating: 1, count: 32))
        b.tunnels.addDomain(id: red, privateKey: [UInt8](repeating: 2, count: 32))
        // A uses its blue identity's peer entry, but B's red key.
        _ = a.tunnels.addPeer(
            domain: blue,
            PeerConfiguration(
                publicKey: b.tunnels.publicKey(of: red)!, presharedKey: nil, allowedIPs: [IPPrefix("10.9.0.0/16")!],
                endpoint: b.address, persistentKeepalive: nil))
        harness.send(a, blue, ipv4("10.0.0.1", "10.9.0.1"))
        harness.run(for: .seconds(1))
        #expect(b.tunnels.counters[.unknownPeer] == 1)
        #expect(b.delivered.isEmpty)
    }
}

@Suite struct Peers {
    @Test func `What can't be a peer is refused`() {
        let pair = TunnelPair()
        let key = [UInt8](repeating: 3, count: 32)
        func add(_ key: [UInt8], psk: [UInt8]? = nil, keepalive: Duration? = nil, domain: String = "blue") -> Bool {
            pair.a.tunnels.addPeer(
                domain: RoutingDomainID(domain)!,
                PeerConfiguration(
                    publicKey: key, presharedKey: psk, allowedIPs: [], endpoint: nil, persistentKeepalive: keepalive))
                != nil
        }
        #expect(!add([1, 2, 3]) && !add(key, psk: [1]) && !add(key, keepalive: .zero) && !add(key, domain: "red"))
        #expect(!add(pair.a.tunnels.publicKey(of: TunnelPair.blue)!), "ourselves")
        #expect(!add(pair.b.tunnels.publicKey(of: TunnelPair.blue)!), "there already")
        #expect(add(key) && !add(key))
        #expect(pair.a.tunnels.addDomain(id: TunnelPair.blue, privateKey: key) == nil)
        #expect(pair.a.tunnels.addDomain(id: RoutingDomainID("red")!, privateKey: [1]) == nil)
    }

    @Test func `Tables have limits`() {
        var limits = TunnelLimits.default
        limits.maximumPeers = 1
        limits.maximumDomains = 1
        let pair = TunnelPair(limits: limits)
        let configuration = PeerConfiguration(
            publicKey: [UInt8](repeating: 3, count: 32), presharedKey: nil, allowedIPs: [], endpoint: nil,
            persistentKeepalive: nil)
        #expect(pair.a.tunnels.addPeer(domain: TunnelPair.blue, configuration) == nil)
        #expect(pair.a.tunnels.addDomain(id: .fabric, privateKey: [UInt8](repeating: 4, count: 32)) == nil)
        pair.a.tunnels.removePeer(pair.peerB)
        #expect(pair.a.tunnels.addPeer(domain: TunnelPair.blue, configuration) != nil)
    }

    @Test func `A peer that was removed and comes back is reached, though the clock was set back meanwhile`() throws {
        let pair = TunnelPair()
        pair.establish()
        let delivered = pair.b.delivered.count
        pair.a.tunnels.removePeer(pair.peerB)
        pair.a.wallOffset = .seconds(-3600)
        pair.harness.run(for: .seconds(10))
        let again = pair.a.tunnels.addPeer(
            domain: TunnelPair.blue,
            PeerConfiguration(
                publicKey: pair.b.tunnels.publicKey(of: TunnelPair.blue)!, presharedKey: nil,
                allowedIPs: [IPPrefix("10.0.0.2/32")!], endpoint: pair.b.address, persistentKeepalive: nil))
        #expect(again != nil)
        pair.ping()
        pair.harness.run(for: .seconds(1))
        #expect(pair.b.delivered.count == delivered + 1)
    }

    @Test func `The handle of a removed peer matches nothing, also when its place is taken`() {
        let pair = TunnelPair()
        pair.establish()
        let late = pair.harness.sent.last { $0.from == pair.b.address }!
        pair.a.tunnels.removePeer(pair.peerB)
        #expect(pair.a.tunnels.peerStatus(pair.peerB) == nil)
        #expect(pair.a.tunnels.state.pointee.indexes.count == 0)
        #expect(pair.ping() == .dropped(.noRoute))
        #expect(pair.harness.deliver(late.bytes, to: pair.a, from: late.from) == .dropped(.unknownReceiverIndex))
        let again = pair.a.tunnels.addPeer(
            domain: TunnelPair.blue,
            PeerConfiguration(
                publicKey: pair.b.tunnels.publicKey(of: TunnelPair.blue)!, presharedKey: nil,
                allowedIPs: [IPPrefix("10.0.0.2/32")!], endpoint: pair.b.address, persistentKeepalive: nil))!
        #expect(again != pair.peerB && again.slot == pair.peerB.slot)
        #expect(pair.a.tunnels.peerStatus(pair.peerB) == nil)
        pair.harness.run(for: .seconds(1))
        pair.ping()
        pair.harness.run(for: .seconds(6))
        #expect(pair.b.delivered.count == 2)
    }

    @Test func `An authenticated packet from elsewhere moves the endpoint, a forged or replayed one does not`() {
        let pair = TunnelPair()
        pair.establish()
        let elsewhere = Endpoint("198.51.100.7:4000")!
        let replayed = pair.harness.sent(.transportData).last { $0.from == pair.a.address }!.bytes
        #expect(pair.harness.deliver(replayed, to: pair.b, from: elsewhere) == .dropped(.replayed))
        var forged = replayed
        forged[8] = 200
        #expect(pair.harness.deliver(forged, to: pair.b, from: elsewhere) == .dropped(.notAuthentic))
        #expect(pair.b.tunnels.peerStatus(pair.peerA)?.endpoint == pair.a.address)
        pair.a.address = elsewhere
        pair.ping()
        pair.harness.run(for: .seconds(1))
        #expect(pair.b.events.contains(.endpointChanged(pair.peerA, elsewhere)))
        #expect(pair.pong() == .transmit(elsewhere))
        pair.harness.run(for: .seconds(1))
        #expect(pair.a.delivered.count == 1)
    }

    @Test func `Status and counters tell what happened`() {
        let pair = TunnelPair()
        pair.establish()
        pair.ping(100)
        pair.harness.run(for: .seconds(1))
        let a = pair.a.tunnels.peerStatus(pair.peerB)!
        let b = pair.b.tunnels.peerStatus(pair.peerA)!
        #expect(a.traffic.packetsSent == 2 && a.traffic.bytesSent == 160 && a.handshakes == 1 && a.hasSession)
        #expect(b.traffic.packetsReceived == 2 && b.traffic.bytesReceived == 160)
        #expect(b.lastHandshake != nil)
        #expect(pair.a.tunnels.counters.initiationsSent == 1 && pair.b.tunnels.counters.responsesSent == 1)
        #expect(pair.a.tunnels.counters.dropped.isEmpty)
        for reason in DropReason.allCases { #expect(pair.a.tunnels.counters[reason] == 0) }
        #expect(Set(DropReason.allCases.map(\.description)).count == DropReason.allCases.count)
    }

    @Test func `Session keys are logged only when asked for, in Wireshark's form`() {
        let pair = TunnelPair()
        pair.a.tunnels.isKeyLogging = true
        pair.establish()
        #expect(pair.b.tunnels.nextKeyLogEntry() == nil)
        let text = pair.a.tunnels.nextKeyLogEntry()!.text
        let lines = text.split(separator: "\n")
        #expect(lines.count == 4)
        #expect(
            lines.map { $0.split(separator: " ")[0] } == [
                "LOCAL_STATIC_PRIVATE_KEY", "REMOTE_STATIC_PUBLIC_KEY", "LOCAL_EPHEMERAL_PRIVATE_KEY", "PRESHARED_KEY",
            ])
        #expect(lines.allSatisfy { $0.hasSuffix("=") && $0.split(separator: " ")[2].utf8.count == 44 })
        #expect(lines[3].hasSuffix(String(repeating: "A", count: 43) + "="))
        #expect(pair.a.tunnels.nextKeyLogEntry() == nil)
    }
}
