internal import FabricCore

/// A probability in parts per million.
public struct Probability: Hashable, Comparable, Sendable {
    public let partsPerMillion: UInt32

    public static let never = Probability(partsPerMillion: 0)
    public static let always = Probability(partsPerMillion: 1_000_000)

    /// More than a million is a million.
    public init(partsPerMillion: UInt32) { self.partsPerMillion = min(partsPerMillion, 1_000_000) }
    public static func percent(_ percent: UInt32) -> Probability {
        Probability(partsPerMillion: min(percent, 100) * 10_000)
    }

    public static func < (a: Probability, b: Probability) -> Bool { a.partsPerMillion < b.partsPerMillion }

    /// Draws only when the answer is open, so that a fault that is off costs no randomness.
    @inline(__always)
    func draw(_ random: SeededRandom) -> Bool {
        if partsPerMillion == 0 { return false }
        if partsPerMillion == 1_000_000 { return true }
        // The high half of a 32-bit by 32-bit product: uniform to one part in 2^32, from integers alone.
        return ((random.uint64() >> 32) &* 1_000_000) >> 32 < UInt64(partsPerMillion)
    }
}

/// A base and a random part above it, made from integers alone.
public struct DelayDistribution: Hashable, Sendable {
    public enum Shape: Hashable, Sendable {
        /// Uniform in `base ..< base + jitter`.
        case uniform
        /// The mean of four uniform draws in the same range: bell-shaped around `base + jitter / 2`.
        case bell
        /// `base`, and more: Pareto's second distribution with the exponent 2, whose mean above `base` is `jitter`. Half of
        /// the packets take less than 0.42 of it more, one in a hundred 9 times and more, one in a thousand 31 times; cut
        /// off at `tailLimit` times.
        case tail
    }

    /// No draw of `tail` takes more than so many times `jitter` above `base`.
    public static let tailLimit = 100

    public var base: Duration
    public var jitter: Duration
    public var shape: Shape

    public init(_ base: Duration, jitter: Duration = .zero, shape: Shape = .uniform) {
        self.base = base
        self.jitter = jitter
        self.shape = shape
    }

    /// One draw, in nanoseconds; never negative.
    func draw(_ random: SeededRandom) -> Int64 {
        max(0, base.nanoseconds) + DelayDistribution.jitter(max(0, jitter.nanoseconds), shape, random)
    }

    @inline(__always)
    static func jitter(_ span: Int64, _ shape: Shape, _ random: SeededRandom) -> Int64 {
        if span <= 0 { return 0 }
        let word = random.uint64()
        switch shape {
        case .uniform:
            return Int64(word.multipliedFullWidth(by: UInt64(span)).high)
        case .bell:
            let sum = (word & 0xFFFF) &+ (word >> 16 & 0xFFFF) &+ (word >> 32 & 0xFFFF) &+ (word >> 48)
            return Int64((sum << 46).multipliedFullWidth(by: UInt64(span)).high)
        case .tail:
            // 1/√u - 1 for u in (0, 1], with 16 binary places: √(2^64 / w) for w = u·2^32.
            let excess = squareRoot(UInt64.max / ((word >> 32) + 1)) &- 65_536 &+ 1
            let factor = min(excess, UInt64(tailLimit) << 16)
            let (high, low) = UInt64(span).multipliedFullWidth(by: factor)
            return Int64(clamping: high << 48 | low >> 16)
        }
    }

    /// The integer part of the square root.
    static func squareRoot(_ value: UInt64) -> UInt64 {
        var remainder = value
        var root: UInt64 = 0
        var bit: UInt64 = 1 << 62
        while bit > value { bit >>= 2 }
        while bit != 0 {
            if remainder >= root + bit {
                remainder -= root + bit
                root = root >> 1 + bit
            } else {
                root >>= 1
            }
            bit >>= 2
        }
        return root
    }
}

