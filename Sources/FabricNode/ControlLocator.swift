internal import FabricCore

/// Where the control plane is, when it is known by name.
///
/// A name says where to look; the certificate alone says who is there. So an address that has answered, with the right
/// certificate, is *proven* and kept (also on disk) whatever a resolver says later, and every other address is a candidate:
/// it is tried, and left again when nobody or somebody else is there. A resolver that lies costs time, and nothing else.
///
/// ```
/// lookup ──answered──▶ candidates: the addresses of the answer, then the proven one
///    ▲                     │ tried in turn; one that replies is proven
///    └──── a round without a reply, or the answer's lifetime is over
/// ```
struct ControlLocator {
    /// Addresses of one answer; what is beyond is not tried.
    static let maximumAddresses = 8
    static let lookupTimeout = Duration.seconds(5)
    /// While nothing answers, lookups are no closer than this.
    static let shortestPause = Duration.seconds(5)
    /// While nothing answers, the name is looked up again so long after the last time, whatever requests do.
    static let pauseWhileFailing = Duration.seconds(10)
    /// Answers are relied on for at least and at most so long, and for `usualLifetime` when they don't tell.
    static let lifetimes: ClosedRange<Duration> = .seconds(60)...(.seconds(3600))
    static let usualLifetime = Duration.minutes(5)
    /// How long a connection to one address may take: longer when there is no other.
    static let connectTimeout = Duration.seconds(10)
    static let connectTimeoutOfSeveral = Duration.seconds(3)

    enum Failed: Hashable {
        /// Ask the same address later, as it is.
        case stay
        /// Ask this one at once.
        case tryNext(Endpoint)
        /// All were tried: look the name up, back off, and begin with this one.
        case roundOver(Endpoint)
    }

    let name: HostName
    let port: UInt16
    /// Where the control plane answered last.
    private(set) var proven: Endpoint?
    private var candidates: [Endpoint] = []
    private var position = 0
    /// Candidates that failed since one answered, or since there are new ones.
    private var failures = 0
    /// The last request to the present address, or the one before it, failed.
    private var isFailing = false
    private var lookup: ResolutionNumber?
    private var lastLookup: Instant?
    /// When the name is looked up next, whatever happens before.
    private(set) var due: Instant?

    /// `known` is where the control plane answered in an earlier life.
    init(name: HostName, port: UInt16, known: Endpoint?) {
        self.name = name
        self.port = port
        proven = known
        candidates = known.map { [$0] } ?? []
    }

    /// Where requests go; nil before the first answer.
    var current: Endpoint? { candidates.isEmpty ? nil : candidates[position] }

    var connectTimeout: Duration { candidates.count > 1 ? Self.connectTimeoutOfSeveral : Self.connectTimeout }

    // MARK: Lookups

    func isDue(_ now: Instant) -> Bool { lookup == nil && due.map { $0 <= now } ?? false }

    var isLookingUp: Bool { lookup != nil }

    /// The next lookup comes as soon as it may.
    mutating func lookUpSoon(_ now: Instant) {
        let earliest = max(now, lastLookup.map { $0 + Self.shortestPause } ?? now)
        due = min(due ?? .distantFuture, earliest)
    }

    mutating func lookupBegan(_ number: ResolutionNumber, _ now: Instant) {
        lookup = number
        lastLookup = now
        due = nil
    }

    /// False for the answer to a question that nobody asks any more.
    mutating func lookupEnded(_ number: ResolutionNumber) -> Bool {
        guard lookup == number else { return false }
        lookup = nil
        return true
    }

    /// Takes an answer that is not empty. Gives the address to go to when it is not the present one.
    ///
    /// An answer that names the present address changes nothing as long as that one answers. Any other answer is tried:
    /// the control plane may have moved. The proven address stays the last resort.
    mutating func answered(_ answer: ResolvedAddresses, now: Instant, random: any RandomSource) -> Endpoint? {
        plan(answer.lifetime ?? Self.usualLifetime, now, random)
        var given: [Endpoint] = []
        for address in answer.addresses where given.count < Self.maximumAddresses {
            let endpoint = Endpoint(address: address, port: port)
            if !given.contains(endpoint) { given.append(endpoint) }
        }
        precondition(!given.isEmpty, "an answer without addresses is a failure")
        let before = current
        let fresh = given.first { !candidates.contains($0) }
        candidates = given
        if let proven, !given.contains(proven) { candidates.append(proven) }
        if let before, given.contains(before), !isFailing || fresh == nil {
            position = candidates.firstIndex(of: before)!
            return nil
        }
        let next = fresh ?? given[0]
        position = candidates.firstIndex(of: next)!
        failures = 0
        return next == before ? nil : next
    }

    /// A lookup failed: what is known stays.
    mutating func lookupFailed(now: Instant, random: any RandomSource) {
        plan(Self.lifetimes.lowerBound, now, random)
    }

    private mutating func plan(_ lifetime: Duration, _ now: Instant, _ random: any RandomSource) {
        if isFailing {
            due = now + Self.pauseWhileFailing
            return
        }
        let kept = min(max(lifetime, Self.lifetimes.lowerBound), Self.lifetimes.upperBound)
        due = now + kept - random.jitter(kept / 10)
    }

    // MARK: Requests

    /// The control plane replied at the present address. True when that is news.
    mutating func replied() -> Bool {
        failures = 0
        isFailing = false
        // What was planned while it failed can wait.
        if let lastLookup { due = max(due ?? lastLookup, lastLookup + Self.lifetimes.lowerBound) }
        guard current != proven else { return false }
        proven = current
        return true
    }

    /// A request failed in a way that speaks against the present address.
    mutating func failed() -> Failed {
        guard !candidates.isEmpty else { return .stay }
        failures += 1
        isFailing = true
        position = (position + 1) % candidates.count
        if failures < candidates.count { return .tryNext(candidates[position]) }
        failures = 0
        return .roundOver(candidates[position])
    }
}

extension ControlFailure {
    /// It may be another address that is the right one. A lost answer was on its way from the right one.
    var speaksAgainstAddress: Bool {
        switch self {
        case .unreachable, .timedOut, .untrusted: true
        case .answerLost: false
        }
    }
}
