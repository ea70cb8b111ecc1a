public import FabricCore

/// The world's names: one truth, and what resolvers tell each host.
///
/// Resolvers answer within 1 to 20 ms, from a stream of random numbers of their own. No partition cuts hosts off from them: a
/// resolver that can't be reached is one that is silent.
public final class VirtualResolver {
    public typealias Outcome = Result<ResolvedAddresses, ResolutionFailure>

    /// What a host is told instead of the truth.
    public enum Lie: Hashable, Sendable {
        case address(IPAddress)
        case noSuchName
        case silence
        /// What was true before the last change.
        case stale
    }

    private struct Record {
        /// The newest last.
        var addresses: [IPAddress]
        var lifetime: Duration
    }

    private let random: SeededRandom
    // Both are looked up by key only.
    private var zone: [HostName: Record] = [:]
    private var lies: [HostID: Lie] = [:]
    /// Questions asked, for tests and reports.
    public private(set) var questions: UInt64 = 0

    init(random: SeededRandom) { self.random = random }

    /// From now on the name has this address.
    public func set(_ name: HostName, _ address: IPAddress, lifetime: Duration) {
        zone[name, default: Record(addresses: [], lifetime: lifetime)].addresses.append(address)
    }

    /// What resolvers tell a host from now on, whatever it asks; nil for the truth.
    public func tell(_ host: HostID, _ lie: Lie?) { lies[host] = lie }

    /// What a host is told that asks now, and how long that takes.
    func ask(_ name: HostName, for host: HostID, timeout: Duration) -> (after: Duration, Outcome) {
        questions += 1
        let delay = min(timeout, .milliseconds(1) + random.jitter(.milliseconds(19)))
        let record = zone[name]
        func found(_ address: IPAddress?) -> (Duration, Outcome) {
            guard let address else { return (delay, .failure(.noSuchName)) }
            return (
                delay, .success(ResolvedAddresses(addresses: [address], lifetime: record?.lifetime ?? .minutes(5)))
            )
        }
        switch lies[host] {
        case nil: return found(record?.addresses.last)
        case .address(let address): return found(address)
        case .noSuchName: return (delay, .failure(.noSuchName))
        case .silence: return (timeout, .failure(.timedOut))
        case .stale: return found(record?.addresses.dropLast().last ?? record?.addresses.last)
        }
    }
}
