import FabricCore
import FabricCrypto
import Testing

@testable import FabricTunnel

/// Floods by who knows the public key, against a host that is given several datagrams in a turn.
@Suite struct WaitingHandshakes {
    private static let stranger = Endpoint("203.0.113.5:5")!

    /// Initiations with a valid mac1 and nothing else: each costs a Diffie-Hellman that comes to nothing.
    private func noise(for node: TunnelHarness.Node, _ count: Int) -> [[UInt8]] {
        let cryptography = SystemCryptography()
        let random = SeededRandom(seed: 8, stream: "noise")
        let key = MessageMACs.mac1Key(of: node.tunnels.publicKey(of: TunnelPair.blue)!, cryptography)
        return (0..<count).map { _ in
            var message = [1, 0, 0, 0] + random.bytes(112)
            _ = MessageMACs.append(to: &message, mac1Key: key, cookie: nil, cryptography)
            return message
        }
    }

    /// Hands in datagrams without ending the turn.
    private func receive(_ datagrams: [[UInt8]], _ pair: TunnelPair, from source: Endpoint = stranger)
        -> [ReceiveOutcome]
    {
        var buffer = PacketBuffer(packetCapacity: 2048)
        return datagrams.map { datagram in
            precondition(buffer.assign(datagram))
            return pair.b.tunnels.receive(&buffer, from: source, now: pair.harness.time(pair.b))
        }
    }

    private func isDue(_ pair: TunnelPair) -> Bool {
        guard let deadline = pair.b.tunnels.nextDeadline(), deadline.reason == .waitingHandshakes else { return false }
        return deadline.instant <= pair.harness.time(pair.b).monotonic
    }

    /// What a host does after its datagrams: send what there is, then run what is due.
    private func endTurn(_ pair: TunnelPair) {
        pair.harness.drain(pair.b)
        pair.b.tunnels.handleDeadline(now: pair.harness.time(pair.b))
        pair.harness.drain(pair.b)
    }

    @Test func `a turn opens four handshakes, and the others have the turns that follow at once`() {
        let pair = TunnelPair()
        let outcomes = receive(noise(for: pair.b, 14), pair)
        #expect(outcomes.prefix(4).allSatisfy { $0 == .dropped(.handshakeNotAuthentic) })
        #expect(outcomes.dropFirst(4).allSatisfy { $0 == .waiting })
        #expect(pair.b.tunnels.waitingHandshakes == 10 && pair.b.tunnels.queues.handshakes == 10)
        for left in [6, 2, 0] {
            #expect(isDue(pair))
            endTurn(pair)
            #expect(pair.b.tunnels.waitingHandshakes == left)
        }
        #expect(!isDue(pair))
        #expect(pair.b.tunnels.counters[.handshakeNotAuthentic] == 14)
        #expect(pair.b.tunnels.counters.handshakesOpened == 14)
    }

    @Test func `without a drain the portion of a turn is not renewed`() {
        let pair = TunnelPair()
        _ = receive(noise(for: pair.b, 10), pair)
        for _ in 0..<3 { pair.b.tunnels.handleDeadline(now: pair.harness.time(pair.b)) }
        #expect(pair.b.tunnels.waitingHandshakes == 6)
    }

    @Test func `packets under a session pass all handshakes that wait`() {
        let pair = TunnelPair()
        pair.establish()
        pair.harness.loses = { _ in true }
        pair.ping()
        let data = pair.harness.sent(.transportData).last!.bytes
        let outcomes = receive(noise(for: pair.b, 300), pair)
        #expect(outcomes.last == .waiting)
        #expect(receive([data], pair, from: pair.a.address) == [.packet(TunnelPair.blue, pair.peerA)])
    }

    @Test func `who waits keeps its place, and its handshake comes to a session`() {
        let pair = TunnelPair()
        pair.harness.loses = { _ in true }
        pair.ping()
        let initiation = pair.harness.sent(.handshakeInitiation).last!.bytes
        pair.harness.loses = { _ in false }
        _ = receive(noise(for: pair.b, 20), pair)
        #expect(receive([initiation], pair, from: pair.a.address) == [.waiting])
        pair.harness.run(for: .seconds(1))
        #expect(pair.b.delivered.count == 1)
    }

