import FabricCore
import Testing

@testable import Simulator

/// ECN marks on the virtual network.
@Suite struct MarkTests {
    /// A line that takes a millisecond for a packet of 1,000 bytes and lets ten wait.
    private var slow: LinkProfile {
        LinkProfile(delay: DelayDistribution(.milliseconds(1)), bandwidth: 8_000_000, queueBytes: 10_000)
    }

    /// Sends so many packets of 1,000 bytes at once and gives the marks that arrive, in order.
    private func arrive(_ count: Int, _ ecn: ECN, _ profile: LinkProfile) -> (marks: [ECN], marked: UInt64) {
        let pair = Pair(profile)
        for _ in 0..<count {
            pair.world.send(
                from: pair.ids[0], source: pair.ends[0], destination: pair.ends[1], [UInt8](repeating: 0, count: 972),
                ecn: ecn)
        }
        pair.run(.seconds(1))
        return (pair.hosts[1].marks, pair.world.network.counters.marked)
    }

    @Test(arguments: ECN.allCases) func `a datagram arrives with the mark that it was sent with`(ecn: ECN) {
        #expect(arrive(3, ecn, LinkProfile(delay: DelayDistribution(.milliseconds(1)))).marks == [ecn, ecn, ecn])
    }

    @Test(arguments: [ECN.ect0, .ect1]) func `what finds more than half of the queue full is marked, not the first`(
        ecn: ECN
    ) {
        let (marks, marked) = arrive(10, ecn, slow)
        // The backlog before each: 0, 1, 2 … packets.
        #expect(marks == [ECN](repeating: ecn, count: 6) + [ECN](repeating: .ce, count: 4))
        #expect(marked == 4)
    }

    @Test(arguments: [ECN.notECT, .ce]) func `who does not speak ECN is not marked, and who is marked not again`(
        ecn: ECN
    ) {
        let (marks, marked) = arrive(10, ecn, slow)
        #expect(marks == [ECN](repeating: ecn, count: 10) && marked == 0)
    }

    @Test func `a datagram that waits at a paused host keeps its mark`() {
        let pair = Pair(LinkProfile(delay: DelayDistribution(.milliseconds(1))))
        pair.world.pause(pair.ids[1])
        pair.world.send(from: pair.ids[0], source: pair.ends[0], destination: pair.ends[1], [1], ecn: .ect1)
        pair.run(.seconds(1))
        #expect(pair.hosts[1].marks.isEmpty)
        pair.world.resume(pair.ids[1])
        pair.run(.seconds(1))
        #expect(pair.hosts[1].marks == [.ect1])
    }
}
