import FabricTestSupport
import Testing

@testable import FabricStorePostgres

/// NUMERIC as the server sends it in binary: it comes from outside.
@Suite struct PostgresNumericTests {
    private func words(_ words: [Int16]) -> [UInt8] {
        words.flatMap { word in withUnsafeBytes(of: word.bigEndian) { Array($0) } }
    }

    private func read(_ bytes: [UInt8]) -> Int64? { bytes.withUnsafeBytes { PostgresNumeric.integer($0) } }

    @Test(
        arguments: [
            ([0, 0, 0, 0], 0), ([1, 0, 0, 0, 7], 7), ([1, 0, 0x4000, 0, 7], -7), ([2, 1, 0, 0, 1, 2], 10_002),
            ([1, 2, 0, 0, 5], 500_000_000), ([5, 4, 0, 0, 922, 3372, 368, 5477, 5807], .max),
            ([5, 4, 0x4000, 0, 922, 3372, 368, 5477, 5808], .min), ([5, 4, 0, 0, 922, 3372, 368, 5477, 5808], nil),
            ([1, -1, 0, 4, 5000], nil), ([2, 0, 0, 1, 1, 5000], nil), ([1, 5, 0, 0, 1], nil),
            ([1, 0, 0, 0, 10_000], nil),
            ([1, 0, 0, 0, -1], nil), ([0, 0, -0x4000, 0], nil), ([-1, 0, 0, 0], nil), ([2, 1, 0, 0, 1], nil),
            ([1, 32_767, 0, 0, 1], nil),
        ] as [([Int16], Int64?)])
    func `whole numbers of 64 bits are read, and nothing else`(_ sent: [Int16], _ expected: Int64?) {
        #expect(read(words(sent)) == expected)
    }

    @Test func `no bytes make it trap`() throws {
        let corpus = [[1, 0, 0, 0, 7], [5, 4, 0x4000, 0, 922, 3372, 368, 5477, 5808], [0, -1, 0, 0]].map { words($0) }
        try Fuzz.run(corpus: corpus, seed: 3, iterations: 5_000) { bytes in
            if let value = read(bytes), value == 0 { #expect(bytes.count >= 8) }
        }
    }
}
