import FabricCore
import FabricCrypto
import Testing

@testable import FabricTunnel

/// Both sides begin a handshake at once.
@Suite struct Crossing {
    /// Both send every 40 ms and begin a handshake after a second. Returns what arrived at A and B, and was expected to.
    /// `loses` is asked for the datagrams from then on, by number.
    private func cross(
        _ pair: TunnelPair, loses: @escaping (Int) -> Bool = { _ in false },
        latency: () -> Duration = { .milliseconds(100) }
    ) -> (delivered: [Int], expected: [Int]) {
        let harness = pair.harness
        var lost = ["10.0.0.1": 0, "10.0.0.2": 0]
        harness.latency = .milliseconds(100)
        pair.establish()
        let before = [pair.a.delivered.count, pair.b.delivered.count]
        var number = 0
        var begun = false
        harness.loses = { datagram in
            guard begun else { return false }
            number += 1
            guard loses(number - 1) else { return false }
            // With data in it.
            if datagram.bytes[0] == 4, datagram.bytes.count > 32 {
                lost[datagram.from == pair.a.address ? "10.0.0.1" : "10.0.0.2"]! += 1
            }
            return true
        }
        for turn in 0..<175 {
            harness.latency = latency()
            if turn == 25 {
                begun = true
                pair.a.tunnels.startHandshake(pair.peerB, now: harness.time(pair.a))
                pair.b.tunnels.startHandshake(pair.peerA, now: harness.time(pair.b))
                harness.drain(pair.a)
                harness.drain(pair.b)
            }
            pair.ping()
            pair.pong()
            harness.run(for: .milliseconds(40))
        }
        harness.run(for: .seconds(1))
        return (
            [pair.a.delivered.count - before[0], pair.b.delivered.count - before[1]],
            [175 - lost["10.0.0.2"]!, 175 - lost["10.0.0.1"]!]
        )
    }

    @Test func `No packet is lost, whichever one datagram is`() {
        for number in 0..<40 {
            let (delivered, expected) = cross(TunnelPair(), loses: { $0 == number })
            #expect(delivered == expected, "datagram \(number)")
        }
    }

    @Test func `No packet is lost when none of the handshake's datagrams arrive at first`() {
        let (delivered, expected) = cross(TunnelPair(), loses: { (0..<12).contains($0) })
        #expect(delivered == expected)
    }

    @Test func `No packet is lost on a line that changes their order`() {
        for seed in 0..<20 {
            let random = SeededRandom(seed: UInt64(seed), stream: "latency")
            let (delivered, expected) = cross(
                TunnelPair(), latency: { .milliseconds(60) + random.jitter(.milliseconds(80)) })
            #expect(delivered == expected, "seed \(seed)")
        }
    }

    @Test func `The two sides settle on one session, whose initiator alone renews the keys`() {
        let pair = TunnelPair()
        pair.ping()
        pair.pong()
        pair.harness.run(for: .seconds(1))
        #expect(pair.harness.sent(.handshakeInitiation).count == 2)
        let before = pair.harness.sent.count
        pair.chat(seconds: 600)
        let renewals = pair.harness.sent[before...].filter { $0.bytes[0] == 1 }
        #expect(renewals.count == 4)
        let keys = [pair.a, pair.b].map { $0.tunnels.publicKey(of: TunnelPair.blue)! }
        let prevailing = keys[0].lexicographicallyPrecedes(keys[1]) ? pair.a : pair.b
        #expect(renewals.allSatisfy { $0.from == prevailing.address })
        #expect(pair.a.delivered.count == 601 && pair.b.delivered.count == 601)
    }

    /// As other implementations do, the peer stays with its own session, and each side sends under another.
    @Test func `What a peer sends under another session is taken until it has a new one`() {
        let random = SeededRandom(seed: 3, stream: "pairs")
        let cryptography = SystemCryptography()
        func session(_ isInitiator: Bool, at seconds: Int64) -> KeyPairPointer {
            let keyPair = KeyPairPointer.allocate(capacity: 1)
            keyPair.initialize(
                to: KeyPair(
                    Handshake.Session(
                        localIndex: 1, remoteIndex: 2, sendKey: random.bytes(32), receiveKey: random.bytes(32)),
                    peerSlot: 0, isInitiator: isInitiator, now: Instant(nanoseconds: seconds), limits: .default,
                    cryptography))
            return keyPair
        }
        let (old, ours, theirs, new) = (
            session(true, at: 0), session(true, at: 12), session(false, at: 11), session(false, at: 20)
        )
        defer {
            for keyPair in [old, ours, theirs, new] {
                keyPair.deinitialize(count: 1)
                keyPair.deallocate()
            }
        }
        var pairs = KeyPairs()
        _ = pairs.addInitiated(old, initiatedAt: Instant(nanoseconds: 0), peerPrevails: false)
        #expect(pairs.addResponded(theirs) == nil)
        #expect(pairs.addInitiated(ours, initiatedAt: Instant(nanoseconds: 10), peerPrevails: false).isCurrent)
        #expect(pairs.isUnconfirmed(theirs) && pairs.previous == old)
        #expect(!pairs.confirmNext().isCurrent && pairs.current == ours && !pairs.isUnconfirmed(theirs))
        let over = pairs.addResponded(new)
        #expect(over == old && pairs.previous == theirs && pairs.current == ours && pairs.isUnconfirmed(new))
        let confirmed = pairs.confirmNext()
        #expect(confirmed.isCurrent && confirmed.over == theirs && pairs.previous == ours && pairs.current == new)
    }
}
