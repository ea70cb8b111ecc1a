internal import FabricCore
internal import FabricScenario
internal import Glibc

/// What becomes of packets on a plan's links: when each arrives, if it does. The rules are those of the simulator's network,
/// so that a file means the same on both hosts; the draws are others.
///
/// It is told the time and does no I/O: `LinkShaper` carries the packets.
struct ShapedLines {
    /// When the packet arrives, and its duplicate; nil for never.
    struct Passage: Equatable {
        var arrival: Instant?
        var duplicate: Instant?

        static let dropped = Passage(arrival: nil, duplicate: nil)
    }

    struct Counters: Equatable {
        var passed: UInt64 = 0
        var lost: UInt64 = 0
        var burstLost: UInt64 = 0
        var duplicated: UInt64 = 0
        var reordered: UInt64 = 0
        var queueDropped: UInt64 = 0
        var mtuDropped: UInt64 = 0
        var blackHoleDropped: UInt64 = 0
    }

    /// One direction between two places, or what is within one.
    private struct Line {
        var link: LinkProperties
        /// When it has sent all that was given to it. Within a place each sender has a line of its own.
        var busyUntil = Instant.zero
        /// Good and bad turns of the line take each other's place; this one ends at `turnEnds`, nil before the first.
        var isBad = false
        var turnEnds: Instant?
    }

    private let places: Int
    private var lines: [Line]
    /// Within places, by line and sender. Looked up, and changed each by itself.
    private var senders: [Int: [IPAddress: Instant]] = [:]
    private let random: any RandomSource
    private(set) var counters = Counters()

    init(_ plan: Plan, random: any RandomSource) {
        places = plan.places.count
        self.random = random
        let places = plan.places.indices
        lines = places.flatMap { from in places.map { to in Line(link: plan.link(between: from, and: to)) } }
    }

    /// Both directions are from now on like this; what is under way arrives as it was going to, and what is sent from now on
    /// waits for the bytes before it, at the new rate.
    mutating func set(_ links: [PlannedLink], now: Instant) {
        for link in links {
            let there = link.a * places + link.b
            for index in link.a == link.b ? [there] : [there, link.b * places + link.a] {
                let former = lines[index].link
                if former.bursts != link.link.bursts { lines[index].turnEnds = nil }
                lines[index].link = link.link
                func rebase(_ busyUntil: Instant) -> Instant { Self.busyUntil(busyUntil, now, former, link.link) }
                lines[index].busyUntil = rebase(lines[index].busyUntil)
                if link.a == link.b { senders[index] = senders[index]?.mapValues(rebase) }
            }
        }
    }

    /// The backlog is bytes: it takes the time of the new rate, and what does not fit the new queue is not waited for.
    private static func busyUntil(
        _ busyUntil: Instant, _ now: Instant, _ former: LinkProperties, _ link: LinkProperties
    ) -> Instant {
        guard busyUntil > now, let oldRate = former.bitsPerSecond, let rate = link.bitsPerSecond, rate > 0 else {
            return min(busyUntil, now)
        }
        let wait = Double((busyUntil - now).nanoseconds) * Double(oldRate) / Double(rate)
        let longest = Int64(link.queueBytes) * 8_000_000_000 / rate
        return now + .nanoseconds(wait < Double(longest) ? Int64(wait) : longest)
    }

    /// A packet of `bytes`, IP header and all, that goes on its line now.
    mutating func pass(from: Int, to: Int, sender: IPAddress, bytes: Int, now: Instant) -> Passage {
        let link = lines[from * places + to].link
        guard bytes <= link.mtu else {
            counters.mtuDropped += 1
            return .dropped
        }
        guard bytes <= link.blackHoleBytes ?? bytes else {
            counters.blackHoleDropped += 1
            return .dropped
        }
        guard let departure = transmit(from, to, sender, bytes, now) else {
            counters.queueDropped += 1
            return .dropped
        }
        if let bursts = link.bursts, isBad(from * places + to, bursts, now), draw(bursts.lossPartsPerMillion) {
            counters.burstLost += 1
            return .dropped
        }
        guard !draw(link.lossPartsPerMillion) else {
            counters.lost += 1
            return .dropped
        }
        var passage = Passage(arrival: departure + link.delay + jitter(link.jitter, link.shape), duplicate: nil)
        if draw(link.reorderPartsPerMillion) {
            counters.reordered += 1
            passage.arrival = passage.arrival.map { $0 + link.reorderBy }
        }
        if draw(link.duplicatePartsPerMillion) {
            counters.duplicated += 1
            passage.duplicate = departure + link.delay + jitter(max(link.jitter, .microseconds(1)), link.shape)
        }
        counters.passed += 1
        return passage
    }

