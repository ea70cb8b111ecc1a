import FabricCore
import Simulator

/// A host that keeps what it is told and does what closures say.
final class ScriptedHost: SimulatedHost {
    enum Seen: Equatable {
        case boot
        case crashed
        case wake
        case datagram(Endpoint, [UInt8])
        case opened(StreamID, [[UInt8]])
        case accepted(StreamID, [[UInt8]])
        case received(StreamID, [UInt8])
        case writable(StreamID)
        case closed(StreamID, StreamClosure)
        case persisted(UInt64, DiskError?)
        case timer(UInt64)
    }

    var seen: [(now: Now, what: Seen)] = []
    /// Of the datagrams.
    var marks: [ECN] = []
    var onBoot: (Now) -> Void = { _ in }
    var onEvent: (Seen, Now) -> Void = { _, _ in }

    var what: [Seen] { seen.map(\.what) }
    var datagrams: [[UInt8]] {
        what.compactMap { if case .datagram(_, let bytes) = $0 { bytes } else { nil } }
    }
    var messages: [[UInt8]] {
        what.compactMap { if case .received(_, let bytes) = $0 { bytes } else { nil } }
    }
    var closures: [StreamClosure] {
        what.compactMap { if case .closed(_, let closure) = $0 { closure } else { nil } }
    }

    func boot(_ now: Now) {
        seen.append((now, .boot))
        onBoot(now)
    }

    func crashed() { seen.append((Now(monotonic: .zero, wall: WallTime(seconds: 0)), .crashed)) }

    func handle(_ event: HostEvent, now: Now) {
        if case .datagram(_, _, _, let ecn) = event { marks.append(ecn) }
        let what: Seen =
            switch event {
            case .wake: .wake
            case .datagram(let source, _, let bytes, _): .datagram(source, Array(bytes))
            case .stream(let stream, .opened(let peer)): .opened(stream, peer)
            case .stream(let stream, .accepted(_, _, let peer)): .accepted(stream, peer)
            case .stream(let stream, .received(let bytes)): .received(stream, bytes)
            case .stream(let stream, .writable): .writable(stream)
            case .stream(let stream, .closed(let closure)): .closed(stream, closure)
            case .persisted(let operation, let failure): .persisted(operation, failure)
            case .timer(let token): .timer(token)
            }
        seen.append((now, what))
        onEvent(what, now)
    }
}

/// Two places with one host each, both running from time zero.
struct Pair {
    let world: World
    let places: [PlaceID]
    let hosts: [ScriptedHost]
    let ids: [HostID]
    let ends: [Endpoint]

    init(seed: UInt64 = 1, recording: Trace.Recording = Trace.Recording(), _ link: LinkProfile = .wide) {
        let world = World(seed: seed, epoch: WallTime(seconds: 1_800_000_000), recording: recording)
        let places = [world.network.addPlace("a"), world.network.addPlace("b")]
        world.network.setLink(between: places[0], and: places[1], link)
        let hosts = [ScriptedHost(), ScriptedHost()]
        let ids = [
            world.addHost(hosts[0], name: "one", place: places[0]),
            world.addHost(hosts[1], name: "two", place: places[1]),
        ]
        ends = ids.map { Endpoint(address: world.network.address(of: $0), port: 7000) }
        for id in ids { world.start(id, at: .zero) }
        _ = world.run(until: .zero)
        self.world = world
        self.places = places
        self.hosts = hosts
        self.ids = ids
    }

    func send(_ bytes: [UInt8], back: Bool = false) {
        world.send(from: ids[back ? 1 : 0], source: ends[back ? 1 : 0], destination: ends[back ? 0 : 1], bytes)
    }

    func run(_ duration: Duration) { _ = world.run(until: world.now + duration) }
}

func milliseconds(_ n: Int64) -> LinkProfile { LinkProfile(delay: DelayDistribution(.milliseconds(n))) }
