import FabricCore
import FabricRuntime
import Testing

struct `How long a control plane has been at one thing` {
    /// Each of its transactions takes 15 ms by `clock`, or fails after them.
    private final class SlowStore: Store {
        struct Failure: Error {}
        var clock = Instant(nanoseconds: 1_000_000_000)
        var fails = false

        func transaction<Result>(_ body: (any Transaction) throws -> Result) throws -> Result {
            clock = clock + .milliseconds(15)
            if fails { throw Failure() }
            return try body(Idle())
        }
    }

    private final class Idle: Transaction {
        func query(_ sql: String, _ arguments: [SQLValue]) throws -> [SQLRow] { [] }
        func execute(_ sql: String, _ arguments: [SQLValue]) throws -> Int { 0 }
        func nested<Result>(_ body: () throws -> Result) throws -> Result { try body() }
    }

    @Test func `counts the transaction, not the turn that holds thousands`() throws {
        let slow = SlowStore()
        let turns = TurnWatch()
        let store = TurnStore(slow, turns) { slow.clock }
        turns.begin(slow.clock)
        var longest = Duration.zero
        for index in 0..<10_000 {
            slow.fails = index % 2 == 0
            try? store.transaction { _ in longest = max(longest, turns.busyFor(slow.clock)) }
        }
        #expect(longest == .milliseconds(15))
        #expect(turns.busyFor(slow.clock) == .zero)
        slow.clock = slow.clock + .seconds(3)
        #expect(turns.busyFor(slow.clock) == .seconds(3), "what is at no end counts")
        turns.end()
        try? store.transaction { _ in }
        slow.clock = slow.clock + .seconds(3)
        #expect(turns.busyFor(slow.clock) == .zero, "outside of a turn nobody is busy")
    }
}
