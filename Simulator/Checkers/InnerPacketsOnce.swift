/// No inner packet is taken twice: the counters that one key has opened, the newest 1024 of them.
struct InnerPacketsOnce {
    private static let words = 16
    /// Made at the first packet: a key that only seals needs none.
    private var ring: [UInt64] = []
    /// One more than the greatest counter opened.
    private var next: UInt64 = 0

    /// Notes a counter whose packet was authentic. False when it has been taken before. One that is too far behind to be
    /// known passes.
    @inline(__always)
    mutating func take(_ counter: UInt64) -> Bool {
        if ring.isEmpty { ring = [UInt64](repeating: 0, count: Self.words) }
        if counter >= next {
            let steps = min(counter / 64 &- (next == 0 ? 0 : (next - 1) / 64), UInt64(Self.words))
            for step in 0..<steps { ring[Int((counter / 64 &- step) % UInt64(Self.words))] = 0 }
            next = counter &+ 1
        } else if next - counter > UInt64(Self.words - 1) * 64 {
            return true
        }
        let word = Int(counter / 64 % UInt64(Self.words))
        let bit: UInt64 = 1 << (counter % 64)
        if ring[word] & bit != 0 { return false }
        ring[word] |= bit
        return true
    }
}

/// The same for a flow, whose packets carry numbers of their own, from 1.
struct SequencesOnce {
    private var seen: [UInt64] = []

    mutating func take(_ sequence: UInt64) -> Bool {
        let word = Int(sequence / 64)
        while seen.count <= word { seen.append(0) }
        let bit: UInt64 = 1 << (sequence % 64)
        if seen[word] & bit != 0 { return false }
        seen[word] |= bit
        return true
    }
}
