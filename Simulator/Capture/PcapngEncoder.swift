public import FabricCore

/// Blocks of a capture file in the pcapng format, little-endian, every block padded to 32 bits.
///
/// ```
/// block      type u32 | total length u32 | body | total length u32
/// section    0A0D0D0A  byte order 1A2B3C4D, version 1.0, length unknown                   starts the file
/// interface  1         link type 101 (RAW: IP packets), snap length 0; options: name, description, resolution 10^-9
/// names      4         records of an IP address and a host's name
/// secrets    A         type 57474B4C (“WGKL”), the lines of a WireGuard key log            before what they decrypt
/// packet     6         interface, time, lengths, data; options: flags (outbound), comment
/// ```
/// Source: draft-ietf-opsawg-pcapng.
public enum PcapngEncoder {
    /// The secrets type of WireGuard key logs.
    static let wireGuardKeyLog: UInt32 = 0x5747_4B4C
    /// Longer comments are cut.
    static let maximumComment = 1000

    public static func sectionHeader(application: String) -> [UInt8] {
        var body = bytes32(0x1A2B_3C4D) + bytes16(1) + bytes16(0) + [UInt8](repeating: 0xFF, count: 8)
        body += option(4, Array(application.utf8)) + option(0, [])
        return block(0x0A0D_0D0A, body)
    }

    public static func interface(name: String, description: String) -> [UInt8] {
        var body = bytes16(101) + bytes16(0) + bytes32(0)
        body += option(2, Array(name.utf8)) + option(3, Array(description.utf8)) + option(9, [9]) + option(0, [])
        return block(1, body)
    }

    public static func names(_ names: [(address: IPAddress, name: String)]) -> [UInt8] {
        var body: [UInt8] = []
        for entry in names {
            let value = entry.address.bytes + Array(entry.name.utf8) + [0]
            body += option(entry.address.family == .v4 ? 1 : 2, value)
        }
        return block(4, body + option(0, []))
    }

    /// Lines of a WireGuard key log.
    public static func secrets(_ keyLog: String) -> [UInt8] {
        let text = Array(keyLog.utf8)
        return block(0xA, bytes32(wireGuardKeyLog) + bytes32(UInt32(text.count)) + padded(text))
    }

    /// `packet` begins with its IP header; the time is that of the wall.
    public static func packet(_ packet: [UInt8], interface: Int, at time: WallTime, comment: String) -> [UInt8] {
        let stamp = UInt64(bitPattern: time.nanoseconds)
        let length = UInt32(packet.count)
        var body = bytes32(UInt32(interface)) + bytes32(UInt32(truncatingIfNeeded: stamp >> 32))
        body += bytes32(UInt32(truncatingIfNeeded: stamp)) + bytes32(length) + bytes32(length) + padded(packet)
        body += option(2, bytes32(2))
        if !comment.isEmpty { body += option(1, Array(comment.utf8.prefix(maximumComment))) }
        return block(6, body + option(0, []))
    }

    private static func block(_ type: UInt32, _ body: [UInt8]) -> [UInt8] {
        let length = bytes32(UInt32(body.count + 12))
        return bytes32(type) + length + body + length
    }

    private static func option(_ code: UInt16, _ value: [UInt8]) -> [UInt8] {
        bytes16(code) + bytes16(UInt16(value.count)) + padded(value)
    }

    private static func padded(_ bytes: [UInt8]) -> [UInt8] {
        bytes + [UInt8](repeating: 0, count: (4 - bytes.count % 4) % 4)
    }

    private static func bytes16(_ value: UInt16) -> [UInt8] { [UInt8(value & 0xFF), UInt8(value >> 8)] }

    private static func bytes32(_ value: UInt32) -> [UInt8] {
        [0, 8, 16, 24].map { UInt8(truncatingIfNeeded: value >> $0) }
    }
}
