public import FabricCore

/// Datagrams as a classic pcap file with nanosecond time stamps, link type RAW (IP packets without a link header).
///
/// ```
/// file    magic a1b23c4d, version 2.4, zone 0, accuracy 0, snap length 65535, link type 101       24 bytes, little-endian
/// packet  seconds, nanoseconds, captured length, original length                                  16 bytes
///         IPv4 header (RFC 791, don't fragment) or IPv6 header (RFC 8200), UDP header (RFC 768), payload
/// ```
/// Source: draft-ietf-opsawg-pcap. The IPv4 header checksum is right; the UDP checksum is right over IPv6 and absent (0)
/// over IPv4.
public enum PcapEncoder {
    public static let fileHeader: [UInt8] = {
        var bytes: [UInt8] = []
        append32(&bytes, 0xA1B2_3C4D)
        append32(&bytes, 2 | 4 << 16)
        append32(&bytes, 0)
        append32(&bytes, 0)
        append32(&bytes, 65_535)
        append32(&bytes, 101)
        return bytes
    }()

    /// One datagram's record. A payload of which the IP packet would not fit 65,535 bytes gives nil.
    public static func record(
        at time: WallTime, source: Endpoint, destination: Endpoint, payload: UnsafeRawBufferPointer
    ) -> [UInt8]? {
        let version4 = destination.address.family == .v4
        let header = version4 ? 28 : 48
        guard header + payload.count <= 65_535, source.address.family == destination.address.family else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(16 + header + payload.count)
        let seconds = time.seconds
        append32(&bytes, UInt32(truncatingIfNeeded: seconds))
        append32(&bytes, UInt32(truncatingIfNeeded: time.nanoseconds - seconds * 1_000_000_000))
        append32(&bytes, UInt32(header + payload.count))
        append32(&bytes, UInt32(header + payload.count))
        let start = bytes.count
        if version4 {
            bytes += [0x45, 0] + big16(header + payload.count) + [0, 0, 0x40, 0, 64, 17, 0, 0]
            bytes += source.address.bytes + destination.address.bytes
            let checksum = ~sum(bytes[start...], from: 0)
            bytes[start + 10] = UInt8(checksum >> 8)
            bytes[start + 11] = UInt8(checksum & 0xFF)
        } else {
            bytes += [0x60, 0, 0, 0] + big16(8 + payload.count) + [17, 64]
            bytes += source.address.bytes + destination.address.bytes
        }
        let udp = bytes.count
        bytes += big16(Int(source.port)) + big16(Int(destination.port)) + big16(8 + payload.count) + [0, 0]
        bytes.append(contentsOf: payload)
        if !version4 {
            let pseudo = sum(bytes[(start + 8)..<udp], from: UInt32(17 + 8 + payload.count))
            let checksum = ~sum(bytes[udp...], from: UInt32(pseudo))
            let written = checksum == 0 ? 0xFFFF : checksum
            bytes[udp + 6] = UInt8(written >> 8)
            bytes[udp + 7] = UInt8(written & 0xFF)
        }
        return bytes
    }

    /// The ones' complement sum of 16-bit words (RFC 1071).
    private static func sum(_ bytes: ArraySlice<UInt8>, from initial: UInt32) -> UInt16 {
        var total = UInt64(initial)
        var index = bytes.startIndex
        while index + 1 < bytes.endIndex {
            total += UInt64(bytes[index]) << 8 | UInt64(bytes[index + 1])
            index += 2
        }
        if index < bytes.endIndex { total += UInt64(bytes[index]) << 8 }
        while total >> 16 != 0 { total = total & 0xFFFF + total >> 16 }
        return UInt16(total)
    }

    private static func append32(_ bytes: inout [UInt8], _ value: UInt32) {
        for shift in [0, 8, 16, 24] as [UInt32] { bytes.append(UInt8(truncatingIfNeeded: value >> shift)) }
    }

    private static func big16(_ value: Int) -> [UInt8] { [UInt8(value >> 8 & 0xFF), UInt8(value & 0xFF)] }
}

extension World {
    /// Hands every datagram that leaves a host, before any fault, to `write` as a pcap record, after the file header.
    /// Time stamps are the true wall-clock time. Streams are not captured: their bytes are a model's, not TLS's.
    public func capture(_ write: @escaping ([UInt8]) -> Void) {
        write(PcapEncoder.fileHeader)
        network.tap = { [epoch] time, source, destination, payload in
            let record = PcapEncoder.record(
                at: epoch + (time - .zero), source: source, destination: destination, payload: payload)
            if let record { write(record) }
        }
    }
}
