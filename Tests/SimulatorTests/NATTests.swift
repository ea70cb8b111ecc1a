import FabricCore
import Simulator
import Testing

/// A host behind a translator, and two public ones that know what comes to them.
private final class Home {
    let world: World
    let network: VirtualNetwork
    let home: PlaceID
    let far: PlaceID
    private(set) var hosts: [String: (host: ScriptedHost, id: HostID)] = [:]
    private(set) var nat: NATID!

    init(seed: UInt64 = 1, delay: Duration = .milliseconds(10)) {
        world = World(seed: seed, epoch: WallTime(seconds: 1_800_000_000))
        network = world.network
        let link = LinkProfile(delay: DelayDistribution(delay))
        home = network.addPlace("home", inner: link, outer: link)
        far = network.addPlace("far", inner: link, outer: link)
    }

    /// X behind a translator that behaves so; Y and Z are public.
    convenience init(_ behaviour: NATBehaviour, seed: UInt64 = 1) {
        self.init(seed: seed)
        nat = network.addNAT("nat", behaviour, behind: nil)
        for name in ["x", "y", "z"] { add(name, behind: name == "x" ? nat : nil) }
        run(.zero)
    }

    func add(_ name: String, behind nat: NATID?) {
        let host = ScriptedHost()
        let id = world.addHost(host, name: name, place: nat == nil ? far : home)
        if let nat { network.putBehind(nat, id) }
        world.start(id, at: world.now)
        hosts[name] = (host, id)
    }

    func run(_ duration: Duration) { _ = world.run(until: world.now + duration) }
    func id(_ name: String) -> HostID { hosts[name]!.id }
    func end(_ name: String, _ port: UInt16) -> Endpoint {
        Endpoint(address: network.address(of: id(name)), port: port)
    }

    /// Sends a datagram and lets it arrive.
    func send(_ from: String, _ port: UInt16, to: Endpoint, _ tag: UInt8 = 0, wait: Bool = true) {
        world.send(from: id(from), source: end(from, port), destination: to, [tag])
        if wait { run(.milliseconds(20)) }
    }

    /// The sources of what a host received, in order.
    func sources(_ name: String) -> [Endpoint] {
        hosts[name]!.host.what.compactMap { if case .datagram(let source, _) = $0 { source } else { nil } }
    }
    func tags(_ name: String) -> [UInt8] { hosts[name]!.host.datagrams.map { $0[0] } }
}

private func behaviour(_ change: (inout NATBehaviour) -> Void) -> NATBehaviour {
    var behaviour = NATBehaviour()
    change(&behaviour)
    return behaviour
}

private typealias Dependence = NATBehaviour.Dependence

@Suite struct NATTests {
    // MARK: Mapping and filtering

    /// Every mapping with every filtering: RFC 4787 keeps the two apart.
    static let combinations = NATBehaviour.Dependence.allCases.flatMap { mapping in
        NATBehaviour.Dependence.allCases.map { filtering in
            behaviour { behaviour in
                behaviour.mapping = mapping
                behaviour.filtering = filtering
                behaviour.ports = .contiguous
            }
        }
    }

    @Test("a mapping is reused as RFC 4787 section 4.1 says", arguments: combinations)
    func mapping(behaviour: NATBehaviour) {
        let home = Home(behaviour)
        home.send("x", 7000, to: home.end("y", 1))
        home.send("x", 7000, to: home.end("y", 2))
        home.send("x", 7000, to: home.end("z", 1))
        home.send("x", 7000, to: home.end("y", 1))
        home.send("x", 7001, to: home.end("y", 1))
        let seen = home.sources("y") + home.sources("z")
        #expect(seen.allSatisfy { $0.address == home.network.natAddress(home.nat) })
        // In the order of arrival: y:1, y:2, y:1 again, y:1 from another inner port, z:1.
        let ports = seen.map { $0.port - 1024 }
        switch behaviour.mapping {
        case .endpointIndependent: #expect(ports == [0, 0, 0, 1, 0])
        case .addressDependent: #expect(ports == [0, 0, 0, 2, 1])
        case .addressAndPortDependent: #expect(ports == [0, 1, 0, 3, 2])
        }
    }

