internal import Glibc

enum ByteSearch {
    /// Whether `needle` occurs; an empty one never does.
    static func find(_ needle: [UInt8], in bytes: UnsafeRawBufferPointer) -> Bool {
        guard let first = needle.first, bytes.count >= needle.count, let base = bytes.baseAddress else { return false }
        var offset = 0
        let last = bytes.count - needle.count
        while offset <= last, let hit = memchr(base + offset, Int32(first), last - offset + 1) {
            if memcmp(hit, needle, needle.count) == 0 { return true }
            offset = base.distance(to: UnsafeRawPointer(hit)) + 1
        }
        return false
    }

    static func find(_ needle: [UInt8], in bytes: [UInt8]) -> Bool { bytes.withUnsafeBytes { find(needle, in: $0) } }
}