    /// When the line has sent the packet; nil when its queue is full.
    private mutating func transmit(_ from: Int, _ to: Int, _ sender: IPAddress, _ bytes: Int, _ now: Instant)
        -> Instant?
    {
        let index = from * places + to
        guard let rate = lines[index].link.bitsPerSecond, rate > 0 else { return now }
        let busyUntil = from == to ? senders[index]?[sender] ?? .zero : lines[index].busyUntil
        let transmission = Duration.nanoseconds(Int64(bytes) * 8_000_000_000 / rate)
        let longest = Duration.nanoseconds(Int64(lines[index].link.queueBytes) * 8_000_000_000 / rate)
        guard busyUntil <= now || busyUntil - now + transmission <= longest else { return nil }
        let departure = max(now, busyUntil) + transmission
        if from == to { senders[index, default: [:]][sender] = departure } else { lines[index].busyUntil = departure }
        return departure
    }

    /// Whether the line is in a burst now.
    private mutating func isBad(_ index: Int, _ bursts: PlannedBursts, _ now: Instant) -> Bool {
        let share = Double(bursts.sharePartsPerMillion) / 1_000_000
        let bad = Double(max(1, bursts.mean.nanoseconds))
        func turn(_ isBad: Bool) -> Duration {
            .nanoseconds(Int64(min(exponential(mean: isBad ? bad : bad * (1 - share) / share), 1e18)))
        }
        if lines[index].turnEnds == nil {
            lines[index].isBad = draw(bursts.sharePartsPerMillion)
            lines[index].turnEnds = now + turn(lines[index].isBad)
        }
        while let end = lines[index].turnEnds, end <= now {
            lines[index].isBad.toggle()
            lines[index].turnEnds = end + turn(lines[index].isBad)
        }
        return lines[index].isBad
    }

    /// At least one.
    private func exponential(mean: Double) -> Double { max(1, -log(unit()) * mean) }

    /// Uniform in (0, 1].
    private func unit() -> Double { (Double(random.uint64() >> 11) + 1) / Double(1 << 53) }

    private func jitter(_ span: Duration, _ shape: JitterShape) -> Duration {
        switch shape {
        case .uniform: return random.jitter(span)
        case .bell:
            let sum = (0..<4).reduce(Int64(0)) { sum, _ in sum + random.jitter(span).nanoseconds }
            return .nanoseconds(sum / 4)
        case .tail:
            // Pareto's second distribution with the exponent 2, cut off as in the simulator.
            let excess = min(1 / unit().squareRoot() - 1, 100)
            return .nanoseconds(Int64(Double(span.nanoseconds) * excess))
        }
    }

    private func draw(_ partsPerMillion: Int64) -> Bool {
        partsPerMillion > 0 && random.below(1_000_000) < UInt64(partsPerMillion)
    }
}

/// Packets under way, the next to arrive first; of those that arrive at once, the one that left first.
struct PacketsUnderWay {
    struct Entry {
        var arrival: Instant
        var order: UInt64
        var packet: [UInt8]

        static func < (a: Entry, b: Entry) -> Bool {
            a.arrival != b.arrival ? a.arrival < b.arrival : a.order < b.order
        }
    }

    /// Packets; more are dropped.
    static let limit = 65_536

    private var heap: [Entry] = []
    private var order: UInt64 = 0

    var nextArrival: Instant? { heap.first?.arrival }
    var count: Int { heap.count }

    /// False when there are too many.
    mutating func insert(_ packet: [UInt8], at arrival: Instant) -> Bool {
        guard heap.count < Self.limit else { return false }
        heap.append(Entry(arrival: arrival, order: order, packet: packet))
        order += 1
        var place = heap.count - 1
        while place > 0, heap[place] < heap[(place - 1) / 2] {
            heap.swapAt(place, (place - 1) / 2)
            place = (place - 1) / 2
        }
        return true
    }

    /// The next packet that has arrived by then.
    mutating func take(until now: Instant) -> [UInt8]? {
        guard let first = heap.first, first.arrival <= now else { return nil }
        let last = heap.removeLast()
        guard !heap.isEmpty else { return first.packet }
        heap[0] = last
        var place = 0
        while true {
            var least = place
            for child in (2 * place + 1)...(2 * place + 2) where child < heap.count && heap[child] < heap[least] {
                least = child
            }
            guard least != place else { return first.packet }
            heap.swapAt(place, least)
            place = least
        }
    }
}

extension Plan {
    /// The file says how links are, now or later. Else the live host takes the machine's as they are.
    var shapesLinks: Bool {
        let changes = steps.contains { if case .setLinks = $0.action { true } else { false } }
        return changes || !links.isEmpty || defaultLink != .defaultBetween
            || places.contains { $0.link != .defaultWithin }
    }
}