    @Test("packets come in as RFC 4787 section 5 says", arguments: combinations)
    func filtering(behaviour: NATBehaviour) {
        let home = Home(behaviour)
        home.send("x", 7000, to: home.end("y", 1))
        let outer = home.sources("y")[0]
        home.send("y", 1, to: outer, 1)
        home.send("y", 2, to: outer, 2)
        home.send("z", 1, to: outer, 3)
        switch behaviour.filtering {
        case .endpointIndependent: #expect(home.tags("x") == [1, 2, 3])
        case .addressDependent: #expect(home.tags("x") == [1, 2])
        case .addressAndPortDependent: #expect(home.tags("x") == [1])
        }
        #expect(home.network.natCounters(home.nat).filtered == UInt64(3 - home.tags("x").count))
        #expect(home.network.counters.natDropped == UInt64(3 - home.tags("x").count))
        // What the inner endpoint sees of a sender is the sender's own endpoint.
        #expect(home.sources("x")[0] == home.end("y", 1))
    }

    @Test("the filter asks where the inner endpoint has sent, by whatever mapping", arguments: combinations)
    func filterIsOfTheEndpoint(behaviour: NATBehaviour) {
        let home = Home(behaviour)
        home.send("x", 7000, to: home.end("y", 1))
        let outer = home.sources("y")[0]
        home.send("x", 7000, to: home.end("z", 1))
        // To the outer endpoint that only y has seen.
        home.send("z", 1, to: outer, 1)
        home.send("z", 2, to: outer, 2)
        #expect(home.tags("x") == (behaviour.filtering == .addressAndPortDependent ? [1] : [1, 2]))
        // Another inner endpoint has sent nowhere, and has no mapping.
        home.send("x", 7001, to: home.end("y", 1))
        let other = home.sources("y").last!
        home.send("z", 1, to: other, 3)
        #expect(home.tags("x").contains(3) == (behaviour.filtering == .endpointIndependent))
    }

    @Test func `two hosts behind restricted translators meet when both send first`() {
        let home = Home()
        let nats = ["a", "b"].map { home.network.addNAT($0, NATBehaviour(), behind: nil) }
        home.add("a", behind: nats[0])
        home.add("b", behind: nats[1])
        home.run(.zero)
        let outer = nats.map { Endpoint(address: home.network.natAddress($0), port: 7000) }
        // Alone it is filtered; but the filter is asked on arrival, and by then the other has sent too.
        home.send("a", 7000, to: outer[1], 1)
        #expect(home.tags("b") == [])
        home.send("a", 7000, to: outer[1], 2, wait: false)
        home.send("b", 7000, to: outer[0], 3, wait: false)
        home.run(.milliseconds(20))
        #expect(home.tags("b") == [2])
        #expect(home.tags("a") == [3])
    }

    // MARK: Ports

    @Test func `ports are preserved, and the next free one is taken on a collision`() {
        let home = Home(behaviour { $0.ports = .preserving })
        home.add("w", behind: home.nat)
        home.run(.zero)
        home.send("x", 7000, to: home.end("y", 1))
        home.send("w", 7000, to: home.end("y", 1))
        home.send("x", 53, to: home.end("y", 1))
        home.send("w", 53, to: home.end("y", 1))
        #expect(home.sources("y").map(\.port) == [7000, 7001, 53, 1024])
    }

    @Test func `random ports come from the seed and never collide`() {
        func ports(_ seed: UInt64) -> [UInt16] {
            let home = Home(behaviour { $0.ports = .random }, seed: seed)
            for port in 0..<500 { home.send("x", 2000 + UInt16(port), to: home.end("y", 1), wait: false) }
            home.run(.milliseconds(20))
            return home.sources("y").map(\.port)
        }
        let first = ports(1)
        #expect(Set(first).count == 500)
        #expect(first.allSatisfy { $0 >= 1024 })
        #expect(first == ports(1))
        #expect(first != ports(2))
    }

