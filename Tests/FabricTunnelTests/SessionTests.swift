import FabricCore
import Testing

@testable import FabricTunnel

@Suite struct Sessions {
    @Test func `The first packet makes the session and is delivered by it`() {
        let pair = TunnelPair()
        #expect(pair.ping().isStaged)
        pair.harness.run(for: .milliseconds(100))
        #expect(pair.b.delivered.map(\.packet) == [ipv4("10.0.0.1", "10.0.0.2")])
        #expect(pair.a.events == [.sessionEstablished(pair.peerB, initiator: true)])
        #expect(pair.b.events == [.sessionEstablished(pair.peerA, initiator: false)])
        #expect(pair.ping(1400) == .transmit(pair.b.address))
        #expect(pair.pong() == .transmit(pair.a.address))
        pair.harness.run(for: .milliseconds(100))
        #expect(pair.b.delivered.count == 2 && pair.a.delivered.count == 1)
        #expect(pair.harness.sent.map { $0.bytes.count }.filter { $0 > 200 } == [1420 + 32], "not padded past the MTU")
    }

    @Test func `Either side may begin, and a side that knows no address is told it by the handshake`() {
        let pair = TunnelPair(bKnowsEndpoint: false)
        #expect(pair.pong() == .dropped(.noEndpoint))
        pair.establish()
        #expect(pair.pong() == .transmit(pair.a.address))
        let other = TunnelPair(aKnowsEndpoint: false)
        other.pong()
        other.harness.run(for: .seconds(1))
        #expect(other.a.delivered.count == 1 && other.a.tunnels.peerStatus(other.peerB)?.endpoint == other.b.address)
    }

    @Test func `Both sides beginning at once both get through at once`() {
        let pair = TunnelPair()
        pair.ping()
        pair.pong()
        pair.harness.run(for: .milliseconds(200))
        #expect(pair.a.delivered.count == 1 && pair.b.delivered.count == 1)
        pair.chat(seconds: 400)
        #expect(pair.a.delivered.count >= 399 && pair.b.delivered.count >= 399)
    }

    @Test func `A preshared key is part of the handshake`() {
        let key = [UInt8](repeating: 5, count: 32)
        let pair = TunnelPair(presharedKey: key)
        pair.establish()
        let other = TunnelPair()
        let configuration = PeerConfiguration(
            publicKey: other.b.tunnels.publicKey(of: TunnelPair.blue)!, presharedKey: key,
            allowedIPs: [IPPrefix("10.0.0.2/32")!], endpoint: other.b.address, persistentKeepalive: nil)
        #expect(other.a.tunnels.updatePeer(other.peerB, configuration))
        other.ping()
        other.harness.run(for: .seconds(30))
        #expect(other.b.delivered.isEmpty)
        #expect(other.a.tunnels.counters[.handshakeNotAuthentic] > 0)
    }

    @Test func `A probe takes the place of no packet that waits`() {
        var limits = TunnelLimits.default
        limits.stagedPacketsPerPeer = 3
        let pair = TunnelPair(limits: limits)
        func send(_ tag: UInt8, isProbe: Bool) {
            var buffer = PacketBuffer(packetCapacity: 2048)
            let fits = buffer.assign(ipv4("10.0.0.1", "10.0.0.2", tag: tag))
            let now = pair.harness.time(pair.a)
            let outcome = pair.a.tunnels.send(domain: TunnelPair.blue, &buffer, isProbe: isProbe, now: now)
            #expect(fits && outcome.isStaged)
            pair.harness.drain(pair.a)
        }
        // The first begins the handshake and waits for it.
        for tag in 0..<5 { send(UInt8(tag), isProbe: tag != 2) }
        pair.harness.run(for: .seconds(1))
        #expect(pair.b.delivered.map { $0.packet[20] } == [0, 2])
        #expect(pair.a.tunnels.counters[.stagedOverflow] == 0)
    }

