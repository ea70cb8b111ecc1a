internal import FabricCore
internal import FabricNode
internal import FabricScenario
internal import FabricTunnel

/// Somebody on the path, on a host of his own in the first place. He records datagrams where they leave their sender and
/// sends them again, from his address or with a forged one, as they were or damaged; and he floods nodes.
/// What is sent to him he throws away. He knows public keys, and no others.
final class Attacker: SimulatedHost {
    /// No node can have it.
    static let name = "(attacker)"
    /// Datagrams that wait to be sent again; one more is not recorded.
    static let heldDatagrams = 100_000

    /// Of the noise that he makes.
    static let longestGarbage = 200

    private struct Held {
        var source: Endpoint
        var destination: Endpoint
        var bytes: [UInt8]
    }

    private final class Replay {
        let plan: PlannedReplay
        let end: Instant
        let from: Set<Int>
        let to: Set<Int>
        let random: SeededRandom

        init(_ plan: PlannedReplay, end: Instant, from: Set<Int>, to: Set<Int>, random: SeededRandom) {
            self.plan = plan
            self.end = end
            self.from = from
            self.to = to
            self.random = random
        }
    }

    private struct Flood {
        var plan: PlannedFlood
        var end: Instant
        var target: AgentActor
        var random: SeededRandom
        /// Its tunnel key in the first domain, once it has shown one.
        var publicKey: [UInt8]?
    }

    private let world: World
    private let services: ActorServices
    private(set) var host: HostID!
    private var replays: [Replay] = []
    private var floods: [Flood] = []
    /// By timer token; looked up by key only.
    private var held: [UInt64: Held] = [:]
    private var nextToken: UInt64 = 0
    /// Datagrams that he has sent a second time.
    private(set) var replayed: UInt64 = 0
    /// Tokens of floods carry this bit.
    private static let floodFlag: UInt64 = 1 << 62

    init(world: World, services: ActorServices) {
        self.world = world
        self.services = services
    }

    func attach(_ host: HostID) { self.host = host }

    private var ownEndpoint: Endpoint {
        Endpoint(address: world.network.address(of: host), port: AgentActor.tunnelPort)
    }

    // MARK: Steps

    func replay(_ plan: PlannedReplay, from: [HostID], to: [HostID]) {
        let random = SeededRandom(seed: world.seed, stream: "attacker/replay/\(replays.count)")
        replays.append(
            Replay(
                plan, end: world.now + plan.duration, from: Set(from.map(\.index)), to: Set(to.map(\.index)),
                random: random))
        guard world.network.eavesdropper == nil else { return }
        world.network.eavesdropper = { [unowned self] sender, source, destination, bytes in
            record(sender, source, destination, bytes)
        }
    }

    func flood(_ plan: PlannedFlood, _ target: AgentActor) {
        let random = SeededRandom(seed: world.seed, stream: "attacker/flood/\(floods.count)")
        floods.append(Flood(plan: plan, end: world.now + plan.duration, target: target, random: random))
        world.setTimer(host, after: .zero, token: UInt64(floods.count - 1) | Self.floodFlag)
    }

    // MARK: Replays

    private func record(
        _ sender: Int, _ source: Endpoint, _ destination: Endpoint, _ bytes: UnsafeRawBufferPointer
    ) {
        guard sender != host.index, let receiver = world.network.receiver(.udp, at: destination) else { return }
        for replay in replays where world.now < replay.end {
            guard replay.from.contains(sender), replay.to.contains(receiver), replay.plan.what.covers(bytes),
                Probability(replay.plan.share).draw(replay.random), held.count < Self.heldDatagrams
            else { continue }
            var copy = Array(bytes)
            for _ in 0..<(copy.isEmpty ? 0 : replay.plan.flippedBits) {
                let bit = Int(replay.random.below(UInt64(copy.count) * 8))
                copy[bit / 8] ^= 1 << UInt8(bit % 8)
            }
            let token = nextToken
            nextToken += 1
            held[token] = Held(
                source: replay.plan.source == .forged ? source : ownEndpoint, destination: destination, bytes: copy)
            world.setTimer(host, after: replay.plan.after, token: token)
        }
    }

    // MARK: Floods

    /// The next message of a flood.
    private func floodOn(_ index: Int) {
        guard world.now < floods[index].end else { return }
        world.setTimer(host, after: floods[index].plan.interval, token: UInt64(index) | Self.floodFlag)
        let random = floods[index].random
        let made: [UInt8]? =
            switch floods[index].plan.what {
            case .handshakes: initiation(index)
            case .garbage: garbage(random)
            }
        guard let message = made else { return }
        let source: Endpoint =
            switch floods[index].plan.source {
            case .own: ownEndpoint
            // RFC 5737's addresses for documentation: nobody has them.
            case .forged:
                Endpoint(
                    address: IPAddress(v4: 203 << 24 | 113 << 8 | UInt32(random.below(254) + 1)),
                    port: UInt16(random.below(60_000) + 1024))
            }
        send(Held(source: source, destination: floods[index].target.endpoint, bytes: message))
    }

    /// Whoever knows the public key can make its mac1, and the rest is noise. Nil while he does not know it.
    private func initiation(_ index: Int) -> [UInt8]? {
        if floods[index].publicKey == nil {
            floods[index].publicKey = floods[index].target.agent?.tunnelPublicKeys.first?.key
        }
        guard let key = floods[index].publicKey else { return nil }
        let body = [1, 0, 0, 0] + floods[index].random.bytes(HandshakeOnce.mac1Offset - 4)
        var message = body
        let macKey = services.cryptography.blake2s(Array("mac1----".utf8) + key)
        message += services.cryptography.blake2sMAC(key: macKey, body)
        return message + [UInt8](repeating: 0, count: HandshakeOnce.initiationLength - message.count)
    }

    /// A packet of a session that there is not, or noise.
    private func garbage(_ random: SeededRandom) -> [UInt8] {
        let bytes = random.bytes(Int(random.below(UInt64(Self.longestGarbage))) + 1)
        return random.below(2) == 0 ? bytes : [4, 0, 0, 0] + bytes
    }

    private func send(_ datagram: Held) {
        datagram.bytes.withUnsafeBytes {
            world.network.send(
                from: host.index, source: datagram.source, destination: datagram.destination, bytes: $0, isForger: true)
        }
    }

    // MARK: SimulatedHost

    func boot(_ now: Now) {}
    func crashed() {}

    func handle(_ event: HostEvent, now: Now) {
        guard case .timer(let token) = event else { return }
        if token & Self.floodFlag != 0 { return floodOn(Int(token & ~Self.floodFlag)) }
        guard let datagram = held.removeValue(forKey: token) else { return }
        replayed += 1
        send(datagram)
    }
}

extension ReplayedMessages {
    /// By the first byte: 1 to 3 belong to handshakes, 4 is data.
    func covers(_ datagram: UnsafeRawBufferPointer) -> Bool {
        switch self {
        case .any: true
        case .handshakes: datagram.first.map { $0 < 4 } ?? false
        case .data: datagram.first == 4
        }
    }
}