    // MARK: Hairpinning and realms

    @Test(arguments: [true, false])
    func `hosts behind one translator reach each other by outer endpoints when it hairpins`(hairpins: Bool) {
        let home = Home(
            behaviour {
                $0.hairpinning = hairpins
                $0.filtering = .endpointIndependent
            })
        home.add("w", behind: home.nat)
        home.run(.zero)
        home.send("w", 8000, to: home.end("y", 1))
        let outer = home.sources("y")[0]
        home.send("x", 7000, to: outer, 1)
        #expect(home.tags("w") == (hairpins ? [1] : []))
        #expect(home.network.natCounters(home.nat).notHairpinned == (hairpins ? 0 : 1))
        // RFC 4787 REQ-9a: the source is the sender's outer endpoint.
        if hairpins {
            #expect(home.sources("w") == [Endpoint(address: home.network.natAddress(home.nat), port: 7000)])
        }
        // By inner addresses they meet in any case, untranslated.
        home.send("x", 7000, to: home.end("w", 8000), 2)
        #expect(home.sources("w").last == home.end("x", 7000))
    }

    @Test func `an inner address leads nowhere from outside`() {
        let home = Home(NATBehaviour())
        let other = home.network.addNAT("other", NATBehaviour(), behind: nil)
        home.add("w", behind: other)
        home.run(.zero)
        home.send("y", 1, to: home.end("x", 7000))
        home.send("w", 1, to: home.end("x", 7000))
        #expect(home.tags("x") == [])
        #expect(home.network.counters.unroutable == 2)
    }

    @Test func `an address that nobody is mapped to swallows packets`() {
        let home = Home(NATBehaviour())
        home.send("y", 1, to: Endpoint(address: home.network.natAddress(home.nat), port: 7000))
        #expect(home.network.natCounters(home.nat).unmapped == 1)
    }

    // MARK: Time and room

    @Test(arguments: [true, false], NATBehaviour.Dependence.allCases)
    func `a mapping ends when nothing has gone out, and incoming packets keep it only if told`(
        inbound: Bool, filtering: NATBehaviour.Dependence
    ) {
        let home = Home(
            behaviour {
                $0.filtering = filtering
                $0.udpLifetime = .seconds(30)
                $0.inboundRefresh = inbound
                $0.ports = .contiguous
            })
        home.send("x", 7000, to: home.end("y", 1))
        let outer = home.sources("y")[0]
        // Kept alive from inside.
        for _ in 0..<4 {
            home.run(.seconds(20))
            home.send("x", 7000, to: home.end("y", 1))
        }
        #expect(Set(home.sources("y")) == [outer])
        // And from outside.
        for tag in 1...4 as ClosedRange<UInt8> {
            home.run(.seconds(20))
            home.send("y", 1, to: outer, tag)
        }
        #expect(home.tags("x") == (inbound ? [1, 2, 3, 4] : [1]))
        home.run(.seconds(31))
        #expect(home.network.natMappings(home.nat) == 0)
        home.send("y", 1, to: outer, 9)
        #expect(!home.tags("x").contains(9))
        home.send("x", 7000, to: home.end("y", 1))
        #expect(home.sources("y").last?.port == outer.port + 1)
    }

    @Test func `a permission ends by itself while the mapping lives on`() {
        let home = Home(behaviour { $0.udpLifetime = .seconds(30) })
        home.send("x", 7000, to: home.end("y", 1))
        home.run(.seconds(20))
        home.send("x", 7000, to: home.end("z", 1))
        home.run(.seconds(20))
        let outer = home.sources("z")[0]
        home.send("y", 1, to: outer, 1)
        home.send("z", 1, to: outer, 2)
        #expect(home.tags("x") == [2])
    }

