internal import FabricCore

/// Seeded mutations of byte strings, for tests of parsers of outside bytes. The same seed gives the same mutations.
///
/// Each mutation applies one to four of: a flipped bit, a byte set to a boundary value, a truncation at either end, an
/// insertion, a removed range, a repeated range, a splice with another member of the corpus, and a 16- or 32-bit field
/// overwritten with a boundary value (in either byte order), which is what length fields fall to.
public struct Mutator {
    /// No mutation makes its input longer than this.
    public static let maximumLength = 1 << 17

    private static let boundaryBytes: [UInt8] = [
        0x00, 0x01, 0x20, 0x22, 0x2D, 0x2F, 0x5C, 0x7B, 0x7F, 0x80, 0xC0, 0xFE, 0xFF,
    ]
    private static let boundaryWords: [UInt32] = [
        0, 1, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x1_0000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF,
    ]

    private let random: SeededRandom

    public init(seed: UInt64) { random = SeededRandom(seed: seed, stream: "mutator") }

    /// A mutation of `input`; splices take the other half from `corpus`. With `words`, such as a language's keywords, half
    /// of the mutations put in one of them instead, in the place of a few bytes or between two.
    public func mutate(_ input: [UInt8], corpus: [[UInt8]], words: [[UInt8]] = []) -> [UInt8] {
        var bytes = input
        for _ in 0...below(4) {
            if !words.isEmpty, below(2) == 0 {
                let start = below(bytes.count + 1)
                let end = min(bytes.count, start + below(8))
                bytes.replaceSubrange(start..<end, with: words[below(words.count)])
            } else {
                apply(to: &bytes, corpus: corpus)
            }
        }
        if bytes.count > Mutator.maximumLength { bytes.removeLast(bytes.count - Mutator.maximumLength) }
        return bytes
    }

    /// Random bytes, 0 to `maximumCount` of them.
    public func noise(maximumCount: Int) -> [UInt8] { random.bytes(below(maximumCount + 1)) }

    /// Uniform in `0 ..< bound`.
    public func below(_ bound: Int) -> Int { Int(random.below(UInt64(bound))) }

    private func apply(to bytes: inout [UInt8], corpus: [[UInt8]]) {
        if bytes.isEmpty {
            bytes = noise(maximumCount: 16)
            return
        }
        switch below(9) {
        case 0: bytes[below(bytes.count)] ^= 1 << UInt8(below(8))
        case 1: bytes[below(bytes.count)] = Mutator.boundaryBytes[below(Mutator.boundaryBytes.count)]
        case 2: bytes.removeLast(1 + below(bytes.count))
        case 3: bytes.removeFirst(1 + below(bytes.count))
        case 4: bytes.insert(contentsOf: noise(maximumCount: 16), at: below(bytes.count + 1))
        case 5: bytes.removeSubrange(range(in: bytes))
        case 6:
            let repeated = Array(bytes[range(in: bytes)])
            let at = below(bytes.count + 1)
            for _ in 0...below(8) where bytes.count <= Mutator.maximumLength {
                bytes.insert(contentsOf: repeated, at: at)
            }
        case 7:
            guard !corpus.isEmpty else { return }
            let other = corpus[below(corpus.count)]
            bytes = Array(bytes[..<below(bytes.count + 1)]) + other[below(other.count + 1)...]
        default: overwriteField(in: &bytes)
        }
    }

    private func overwriteField(in bytes: inout [UInt8]) {
        let width = below(2) == 0 ? 2 : 4
        guard bytes.count >= width else { return }
        let at = below(bytes.count - width + 1)
        let value = Mutator.boundaryWords[below(Mutator.boundaryWords.count)]
        let bigEndian = below(2) == 0
        for index in 0..<width {
            let shift = UInt32(8 * (bigEndian ? width - 1 - index : index))
            bytes[at + index] = UInt8(truncatingIfNeeded: value >> shift)
        }
    }

    /// A range of 1 to 64 bytes.
    private func range(in bytes: [UInt8]) -> Range<Int> {
        let start = below(bytes.count)
        return start..<start + 1 + below(min(64, bytes.count - start))
    }
}