    @Test func `A handshake that does not repeat is one initiation`() {
        let pair = TunnelPair()
        let peer = pair.a.tunnels.peer(
            domain: TunnelPair.blue, publicKey: pair.b.tunnels.publicKey(of: TunnelPair.blue)!)!
        func start() {
            pair.a.tunnels.startHandshake(peer, repeats: false, now: pair.harness.time(pair.a))
            pair.harness.drain(pair.a)
        }
        pair.harness.loses = { _ in true }
        start()
        pair.harness.run(for: .seconds(60))
        #expect(pair.harness.sent(.handshakeInitiation).count == 1)
        // What waits for the session has it repeated.
        start()
        pair.ping()
        pair.harness.run(for: .seconds(21))
        let repeated = pair.harness.sent(.handshakeInitiation).count
        #expect((4...6).contains(repeated), "\(repeated)")
        // One that repeats needs none beside it, and ends in its time.
        for _ in 0..<40 {
            start()
            pair.harness.run(for: .seconds(3))
        }
        let all = pair.harness.sent(.handshakeInitiation).count
        #expect(pair.a.tunnels.counters.handshakesGivenUp == 1)
        #expect(all < 40, "\(all)")
        pair.harness.loses = { _ in false }
        pair.harness.run(for: .seconds(6))
        start()
        pair.harness.run(for: .seconds(1))
        #expect(pair.a.tunnels.peerStatus(peer)?.hasSession == true)
    }

    @Test func `Packets wait in order, the oldest go when there are too many`() {
        var limits = TunnelLimits.default
        limits.stagedPacketsPerPeer = 3
        let pair = TunnelPair(limits: limits)
        for tag in 0..<5 {
            let packet = ipv4("10.0.0.1", "10.0.0.2", tag: UInt8(tag))
            #expect(pair.harness.send(pair.a, TunnelPair.blue, packet).isStaged)
        }
        pair.harness.run(for: .seconds(1))
        #expect(pair.b.delivered.map { $0.packet[20] } == [2, 3, 4])
        #expect(pair.a.tunnels.counters[.stagedOverflow] == 2)
        #expect(pair.harness.sent(.handshakeInitiation).count == 1)
    }

    @Test func `A lost message is sent again after 5 s and a little, and the packet is not lost`() {
        let pair = TunnelPair()
        var losses = 3
        pair.harness.loses = { _ in
            losses -= 1
            return losses >= 0
        }
        pair.ping()
        pair.harness.run(for: .seconds(25))
        #expect(pair.b.delivered.count == 1)
        let times = pair.harness.sent(.handshakeInitiation).map { $0.arrivesAt }
        for (earlier, later) in zip(times, times.dropFirst()) {
            #expect(later - earlier >= .seconds(5) && later - earlier < .milliseconds(5333))
        }
    }

    @Test func `After 90 s without an answer the handshake is given up, and the next packet starts anew`() {
        let pair = TunnelPair()
        pair.harness.loses = { _ in true }
        pair.ping()
        pair.harness.run(for: .seconds(89))
        #expect(pair.a.events.isEmpty)
        pair.harness.run(for: .seconds(8))
        #expect(pair.a.events == [.handshakeGaveUp(pair.peerB)])
        #expect(pair.a.tunnels.counters[.stagedExpired] == 1)
        let initiations = pair.harness.sent(.handshakeInitiation).count
        #expect(initiations == 18)
        pair.harness.run(for: .seconds(100))
        #expect(pair.harness.sent(.handshakeInitiation).count == initiations)
        pair.harness.loses = { _ in false }
        pair.ping()
        pair.harness.run(for: .seconds(1))
        #expect(pair.b.delivered.count == 1)
    }

