/// Where the fields stand that splitting and coalescing read and write.
///
/// ```
/// IPv4 (RFC 791):  0 version, IHL   1 TOS   2 total length   4 id   6 flags, fragment   8 TTL   9 protocol   10 checksum
///                  12 source   16 destination   20 options
/// IPv6 (RFC 8200): 0 version, class, flow   4 payload length   6 next header   7 hop limit   8 source   24 destination
/// TCP (RFC 9293):  0 ports   4 sequence   8 acknowledgement   12 offset   13 flags   14 window   16 checksum   18 urgent
/// UDP (RFC 768):   0 ports   4 length   6 checksum
/// ```
enum IPLayout {
    static let v4Header = 20
    static let v6Header = 40
    static let tcpHeader = 20
    static let udpHeader = 8
    static let tcp: UInt8 = 6
    static let udp: UInt8 = 17
    static let tcpChecksum = 16
    static let udpChecksum = 6
    static let longestPacket = 65_535
}

enum TCPFlags {
    static let fin: UInt8 = 0x01
    static let push: UInt8 = 0x08
    static let acknowledge: UInt8 = 0x10
    static let congestionWindowReduced: UInt8 = 0x80
}

extension UnsafeRawPointer {
    @inline(__always)
    func byte(_ offset: Int) -> UInt8 { load(fromByteOffset: offset, as: UInt8.self) }

    @inline(__always)
    func big16(_ offset: Int) -> UInt16 { UInt16(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt16.self)) }

    @inline(__always)
    func big32(_ offset: Int) -> UInt32 { UInt32(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt32.self)) }

    @inline(__always)
    func raw16(_ offset: Int) -> UInt16 { loadUnaligned(fromByteOffset: offset, as: UInt16.self) }

    @inline(__always)
    func raw32(_ offset: Int) -> UInt32 { loadUnaligned(fromByteOffset: offset, as: UInt32.self) }

    @inline(__always)
    func raw64(_ offset: Int) -> UInt64 { loadUnaligned(fromByteOffset: offset, as: UInt64.self) }
}

extension UnsafeMutableRawPointer {
    @inline(__always)
    func storeBig16(_ value: Int, _ offset: Int) {
        storeBytes(of: UInt16(truncatingIfNeeded: value).bigEndian, toByteOffset: offset, as: UInt16.self)
    }

    @inline(__always)
    func storeRaw16(_ value: UInt16, _ offset: Int) { storeBytes(of: value, toByteOffset: offset, as: UInt16.self) }

    /// Writes the header checksum of the IPv4 header here.
    @inline(__always)
    func sealIPv4Header(length: Int) {
        storeRaw16(0, 10)
        storeRaw16(~InternetChecksum.fold(InternetChecksum.sum(self, count: length)), 10)
    }
}
