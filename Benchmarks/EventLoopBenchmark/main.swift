// How many events a second the simulator's loop handles, without cryptography or agents. One line per case:
//
//     deadlines     10,000 hosts that wake themselves: queue, clock, trace, dispatch
//     datagrams     10,000 hosts that pass 200-byte datagrams on: the same, with link faults, payload pool and digest
//     streams       2,000 connections that echo 2,000-byte messages
//
// Run it with `scripts/bench EventLoopBenchmark`. The trace hashes are the same in every run and build; the exit status
// is 1 when a case stays below 300,000 events a second.
import FabricCore
import Glibc
import Simulator

final class Waker: SimulatedHost {
    let world: World
    var id = HostID(index: 0)
    init(_ world: World) { self.world = world }
    func boot(_ now: Now) { wake(now) }
    func crashed() {}
    func handle(_ event: HostEvent, now: Now) { wake(now) }
    private func wake(_ now: Now) {
        world.setDeadline(id, now.monotonic + .nanoseconds(1_000_000 + Int64(id.index) * 37))
    }
}

final class Passer: SimulatedHost {
    let world: World
    var id = HostID(index: 0)
    var next = Endpoint(address: IPAddress(v4: 0), port: 0)
    let payload: [UInt8]
    let source = Endpoint(address: IPAddress(v4: 0), port: 9)
    init(_ world: World, payloadBytes: Int) {
        self.world = world
        payload = [UInt8](repeating: 7, count: payloadBytes)
    }
    func boot(_ now: Now) { world.send(from: id, source: source, destination: next, payload) }
    func crashed() {}
    func handle(_ event: HostEvent, now: Now) {
        if case .datagram(_, _, let bytes, _) = event {
            world.send(from: id, source: source, destination: next, bytes: bytes)
        }
    }
}

final class Echo: SimulatedHost {
    let world: World
    var id = HostID(index: 0)
    var server: Endpoint?
    init(_ world: World) { self.world = world }
    func boot(_ now: Now) {
        let accept: StreamVerifier = { _, _ in nil }
        let identity = StreamIdentity(chain: [[UInt8](repeating: 1, count: 500)])
        if let server {
            _ = world.streams.connect(id, to: server, StreamOptions(identity: identity, verify: accept))
        } else {
            world.streams.listen(
                id, port: 443, StreamListener(identity: identity, clientCertificate: .required, verify: accept))
        }
    }
    func crashed() {}
    func handle(_ event: HostEvent, now: Now) {
        guard case .stream(let stream, let what) = event else { return }
        switch what {
        case .opened: _ = world.streams.send(stream, [UInt8](repeating: 5, count: 2000))
        case .received(let bytes): _ = world.streams.send(stream, bytes)
        default: break
        }
    }
}

let goal: Int64 = 300_000
var slow = false

/// CPU time, so that other load on the machine counts less.
func processNanoseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}

@MainActor
func measure(_ name: String, _ world: World, _ duration: Duration) {
    _ = world.run(until: world.now + .seconds(1))
    let before = world.eventCount
    let start = processNanoseconds()
    _ = world.run(until: world.now + duration)
    let spent = processNanoseconds() - start
    let events = world.eventCount - before
    let milliseconds = max(1, spent / 1_000_000)
    let rate = Int64(events) * 1000 / milliseconds
    if rate < goal { slow = true }
    print(
        "\(name): \(events) events in \(milliseconds) ms of CPU, \(rate) events/s,",
        "virtual \(duration), trace \(world.trace.hash)")
}

let hosts = 10_000

let deadlines = World(seed: 1, epoch: WallTime(seconds: 0))
let place = deadlines.network.addPlace("p")
for index in 0..<hosts {
    let host = Waker(deadlines)
    host.id = deadlines.addHost(host, name: "n\(index)", place: place)
    deadlines.start(host.id, at: .zero)
}
measure("deadlines", deadlines, .milliseconds(500))

for bytes in [200, 1400] {
    let datagrams = World(seed: 1, epoch: WallTime(seconds: 0))
    let link = LinkProfile(delay: DelayDistribution(.milliseconds(20), jitter: .milliseconds(5)))
    let places = (0..<5).map { datagrams.network.addPlace("p\($0)", inner: link, outer: link) }
    let passers = (0..<hosts).map { index in
        let host = Passer(datagrams, payloadBytes: bytes)
        host.id = datagrams.addHost(host, name: "n\(index)", place: places[index % 5])
        return host
    }
    for (index, host) in passers.enumerated() {
        let next = passers[(index * 7 + 1) % hosts].id
        host.next = Endpoint(address: datagrams.network.address(of: next), port: 9)
        datagrams.start(host.id, at: .zero)
    }
    measure("datagrams of \(bytes) bytes", datagrams, .seconds(5))
}

let streams = World(seed: 1, epoch: WallTime(seconds: 0))
let near = streams.network.addPlace("near")
let far = streams.network.addPlace("far")
let server = Echo(streams)
server.id = streams.addHost(server, name: "server", place: near)
streams.start(server.id, at: .zero)
for index in 0..<2000 {
    let client = Echo(streams)
    client.id = streams.addHost(client, name: "c\(index)", place: far)
    client.server = Endpoint(address: streams.network.address(of: server.id), port: 443)
    streams.start(client.id, at: .zero)
}
measure("streams", streams, .seconds(10))

if slow {
    print("below \(goal) events/s")
    exit(1)
}
