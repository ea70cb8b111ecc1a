import FabricTestSupport
import Testing

@Suite struct MutatorTests {
    private struct Broken: Error {}

    @Test func `the same seed gives the same mutations, another seed others`() {
        func some(seed: UInt64) -> [[UInt8]] {
            let mutator = Mutator(seed: seed)
            return (0..<50).map { _ in mutator.mutate(Array(0..<40), corpus: [[1, 2, 3]]) }
        }
        #expect(some(seed: 1) == some(seed: 1))
        #expect(some(seed: 1) != some(seed: 2))
    }

    @Test func `mutations shorten, lengthen and change, and stay below the limit`() {
        let mutator = Mutator(seed: 1)
        let input: [UInt8] = Array(0..<64)
        let mutations = (0..<500).map { _ in mutator.mutate(input, corpus: [[200, 201]]) }
        #expect(mutations.contains { $0.count < input.count })
        #expect(mutations.contains { $0.count > input.count })
        #expect(mutations.contains { $0.count == input.count && $0 != input })
        #expect(mutations.contains { $0.contains(201) && $0.starts(with: [0, 1]) }, "no splice")
        let long = [UInt8](repeating: 0, count: Mutator.maximumLength)
        #expect((0..<20).allSatisfy { _ in mutator.mutate(long, corpus: [long]).count <= Mutator.maximumLength })
        #expect((0..<20).allSatisfy { _ in mutator.mutate([], corpus: []).count <= Mutator.maximumLength })
    }

    @Test func `a run tries the corpus first and reports what broke`() throws {
        var seen: [[UInt8]] = []
        try Fuzz.run(corpus: [[1], [2]], seed: 1, iterations: 10) { seen.append($0) }
        #expect(seen.starts(with: [[1], [2]]))
        #expect(seen.count >= 2)
        let failure = #expect(throws: FuzzFailure.self) {
            try Fuzz.run(corpus: [[0xAB, 0xCD]], seed: 3, iterations: 1) { _ in throw Broken() }
        }
        #expect(failure?.iteration == -1)
        #expect(failure?.input == [0xAB, 0xCD])
        #expect(failure?.description.contains("abcd") == true)
    }
}
