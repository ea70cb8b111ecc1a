internal import FabricCore
internal import FabricWire

/// A node whose requests fail waits longer and longer: a fleet that returns at once keeps down what it waits for.
///
/// Four kinds of request, each at least half a second after its last failure, and now and then all of them at once. A bucket
/// of 60 that empties at 8 a second holds that many times over.
struct RetriesBounded {
    private static let deepest: Int64 = 60

    private var failures = LeakyBucket(perSecond: 8, deepest: deepest)

    mutating func booted() { self = RetriesBounded() }

    /// Refusals that a person has to mend are failures too; answers are not.
    static func isFailure(_ outcome: VirtualControlClient.Outcome) -> Bool {
        switch outcome {
        case .reply(_, let reply): !reply.isSuccess
        case .failure: true
        }
    }

    mutating func failed(at now: Instant) -> String? {
        failures.add(at: now) ? "more than \(Self.deepest) of its requests have failed in a short time" : nil
    }
}
