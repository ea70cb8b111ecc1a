internal import FabricCore
internal import FabricDocument

/// The kinds of fault that a swarm draws: one entry each in `FaultCatalogue`. Their order is part of what a seed means.
public enum FaultKind: String, NamedChoice {
    case partition
    case oneWay = "one-way"
    case loss, delay, duplicate, reorder, corrupt, rate, mtu
    case crash
    case controlOutage = "control-outage"
    case clock
    case lostAnswers = "lost-answers"
    case bursts
    case blackHole = "black-hole"
    case swizzle
    case udpBlock = "udp-block"
    case readdress, rebind
    case dnsLies = "dns-lies"
    case pause, suspend
    case processCrash = "process-crash"
    case slowCPU = "slow-cpu"
    case drift
    case diskFull = "disk-full"
    case diskErrors = "disk-errors"
    case slowSync = "slow-sync"
    case tornWrites = "torn-writes"
    case lostSyncs = "lost-syncs"
    case bitRot = "bit-rot"
    case databaseOutage = "database-outage"
    case databaseSlow = "database-slow"
    case unknownCommits = "unknown-commits"
    case restoreControl = "restore-control"
    case crashAt = "crash-at"
    public static let noun = "kind of fault"
}

/// How each kind is drawn: the weight among those that a seed has switched on, and the steps that one draw makes.
///
/// A draw gives ordinary entries of the timeline, so that a drawn run can be printed, kept and cut down as a file. They are
/// valid in every world; a kind that has no room or no object in this world gives none.
enum FaultCatalogue {
    struct Entry {
        var weight: UInt64
        var draw: (inout FaultDraw) -> [DocumentNode]
    }

