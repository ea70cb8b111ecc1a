import FabricCore
import FabricCrypto
import FabricTestSupport
import Testing

@testable import FabricTunnel

@Suite struct HostileInput {
    /// Each kind of datagram that B may get from A, fresh: never delivered.
    private func corpus(_ pair: TunnelPair) -> [[UInt8]] {
        pair.harness.loses = { _ in true }
        pair.ping()
        pair.harness.run(for: .seconds(6))
        let initiation = pair.harness.sent(.handshakeInitiation).last!.bytes
        pair.harness.loses = { _ in false }
        pair.harness.run(for: .seconds(10))
        pair.harness.loses = { _ in true }
        pair.ping(1000)
        pair.ping(0)
        let data = pair.harness.sent(.transportData).suffix(2).map(\.bytes)
        let response = pair.harness.sent(.handshakeResponse).last!.bytes
        return [initiation, response, HandshakeVectors.cookieReply] + data
    }

    @Test func `Truncated, extended and foreign datagrams are dropped without an answer`() {
        let pair = TunnelPair()
        let corpus = corpus(pair)
        let before = pair.harness.sent.count
        for datagram in corpus {
            for length in 0..<datagram.count where length < 200 || length % 97 == 0 {
                let outcome = pair.harness.deliver(Array(datagram[..<length]), to: pair.b, from: pair.a.address)
                guard case .dropped = outcome else {
                    Issue.record("\(length) of \(datagram.count) bytes gave \(outcome)")
                    continue
                }
            }
            guard case .dropped = pair.harness.deliver(datagram + [0], to: pair.b, from: pair.a.address) else {
                Issue.record("a byte too many was taken")
                continue
            }
        }
        for type in 0...255 where !(1...4).contains(type) {
            let foreign = [UInt8(type)] + [UInt8](repeating: 0, count: 147)
            #expect(pair.harness.deliver(foreign, to: pair.b, from: pair.a.address) == .dropped(.malformedMessage))
        }
        for datagram in corpus {
            let unanswerable = Endpoint(address: pair.a.address.address, port: 0)
            #expect(pair.harness.deliver(datagram, to: pair.b, from: unanswerable) == .dropped(.unanswerable))
        }
        var reserved = corpus[3]
        reserved[2] = 1
        #expect(pair.harness.deliver(reserved, to: pair.b, from: pair.a.address) == .dropped(.malformedMessage))
        #expect(pair.harness.sent.count == before)
    }