    @Test func `An initiation whose time stamp would reach the ceiling waits until that is raised`() {
        let pair = TunnelPair()
        let start = TunnelHarness.wallStart
        pair.a.tunnels.setTimestampCeiling(start + .seconds(30), now: pair.harness.time(pair.a))
        pair.establish()
        let sent = pair.a.tunnels.counters.initiationsSent
        #expect(sent == 1 && !pair.a.tunnels.isHoldingInitiations)
        pair.a.wallOffset = .seconds(3600)
        pair.harness.run(for: .seconds(200))
        pair.ping()
        pair.harness.run(for: .seconds(20))
        #expect(pair.a.tunnels.counters.initiationsSent == sent && pair.a.tunnels.isHoldingInitiations)
        // Not enough, and then enough: it leaves at once.
        pair.a.tunnels.setTimestampCeiling(start + .seconds(3700), now: pair.harness.time(pair.a))
        pair.harness.drain(pair.a)
        #expect(pair.a.tunnels.counters.initiationsSent == sent && pair.a.tunnels.isHoldingInitiations)
        pair.a.tunnels.setTimestampCeiling(start + .seconds(9000), now: pair.harness.time(pair.a))
        pair.harness.drain(pair.a)
        pair.harness.run(for: .milliseconds(300))
        #expect(pair.a.tunnels.counters.initiationsSent == sent + 1 && !pair.a.tunnels.isHoldingInitiations)
        #expect(pair.b.delivered.count == 2)
        #expect(pair.a.tunnels.greatestTimestampSent! > start + .seconds(3800))
        // Without a ceiling nothing is held.
        pair.a.tunnels.setTimestampCeiling(nil, now: pair.harness.time(pair.a))
        pair.a.wallOffset = .seconds(86_400)
        pair.harness.run(for: .seconds(200))
        pair.ping()
        pair.harness.run(for: .seconds(1))
        #expect(pair.b.delivered.count == 3)
    }

    @Test func `Time stamps rise even when the wall clock steps back, and start above the floor`() {
        let pair = TunnelPair()
        pair.establish()
        pair.a.wallOffset = .seconds(-86_400)
        pair.harness.run(for: .seconds(200))
        pair.ping()
        pair.harness.run(for: .seconds(1))
        #expect(pair.b.delivered.count == 2)
        #expect(pair.b.tunnels.counters[.handshakeReplayed] == 0)

        // A restart whose clock is wrong, told what the former run had reserved or had sent.
        for usesFloor in [true, false] {
            let restarted = TunnelPair()
            let status = pair.b.tunnels.peerStatus(pair.peerA)!
            var configuration = PeerConfiguration(
                publicKey: restarted.a.tunnels.publicKey(of: TunnelPair.blue)!, presharedKey: nil,
                allowedIPs: [IPPrefix("10.0.0.1/32")!], endpoint: nil, persistentKeepalive: nil,
                timestamps: status.timestamps)
            restarted.b.tunnels.updatePeer(restarted.peerA, configuration)
            restarted.a.wallOffset = .seconds(-86_400)
            if usesFloor {
                restarted.a.tunnels.raiseTimestampFloor(TunnelHarness.wallStart + .seconds(3600))
            } else {
                configuration.publicKey = restarted.b.tunnels.publicKey(of: TunnelPair.blue)!
                configuration.allowedIPs = [IPPrefix("10.0.0.2/32")!]
                configuration.timestamps = pair.a.tunnels.peerStatus(pair.peerB)!.timestamps
                restarted.a.tunnels.updatePeer(restarted.peerB, configuration)
            }
            restarted.establish()
        }
        let locked = TunnelPair()
        locked.a.wallOffset = .seconds(-86_400)
        locked.b.tunnels.updatePeer(
            locked.peerA,
            PeerConfiguration(
                publicKey: locked.a.tunnels.publicKey(of: TunnelPair.blue)!, presharedKey: nil,
                allowedIPs: [IPPrefix("10.0.0.1/32")!], endpoint: nil, persistentKeepalive: nil,
                timestamps: pair.b.tunnels.peerStatus(pair.peerA)!.timestamps))
        locked.ping()
        locked.harness.run(for: .seconds(3))
        #expect(locked.b.tunnels.counters[.handshakeReplayed] == 1, "without a floor it is locked out")
    }
}