    @Test func `a full table drops what is new, keeps what is known, and has room again in time`() {
        let home = Home(
            behaviour {
                $0.table = 2
                $0.mapping = .addressAndPortDependent
                $0.filtering = .endpointIndependent
                $0.udpLifetime = .seconds(30)
            })
        for port in 1...3 as ClosedRange<UInt16> { home.send("x", 7000, to: home.end("y", port), UInt8(port)) }
        #expect(home.tags("y") == [1, 2])
        #expect(home.network.natCounters(home.nat).tableFull == 1)
        home.run(.seconds(20))
        home.send("x", 7000, to: home.end("y", 1), 1)
        home.run(.seconds(11))
        home.send("x", 7000, to: home.end("y", 3), 3)
        #expect(home.tags("y") == [1, 2, 1, 3])
        #expect(home.network.natMappings(home.nat) == 2)
    }

    @Test func `permissions have the same limit`() {
        let home = Home(
            behaviour {
                $0.table = 2
                $0.udpLifetime = .seconds(30)
            })
        for port in 1...3 as ClosedRange<UInt16> { home.send("x", 7000, to: home.end("y", port), UInt8(port)) }
        #expect(home.tags("y") == [1, 2])
        home.run(.seconds(31))
        home.send("x", 7000, to: home.end("y", 3), 3)
        #expect(home.tags("y") == [1, 2, 3])
    }

    @Test(arguments: [true, false]) func `rebinding forgets all, and may change the address`(newAddress: Bool) {
        let home = Home(behaviour { $0.ports = .contiguous })
        let before = home.network.natAddress(home.nat)
        home.send("x", 7000, to: home.end("y", 1))
        home.network.rebind(home.nat, newAddress: newAddress)
        #expect((home.network.natAddress(home.nat) != before) == newAddress)
        home.send("y", 1, to: home.sources("y")[0], 1)
        #expect(home.tags("x") == [])
        home.send("x", 7000, to: home.end("y", 1))
        let after = home.sources("y")[1]
        #expect(after.address == home.network.natAddress(home.nat) && after != home.sources("y")[0])
        home.send("y", 1, to: after, 2)
        #expect(home.tags("x") == [2])
    }

    // MARK: Carrier-grade

    @Test func `a translator behind a translator translates twice`() {
        let home = Home()
        let carrier = home.network.addNAT("carrier", behaviour { $0.ports = .contiguous }, behind: nil)
        let inner = ["p", "q"].map { home.network.addNAT($0, NATBehaviour(), behind: carrier) }
        home.add("p", behind: inner[0])
        home.add("q", behind: inner[1])
        home.add("y", behind: nil)
        home.run(.zero)
        for name in ["p", "q"] { home.send(name, 7000, to: home.end("y", 1)) }
        let outer = home.sources("y")
        #expect(outer.map(\.port) == [1024, 1025])
        #expect(outer.allSatisfy { $0.address == home.network.natAddress(carrier) })
        #expect(inner.map { "\(home.network.natAddress($0))".hasPrefix("100.64.") } == [true, true])
        home.send("y", 1, to: outer[0], 1)
        home.send("y", 1, to: outer[1], 2)
        #expect(home.tags("p") == [1] && home.tags("q") == [2])
        // Both know each other's outermost endpoint and send: the carrier's translator turns the packets around.
        home.send("p", 7000, to: outer[1], 3)
        home.send("q", 7000, to: outer[0], 4)
        #expect(home.tags("p") == [1, 4])
        // Either translator's loss of its table is enough to cut the way in.
        home.network.rebind(inner[0], newAddress: false)
        home.send("y", 1, to: outer[0], 5)
        #expect(home.tags("p") == [1, 4])
        #expect(home.network.natCounters(inner[0]).unmapped == 1)
    }

