import FabricCore
import Simulator
import Testing

@Suite struct PartitionTests {
    private struct Field {
        let world: World
        let places: [PlaceID]
        let hosts: [HostID]

        init(hosts count: Int, places number: Int, recording: Trace.Recording = Trace.Recording()) {
            world = World(seed: 1, epoch: WallTime(seconds: 1_800_000_000), recording: recording)
            let network = world.network!
            let places = (0..<number).map { network.addPlace("p\($0)") }
            self.places = places
            let world = world
            hosts = (0..<count).map {
                world.addHost(ScriptedHost(), name: "h\($0)", place: places[$0 % number])
            }
        }

        func contains(_ selector: NetworkSelector, _ host: HostID) -> Bool {
            switch selector {
            case .host(let one): one == host
            case .hosts(let list): list.contains(host)
            case .place(let place): world.network.place(of: host) == place
            case .everything: true
            }
        }

        /// What a cut means, said plainly.
        func blocks(_ cut: Partition, _ from: HostID, _ to: HostID, _ transport: TransportProtocol) -> Bool {
            if from == to || (cut.only ?? transport) != transport { return false }
            func direction(_ a: NetworkSelector, _ b: NetworkSelector) -> Bool {
                guard contains(a, from), contains(b, to) else { return false }
                // Whoever is cut off from everything as a place still talks within the place.
                let samePlace = world.network.place(of: from) == world.network.place(of: to)
                if case .place = a, case .everything = b { return !samePlace }
                if case .everything = a, case .place = b { return !samePlace }
                return true
            }
            return direction(cut.from, cut.to) || (!cut.oneWay && direction(cut.to, cut.from))
        }
    }

    @Test(arguments: 1...8 as ClosedRange<UInt64>)
    func `cuts of every form, overlapping and healed in any order, block what they say`(seed: UInt64) {
        let field = Field(hosts: 9, places: 3)
        let network = field.world.network!
        let random = SeededRandom(seed: seed, stream: "cuts")
        func selector() -> NetworkSelector {
            switch random.below(4) {
            case 0: .host(field.hosts[Int(random.below(9))])
            case 1: .place(field.places[Int(random.below(3))])
            case 2: .hosts(field.hosts.filter { _ in random.below(2) == 0 })
            default: .everything
            }
        }
        var inForce: [(id: PartitionID, cut: Partition)] = []
        for round in 0..<400 {
            if inForce.count < 90, random.below(100) < (round < 200 ? 70 : 40) || inForce.isEmpty {
                let only: [TransportProtocol?] = [nil, .udp, .tcp]
                let cut = Partition(
                    from: selector(), to: selector(), oneWay: random.below(2) == 0, only: only[Int(random.below(3))])
                inForce.append((network.cut(cut), cut))
            } else {
                network.heal(inForce.remove(at: Int(random.below(UInt64(inForce.count)))).id)
            }
            if round % 5 != 0 { continue }
            for from in field.hosts {
                for to in field.hosts {
                    for transport in TransportProtocol.allCases {
                        let expected = inForce.contains { field.blocks($0.cut, from, to, transport) }
                        #expect(network.isCut(from: from, to: to, transport) == expected)
                    }
                }
            }
        }
        network.healAll()
        for from in field.hosts { for to in field.hosts { #expect(!network.isCut(from: from, to: to, .udp)) } }
    }

    @Test func `a cut between thousands is one entry of the trace, and so is its end`() {
        let field = Field(hosts: 10_000, places: 2, recording: Trace.Recording(entries: 0..<100_000))
        let before = field.world.trace.count
        let half = Partition(from: .hosts(Array(field.hosts[..<5000])), to: .hosts(Array(field.hosts[5000...])))
        let cut = field.world.network.cut(half)
        #expect(field.world.trace.count == before + 1)
        #expect(field.world.trace.entries.last!.text.utf8.count < 100)
        #expect(field.world.network.isCut(from: field.hosts[17], to: field.hosts[9999]))
        #expect(!field.world.network.isCut(from: field.hosts[17], to: field.hosts[4999]))
        field.world.network.heal(cut)
        #expect(field.world.trace.count == before + 2)
        #expect(!field.world.network.isCut(from: field.hosts[17], to: field.hosts[9999]))
    }

    @Test func `cuts of different members differ in the trace`() {
        func hash(_ members: Range<Int>) -> TraceHash {
            let field = Field(hosts: 20, places: 2)
            _ = field.world.network.cut(Partition(from: .hosts(Array(field.hosts[members])), to: .everything))
            return field.world.trace.hash
        }
        #expect(hash(0..<9) == hash(0..<9))
        #expect(hash(0..<9) != hash(1..<10))
    }

    @Test(arguments: TransportProtocol.allCases)
    func `a cut of one protocol lets the other pass`(only: TransportProtocol) {
        let pair = Pair(milliseconds(1))
        let world = pair.world
        world.streams.listen(
            pair.ids[1], port: 443,
            StreamListener(identity: StreamIdentity(chain: [[1]]), clientCertificate: .none, verify: { _, _ in nil }))
        _ = world.network.cut(Partition(from: .host(pair.ids[0]), to: .everything, only: only))
        pair.send([1])
        _ = world.streams.connect(
            pair.ids[0], to: Endpoint(address: pair.ends[1].address, port: 443),
            StreamOptions(identity: nil) { _, _ in nil })
        pair.run(.seconds(1))
        #expect(pair.hosts[1].datagrams.isEmpty == (only == .udp))
        let opened = pair.hosts[0].what.contains { if case .opened = $0 { true } else { false } }
        #expect(opened == (only == .udp))
        #expect(!world.network.isCut(from: pair.ids[0], to: pair.ids[1]))
    }
}