@Suite struct Timers {
    @Test func `The initiator starts a new handshake after 120 s of sending, and no packet is lost`() {
        let pair = TunnelPair()
        pair.establish()
        pair.chat(seconds: 119)
        #expect(pair.harness.sent(.handshakeInitiation).count == 1)
        pair.chat(seconds: 4)
        #expect(pair.harness.sent(.handshakeInitiation).count == 2)
        pair.chat(seconds: 600)
        #expect(pair.harness.sent(.handshakeInitiation).count == 6, "one each 120 s and a little")
        #expect(pair.b.delivered.count == 1 + 723 && pair.a.delivered.count == 723)
        #expect(pair.b.initiated() == 0, "the responder does not start any")
    }

    @Test func `An initiator that only receives starts a new handshake at 165 s, once`() {
        let pair = TunnelPair()
        pair.establish()
        // Keepalives ask for no answer, so A sends nothing under the session, and nothing at 120 s.
        pair.b.tunnels.updatePeer(
            pair.peerA,
            PeerConfiguration(
                publicKey: pair.a.tunnels.publicKey(of: TunnelPair.blue)!, presharedKey: nil,
                allowedIPs: [IPPrefix("10.0.0.1/32")!], endpoint: nil, persistentKeepalive: .seconds(1)))
        pair.harness.run(for: .seconds(163))
        #expect(pair.harness.sent(.handshakeInitiation).count == 1)
        pair.harness.run(for: .seconds(17))
        let initiations = pair.harness.sent(.handshakeInitiation)
        #expect(initiations.count == 2)
        let age = initiations[1].arrivesAt - initiations[0].arrivesAt
        #expect(age >= .seconds(165) && age < .seconds(167))
        #expect(pair.a.initiated() == 2)
    }

    @Test func `A key is refused at 180 s in both directions`() {
        let pair = TunnelPair()
        pair.establish()
        pair.ping()
        let late = pair.harness.sent.last!.bytes
        pair.harness.run(for: .seconds(1))
        pair.harness.run(for: .seconds(180))
        #expect(pair.harness.deliver(late, to: pair.b, from: pair.a.address) == .dropped(.sessionExpired))
        #expect(pair.ping().isStaged)
        pair.harness.run(for: .seconds(1))
        #expect(pair.b.delivered.count == 3)
    }

    @Test func `After enough messages there is a new handshake, and a key is never used past its end`() {
        var limits = TunnelLimits.default
        limits.rekeyAfterMessages = 50
        limits.rejectAfterMessages = 100
        let pair = TunnelPair(limits: limits)
        pair.establish()
        pair.harness.run(for: .seconds(5))
        for _ in 0..<70 { pair.ping() }
        pair.harness.run(for: .seconds(1))
        #expect(pair.harness.sent(.handshakeInitiation).count == 2)
        #expect(pair.b.delivered.count == 71)

        // The other side is away: the key runs out.
        pair.harness.loses = { _ in true }
        pair.harness.run(for: .seconds(5))
        var outcomes: [SendOutcome] = []
        for _ in 0..<150 { outcomes.append(pair.ping()) }
        let counters = pair.harness.sent(.transportData).suffix(100).map { UnsafeCounter.of($0.bytes) }
        #expect(outcomes.contains { $0.isStaged })
        #expect(counters.max() == 99)
    }

    private enum UnsafeCounter {
        static func of(_ bytes: [UInt8]) -> UInt64 { bytes.withUnsafeBytes { $0.littleEndian64(at: 8) } }
    }