    @Test func `many translators and mappings have addresses of their own`() {
        let home = Home()
        let carrier = home.network.addNAT("carrier", NATBehaviour(), behind: nil)
        var addresses: Set<IPAddress> = []
        for index in 0..<1000 {
            let nat = home.network.addNAT("n\(index)", NATBehaviour(), behind: index % 2 == 0 ? nil : carrier)
            addresses.insert(home.network.natAddress(nat))
        }
        #expect(addresses.count == 1000)
    }

    // MARK: Streams

    private func connect(_ home: Home, from client: String, to server: Endpoint) -> StreamID {
        home.world.streams.connect(
            home.id(client), to: server, StreamOptions(identity: nil) { _, _ in nil })
    }

    private func listen(_ home: Home, _ name: String) {
        home.world.streams.listen(
            home.id(name), port: 443,
            StreamListener(identity: StreamIdentity(chain: [[1]]), clientCertificate: .none, verify: { _, _ in nil }))
    }

    private func acceptedFrom(_ home: Home, _ name: String) -> [StreamID] {
        home.hosts[name]!.host.what.compactMap { if case .accepted(let stream, _) = $0 { stream } else { nil } }
    }

    @Test func `a stream goes out through a translator, and its server sees the outer address`() throws {
        let home = Home(NATBehaviour())
        listen(home, "y")
        let stream = connect(home, from: "x", to: home.end("y", 443))
        home.run(.seconds(1))
        let accepted = try #require(acceptedFrom(home, "y").first)
        #expect(home.world.streams.remote(accepted)?.address == home.network.natAddress(home.nat))
        #expect(home.world.streams.send(stream, [UInt8](repeating: 7, count: 100_000)))
        #expect(home.world.streams.send(accepted, [UInt8](repeating: 8, count: 100_000)))
        home.run(.seconds(5))
        #expect(home.hosts["y"]!.host.messages.map(\.count) == [100_000])
        #expect(home.hosts["x"]!.host.messages.map(\.count) == [100_000])
        #expect(home.network.natCounters(home.nat).mapped == 1)
    }

    @Test func `nobody opens a stream from outside`() {
        let home = Home(behaviour { $0.filtering = .endpointIndependent })
        listen(home, "x")
        home.send("x", 443, to: home.end("y", 1))
        _ = connect(home, from: "y", to: home.sources("y")[0])
        home.run(.seconds(10))
        #expect(acceptedFrom(home, "x") == [])
        #expect(home.network.natCounters(home.nat).unmapped > 0)
    }

    @Test func `a stream whose mapping is lost hangs until its end notices`() throws {
        let home = Home(NATBehaviour())
        listen(home, "y")
        let stream = connect(home, from: "x", to: home.end("y", 443))
        home.run(.seconds(1))
        home.network.rebind(home.nat, newAddress: true)
        #expect(home.world.streams.send(stream, [1]))
        home.run(.minutes(20))
        #expect(home.hosts["x"]!.host.closures == [.timedOut])
        #expect(home.hosts["y"]!.host.messages == [])
        #expect(home.network.natCounters(home.nat).unknownConnection > 0)
    }

    @Test func `an idle stream lives as long as its mapping`() {
        for (idle, arrives) in [(Duration.minutes(9), true), (.minutes(11), false)] {
            let home = Home(behaviour { $0.tcpLifetime = .minutes(10) })
            listen(home, "y")
            let stream = connect(home, from: "x", to: home.end("y", 443))
            home.run(.seconds(1))
            home.run(idle)
            _ = home.world.streams.send(stream, [1])
            home.run(.seconds(5))
            #expect(home.hosts["y"]!.host.messages.isEmpty != arrives)
        }
    }

    @Test func `a connection that is never answered is forgotten after four minutes`() {
        let home = Home(NATBehaviour())
        home.world.crash(home.id("y"), .power)
        _ = connect(home, from: "x", to: home.end("y", 443))
        home.run(.seconds(130))
        #expect(home.network.natMappings(home.nat) == 1)
        home.run(.minutes(4))
        #expect(home.network.natMappings(home.nat) == 0)
    }
}
