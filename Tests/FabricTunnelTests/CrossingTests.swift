import FabricCore
import FabricCrypto
import Testing

@testable import FabricTunnel

/// Both sides begin a handshake at once, or nearly so.
@Suite struct Crossing {
    /// A line between two nodes that send each other packets every 40 ms, over a session of theirs. After a second both
    /// begin a handshake.
    private final class Line {
        let pair = TunnelPair()
        /// A's and B's.
        private(set) var sent = [0, 0]
        private(set) var lost = [0, 0]
        var delivered: [Int] { [pair.a.delivered.count, pair.b.delivered.count - before] }
        /// Whether the datagram with this number, counted from the first initiation, is lost.
        var loses: (Int) -> Bool = { _ in false }
        private var number: Int?
        private var before = 0

        init() {
            pair.establish()
            // A side sends no two handshake messages within 5 s.
            pair.harness.run(for: .seconds(5))
            before = pair.b.delivered.count
            pair.harness.loses = { [unowned self] datagram in
                guard let number else { return false }
                self.number = number + 1
                guard loses(number) else { return false }
                if datagram.bytes[0] == 4, datagram.bytes.count > 32 {
                    lost[datagram.from == pair.a.address ? 0 : 1] += 1
                }
                return true
            }
        }

        private func begin(_ node: TunnelHarness.Node, _ peer: PeerHandle) {
            number = number ?? 0
            node.tunnels.startHandshake(peer, repeats: true, now: pair.harness.time(node))
            pair.harness.drain(node)
        }

        /// B begins so many milliseconds after A. Returns what came late or never, at A and at B.
        func run(turns: Int = 175, offset: Int = 0, latency: @escaping () -> Duration) -> [Int] {
            let harness = pair.harness
            harness.latencies = latency
            let events: [(at: Int, run: () -> Void)] =
                (0..<turns).flatMap { turn in
                    [
                        (
                            turn * 40,
                            { [self] in
                                sent[0] += 1
                                pair.ping()
                            }
                        ),
                        (
                            turn * 40,
                            { [self] in
                                sent[1] += 1
                                pair.pong()
                            }
                        ),
                    ]
                } + [
                    (1000 + max(0, -offset), { [self] in begin(pair.a, pair.peerB) }),
                    (1000 + max(0, offset), { [self] in begin(pair.b, pair.peerA) }),
                ]
            var time = 0
            for event in events.sorted(by: { $0.at < $1.at }) {
                harness.run(for: .milliseconds(event.at - time))
                time = event.at
                event.run()
            }
            harness.run(for: .seconds(1))
            return [sent[1] - lost[1] - delivered[0], sent[0] - lost[0] - delivered[1]]
        }

        /// Of the sessions under which A and B send: the other side's indexes, and who initiated them.
        var currents: [(remote: UInt32, isInitiator: Bool)] {
            [(pair.a, pair.peerB), (pair.b, pair.peerA)].map { node, peer in
                let keyPair = node.tunnels.keyPairs(of: peer).current!
                return (keyPair.pointee.send.receiverIndex, keyPair.pointee.isInitiator)
            }
        }
        /// The indexes under which A and B take packets.
        var held: [[UInt32]] {
            [(pair.a, pair.peerB), (pair.b, pair.peerA)].map { node, peer in
                let pairs = node.tunnels.keyPairs(of: peer)
                return [pairs.previous, pairs.current, pairs.next].compactMap { $0?.pointee.localIndex }
            }
        }
    }

    private static func steady() -> Duration { .milliseconds(100) }

    @Test func `One session comes of it, by one of the two initiations, and no packet is lost`() {
        for offset in [-99, -10, 0, 10, 99] {
            let line = Line()
            #expect(line.run(offset: offset, latency: Self.steady) == [0, 0])
            let harness = line.pair.harness
            #expect(harness.sent(.handshakeInitiation).count == 3 && harness.sent(.handshakeResponse).count == 2)
            #expect(line.currents.count { $0.isInitiator } == 1)
        }
    }

    @Test func `No packet is lost, whichever one datagram is`() {
        for number in 0..<40 {
            let line = Line()
            line.loses = { $0 == number }
            #expect(line.run(latency: Self.steady) == [0, 0], "datagram \(number)")
        }
    }

