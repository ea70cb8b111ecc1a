import FabricCore
import Testing

@Suite struct ECNTests {
    /// RFC 6040, figure 4: the packet's own mark, and what becomes of it under each of the datagram's, in the order Not-ECT,
    /// ECT(0), ECT(1), CE.
    static let figure4: [(inner: ECN, results: [ECN?])] = [
        (.notECT, [.notECT, .notECT, .notECT, nil]),
        (.ect0, [.ect0, .ect0, .ect1, .ce]),
        (.ect1, [.ect1, .ect1, .ect1, .ce]),
        (.ce, [.ce, .ce, .ce, .ce]),
    ]
    static let outer: [ECN] = [.notECT, .ect0, .ect1, .ce]

    @Test(arguments: figure4)
    func `a packet leaves its tunnel with the mark of RFC 6040's figure 4`(inner: ECN, results: [ECN?]) {
        for (outer, result) in zip(Self.outer, results) {
            #expect(inner.decapsulated(from: outer) == result, "\(inner) in \(outer)")
        }
    }

    @Test func `a mark is the low two bits of the traffic class, with RFC 3168's values`() {
        #expect([0, 1, 2, 3].map { ECN(trafficClass: $0) } == [.notECT, .ect1, .ect0, .ce])
        #expect(ECN(trafficClass: 0b1011_1010) == .ect0)
        #expect(ECN.allCases.allSatisfy { ECN(trafficClass: $0.rawValue | 0xFC) == $0 })
    }

    @Test func `a buffer forgets the mark with its contents`() {
        var buffer = PacketBuffer(packetCapacity: 100)
        var marks: [ECN] = []
        buffer.ecn = .ce
        buffer.reset()
        marks.append(buffer.ecn)
        buffer.ecn = .ce
        let isAssigned = buffer.assign([1, 2, 3])
        marks.append(buffer.ecn)
        buffer.ecn = .ce
        _ = buffer.writableArea()
        marks.append(buffer.ecn)
        #expect(isAssigned && marks == [.notECT, .notECT, .notECT])
    }
}