/// How packets fare from one place to another (one direction), or between hosts of one place.
///
/// Packets of one link overtake each other when `jitter` or `reordering` lets them; without either they stay in order.
public struct LinkProfile: Hashable, Sendable {
    /// The largest queue that is accepted.
    public static let maximumQueueBytes = 256 << 20

    public var delay: DelayDistribution
    public var loss: Probability
    /// Times at which the line loses much more; nil for none.
    public var bursts: LossBursts?
    public var duplication: Probability
    /// Packets that are held back by `reorderingDelay` besides the usual delay.
    public var reordering: Probability
    public var reorderingDelay: Duration
    /// Datagrams in which one to three bits are flipped. In streams the TCP checksum turns this into loss.
    public var corruption: Probability
    /// Bits per second; nil for no limit. Between places all hosts share it, within a place each sender has its own.
    public var bandwidth: Int64?
    /// What may wait for the line; beyond that the newest packet is dropped. Only with a bandwidth.
    public var queueBytes: Int
    /// The largest IP packet, in bytes; larger ones are dropped (nothing is fragmented). Streams are told and send smaller
    /// segments.
    public var mtu: Int
    /// IP packets larger than this vanish, and nobody is told; nil for none.
    public var blackHole: Int?

    public init(
        delay: DelayDistribution, loss: Probability = .never, bandwidth: Int64? = nil, queueBytes: Int = 256 << 10,
        mtu: Int = 1500
    ) {
        self.delay = delay
        self.loss = loss
        self.bandwidth = bandwidth
        self.queueBytes = queueBytes
        self.mtu = mtu
        duplication = .never
        reordering = .never
        reorderingDelay = .milliseconds(5)
        corruption = .never
    }

    /// A switched local network: 100 to 200 microseconds, nothing lost.
    public static let local = LinkProfile(delay: DelayDistribution(.microseconds(100), jitter: .microseconds(100)))
    /// A good line between sites: 20 ms with 2 ms of jitter, nothing lost.
    public static let wide = LinkProfile(
        delay: DelayDistribution(.milliseconds(20), jitter: .milliseconds(2), shape: .bell))
}

/// What became of packets, by kind. Packets of streams count too.
public struct NetworkCounters: Hashable, Sendable {
    public var sent: UInt64 = 0
    public var sentBytes: UInt64 = 0
    public var delivered: UInt64 = 0
    public var deliveredBytes: UInt64 = 0
    public var lost: UInt64 = 0
    public var duplicated: UInt64 = 0
    public var reordered: UInt64 = 0
    public var corrupted: UInt64 = 0
    public var queueDropped: UInt64 = 0
    public var mtuDropped: UInt64 = 0
    /// Marked with congestion by a line whose queue was filling.
    public var marked: UInt64 = 0
    /// Lost in bursts; counted apart from `lost`.
    public var burstLost: UInt64 = 0
    /// Larger than the link's black hole lets through.
    public var blackHoleDropped: UInt64 = 0
    /// Dropped by an address translator: no mapping, filtered, table full, no hairpin.
    public var natDropped: UInt64 = 0
    public var partitionDropped: UInt64 = 0
    /// No host has the address, or the sender no longer has its source address.
    public var unroutable: UInt64 = 0
    /// The host was down on arrival.
    public var hostDown: UInt64 = 0
    /// Beyond the simulator's own limit of packets under way.
    public var overLimit: UInt64 = 0

    public init() {}

    public static func += (total: inout NetworkCounters, part: NetworkCounters) {
        total.sent += part.sent
        total.sentBytes += part.sentBytes
        total.delivered += part.delivered
        total.deliveredBytes += part.deliveredBytes
        total.lost += part.lost
        total.duplicated += part.duplicated
        total.reordered += part.reordered
        total.corrupted += part.corrupted
        total.queueDropped += part.queueDropped
        total.mtuDropped += part.mtuDropped
        total.marked += part.marked
        total.burstLost += part.burstLost
        total.blackHoleDropped += part.blackHoleDropped
        total.natDropped += part.natDropped
        total.partitionDropped += part.partitionDropped
        total.unroutable += part.unroutable
        total.hostDown += part.hostDown
        total.overLimit += part.overLimit
    }
}