    @Test func `A receiver that has nothing to say answers with a keepalive after 10 s, and only then`() {
        let pair = TunnelPair()
        pair.establish()
        pair.harness.run(for: .seconds(20))
        let before = pair.harness.sent.count
        pair.ping()
        pair.harness.run(for: .milliseconds(9_900))
        #expect(pair.harness.sent.count == before + 1)
        pair.harness.run(for: .seconds(1))
        #expect(pair.harness.sent.count == before + 2)
        #expect(pair.harness.sent.last?.bytes.count == 32)
        pair.harness.run(for: .seconds(60))
        #expect(pair.harness.sent.count == before + 2, "keepalives are not answered")
    }

    @Test func `A sender that hears nothing for 15 s starts a new handshake`() {
        let pair = TunnelPair()
        pair.establish()
        pair.harness.run(for: .seconds(20))
        pair.harness.loses = { $0.from == pair.b.address }
        let initiations = pair.harness.sent(.handshakeInitiation).count
        pair.ping()
        pair.harness.run(for: .milliseconds(14_900))
        #expect(pair.harness.sent(.handshakeInitiation).count == initiations)
        pair.harness.run(for: .milliseconds(500))
        #expect(pair.harness.sent(.handshakeInitiation).count == initiations + 1)
    }

    @Test func `Keys are gone 540 s after the last handshake`() {
        let pair = TunnelPair()
        pair.establish()
        pair.harness.run(for: .seconds(538))
        #expect(!pair.a.events.contains(.keysZeroed(pair.peerB)))
        pair.harness.run(for: .seconds(2))
        #expect(pair.a.events.contains(.keysZeroed(pair.peerB)) && pair.b.events.contains(.keysZeroed(pair.peerA)))
        #expect(pair.a.tunnels.state.pointee.indexes.count == 0)
        #expect(pair.a.tunnels.nextDeadline() == nil)
    }

    @Test func `A persistent keepalive makes the session and keeps it`() {
        let pair = TunnelPair(keepalive: .seconds(25))
        pair.harness.run(for: .seconds(1))
        #expect(pair.a.tunnels.peerStatus(pair.peerB)?.hasSession == true)
        let before = pair.a.tunnels.counters.keepalivesSent
        pair.harness.run(for: .seconds(100))
        #expect(pair.a.tunnels.counters.keepalivesSent == before + 4)
        pair.harness.run(for: .seconds(1000))
        #expect(pair.a.tunnels.peerStatus(pair.peerB)?.hasSession == true)
        let status = pair.a.tunnels.peerStatus(pair.peerB)!
        #expect((7...10).contains(status.handshakes), "\(status.handshakes)")
    }

    @Test func `Deadlines that come early or twice do nothing`() {
        let pair = TunnelPair()
        pair.establish()
        for _ in 0..<5 { pair.a.tunnels.handleDeadline(now: pair.harness.time(pair.a)) }
        let sent = pair.harness.sent.count
        pair.harness.drain(pair.a)
        #expect(pair.harness.sent.count == sent)
    }

    @Test func `With one datagram in five lost, everything is carried on for an hour`() {
        let pair = TunnelPair()
        let random = SeededRandom(seed: 11, stream: "loss")
        pair.harness.loses = { _ in random.below(5) == 0 }
        pair.chat(seconds: 3600)
        #expect(pair.a.delivered.count > 2700 && pair.b.delivered.count > 2700)
        #expect(pair.a.tunnels.counters[.notAuthentic] == 0 && pair.b.tunnels.counters[.notAuthentic] == 0)
        #expect(pair.a.tunnels.state.pointee.indexes.count <= 4)
    }

    @Test func `The same seed gives the same datagrams`() {
        func wire() -> [[UInt8]] {
            let pair = TunnelPair(keepalive: .seconds(7))
            let random = SeededRandom(seed: 4, stream: "loss")
            pair.harness.loses = { _ in random.below(10) == 0 }
            pair.chat(seconds: 300)
            return pair.harness.sent.map(\.bytes)
        }
        #expect(wire() == wire())
    }
}
