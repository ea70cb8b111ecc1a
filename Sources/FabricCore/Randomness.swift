/// Where random bytes come from: the kernel, or a named seeded stream of the simulation. Handed in, never reached for.
public protocol RandomSource: AnyObject {
    func fill(_ buffer: UnsafeMutableRawBufferPointer)
}

extension RandomSource {
    public func bytes(_ count: Int) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            fill(UnsafeMutableRawBufferPointer(buffer))
            initialized = count
        }
    }

    public func uint64() -> UInt64 {
        var value: UInt64 = 0
        withUnsafeMutableBytes(of: &value) { fill($0) }
        return UInt64(littleEndian: value)
    }

    /// Uniform in `0 ..< bound`, without modulo bias. `bound` must be positive.
    public func below(_ bound: UInt64) -> UInt64 {
        precondition(bound > 0)
        while true {
            let (high, low) = uint64().multipliedFullWidth(by: bound)
            if low >= bound || low >= (0 &- bound) % bound { return high }
        }
    }

    /// Uniform in `0 ..< span`; zero for a span that is not positive.
    public func jitter(_ span: Duration) -> Duration {
        let nanoseconds = span.nanoseconds
        return nanoseconds > 0 ? .nanoseconds(Int64(below(UInt64(nanoseconds)))) : .zero
    }
}

/// xoshiro256**, seeded by SplitMix64 over (seed, stream name): one stream per node and subsystem, so that one more draw
/// in one place shifts no other. Source: Blackman and Vigna, <https://prng.di.unimi.it>. Not for production keys.
public final class SeededRandom: RandomSource {
    private var s0: UInt64, s1: UInt64, s2: UInt64, s3: UInt64

    public init(seed: UInt64, stream: String) {
        // Scrambled first, so that a bit of the seed can't cancel one of the name's first byte.
        var mix = (seed ^ (seed >> 32)) &* 0xD6E8_FEB8_6659_FD93
        for byte in stream.utf8 { mix = (mix ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 &+ 0x9E37_79B9_7F4A_7C15 }
        func next() -> UInt64 {
            mix &+= 0x9E37_79B9_7F4A_7C15
            var z = mix
            z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
            return z ^ (z >> 31)
        }
        s0 = next()
        s1 = next()
        s2 = next()
        s3 = next()
    }

    public func uint64() -> UInt64 {
        let product = s1 &* 5
        let result = ((product << 7) | (product >> 57)) &* 9
        let t = s1 << 17
        s2 ^= s0
        s3 ^= s1
        s1 ^= s2
        s0 ^= s3
        s2 ^= t
        s3 = (s3 << 45) | (s3 >> 19)
        return result
    }

    public func fill(_ buffer: UnsafeMutableRawBufferPointer) {
        var offset = 0
        while offset + 8 <= buffer.count {
            buffer.storeBytes(of: uint64().littleEndian, toByteOffset: offset, as: UInt64.self)
            offset += 8
        }
        guard offset < buffer.count else { return }
        var rest = uint64()
        while offset < buffer.count {
            buffer[offset] = UInt8(truncatingIfNeeded: rest)
            rest >>= 8
            offset += 1
        }
    }
}