    static func entry(_ kind: FaultKind) -> Entry {
        switch kind {
        case .partition: Entry(weight: 4) { $0.partition(isSymmetric: true) }
        case .oneWay: Entry(weight: 3) { $0.partition(isSymmetric: false) }
        case .loss: Entry(weight: 3) { $0.link("loss", $0.share(from: 10_000, to: 1_000_000)) }
        case .delay:
            Entry(weight: 2) { draw in
                let delay = draw.rounded(draw.logarithmic(.milliseconds(5), .seconds(3)))
                let jitter = draw.random.below(2) == 0 ? Duration.zero : draw.rounded(delay / 2)
                // What a flow sends must not pile up on its way.
                let underWay = Plan.packetsUnderWay(draw.plan.flowPacketsPerSecond, delay + jitter)
                guard underWay <= ScenarioLimits.maximumFlowPacketsUnderWay else { return [] }
                let members = [
                    DocumentMember("delay", .text(Span(delay))), DocumentMember("jitter", .text(Span(jitter))),
                ]
                return draw.link(jitter == .zero ? [members[0]] : members)
            }
        case .duplicate: Entry(weight: 2) { $0.link("duplicate", $0.share(from: 10_000, to: 500_000)) }
        case .reorder: Entry(weight: 2) { $0.link("reorder", $0.share(from: 10_000, to: 500_000)) }
        case .corrupt: Entry(weight: 2) { $0.link("corrupt", $0.share(from: 1_000, to: 200_000)) }
        case .rate:
            Entry(weight: 2) { draw in
                let rate = BitRate(bitsPerSecond: Int64(8_000 << draw.random.below(12)))
                let queue = ByteSize(bytes: 2_000 << Int(draw.random.below(7)))
                return draw.link([DocumentMember("rate", .text(rate)), DocumentMember("queue", .text(queue))])
            }
        case .mtu:
            Entry(weight: 1) { draw in
                // Below a black hole of the world there is no MTU.
                let links = draw.plan.allLinks
                guard links.allSatisfy({ $0.blackHoleBytes == nil }) else { return [] }
                return draw.link("mtu", ByteSize(bytes: 576 + Int(draw.random.below(90)) * 10))
            }
        case .crash: Entry(weight: 3) { $0.crash() }
        case .controlOutage: Entry(weight: 2) { $0.controlOutage() }
        case .clock: Entry(weight: 2) { $0.clock() }
        case .bursts:
            Entry(weight: 2) { draw in
                let share = draw.share(from: 10_000, to: 800_000)
                let mean = draw.rounded(draw.logarithmic(.milliseconds(20), .seconds(10)))
                let bursts = [DocumentMember("share", .text(share)), DocumentMember("mean", .text(Span(mean)))]
                return draw.link([DocumentMember("bursts", DocumentNode(.object(bursts)))])
            }
        case .blackHole:
            Entry(weight: 1) { draw in
                let bytes = 300 + Int(draw.random.below(110)) * 10
                guard draw.plan.allLinks.allSatisfy({ $0.mtu > bytes }) else { return [] }
                return draw.link("black-hole", ByteSize(bytes: bytes))
            }
        case .swizzle: Entry(weight: 2) { $0.swizzle() }
        case .udpBlock: Entry(weight: 1) { $0.udpBlock() }
        case .readdress:
            Entry(weight: 1) { draw in
                var moved = draw.someNodes(atMost: 3)
                // Two who both move unaware don't find each other: each is sought at its old address.
                let isTold = draw.random.below(4) > 0 || draw.oneMovedUnaware
                if !isTold {
                    draw.oneMovedUnaware = true
                    moved = [moved[0]]
                }
                let nodes = draw.selector(moved, control: false)
                let members = [("nodes", nodes), ("told", DocumentNode(.bool(isTold)))]
                return [draw.step(at: draw.moment(), "readdress", members)]
            }
        case .rebind: Entry(weight: 2) { $0.rebind() }
        case .dnsLies: Entry(weight: 2) { $0.dnsLies() }
        case .pause: Entry(weight: 2) { $0.hold("pause") }
        case .suspend: Entry(weight: 2) { $0.hold("suspend") }
        case .processCrash: Entry(weight: 2) { $0.processCrash() }
        case .slowCPU: Entry(weight: 1) { $0.slowProcessor() }
        case .drift: Entry(weight: 1) { $0.drift() }
        case .diskFull: Entry(weight: 1) { $0.diskFull() }
        case .diskErrors: Entry(weight: 2) { $0.diskErrors() }
        case .slowSync: Entry(weight: 1) { $0.slowSync() }
        case .tornWrites: Entry(weight: 2) { $0.tornWrites() }
        case .lostSyncs: Entry(weight: 1) { $0.lostSyncs() }
        case .bitRot: Entry(weight: 1) { $0.rot() }
        case .databaseOutage: Entry(weight: 2) { $0.database("failures", $0.share(from: 100_000, to: 1_000_000)) }
        case .databaseSlow:
            Entry(weight: 1) { draw in
                let time = draw.rounded(draw.logarithmic(.milliseconds(2), .milliseconds(500)))
                return draw.database("transaction-time", Span(time))
            }
        case .unknownCommits: Entry(weight: 2) { $0.database("unknown-commits", $0.share(from: 10_000, to: 500_000)) }
        case .restoreControl: Entry(weight: 1) { $0.restoreControl() }
        case .crashAt: Entry(weight: 3) { $0.crashAt() }
        case .lostAnswers:
            Entry(weight: 2) { draw in
                guard draw.settings.control else { return [] }
                let kinds = RequestKind.allCases
                let kind = kinds[Int(draw.random.below(UInt64(kinds.count)))]
                let count = 1 + Int64(draw.random.below(5))
                return [
                    draw.step(
                        at: draw.moment(),
                        "lose-answers", [("request", .text(kind.rawValue)), ("count", DocumentNode(.integer(count)))])
                ]
            }
        }
    }
}

extension FaultDraw {
    mutating func partition(isSymmetric: Bool) -> [DocumentNode] {
        let (start, length) = interval()
        let places = plan.places.indices.filter { place in plan.nodes.contains { $0.place == place } }
        // Cutting a place off may touch nodes that were to be spared, so it needs that none is.
        if isSymmetric, places.count > 1, isUnlimited, random.below(3) == 0 {
            let place = places[Int(random.below(UInt64(places.count)))]
            let name = DocumentNode.text(plan.places[place].name)
            return [step(at: start, "partition", [("place", name), ("for", .text(Span(length)))])]
        }
        guard let (a, b) = twoSides() else { return [] }
        let members: [(String, DocumentNode)] =
            isSymmetric ? [("between", DocumentNode(.array([a, b])))] : [("from", a), ("to", b)]
        return [step(at: start, "partition", members + [("for", .text(Span(length)))])]
    }

    /// Two sets of endpoints without common members; one of them is hit, the other may be anybody.
    private mutating func twoSides() -> (DocumentNode, DocumentNode)? {
        let hit = someNodes()
        if settings.control, random.below(3) == 0 {
            let sides = (selector(hit, control: false), DocumentNode.text("control"))
            return random.below(2) == 0 ? sides : (sides.1, sides.0)
        }
        var isHit = [Bool](repeating: false, count: plan.nodes.count)
        for node in hit { isHit[node] = true }
        let others = plan.nodes.indices.filter { !isHit[$0] }
        guard !others.isEmpty else { return nil }
        let few = random.below(2) == 0 ? others : pick(others, 1 + Int(random.below(UInt64(others.count))))
        let sides = (selector(hit, control: false), selector(few, control: false))
        return random.below(2) == 0 ? sides : (sides.1, sides.0)
    }