    @Test func `A flipped bit anywhere in a datagram is found out, and the datagram itself still counts after`() {
        let pair = TunnelPair()
        let corpus = corpus(pair)
        let before = (pair.harness.sent.count, pair.b.delivered.count, pair.b.events.count)
        for datagram in [corpus[0], corpus[4]] {
            for bit in 0..<datagram.count * 8 {
                var forged = datagram
                forged[bit / 8] ^= 1 << UInt8(bit % 8)
                // mac2 is not looked at unless there is load; without, its bits are free.
                if datagram.count == HandshakeInitiation.length, bit / 8 >= 132 { continue }
                guard case .dropped = pair.harness.deliver(forged, to: pair.b, from: pair.a.address) else {
                    Issue.record("bit \(bit) of \(datagram.count) bytes was not found out")
                    continue
                }
            }
        }
        #expect((pair.harness.sent.count, pair.b.delivered.count, pair.b.events.count) == before)
        #expect(
            pair.harness.deliver(corpus[4], to: pair.b, from: pair.a.address) == .packet(TunnelPair.blue, pair.peerA))
    }

    @Test func `An initiation is taken once, and an older one not after`() {
        let pair = TunnelPair()
        pair.harness.loses = { _ in true }
        pair.ping()
        pair.harness.run(for: .seconds(12))
        let initiations = pair.harness.sent(.handshakeInitiation).map(\.bytes)
        #expect(initiations.count >= 2)
        #expect(pair.harness.deliver(initiations[1], to: pair.b, from: pair.a.address) == .handshake)
        pair.harness.run(for: .seconds(1))
        for old in initiations {
            guard case .dropped(.handshakeReplayed) = pair.harness.deliver(old, to: pair.b, from: pair.a.address)
            else {
                // The last one is newer than what was delivered.
                #expect(old == initiations.last && initiations.count > 2)
                continue
            }
        }
    }

    @Test func `A packet that is no IP packet, or claims too much, goes nowhere`() {
        let pair = TunnelPair()
        let packets: [[UInt8]] = [
            [], [0x45], [UInt8](repeating: 0, count: 100), [UInt8](repeating: 0xFF, count: 100),
            Array(ipv4("10.0.0.1", "10.0.0.2").dropLast()), Array(ipv6("::1", "::2").dropLast()),
            Array(ipv6("::1", "::2", payload: 0).dropLast()),
            [0x44] + ipv4("10.0.0.1", "10.0.0.2").dropFirst(),
            [0x45, 0, 0, 19] + ipv4("10.0.0.1", "10.0.0.2").dropFirst(4),
        ]
        for packet in packets {
            #expect(pair.harness.send(pair.a, TunnelPair.blue, packet) == .dropped(.malformedInnerPacket))
        }
        #expect(pair.harness.sent.isEmpty)
    }

    @Test func `A peer that seals what is no IP packet gets nothing through`() {
        let pair = TunnelPair()
        pair.establish()
        let session = pair.a.tunnels.state.pointee.peers[0]!.pointee.keyPairs.current!
        var buffer = PacketBuffer(packetCapacity: 200)
        for packet in [[1, 2, 3], [UInt8](repeating: 0x45, count: 64), [UInt8](repeating: 0x60, count: 64)] {
            _ = buffer.assign(packet)
            #expect(session.pointee.send.seal(&buffer, mtu: 1420))
            #expect(
                pair.harness.deliver(Array(buffer.bytes), to: pair.b, from: pair.a.address)
                    == .dropped(.malformedInnerPacket))
        }
        #expect(pair.b.delivered.count == 1)
    }

    @Test func `20,000 mutated datagrams neither trap, nor deliver, nor end the session`() throws {
        let pair = TunnelPair()
        let corpus = corpus(pair)
        let delivered = pair.b.delivered.count
        let indexes = pair.b.tunnels.state.pointee.indexes.count
        try Fuzz.run(corpus: corpus, seed: 42, iterations: 20_000) { input in
            guard input.count <= 2048, !corpus.contains(input) else { return }
            let outcome = pair.harness.deliver(input, to: pair.b, from: Endpoint("203.0.113.9:9")!)
            guard case .dropped = outcome else {
                // Only an initiation whose unchecked mac2 was changed is one still.
                guard outcome == .handshake, input.count == 148, Array(input[..<132]) == Array(corpus[0][..<132]) else {
                    throw Surprise(outcome: outcome)
                }
                return
            }
        }
        #expect(pair.b.delivered.count == delivered)
        #expect(pair.b.tunnels.state.pointee.indexes.count <= indexes + 1)
        pair.harness.loses = { _ in false }
        pair.harness.run(for: .seconds(10))
        pair.ping()
        pair.harness.run(for: .seconds(10))
        #expect(pair.b.delivered.count > delivered)
    }

    private struct Surprise: Error {
        var outcome: ReceiveOutcome
    }
}

@Suite struct Load {
    private func flood(_ pair: TunnelPair, _ count: Int) -> [[UInt8]] {
        // Initiations of A that never arrived: valid but for their time, which the gate does not look at.
        pair.harness.loses = { _ in true }
        pair.ping()
        let one = pair.harness.sent(.handshakeInitiation).last!.bytes
        pair.harness.run(for: .seconds(6))
        pair.harness.loses = { _ in false }
        return Array(repeating: one, count: count)
    }

    @Test func `Under load a cookie is asked for, and the handshake goes through with it`() {
        let pair = TunnelPair()
        pair.b.tunnels.isUnderLoad = true
        pair.ping()
        pair.harness.run(for: .seconds(1))
        #expect(pair.harness.sent(.cookieReply).count == 1)
        #expect(pair.harness.sent(.handshakeResponse).isEmpty)
        #expect(pair.a.tunnels.counters.cookieRepliesReceived == 1)
        pair.harness.run(for: .seconds(6))
        #expect(pair.b.delivered.count == 1)
        #expect(pair.harness.sent(.handshakeInitiation).last!.bytes.suffix(16).contains { $0 != 0 })
        #expect(pair.b.tunnels.counters[.cookieRequired] == 1)
    }

    @Test func `An initiator under load asks for a cookie for the response too`() {
        let pair = TunnelPair()
        pair.a.tunnels.isUnderLoad = true
        pair.ping()
        pair.harness.run(for: .seconds(1))
        #expect(pair.b.tunnels.counters.cookieRepliesReceived == 1)
        pair.harness.run(for: .seconds(10))
        #expect(pair.b.delivered.count == 1)
    }

