/// One packet in memory that its driver owns, with room before and behind it. The memory is the buffer's own, or a part of
/// something larger that it is a view of.
///
/// ```
/// base                 start            start+count              capacity
///  |  headroom          |  contents      |  tailroom              |
/// ```
/// Layers move `start` and `count`, never bytes. The headroom holds what goes before an IP packet on its way out:
/// relay prefix (8), transport header (16). The tailroom holds padding (at most 15) and the AEAD tag (16).
public struct PacketBuffer: ~Copyable {
    public static let headroom = 64
    public static let tailroom = 32
    /// The largest IP packet that a buffer holds.
    public static let maximumPacket = 65_535

    @usableFromInline let base: UnsafeMutableRawPointer
    public let capacity: Int
    public var start: Int
    public var count: Int
    /// Of the IP header that is not here: what the datagram in the buffer came with, or is to be sent with.
    public var ecn = ECN.notECT
    private let ownsMemory: Bool

    /// Allocates room for a packet of `packetCapacity` bytes. Drivers do so once, at start-up.
    public init(packetCapacity: Int) {
        precondition((0...PacketBuffer.maximumPacket).contains(packetCapacity))
        capacity = PacketBuffer.headroom + packetCapacity + PacketBuffer.tailroom
        base = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 16)
        start = PacketBuffer.headroom
        count = 0
        ownsMemory = true
    }

    /// A view of `capacity` bytes at `memory`, which outlive it; `count` of them, from `start` on, are the contents. What was
    /// said of headroom and tailroom holds as far as there is room: layers ask before they grow the contents.
    public init(viewing memory: UnsafeMutableRawPointer, capacity: Int, start: Int, count: Int) {
        precondition(start >= 0 && count >= 0 && start + count <= capacity)
        base = memory
        self.capacity = capacity
        self.start = start
        self.count = count
        ownsMemory = false
    }

    deinit { if ownsMemory { base.deallocate() } }

    /// The room for contents when nothing precedes them.
    @inlinable public var packetCapacity: Int { max(0, capacity - PacketBuffer.headroom - PacketBuffer.tailroom) }

    /// Forgets the contents.
    @inlinable public mutating func reset() {
        start = min(PacketBuffer.headroom, capacity)
        count = 0
        ecn = .notECT
    }

    /// The contents, valid while the buffer is borrowed.
    @inlinable public var bytes: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: base + start, count: count)
    }

    /// Where contents of up to `packetCapacity` bytes may be written; set `count` afterwards.
    @inlinable public mutating func writableArea() -> UnsafeMutableRawBufferPointer {
        start = min(PacketBuffer.headroom, capacity)
        ecn = .notECT
        return UnsafeMutableRawBufferPointer(start: base + start, count: packetCapacity)
    }

    /// Replaces the contents. False, and nothing changes, when they do not fit.
    public mutating func assign(_ source: UnsafeRawBufferPointer) -> Bool {
        guard source.count <= packetCapacity else { return false }
        start = min(PacketBuffer.headroom, capacity)
        count = source.count
        ecn = .notECT
        bytes.copyMemory(from: source)
        return true
    }

    public mutating func assign(_ source: [UInt8]) -> Bool { source.withUnsafeBytes { assign($0) } }

    /// Grows the contents at the front. The caller has asked for no more than the headroom left.
    @inlinable public mutating func prepend(_ bytes: Int) {
        precondition(bytes <= start)
        start -= bytes
        count += bytes
    }

    /// Grows the contents at the back.
    @inlinable public mutating func append(_ bytes: Int) {
        precondition(start + count + bytes <= capacity)
        count += bytes
    }

    @inlinable public mutating func dropFirst(_ bytes: Int) {
        precondition(bytes <= count)
        start += bytes
        count -= bytes
    }

    @inlinable public mutating func dropLast(_ bytes: Int) {
        precondition(bytes <= count)
        count -= bytes
    }
}