    @Test func `No packet is lost when none of the handshake's datagrams arrive at first`() {
        let line = Line()
        line.loses = { (0..<12).contains($0) }
        #expect(line.run(latency: Self.steady) == [0, 0])
    }

    /// Trips of up to 800 ms there and back are shorter than the patience of who goes first; up to 4 s are longer.
    @Test(arguments: [(20, 400), (100, 2000)])
    func `On a line that loses datagrams and changes their order, each side takes what the other sends, and one renews`(
        least: Int, most: Int
    ) {
        for seed in 0..<12 {
            let random = SeededRandom(seed: UInt64(seed), stream: "line")
            let offset = Int(random.below(UInt64(4 * most))) - 2 * most
            let line = Line()
            if seed % 3 == 0 { line.loses = { $0 < 200 && random.below(5) == 0 } }
            _ = line.run(turns: 450, offset: offset) {
                .milliseconds(least) + random.jitter(.milliseconds(most - least))
            }
            line.pair.harness.latencies = nil
            line.pair.harness.run(for: .seconds(10))
            let (currents, held) = (line.currents, line.held)
            #expect(held[1].contains(currents[0].remote), "seed \(seed): B does not take what A sends")
            #expect(held[0].contains(currents[1].remote), "seed \(seed): A does not take what B sends")
            #expect(currents.contains { $0.isInitiator }, "seed \(seed): none of them renews")
            let before = line.delivered
            line.pair.chat(seconds: 400)
            #expect(line.delivered == before.map { $0 + 400 }, "seed \(seed)")
            #expect(line.held.allSatisfy { $0.count <= 2 }, "seed \(seed): old sessions stay")
            let indexes = [line.pair.a, line.pair.b].map { $0.tunnels.state.pointee.indexes.count }
            #expect(indexes == line.held.map(\.count), "seed \(seed): indexes stay")
        }
    }

    @Test func `From then on one side renews`() {
        let pair = TunnelPair()
        pair.ping()
        pair.pong()
        pair.harness.run(for: .seconds(1))
        let sent = pair.harness.sent
        #expect(sent.map { $0.bytes[0] }.filter { $0 < 3 } == [1, 1, 2])
        pair.chat(seconds: 600)
        let renewals = pair.harness.sent[sent.count...].filter { $0.bytes[0] == 1 }
        #expect(renewals.count == 4 && Set(renewals.map(\.from.description)).count == 1)
        #expect(pair.a.delivered.count == 601 && pair.b.delivered.count == 601)
    }

    @Test func `Who goes first answers the other after a second, if its own initiation came to nothing`() throws {
        let pair = TunnelPair()
        let first = TunnelPair.first(pair)
        let isFirst = { (endpoint: Endpoint) in endpoint == first.address }
        // Its initiations never arrive, as when the other's address is not the one it knows.
        pair.harness.loses = { $0.bytes[0] == 1 && isFirst($0.from) }
        pair.ping()
        pair.pong()
        pair.harness.run(for: .milliseconds(990))
        #expect(pair.harness.sent(.handshakeResponse).isEmpty)
        pair.harness.run(for: .milliseconds(100))
        #expect(pair.harness.sent(.handshakeResponse).map { isFirst($0.from) } == [true])
        #expect(pair.a.delivered.count == 1 && pair.b.delivered.count == 1)
        // One that comes when ours is older than that is answered at once.
        let other = TunnelPair()
        other.harness.loses = { $0.bytes[0] == 1 && isFirst($0.from) }
        if first === pair.a { other.ping() } else { other.pong() }
        other.harness.run(for: .milliseconds(1500))
        if first === pair.a { other.pong() } else { other.ping() }
        other.harness.run(for: .milliseconds(60))
        #expect(other.harness.sent(.handshakeResponse).count == 1)
    }