    @Test func `A cookie is bound to the source address and port`() {
        let pair = TunnelPair()
        pair.b.tunnels.isUnderLoad = true
        pair.ping()
        pair.harness.run(for: .seconds(1))
        pair.harness.loses = { _ in true }
        pair.harness.run(for: .seconds(5))
        let withCookie = pair.harness.sent(.handshakeInitiation).last!.bytes
        for elsewhere in ["198.51.100.1:51820", "192.0.2.1:51821"] {
            #expect(
                pair.harness.deliver(withCookie, to: pair.b, from: Endpoint(elsewhere)!) == .dropped(.cookieRequired))
        }
        #expect(pair.harness.deliver(withCookie, to: pair.b, from: pair.a.address) == .handshake)
    }

    @Test func `Cookies end after two minutes`() {
        let pair = TunnelPair()
        pair.b.tunnels.isUnderLoad = true
        pair.ping()
        pair.harness.run(for: .seconds(1))
        pair.harness.loses = { _ in true }
        pair.harness.run(for: .seconds(5))
        let withCookie = pair.harness.sent(.handshakeInitiation).last!.bytes
        pair.harness.run(for: .seconds(130))
        #expect(
            pair.harness.deliver(withCookie, to: pair.b, from: pair.a.address) == .dropped(.cookieRequired))
    }

    @Test func `A flood of initiations turns load on by itself, and off again`() {
        var limits = TunnelLimits.default
        limits.handshakesPerSecondBeforeCookies = 20
        let pair = TunnelPair(limits: limits)
        for initiation in flood(pair, 100) {
            pair.harness.deliver(initiation, to: pair.b, from: Endpoint("203.0.113.5:5")!)
        }
        #expect(pair.b.tunnels.counters[.cookieRequired] == 80)
        #expect(pair.b.tunnels.counters.cookieRepliesSent == 80)
        pair.harness.run(for: .seconds(30))
        #expect(pair.b.delivered.count == 1, "A gets through")
        let required = pair.b.tunnels.counters[.cookieRequired]
        pair.harness.run(for: .seconds(130))
        pair.ping()
        pair.harness.run(for: .seconds(5))
        #expect(pair.b.tunnels.counters[.cookieRequired] == required)
    }

    @Test func `A flood without our key costs one hash each and no answer`() {
        let pair = TunnelPair()
        let random = SeededRandom(seed: 6, stream: "flood")
        for _ in 0..<2000 {
            let noise = [1, 0, 0, 0] + random.bytes(144)
            #expect(pair.harness.deliver(noise, to: pair.b, from: Endpoint("203.0.113.5:5")!) == .dropped(.invalidMAC1))
        }
        #expect(pair.harness.sent.isEmpty)
        pair.establish()
    }

    @Test func `Under load a source with a valid cookie gets its share and no more`() {
        var limiter = SourceRateLimiter(maximumSources: 2)
        let (a, b, c) = (IPAddress("192.0.2.1")!, IPAddress("2001:db8::1")!, IPAddress("192.0.2.3")!)
        func admits(_ source: IPAddress, _ milliseconds: Int64) -> Bool {
            limiter.admits(source, .zero + .milliseconds(milliseconds))
        }
        #expect(
            (0..<10).map { _ in admits(a, 0) }
                == [Bool](repeating: true, count: 5) + [Bool](repeating: false, count: 5))
        #expect(admits(b, 0))
        #expect(admits(IPAddress("2001:db8::2")!, 0), "the same /64 shares the bucket")
        #expect(!admits(c, 0), "the table is full")
        #expect(admits(a, 50) && !admits(a, 51))
        #expect(admits(c, 2000), "the table is swept")
    }

    @Test func `Initiations of one peer less than 20 ms apart are refused`() {
        let pair = TunnelPair()
        pair.harness.loses = { _ in true }
        pair.ping()
        pair.harness.run(for: .seconds(12))
        let initiations = pair.harness.sent(.handshakeInitiation).map(\.bytes)
        #expect(pair.harness.deliver(initiations[0], to: pair.b, from: pair.a.address) == .handshake)
        #expect(pair.harness.deliver(initiations[1], to: pair.b, from: pair.a.address) == .dropped(.handshakeFlood))
        pair.harness.run(for: .milliseconds(20))
        #expect(pair.harness.deliver(initiations[1], to: pair.b, from: pair.a.address) == .handshake)
    }

    @Test func `The queue of answers has a limit`() {
        var limits = TunnelLimits.default
        limits.pendingTransmits = 3
        let pair = TunnelPair(limits: limits)
        pair.b.tunnels.isUnderLoad = true
        var buffer = PacketBuffer(packetCapacity: 2048)
        for initiation in flood(pair, 10) {
            _ = buffer.assign(initiation)
            _ = pair.b.tunnels.receive(
                &buffer, from: Endpoint("203.0.113.5:5")!, now: pair.harness.time(pair.b))
        }
        #expect(pair.b.tunnels.counters[.transmitQueueFull] == 7)
    }
}
