import FabricCore
import Testing

@testable import FabricPacket

@Suite struct RunTests {
    static let here = Endpoint("192.0.2.1:1")!
    static let there = Endpoint("192.0.2.2:1")!
    static var memory: UnsafeMutableRawPointer { UnsafeMutableRawPointer(bitPattern: 4096)! }

    /// Appends datagrams one behind the other; gives (count, length, size) of each run.
    private func runs(_ datagrams: [(Int, Endpoint)], joins: Bool = true) -> [[Int]] {
        var runs = DatagramRuns(capacity: 100, joins: joins)
        var offset = 0
        for (length, endpoint) in datagrams {
            runs.append(Self.memory + offset, length: length, to: endpoint)
            offset += length
        }
        return (0..<runs.count).map { [runs[$0].count, runs[$0].length, runs[$0].segmentSize] }
    }

    @Test func `equal datagrams to one address are a run that a shorter one ends`() {
        let here = Self.here
        #expect(runs([(100, here), (100, here), (60, here), (60, here)]) == [[3, 260, 100], [1, 60, 60]])
        #expect(runs([(60, here), (100, here), (100, here)]) == [[1, 60, 60], [2, 200, 100]])
        #expect(runs([(100, here), (100, Self.there), (100, here)]).count == 3)
        #expect(runs([(100, here), (100, here)], joins: false).count == 2)
    }

    @Test func `a run is at most 64 datagrams and what UDP carries`() {
        #expect(runs([(Int, Endpoint)](repeating: (50, Self.here), count: 70)) == [[64, 3200, 50], [6, 300, 50]])
        #expect(runs([(Int, Endpoint)](repeating: (1452, Self.here), count: 50)).map { $0[0] } == [45, 5])
    }

    @Test func `a run has one mark`() {
        var runs = DatagramRuns(capacity: 3, joins: true)
        let marks: [ECN] = [.ect0, .ect0, .ce, .ect0]
        for (index, ecn) in marks.enumerated() {
            runs.append(Self.memory + 10 * index, length: 10, to: Self.here, ecn: ecn)
        }
        let (counts, ecns) = ((0..<3).map { runs[$0].count }, (0..<3).map { runs[$0].ecn })
        #expect(counts == [2, 1, 1] && ecns == [.ect0, .ce, .ect0])
    }

    @Test func `datagrams with a gap between them are no run`() {
        var runs = DatagramRuns(capacity: 2, joins: true)
        runs.append(Self.memory, length: 10, to: Self.here)
        runs.append(Self.memory + 11, length: 10, to: Self.here)
        #expect(runs.count == 2 && runs.isFull)
    }
}