    @Test func `A response that comes after the other's session is in use brings none`() throws {
        let pair = TunnelPair()
        var withheld: [TunnelHarness.Datagram] = []
        let first = TunnelPair.first(pair)
        // Its own initiation is answered, but it hears of that much later.
        pair.harness.loses = { datagram in
            guard datagram.bytes[0] == 2, datagram.from != first.address else { return false }
            withheld.append(datagram)
            return true
        }
        pair.ping()
        pair.pong()
        pair.harness.run(for: .seconds(2))
        #expect(withheld.count == 1 && pair.a.delivered.count == 1 && pair.b.delivered.count == 1)
        for node in [pair.a, pair.b] { #expect(node.tunnels.state.pointee.indexes.count <= 2) }
        pair.harness.run(for: .seconds(3))
        let outcome = pair.harness.deliver(withheld[0].bytes, to: first, from: withheld[0].from)
        #expect(outcome == .dropped(.unknownReceiverIndex))
        pair.chat(seconds: 5)
        #expect(pair.a.delivered.count == 6 && pair.b.delivered.count == 6)
    }

    @Test func `An answer that is lost is made up for five seconds later`() {
        let pair = TunnelPair()
        let first = TunnelPair.first(pair)
        pair.harness.loses = { $0.bytes[0] == 2 || $0.bytes[0] == 1 && $0.from == first.address }
        pair.ping()
        pair.pong()
        pair.harness.run(for: .milliseconds(1100))
        #expect(pair.harness.sent(.handshakeResponse).count == 1)
        // Who is not to go first is gone.
        let begin = pair.harness.now
        pair.harness.loses = { _ in true }
        pair.harness.run(for: .seconds(6))
        let times = pair.harness.sent(.handshakeInitiation).filter { $0.from == first.address }.map {
            $0.arrivesAt - begin
        }
        #expect(times.count == 2 && times[1] >= .milliseconds(4900) && times[1] < .milliseconds(5400))
    }

    @Test func `What comes from elsewhere than our own initiation went is answered at once`() {
        let pair = TunnelPair()
        let first = TunnelPair.first(pair)
        let other = first === pair.a ? pair.b : pair.a
        // As behind a translator of addresses: what is sent to the address that is known never arrives.
        other.address = Endpoint("192.0.2.77:4000")!
        pair.ping()
        pair.pong()
        pair.harness.run(for: .milliseconds(90))
        #expect(pair.harness.sent(.handshakeResponse).map(\.from) == [first.address])
        #expect(pair.a.delivered.count == 1 && pair.b.delivered.count == 1)
    }

    /// As some implementations do, the peer stays with its own session: each side sends under another.
    @Test func `What a peer sends under another session is taken until it has a new one`() {
        let random = SeededRandom(seed: 3, stream: "pairs")
        func session(_ isInitiator: Bool, at seconds: Int) -> KeyPairPointer {
            let keyPair = KeyPairPointer.allocate(capacity: 1)
            keyPair.initialize(
                to: KeyPair(
                    Handshake.Session(
                        localIndex: 1, remoteIndex: 2, sendKey: random.bytes(32), receiveKey: random.bytes(32)),
                    peerSlot: 0, isInitiator: isInitiator, now: time(seconds), limits: .default, SystemCryptography()))
            return keyPair
        }
        func time(_ seconds: Int) -> Instant { .zero + .seconds(seconds) }
        let (old, theirs, ours, new) = (
            session(true, at: 0), session(false, at: 11), session(true, at: 12), session(false, at: 131)
        )
        defer {
            for keyPair in [old, ours, theirs, new] {
                keyPair.deinitialize(count: 1)
                keyPair.deallocate()
            }
        }
        var pairs = KeyPairs()
        #expect(pairs.addInitiated(old, now: time(0)) == (nil, nil))
        #expect(pairs.addResponded(theirs, now: time(11)) == (nil, nil))
        #expect(pairs.addInitiated(ours, now: time(12)) == (nil, nil))
        #expect(pairs.previous == old && pairs.current == ours && pairs.next == theirs)
        var confirmed = pairs.confirmNext()
        #expect(confirmed.over == old && !confirmed.isCurrent && pairs.previous == theirs && pairs.current == ours)
        #expect(pairs.addResponded(new, now: time(131)) == (nil, nil))
        #expect(pairs.previous == theirs && pairs.current == ours && pairs.next == new)
        confirmed = pairs.confirmNext()
        #expect(confirmed.over == theirs && confirmed.isCurrent && pairs.previous == ours && pairs.current == new)
    }
}