    /// B takes 20 ms for a turn, so that it opens 200 handshakes a second, of 1,000 that come: it never counts 500.
    @Test func `a processor that is too slow for the flood asks for cookies, and a peer gets through by its own`() {
        let pair = TunnelPair()
        let flood = noise(for: pair.b, 20)
        // Carried by hand, a turn at a time.
        pair.harness.loses = { _ in true }
        var carried = 0
        var openedBeforeCookies: UInt64 = 0
        for turn in 0..<600 {
            pair.harness.now = pair.harness.now + .milliseconds(20)
            if turn == 100 { pair.ping() }
            if turn < 500 { _ = receive(flood, pair) }
            while carried < pair.harness.sent.count {
                let datagram = pair.harness.sent[carried]
                carried += 1
                if datagram.to == pair.b.address {
                    for case .packet(let domain, let peer) in receive([datagram.bytes], pair, from: datagram.from) {
                        pair.b.delivered.append((domain, peer, []))
                    }
                } else if datagram.to == pair.a.address {
                    pair.harness.deliver(datagram.bytes, to: pair.a, from: datagram.from)
                }
            }
            endTurn(pair)
            pair.a.tunnels.handleDeadline(now: pair.harness.time(pair.a))
            pair.harness.drain(pair.a)
            if pair.b.tunnels.counters[.cookieRequired] == 0 {
                openedBeforeCookies = pair.b.tunnels.counters.handshakesOpened
            }
        }
        let counters = pair.b.tunnels.counters
        #expect((60...80).contains(openedBeforeCookies))
        #expect(counters[.cookieRequired] > 1_000 && counters[.handshakeQueueFull] == 0)
        #expect(pair.a.tunnels.counters.cookieRepliesReceived >= 1 && counters.handshakesByCookie >= 1)
        #expect(pair.b.delivered.count == 1)
        // It passes.
        #expect(receive(noise(for: pair.b, 1), pair) == [.dropped(.handshakeNotAuthentic)])
    }

    @Test func `a few handshakes that wait long show a slow processor, and cookies are asked for`() {
        func outcomes(after pause: Duration) -> (opened: UInt64, refused: UInt64) {
            let pair = TunnelPair()
            _ = receive(noise(for: pair.b, 14), pair)
            pair.harness.now = pair.harness.now + pause
            endTurn(pair)
            return (pair.b.tunnels.counters.handshakesOpened, pair.b.tunnels.counters[.cookieRequired])
        }
        #expect(outcomes(after: .milliseconds(249)) == (8, 0))
        #expect(outcomes(after: .milliseconds(250)) == (4, 10))
    }

    @Test func `a handshake that waited does not move its peer back to where it was`() throws {
        let pair = TunnelPair()
        pair.establish()
        let home = pair.a.address
        let roamed = Endpoint("198.51.100.7:51820")!
        pair.harness.loses = { _ in true }
        // Old enough for a new handshake.
        pair.harness.run(for: .seconds(121))
        pair.ping()
        let initiation = try #require(pair.harness.sent(.handshakeInitiation).last).bytes
        let data = try #require(pair.harness.sent(.transportData).last).bytes
        func endpoint() -> Endpoint? { pair.b.tunnels.peerStatus(pair.peerA)?.endpoint }
        _ = receive(noise(for: pair.b, 4), pair)
        // At the same instant: the order of arrival counts, not the clock.
        #expect(receive([initiation], pair, from: home) == [.waiting])
        #expect(receive([data], pair, from: roamed) == [.packet(TunnelPair.blue, pair.peerA)])
        #expect(endpoint() == roamed)
        let before = pair.b.tunnels.counters.initiationsReceived
        endTurn(pair)
        #expect(pair.b.tunnels.counters.initiationsReceived == before + 1 && endpoint() == roamed)
        // The answer goes where the question came from.
        #expect(try #require(pair.harness.sent(.handshakeResponse).last).to == home)
    }

    @Test func `a handshake that waited and is the newest of its peer moves it`() throws {
        let pair = TunnelPair()
        pair.harness.loses = { _ in true }
        pair.ping()
        let initiation = try #require(pair.harness.sent(.handshakeInitiation).last).bytes
        _ = receive(noise(for: pair.b, 4), pair)
        let roamed = Endpoint("198.51.100.7:51820")!
        #expect(receive([initiation], pair, from: roamed) == [.waiting])
        endTurn(pair)
        #expect(pair.b.tunnels.peerStatus(pair.peerA)?.endpoint == roamed)
    }

    @Test func `the queue has a limit, and who finds it full is counted`() {
        var limits = TunnelLimits.default
        limits.waitingHandshakes = 10
        limits.waitingHandshakesBeforeCookies = 10
        let pair = TunnelPair(limits: limits)
        let outcomes = receive(noise(for: pair.b, 20), pair)
        #expect(outcomes[13] == .waiting && outcomes[14...].allSatisfy { $0 == .dropped(.handshakeQueueFull) })
        #expect(pair.b.tunnels.waitingHandshakes == 10)
        #expect(pair.b.tunnels.counters[.handshakeQueueFull] == 6)
    }

    @Test func `a response that nobody waits for takes no place among those that wait`() {
        let pair = TunnelPair()
        _ = receive(noise(for: pair.b, 5), pair)
        let response = [2, 0, 0, 0] + SeededRandom(seed: 4, stream: "response").bytes(88)
        #expect(receive([response], pair) == [.dropped(.unknownReceiverIndex)])
        #expect(pair.b.tunnels.waitingHandshakes == 1)
    }

    @Test func `an empty datagram is counted, from port 0 too`() {
        let pair = TunnelPair()
        let nowhere = Endpoint(address: Self.stranger.address, port: 0)
        #expect(receive([[]], pair, from: nowhere) == [.dropped(.unanswerable)])
        #expect(receive([[]], pair) == [.dropped(.malformedMessage)])
    }
}
