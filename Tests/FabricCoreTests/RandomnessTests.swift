import FabricCore
import Testing

@Suite struct RandomnessTests {
    @Test func `the empty stream of seed zero is the published xoshiro256 sequence`() {
        // xoshiro256** seeded by SplitMix64 from 0, as other implementations print it.
        let random = SeededRandom(seed: 0, stream: "")
        let words = (0..<4).map { _ in random.uint64() }
        #expect(words == [0x99EC_5F36_CB75_F2B4, 0xBF6E_1F78_4956_452A, 0x1A5F_849D_4933_E6E0, 0x6AA5_94F1_262D_2D2C])
    }

    @Test func `named streams have fixed values`() {
        // From a second implementation of the seeding.
        let first = SeededRandom(seed: 1, stream: "node-1/tunnel")
        #expect((0..<2).map { _ in first.uint64() } == [0x50E1_9994_B48F_621D, 0xB2DC_30C5_0501_6552])
        let second = SeededRandom(seed: .max, stream: "x")
        #expect((0..<2).map { _ in second.uint64() } == [0x4D56_8A3D_D467_9689, 0x6E23_8945_F60B_FDB1])
    }

    @Test func `streams of other names and seeds differ, also when seed and name differ in the same bit`() {
        var seen: Set<UInt64> = []
        for seed in UInt64(0)..<32 {
            for name in ["", "a", "b", "aa", "ab", "ba", "`", "node-1", "node-2", "node-1/a", "node-11"] {
                let first = SeededRandom(seed: seed, stream: name).uint64()
                #expect(seen.insert(first).inserted, "seed \(seed), stream “\(name)”")
            }
        }
    }

    @Test func `drawing from one stream shifts no other`() {
        let undisturbed = SeededRandom(seed: 9, stream: "b").bytes(64)
        let a = SeededRandom(seed: 9, stream: "a")
        let b = SeededRandom(seed: 9, stream: "b")
        var mixed: [UInt8] = []
        for _ in 0..<8 {
            _ = a.bytes(13)
            mixed += b.bytes(8)
        }
        #expect(mixed == undisturbed)
    }

    @Test func `bytes are the words in little-endian order, cut at any length`() {
        let whole = SeededRandom(seed: 3, stream: "s").bytes(32)
        let random = SeededRandom(seed: 3, stream: "s")
        let words = (0..<4).flatMap { _ in
            let word = random.uint64()
            return (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(8 * $0)) }
        }
        #expect(whole == words)
        for count in 0...32 {
            #expect(SeededRandom(seed: 3, stream: "s").bytes(count) == Array(whole.prefix(count)))
        }
    }

    @Test(
        "draws below a bound stay below it and reach all of a small range",
        arguments: [1, 2, 3, 5, 7, 10, 64, 100] as [UInt64])
    func belowSmallBounds(bound: UInt64) {
        let random = SeededRandom(seed: 4, stream: "below")
        var counts = [Int](repeating: 0, count: Int(bound))
        let draws = 1000 * Int(bound)
        for _ in 0..<draws { counts[Int(random.below(bound))] += 1 }
        // Each count has mean 1000 and a standard deviation below 32; six of them leave no room for chance.
        #expect(counts.allSatisfy { (810...1190).contains($0) }, "\(counts)")
    }

    @Test func `a bound that is no power of two has no bias`() {
        // With a plain remainder a third of the values would come twice as often as the others.
        let bound = UInt64.max / 3 * 2
        let random = SeededRandom(seed: 5, stream: "bias")
        var lower = 0
        for _ in 0..<3000 {
            let value = random.below(bound)
            #expect(value < bound)
            if value < bound / 2 { lower += 1 }
        }
        #expect((1330...1670).contains(lower), "\(lower) of 3000 in the lower half")
    }

    @Test func `the largest bounds and scripted words are drawn exactly`() {
        /// Words in the order given.
        final class Scripted: RandomSource {
            var words: [UInt64]
            init(_ words: [UInt64]) { self.words = words }
            func fill(_ buffer: UnsafeMutableRawBufferPointer) {
                let word = words.removeFirst().littleEndian
                withUnsafeBytes(of: word) {
                    buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[..<buffer.count]))
                }
            }
        }
        #expect(Scripted([.max]).below(.max) == UInt64.max - 1)
        #expect(Scripted([1 << 63]).below(2) == 1)
        #expect(Scripted([(1 << 63) - 1]).below(2) == 0)
        // 2^64 mod 3 is 1: the word 0 is refused, the next is taken.
        let refused = Scripted([0, .max])
        #expect(refused.below(3) == 2)
        #expect(refused.words == [])
    }

    @Test func `jitter lies within its span, and is nothing for none`() {
        let random = SeededRandom(seed: 6, stream: "jitter")
        for _ in 0..<200 {
            let jitter = random.jitter(.milliseconds(5))
            #expect(jitter >= .zero && jitter < .milliseconds(5))
        }
        #expect(random.jitter(.zero) == .zero)
        #expect(random.jitter(.seconds(-1)) == .zero)
        #expect(random.jitter(.nanoseconds(1)) == .zero)
    }
}
