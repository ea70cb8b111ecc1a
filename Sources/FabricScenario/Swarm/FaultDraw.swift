internal import FabricCore
internal import FabricDocument

/// What one draw of a fault may use: the world, the room in time, a random stream of its kind.
struct FaultDraw {
    /// In `claim`, the control plane.
    static let control = -1

    let plan: Plan
    let settings: SwarmSettings
    let window: Range<Duration>
    var random: SeededRandom
    /// What nothing has befallen yet, by the file's own steps and by what was claimed since.
    private var room: FaultRoom
    /// A node gets another address and is not told, by the file's own steps or by what was drawn.
    var oneMovedUnaware: Bool
    /// Nodes that were drawn as impostors, and the tokens that they use.
    var impostors: [(node: Int, token: Int)] = []
    /// Backups that were drawn.
    var backups = 0

    init(plan: Plan) {
        self.plan = plan
        settings = plan.swarm
        window = plan.swarm.window(plan.duration)
        random = SeededRandom(seed: 0, stream: "")
        room = FaultRoom(plan)
        oneMovedUnaware = plan.steps.contains { step in
            if case .readdress(_, let told) = step.action { !told } else { false }
        }
    }

    /// No node is to be spared.
    var isUnlimited: Bool { settings.nodes.isEmpty && settings.control }

    // MARK: Time

    /// Times are multiples of this: a drawn file is read by people.
    static let grain = Duration.milliseconds(100)

    /// A time in the window.
    mutating func moment() -> Duration {
        onGrain(window.lowerBound + random.jitter(window.upperBound - window.lowerBound))
    }

    /// When a fault begins, and how long it lasts: all of it within the window.
    mutating func interval() -> (start: Duration, length: Duration) {
        let start = moment()
        let wanted = rounded(logarithmic(settings.lasting.lowerBound, settings.lasting.upperBound))
        let room = window.upperBound - start
        return (start, max(.milliseconds(1), min(wanted, room)))
    }

    private func onGrain(_ time: Duration) -> Duration {
        let nanoseconds = time.nanoseconds
        let rounded = Duration.nanoseconds(nanoseconds - nanoseconds % FaultDraw.grain.nanoseconds)
        return max(rounded, window.lowerBound)
    }

    /// Each doubling from the least to the greatest is as likely.
    mutating func logarithmic(_ least: Duration, _ greatest: Duration) -> Duration {
        var top = least.nanoseconds
        var doublings: UInt64 = 1
        while top < greatest.nanoseconds {
            top *= 2
            doublings += 1
        }
        let low = least.nanoseconds << Int64(random.below(doublings))
        return min(greatest, .nanoseconds(low + Int64(random.below(UInt64(low)))))
    }

    /// To two digits, so that a person can read it; not below a millisecond.
    func rounded(_ duration: Duration) -> Duration {
        var unit: Int64 = 1_000_000
        while duration.nanoseconds / unit >= 100 { unit *= 10 }
        return .nanoseconds(max(unit, duration.nanoseconds / unit * unit))
    }

    /// A share, each doubling as likely, to one digit.
    mutating func share(from least: Int64, to greatest: Int64) -> Ratio {
        let drawn = logarithmic(.nanoseconds(least), .nanoseconds(greatest)).nanoseconds
        var unit: Int64 = 1
        while drawn / unit >= 10 { unit *= 10 }
        return Ratio(partsPerMillion: drawn / unit * unit)
    }

    // MARK: Nodes

    /// One node, a few, or up to half of those that may be hit.
    mutating func someNodes(atMost limit: Int = .max) -> [Int] {
        let all = settings.nodes.isEmpty ? Array(plan.nodes.indices) : settings.nodes
        let most = random.below(2) == 0 ? 1 : max(1, min(limit, all.count / 2))
        return pick(all, 1 + Int(random.below(UInt64(most))))
    }

    /// So many of them, in order.
    mutating func pick(_ nodes: [Int], _ count: Int) -> [Int] {
        var pool = nodes
        var chosen: [Int] = []
        while chosen.count < count, !pool.isEmpty {
            chosen.append(pool.remove(at: Int(random.below(UInt64(pool.count)))))
        }
        return chosen.sorted()
    }

    func selector(_ nodes: [Int], control: Bool) -> DocumentNode {
        let parts = PlanText(plan).selectorParts(nodes) + (control ? ["control"] : [])
        return parts.count == 1 ? .text(parts[0]) : DocumentNode(.array(parts.map { .text($0) }))
    }

    /// Takes the time for an outage of a node (or `control`): it is up from before to after, and nothing else happens to
    /// it then. False when that can't be.
    mutating func claim(_ node: Int, _ start: Duration, _ end: Duration) -> Bool {
        room.claim(.process(node), start, end)
    }

    /// The same of a disk, or of the database; only one of its faults is in force at a time.
    mutating func claim(_ part: FaultRoom.Part, _ start: Duration, _ end: Duration) -> Bool {
        room.claim(part, start, end)
    }

    // MARK: Entries

    /// An entry of the timeline.
    func step(at time: Duration, _ key: String, _ members: [(String, DocumentNode)]) -> DocumentNode {
        let value = DocumentNode(.object(members.map { DocumentMember($0.0, $0.1) }))
        return DocumentNode(.object([DocumentMember("at", .text(Span(time))), DocumentMember(key, value)]))
    }
}

extension Plan {
    /// Every kind of link of the world.
    var allLinks: [LinkProperties] { [defaultLink] + places.map(\.link) + links.map(\.link) }
}

extension DocumentNode {
    static func text(_ text: String) -> DocumentNode { DocumentNode(.string(text)) }
    static func text(_ quantity: some Quantity) -> DocumentNode { DocumentNode(.string(quantity.description)) }

    /// The object with a member set, at its place or as the last; nil removes it.
    func setting(_ key: String, _ value: DocumentNode?) -> DocumentNode {
        var members = object ?? []
        if let index = members.firstIndex(where: { $0.key == key }) {
            if let value { members[index].value = value } else { members.remove(at: index) }
        } else if let value {
            members.append(DocumentMember(key, value))
        }
        return DocumentNode(.object(members), position: position)
    }
}
