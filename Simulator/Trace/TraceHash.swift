/// 128 bits of rolling state over 64-bit words: two lanes of folded multiplications, each fed from the other.
///
/// Not cryptographic. Its value depends on the words alone: the same in every process, build and machine.
public struct TraceHash: Hashable, Sendable, CustomStringConvertible {
    public private(set) var a: UInt64
    public private(set) var b: UInt64

    public init() {
        a = 0x6A09_E667_F3BC_C908
        b = 0xBB67_AE85_84CA_A73B
    }

    @inline(__always)
    mutating func absorb(_ word: UInt64) {
        a = TraceHash.fold(a ^ word, 0x9FB2_1C65_1E98_DF25) &+ b
        b = TraceHash.fold(b ^ (word << 32 | word >> 32), 0xD6E8_FEB8_6659_FD93) ^ (a << 29 | a >> 35)
    }

    /// Both halves of the 128-bit product, so that high bits reach low ones: a plain product lets a flipped top bit be
    /// undone by one bit of the next word.
    @inline(__always)
    private static func fold(_ x: UInt64, _ y: UInt64) -> UInt64 {
        let product = x.multipliedFullWidth(by: y)
        return product.high ^ product.low
    }

    /// Two 64-bit digests of a byte string, in two lanes so that the multiplications overlap.
    static func digest(_ bytes: UnsafeRawBufferPointer) -> (UInt64, UInt64) {
        var x = 0x9E37_79B9_7F4A_7C15 ^ UInt64(bytes.count)
        var y = 0xC2B2_AE3D_27D4_EB4F &+ UInt64(bytes.count)
        guard let base = bytes.baseAddress else { return (x, y) }
        var offset = 0
        let whole = bytes.count & ~15
        while offset < whole {
            let first = UInt64(littleEndian: base.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            let second = UInt64(littleEndian: base.loadUnaligned(fromByteOffset: offset &+ 8, as: UInt64.self))
            x = fold(x ^ first, 0x9FB2_1C65_1E98_DF25)
            y = fold(y ^ second ^ (first << 23 | first >> 41), 0xD6E8_FEB8_6659_FD93)
            offset &+= 16
        }
        var first: UInt64 = 0
        var second: UInt64 = 0
        var shift: UInt64 = 0
        while offset < bytes.count {
            if shift < 64 {
                first |= UInt64(bytes[offset]) << shift
            } else {
                second |= UInt64(bytes[offset]) << (shift - 64)
            }
            shift &+= 8
            offset &+= 1
        }
        x = fold(x ^ first, 0x9FB2_1C65_1E98_DF25)
        y = fold(y ^ second ^ (first << 23 | first >> 41), 0xD6E8_FEB8_6659_FD93)
        return (x, y)
    }

    /// 32 hexadecimal digits.
    public var description: String {
        func hex(_ value: UInt64) -> String {
            let digits = String(value, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }
        return hex(a) + hex(b)
    }

    /// Reads what `description` wrote.
    public init?(_ text: String) {
        let utf8 = Array(text.utf8)
        guard utf8.count == 32, utf8.allSatisfy({ (48...57).contains($0) || (97...102).contains($0) }),
            let a = UInt64(text.prefix(16), radix: 16), let b = UInt64(text.suffix(16), radix: 16)
        else { return nil }
        self.a = a
        self.b = b
    }
}
