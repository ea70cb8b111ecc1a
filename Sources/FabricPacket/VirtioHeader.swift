/// What stands before each packet of a TUN device with offloads (`struct virtio_net_hdr`, virtio 1.2, section 5.1.6; 10 bytes,
/// in the host's byte order).
///
/// ```
/// offset  size  field
///      0     1  flags: 1 = the checksum is to be completed from `checksumStart` on
///      1     1  what kind of super-packet: 0 none, 1 TCP over IPv4, 4 TCP over IPv6, 5 UDP; + 128 TCP with ECN
///      2     2  length of all headers; a hint, not relied upon
///      4     2  payload bytes of each segment but the last
///      6     2  where the transport header begins, counted from the IP header
///      8     2  where its checksum stands, counted from there
/// ```
public struct VirtioHeader: Hashable, Sendable {
    public static let length = 10

    static let needsChecksum: UInt8 = 1
    static let ecn: UInt8 = 128

    /// What a packet is to be split into.
    public enum Segmentation: UInt8, Sendable {
        case none = 0
        case tcp4 = 1
        case tcp6 = 4
        case udp = 5
    }

    public var flags: UInt8
    public var type: UInt8
    public var headerLength: UInt16
    public var segmentSize: UInt16
    public var checksumStart: UInt16
    public var checksumOffset: UInt16

    public init(
        flags: UInt8 = 0, type: UInt8 = 0, headerLength: UInt16 = 0, segmentSize: UInt16 = 0,
        checksumStart: UInt16 = 0, checksumOffset: UInt16 = 0
    ) {
        self.flags = flags
        self.type = type
        self.headerLength = headerLength
        self.segmentSize = segmentSize
        self.checksumStart = checksumStart
        self.checksumOffset = checksumOffset
    }

    /// Reads the 10 bytes at `bytes`.
    @inline(__always)
    public init(_ bytes: UnsafeRawPointer) {
        flags = bytes.load(as: UInt8.self)
        type = bytes.load(fromByteOffset: 1, as: UInt8.self)
        headerLength = bytes.loadUnaligned(fromByteOffset: 2, as: UInt16.self)
        segmentSize = bytes.loadUnaligned(fromByteOffset: 4, as: UInt16.self)
        checksumStart = bytes.loadUnaligned(fromByteOffset: 6, as: UInt16.self)
        checksumOffset = bytes.loadUnaligned(fromByteOffset: 8, as: UInt16.self)
    }

    /// Writes 10 bytes.
    @inline(__always)
    public func write(to bytes: UnsafeMutableRawPointer) {
        bytes.storeBytes(of: flags, as: UInt8.self)
        bytes.storeBytes(of: type, toByteOffset: 1, as: UInt8.self)
        bytes.storeBytes(of: headerLength, toByteOffset: 2, as: UInt16.self)
        bytes.storeBytes(of: segmentSize, toByteOffset: 4, as: UInt16.self)
        bytes.storeBytes(of: checksumStart, toByteOffset: 6, as: UInt16.self)
        bytes.storeBytes(of: checksumOffset, toByteOffset: 8, as: UInt16.self)
    }

    @inline(__always)
    var needsChecksum: Bool { flags & VirtioHeader.needsChecksum != 0 }

    /// Nil for a kind that was not asked for, such as UDP fragmentation.
    @inline(__always)
    public var segmentation: Segmentation? { Segmentation(rawValue: type & ~VirtioHeader.ecn) }
}