    mutating func link(_ key: String, _ value: some Quantity) -> [DocumentNode] {
        link([DocumentMember(key, .text(value))])
    }

    /// A change of one line, of all lines between places, or within a place.
    mutating func link(_ properties: [DocumentMember]) -> [DocumentNode] {
        let (start, length) = interval()
        var members: [(String, DocumentNode)] = []
        let count = UInt64(plan.places.count)
        if count > 1 {
            switch random.below(4) {
            case 0: members.append(("in", .text(plan.places[Int(random.below(count))].name)))
            case 1: break
            default:
                let a = Int(random.below(count))
                let b = (a + 1 + Int(random.below(count - 1))) % plan.places.count
                members.append(
                    ("between", DocumentNode(.array([.text(plan.places[a].name), .text(plan.places[b].name)]))))
            }
        } else {
            members.append(("in", .text(plan.places[0].name)))
        }
        members += properties.map { ($0.key, $0.value) }
        return [step(at: start, "link", members + [("for", .text(Span(length)))])]
    }

    mutating func swizzle() -> [DocumentNode] {
        let (start, length) = interval()
        let nodes = selector(someNodes(), control: false)
        return [step(at: start, "swizzle", [("nodes", nodes), ("for", .text(Span(length)))])]
    }

    mutating func udpBlock() -> [DocumentNode] {
        let (start, length) = interval()
        let members: [(String, DocumentNode)] = [
            ("protocol", .text("udp")), ("nodes", selector(someNodes(), control: false)), ("for", .text(Span(length))),
        ]
        return [step(at: start, "block", members)]
    }

    /// All boxes of one entry that have a node behind them that may be hit.
    mutating func rebind() -> [DocumentNode] {
        var names: [String] = []
        for nat in plan.nats
        where settings.nodes.isEmpty || nat.nodes.contains(where: { settings.nodes.contains($0) }) {
            if !names.contains(nat.entry) { names.append(nat.entry) }
        }
        guard !names.isEmpty else { return [] }
        var members = [("nat", DocumentNode.text(names[Int(random.below(UInt64(names.count)))]))]
        if !settings.nodes.isEmpty { members.append(("nodes", selector(settings.nodes, control: false))) }
        members.append(("address", .text(random.below(2) == 0 ? "same" : "new")))
        return [step(at: moment(), "rebind", members)]
    }

    mutating func dnsLies() -> [DocumentNode] {
        guard plan.controlName != nil else { return [] }
        let (start, length) = interval()
        let lies = DNSAnswer.allCases.filter { $0 != .truth }
        let answer = lies[Int(random.below(UInt64(lies.count)))]
        let nodes = selector(someNodes(), control: false)
        return [
            step(
                at: start, "dns-lies",
                [("nodes", nodes), ("answer", .text(answer.rawValue)), ("for", .text(Span(length)))])
        ]
    }

    mutating func crash() -> [DocumentNode] {
        let (start, length) = interval()
        let nodes = someNodes(atMost: 3).filter { claim($0, start, start + length) }
        guard !nodes.isEmpty else { return [] }
        return [
            step(at: start, "crash", [("nodes", selector(nodes, control: false)), ("for", .text(Span(length)))])
        ]
    }

    mutating func controlOutage() -> [DocumentNode] {
        let (start, length) = interval()
        guard settings.control, claim(FaultDraw.control, start, start + length) else { return [] }
        return [step(at: start, "stop-control", [("for", .text(Span(length)))])]
    }

    /// A jump, and mostly back again.
    mutating func clock() -> [DocumentNode] {
        let (start, length) = interval()
        var jump = rounded(logarithmic(.milliseconds(50), .minutes(10)))
        if random.below(2) == 0 { jump = .zero - jump }
        let isControl = settings.control && random.below(6) == 0
        let who = isControl ? DocumentNode.text("control") : selector(someNodes(atMost: 3), control: false)
        func moved(_ time: Duration, _ by: Duration) -> DocumentNode {
            step(at: time, "clock", [("nodes", who), ("jump", .text(Span(by)))])
        }
        let there = moved(start, jump)
        return random.below(4) == 0 ? [there] : [there, moved(start + length, .zero - jump)]
    }
}
