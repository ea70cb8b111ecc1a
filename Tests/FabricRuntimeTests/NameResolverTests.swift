import FabricCore
import Synchronization
import Testing

@testable import FabricRuntime

struct NameResolverTests {
    @Test func `names in the machine's files are found`() throws {
        let found = try NameResolver.lookUp(HostName("localhost")!).get()
        #expect(found.addresses.contains(IPAddress("127.0.0.1")!) || found.addresses.contains(IPAddress("::1")!))
        #expect(found.lifetime == nil)
    }

    @Test func `a name that does not exist fails, one way or another`() {
        // RFC 6761 section 6.4; a machine without DNS says that it can't tell.
        #expect(throws: ResolutionFailure.self) { try NameResolver.lookUp(HostName("no-such-host.invalid")!).get() }
    }

    @Test func `each question has one answer, and no more lookups are under way than may be`() async {
        let resolver = NameResolver()
        let answers = Answers()
        await withCheckedContinuation { (done: CheckedContinuation<Void, Never>) in
            for _ in 0..<Answers.wanted {
                resolver.resolve(HostName("localhost")!, timeout: .seconds(30)) { outcome in
                    if answers.add(outcome) == Answers.wanted { done.resume() }
                }
            }
        }
        let failures = answers.failures
        #expect(failures.count < Answers.wanted)
        for failure in failures { #expect("\(failure)".contains("lookups")) }
    }

    private final class Answers: Sendable {
        static let wanted = 12
        private let held = Mutex<[NameResolver.Outcome]>([])

        /// How many there are now.
        func add(_ outcome: NameResolver.Outcome) -> Int {
            held.withLock { held in
                held.append(outcome)
                return held.count
            }
        }

        var failures: [ResolutionFailure] {
            held.withLock { held in
                held.compactMap { outcome in
                    if case .failure(let failure) = outcome { return failure }
                    return nil
                }
            }
        }
    }
}
