internal import FabricCore

/// Message 4, an encrypted IP packet or, when empty, a keepalive: 32 bytes or more.
///
/// ```
/// offset  size  field
///      0     4  type = 4, reserved = 0
///      4     4  receiver index: which session of the receiver
///      8     8  counter: the AEAD nonce's last 8 bytes; each is used once
///     16     n  IP packet, padded with zeros to a multiple of 16, encrypted
///   16+n    16  tag
/// ```
enum TransportHeader {
    static let length = 16
    static let tagLength = 16
    static let minimumDatagram = length + tagLength
    static let paddingMultiple = 16

    /// What stands around an IP packet on the way to an endpoint: IP, UDP, header and tag.
    static func underlay(_ endpoint: Endpoint) -> Int {
        (endpoint.address.family == .v4 ? 20 : 40) + 8 + length + tagLength
    }

    @inline(__always)
    static func write(to bytes: UnsafeMutableRawPointer, receiverIndex: UInt32, counter: UInt64) {
        let words = UInt64(MessageType.transportData.rawValue) | UInt64(receiverIndex) << 32
        bytes.storeBytes(of: words.littleEndian, as: UInt64.self)
        bytes.storeBytes(of: counter.littleEndian, toByteOffset: 8, as: UInt64.self)
    }

    /// `count` rounded up to 16, but never past the interface's MTU, so that the datagram of a full packet still fits
    /// the underlay.
    @inline(__always)
    static func padded(_ count: Int, mtu: Int) -> Int {
        let rounded = (count + paddingMultiple - 1) & ~(paddingMultiple - 1)
        return count <= mtu && !planted(.paddingPastMTU) ? min(rounded, mtu) : rounded
    }
}
