internal import FabricCore

/// Which counters of a session have been received: a sliding window of 8,128 over a ring of bits (RFC 6479).
///
/// The first 64 counters need one word, and most sessions end before: the ring, in memory of its own, is made by the first
/// counter behind them. A session is moved, its ring is not.
package struct ReplayWindow: ~Copyable {
    static let bits: UInt64 = 8192
    /// One word of the ring is being cleared while the others are in use.
    package static let size = bits - 64
    private static let words = Int(bits / 64)

    /// Nil while `first` holds all that was received.
    private var ring: UnsafeMutablePointer<UInt64>?
    private var first: UInt64 = 0
    /// One more than the greatest counter received; 0 before the first.
    private var next: UInt64 = 0

    package init() {}

    deinit { ring?.deallocate() }

    /// True when `counter` is neither behind the window nor received. It costs nothing next to decryption, so that a
    /// replayed packet is refused before.
    @inline(__always)
    package func admits(_ counter: UInt64) -> Bool {
        if counter >= next { return true }
        if planted(.replayWindowForgetsNewest), counter &+ 1 == next { return true }
        guard let ring else { return first & (1 << counter) == 0 }
        guard next - counter <= ReplayWindow.size else { return false }
        return ring[word(counter)] & (1 << (counter & 63)) == 0
    }

    /// Notes a counter that `admits` has passed and whose packet is authentic.
    @inline(__always)
    package mutating func insert(_ counter: UInt64) {
        guard let ring = ring ?? makeRing(for: counter) else {
            first |= 1 << counter
            next = max(next, counter &+ 1)
            return
        }
        if counter >= next {
            // The words between the old top and the new one hold counters of a window ago.
            let from = next == 0 ? 0 : (next - 1) >> 6 + 1
            let to = counter >> 6
            if to >= from {
                let count = Int(min(to - from + 1, UInt64(ReplayWindow.words)))
                for offset in 0..<count { ring[(Int(truncatingIfNeeded: to) - offset) & (ReplayWindow.words - 1)] = 0 }
            }
            next = counter &+ 1
        }
        ring[word(counter)] |= 1 << (counter & 63)
    }

    /// Nil while the counter fits the first word.
    @inline(never)
    private mutating func makeRing(for counter: UInt64) -> UnsafeMutablePointer<UInt64>? {
        if counter < 64 { return nil }
        let made = UnsafeMutablePointer<UInt64>.allocate(capacity: ReplayWindow.words)
        made.initialize(repeating: 0, count: ReplayWindow.words)
        made[0] = first
        ring = made
        return made
    }

    @inline(__always)
    private func word(_ counter: UInt64) -> Int { Int(truncatingIfNeeded: counter >> 6) & (ReplayWindow.words - 1) }
}
