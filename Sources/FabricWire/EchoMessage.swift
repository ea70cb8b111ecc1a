public import FabricCore

/// `synthetic.echo`: what agents send each other to learn whether a path works. UDP in IPv6 inside the tunnel, to and from
/// port 7 (RFC 862) of the agents' overlay addresses. The whole packet, network byte order:
///
/// ```
/// offset  bytes  field
/// 0       40     IPv6 header (RFC 8200): next header 17, hop limit 64, overlay addresses
/// 40      8      UDP header (RFC 768): ports 7 and 7, length 40, checksum (mandatory over IPv6)
/// 48      4      "RAPe"
/// 52      1      flags: 1 wants an answer, 2 carries an echo
/// 53      3      zero
/// 56      8      the sender's monotonic clock when it sent, nanoseconds from a point of its own; opaque to the receiver
/// 64      8      echo: that field of the newest message that the sender has of the receiver; zero without one
/// 72      8      for how many nanoseconds the sender has had that message; zero without an echo
/// ```
/// An answer is a message that wants none.
public struct EchoMessage: Hashable, Sendable {
    public static let packetBytes = 80
    public static let port: UInt16 = 7

    /// What one agent tells the other.
    public struct Probe: Hashable, Sendable {
        public var sentAt: Int64
        /// Nil when the sender has heard nothing yet.
        public var echo: Int64?
        /// 0 without an echo.
        public var held: Int64
        public var wantsAnswer: Bool

        public init(sentAt: Int64, echo: Int64?, held: Int64, wantsAnswer: Bool) {
            self.sentAt = sentAt
            self.echo = echo
            self.held = echo == nil ? 0 : held
            self.wantsAnswer = wantsAnswer
        }
    }

    public var source: IPAddress
    public var destination: IPAddress
    public var probe: Probe

    public init(source: IPAddress, destination: IPAddress, probe: Probe) {
        self.source = source
        self.destination = destination
        self.probe = probe
    }

    private static let answerFlag: UInt8 = 1
    private static let echoFlag: UInt8 = 2

    /// Writes the packet to the start of `bytes`, which has room for `packetBytes`.
    public func write(to bytes: UnsafeMutableRawBufferPointer) {
        precondition(bytes.count >= Self.packetBytes)
        let packet = UnsafeMutableRawBufferPointer(rebasing: bytes[..<Self.packetBytes])
        UDPInIPv6.writeHeaders(to: packet, from: source, to: destination, port: Self.port)
        packet.store32(0x5241_5065, at: 48)
        let flags = (probe.wantsAnswer ? Self.answerFlag : 0) | (probe.echo == nil ? 0 : Self.echoFlag)
        packet.store32(UInt32(flags) << 24, at: 52)
        packet.store64(UInt64(bitPattern: probe.sentAt), at: 56)
        packet.store64(UInt64(bitPattern: probe.echo ?? 0), at: 64)
        packet.store64(UInt64(bitPattern: probe.held), at: 72)
        UDPInIPv6.writeChecksum(to: packet)
    }

    /// Nil for anything that is not exactly an echo packet with a right checksum.
    public init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count == Self.packetBytes, bytes[0] >> 4 == 6, bytes.load16(at: 4) == UInt16(Self.packetBytes - 40),
            bytes[6] == 17, bytes.load16(at: 40) == Self.port, bytes.load16(at: 42) == Self.port,
            bytes.load16(at: 44) == UInt16(Self.packetBytes - 40), bytes.load32(at: 48) == 0x5241_5065,
            bytes[52] & ~(Self.answerFlag | Self.echoFlag) == 0, bytes.load32(at: 52) << 8 == 0,
            bytes[52] & Self.echoFlag != 0 || bytes.load64(at: 64) | bytes.load64(at: 72) == 0,
            bytes.load16(at: 46) != 0,
            UDPInIPv6.checksum(of: bytes, skippingChecksumField: true) == bytes.load16(at: 46)
        else { return nil }
        source = IPAddress(v6High: bytes.load64(at: 8), low: bytes.load64(at: 16))
        destination = IPAddress(v6High: bytes.load64(at: 24), low: bytes.load64(at: 32))
        probe = Probe(
            sentAt: Int64(bitPattern: bytes.load64(at: 56)),
            echo: bytes[52] & Self.echoFlag != 0 ? Int64(bitPattern: bytes.load64(at: 64)) : nil,
            held: Int64(bitPattern: bytes.load64(at: 72)), wantsAnswer: bytes[52] & Self.answerFlag != 0)
    }
}
