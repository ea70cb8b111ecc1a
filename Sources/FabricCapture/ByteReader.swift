/// Reads big-endian fields from bytes that nobody vouches for: every read is checked, and past the end there is nil.
struct ByteReader {
    private let bytes: UnsafeRawBufferPointer
    /// Where the next field begins, counted from the start of the buffer.
    private(set) var offset: Int
    /// The end of what may be read.
    private(set) var end: Int

    init(_ bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
        offset = 0
        end = bytes.count
    }

    var remaining: Int { end - offset }

    mutating func uint8() -> UInt8? {
        guard remaining >= 1 else { return nil }
        defer { offset += 1 }
        return bytes[offset]
    }

    mutating func uint16() -> UInt16? {
        guard remaining >= 2 else { return nil }
        defer { offset += 2 }
        return UInt16(bytes[offset]) << 8 | UInt16(bytes[offset + 1])
    }

    mutating func uint32() -> UInt32? {
        guard let high = uint16(), let low = uint16() else { return nil }
        return UInt32(high) << 16 | UInt32(low)
    }

    mutating func uint64() -> UInt64? {
        guard let high = uint32(), let low = uint32() else { return nil }
        return UInt64(high) << 32 | UInt64(low)
    }

    /// Nil, and nothing moves, when fewer than `count` bytes are left.
    mutating func skip(_ count: Int) -> Void? {
        guard count >= 0, remaining >= count else { return nil }
        offset += count
        return ()
    }

    /// Leaves at most `count` bytes to read; nil when there are fewer.
    mutating func limit(to count: Int) -> Void? {
        guard count >= 0, remaining >= count else { return nil }
        end = offset + count
        return ()
    }

    /// A reader of the next `count` bytes alone, which this one passes over.
    mutating func part(_ count: Int) -> ByteReader? {
        var part = self
        guard part.limit(to: count) != nil, skip(count) != nil else { return nil }
        return part
    }
}
