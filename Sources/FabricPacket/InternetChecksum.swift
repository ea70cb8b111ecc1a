/// The checksum of IP, TCP and UDP (RFC 1071).
///
/// Sums are of 16-bit words as they stand in memory, whatever the host's byte order; so is what `fold` returns, and it is
/// stored as it is. A sum of 64 KiB is far from overflowing.
public enum InternetChecksum {
    @inline(__always)
    public static func sum(_ bytes: UnsafeRawPointer, count: Int, initial: UInt64 = 0) -> UInt64 {
        var first = initial
        var second: UInt64 = 0
        var third: UInt64 = 0
        var fourth: UInt64 = 0
        var offset = 0
        while offset &+ 32 <= count {
            let a = bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            let b = bytes.loadUnaligned(fromByteOffset: offset &+ 8, as: UInt64.self)
            let c = bytes.loadUnaligned(fromByteOffset: offset &+ 16, as: UInt64.self)
            let d = bytes.loadUnaligned(fromByteOffset: offset &+ 24, as: UInt64.self)
            first &+= (a & 0xFFFF_FFFF) &+ (b & 0xFFFF_FFFF)
            second &+= (a >> 32) &+ (b >> 32)
            third &+= (c & 0xFFFF_FFFF) &+ (d & 0xFFFF_FFFF)
            fourth &+= (c >> 32) &+ (d >> 32)
            offset &+= 32
        }
        while offset &+ 2 <= count {
            first &+= UInt64(bytes.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
            offset &+= 2
        }
        if offset < count {
            first &+= UInt64(UInt16(bigEndian: UInt16(bytes.load(fromByteOffset: offset, as: UInt8.self)) << 8))
        }
        return first &+ second &+ third &+ fourth
    }

    /// The sum brought to 16 bits, carries added in; not complemented.
    @inline(__always)
    public static func fold(_ sum: UInt64) -> UInt16 {
        var sum = (sum & 0xFFFF_FFFF) &+ (sum >> 32)
        sum = (sum & 0xFFFF) &+ (sum >> 16)
        sum = (sum & 0xFFFF) &+ (sum >> 16)
        sum = (sum & 0xFFFF) &+ (sum >> 16)
        return UInt16(truncatingIfNeeded: sum)
    }

    /// A number as a word in network order adds to a sum.
    @inline(__always)
    static func word(_ value: Int) -> UInt64 { UInt64(UInt16(truncatingIfNeeded: value).bigEndian) }
}