/// One link at work: the profile in the units of the hot path, the line's occupation, the counters.
struct LinkState {
    var profile: LinkProfile
    var delay: Int64
    var jitter: Int64
    var shape: DelayDistribution.Shape
    var reorderingDelay: Int64
    /// Bits per second, 0 for no limit.
    var bandwidth: Int64
    /// How long the longest queue takes to drain.
    var queueNanoseconds: Int64
    var mtu: Int
    /// What passes at most: the MTU or the black hole.
    var sizeLimit: Int
    var hasBursts = false
    /// The state of the line's bursts, kept when other properties change.
    var bursts: BurstChain?
    /// When the line has sent all that was given to it. Unused within a place, where each sender has its own.
    var busyUntil: Int64 = 0
    var counters = NetworkCounters()

    init(_ profile: LinkProfile) {
        precondition((0...LinkProfile.maximumQueueBytes).contains(profile.queueBytes))
        precondition(profile.mtu >= 68, "RFC 791: every link carries 68 bytes")
        self.profile = profile
        delay = max(0, profile.delay.base.nanoseconds)
        jitter = max(0, profile.delay.jitter.nanoseconds)
        shape = profile.delay.shape
        reorderingDelay = max(0, profile.reorderingDelay.nanoseconds)
        bandwidth = max(0, profile.bandwidth ?? 0)
        queueNanoseconds = bandwidth > 0 ? Int64(profile.queueBytes) * 8_000_000_000 / bandwidth : 0
        mtu = profile.mtu
        sizeLimit = min(profile.mtu, profile.blackHole ?? profile.mtu)
    }

    /// Takes on a new profile. What waits for the line goes on waiting, at the new rate; gives how a line of this profile
    /// that was busy until then is busy now.
    mutating func change(to profile: LinkProfile, at now: Int64) -> (_ busyUntil: Int64) -> Int64 {
        let former = self
        var changed = LinkState(profile)
        changed.bursts = bursts
        changed.counters = counters
        let current = changed
        let rebase: (Int64) -> Int64 = { busyUntil in
            current.busyUntil(after: former, busyUntil: busyUntil, now)
        }
        changed.busyUntil = rebase(busyUntil)
        self = changed
        return rebase
    }

    /// The bytes that wait for a line that is busy until then; 0 for a line without a rate.
    func backlog(_ busyUntil: Int64, _ now: Int64) -> Int64 {
        guard bandwidth > 0, busyUntil > now else { return 0 }
        return LinkState.scaled(busyUntil &- now, by: bandwidth, over: 8_000_000_000)
    }

    /// The backlog is bytes, and takes the time of the new rate; what does not fit the new queue is not waited for.
    private func busyUntil(after former: LinkState, busyUntil: Int64, _ now: Int64) -> Int64 {
        guard bandwidth > 0, busyUntil > now else { return min(busyUntil, now) }
        // Without a rate nothing waits.
        guard former.bandwidth > 0 else { return now }
        let wait =
            former.bandwidth == bandwidth
            ? busyUntil &- now : LinkState.scaled(busyUntil &- now, by: former.bandwidth, over: bandwidth)
        return now &+ min(wait, queueNanoseconds)
    }

    /// `value * factor / divisor` of numbers that are not negative, as large as the type allows at most.
    static func scaled(_ value: Int64, by factor: Int64, over divisor: Int64) -> Int64 {
        let (high, low) = UInt64(value).multipliedFullWidth(by: UInt64(factor))
        guard high < UInt64(divisor) else { return .max }
        return Int64(clamping: UInt64(divisor).dividingFullWidth((high, low)).quotient)
    }
}
