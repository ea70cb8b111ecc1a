import FabricCore
import Simulator
import Testing

/// A host of the swarm: listens on port 1 and keeps its own account of every stream.
private final class Member: SimulatedHost {
    let world: World
    var id = HostID(index: 0)
    var open: [StreamID] = []
    /// Tags of the messages received, by the stream's first message (which names the sender's stream).
    var received: [StreamID: [UInt64]] = [:]
    var wrong = 0
    let identity = StreamIdentity(chain: [[1]])

    init(_ world: World) { self.world = world }

    func boot(_ now: Now) {
        world.streams.listen(
            id, port: 1, StreamListener(identity: identity, clientCertificate: .optional, verify: { _, _ in nil }))
    }

    func crashed() { open.removeAll() }

    func handle(_ event: HostEvent, now: Now) {
        guard case .stream(let stream, let what) = event else { return }
        switch what {
        case .opened, .accepted: open.append(stream)
        case .received(let bytes):
            let number = bytes.prefix(8).reduce(0 as UInt64) { $0 << 8 | UInt64($1) }
            // Every stream's messages are numbered from 0 on, in each direction.
            if number != UInt64(received[stream, default: []].count) { wrong += 1 }
            if !open.contains(stream) { wrong += 1 }
            received[stream, default: []].append(number)
        case .writable: break
        case .closed: open.removeAll { $0 == stream }
        }
    }
}

private final class Swarm {
    let world: World
    var members: [Member] = []
    var sent: [StreamID: UInt64] = [:]
    var cuts: [PartitionID] = []
    var refused = 0
    let random: SeededRandom
    var nats: [NATID] = []

    /// With translators, three of the five stand behind one, one of them behind two.
    init(seed: UInt64, translators: Bool = false) {
        world = World(seed: seed, epoch: WallTime(seconds: 1_700_000_000))
        random = world.random("swarm")
        var link = LinkProfile(
            delay: DelayDistribution(.milliseconds(15), jitter: .milliseconds(30)), loss: .percent(8),
            bandwidth: 5_000_000, queueBytes: 30_000)
        link.duplication = .percent(5)
        link.corruption = .percent(2)
        link.reordering = .percent(5)
        for name in ["a", "b"] { _ = world.network.addPlace(name, outer: link) }
        for index in 0..<5 {
            let member = Member(world)
            member.id = world.addHost(member, name: "n\(index)", place: PlaceID(index: index % 2))
            world.start(member.id, at: .zero)
            members.append(member)
        }
        if translators {
            var behaviour = NATBehaviour()
            behaviour.ports = .random
            behaviour.table = 12
            behaviour.tcpLifetime = .seconds(40)
            let outer = world.network.addNAT("outer", behaviour, behind: nil)
            nats = [outer, world.network.addNAT("inner", behaviour, behind: outer)]
            for (member, nat) in [(0, 0), (1, 0), (2, 1)] { world.network.putBehind(nats[nat], members[member].id) }
        }
        _ = world.run(until: .zero)
    }

    func any() -> Member { members[Int(random.below(UInt64(members.count)))] }

    func step() {
        let member = any()
        switch random.below(100) {
        case ..<15:
            guard world.isRunning(member.id) else { return }
            let to = Endpoint(address: world.network.address(of: any().id), port: random.below(10) == 0 ? 2 : 1)
            var options = StreamOptions(identity: member.identity) { _, _ in nil }
            options.connectTimeout = .seconds(20)
            options.userTimeout = .seconds(60)
            _ = world.streams.connect(member.id, to: to, options)
        case ..<75:
            guard !member.open.isEmpty else { return }
            let stream = member.open[Int(random.below(UInt64(member.open.count)))]
            let number = sent[stream, default: 0]
            var bytes = (0..<8).map { UInt8(truncatingIfNeeded: number >> (56 - 8 * UInt64($0))) }
            bytes += [UInt8](repeating: 3, count: Int(random.below(random.below(10) == 0 ? 200_000 : 2000)))
            if world.streams.send(stream, bytes) { sent[stream] = number + 1 } else { refused += 1 }
        case ..<80:
            guard let stream = member.open.first else { return }
            member.open.removeFirst()
            if random.below(2) == 0 { world.streams.close(stream) } else { world.streams.reset(stream) }
        case ..<84:
            guard let stream = member.open.last else { return }
            world.streams.setReading(stream, random.below(3) > 0)
        case ..<87: world.crash(member.id, random.below(2) == 0 ? .process : .power)
        case ..<93: world.start(member.id, at: world.now)
        case ..<95:
            let from: NetworkSelector = random.below(2) == 0 ? .host(member.id) : .place(PlaceID(index: 0))
            cuts.append(
                world.network.cut(Partition(from: from, to: .everything, oneWay: random.below(2) == 0)))
        case ..<96 where !nats.isEmpty:
            world.network.rebind(nats[Int(random.below(2))], newAddress: random.below(2) == 0)
        case ..<99: if let cut = cuts.popLast() { world.network.heal(cut) }
        default: _ = world.network.move(member.id, to: PlaceID(index: Int(random.below(2))))
        }
        _ = world.run(until: world.now + random.jitter(.milliseconds(200)))
    }
}

@Suite struct SwarmTests {
    @Test(
        "whatever happens, streams stay in order, and all ends are gone at last",
        arguments: 1...25 as ClosedRange<UInt64>, [false, true])
    func streams(seed: UInt64, translators: Bool) {
        let swarm = Swarm(seed: seed, translators: translators)
        for _ in 0..<3000 { swarm.step() }
        #expect(swarm.members.map(\.wrong) == [0, 0, 0, 0, 0])
        #expect(swarm.members.contains { $0.received.values.contains { $0.count > 5 } })
        for member in swarm.members {
            for stream in member.open { swarm.world.streams.close(stream) }
            member.open.removeAll()
        }
        _ = swarm.world.run(until: swarm.world.now + .hours(2))
        #expect(swarm.members.map(\.wrong) == [0, 0, 0, 0, 0])
        for member in swarm.members { for stream in member.open { swarm.world.streams.close(stream) } }
        _ = swarm.world.run(until: swarm.world.now + .hours(2))
        #expect(swarm.world.streams.connectionCount == 0)
        #expect(swarm.world.pendingEventCount == 0)
    }

    @Test func `the same swarm twice has the same trace`() {
        func hash(_ seed: UInt64) -> TraceHash {
            let swarm = Swarm(seed: seed)
            for _ in 0..<2000 { swarm.step() }
            return swarm.world.trace.hash
        }
        #expect(hash(1) == hash(1))
        #expect(hash(1) != hash(2))
    }
}
