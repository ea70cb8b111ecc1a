import FabricCore
import Testing

@Suite struct ReconciliationTests {
    @Test func `who is in both stays, who is only in the former goes, who is only in the wanted comes`() {
        let change = Reconciliation(former: ["a", "b", "c", "d"], wanted: ["d", "x", "b", "y"])
        #expect(change.wanted.map(\.key) == ["d", "x", "b", "y"])
        #expect(change.wanted.map(\.place) == [3, nil, 1, nil])
        #expect(change.gone == [0, 2])
    }

    @Test func `who is wanted twice is there once, where it came first`() {
        let change = Reconciliation(former: ["a"], wanted: ["b", "a", "b", "a"])
        #expect(change.wanted.map(\.key) == ["b", "a"])
        #expect(change.wanted.map(\.place) == [nil, 0] && change.gone.isEmpty)
    }

    @Test func `nothing is wanted, and there is nothing`() {
        #expect(Reconciliation(former: [1, 2], wanted: []).gone == [0, 1])
        #expect(Reconciliation(former: [], wanted: [1]).wanted.map(\.place) == [nil])
    }

    @Test func `it agrees with a search through the lists`() {
        let random = SeededRandom(seed: 5, stream: "lists")
        for _ in 0..<200 {
            let former = (0..<30).filter { _ in random.below(2) == 0 }
            let wanted = (0..<20).map { _ in Int(random.below(30)) }
            let change = Reconciliation(former: former, wanted: wanted)
            var expected: [Int] = []
            for key in wanted where !expected.contains(key) { expected.append(key) }
            #expect(change.wanted.map(\.key) == expected)
            #expect(change.wanted.map(\.place) == expected.map { former.firstIndex(of: $0) })
            #expect(change.gone == former.indices.filter { !wanted.contains(former[$0]) })
        }
    }

    /// A key that counts how often it is hashed and compared.
    private struct Counted: Hashable {
        final class Work { var count = 0 }

        let value: Int
        let work: Work

        static func == (a: Counted, b: Counted) -> Bool {
            a.work.count += 1
            return a.value == b.value
        }

        func hash(into hasher: inout Hasher) {
            work.count += 1
            value.hash(into: &hasher)
        }
    }

    @Test(arguments: [100, 1_000, 10_000]) func `the work for a key does not grow with their number`(count: Int) {
        let work = Counted.Work()
        let former = (0..<count).map { Counted(value: $0, work: work) }
        let wanted = (count / 2..<count + count / 2).map { Counted(value: $0, work: work) }
        let change = Reconciliation(former: former, wanted: wanted)
        #expect(change.gone.count == count / 2)
        // Hashed when put in, looked up and when a table grows; compared when found, and where two hashes meet.
        #expect(work.count <= 16 * count, "\(work.count) for \(count) keys")
    }
}
