public import FabricCore

/// The sending side of one session: a key, the next counter, the other side's index. One thread owns it at a time; the
/// receiving side is another object.
public struct SendHalf: ~Copyable {
    public let receiverIndex: UInt32
    /// The counter of the next packet, which is how many have been sealed.
    public private(set) var nextCounter: UInt64

    private let key: any PacketKey
    private let rejectAfterMessages: UInt64

    /// `rejectAfterMessages` is how many packets the key may seal, at most `TunnelLimits.protocolRejectAfterMessages`.
    public init(key: any PacketKey, receiverIndex: UInt32, rejectAfterMessages: UInt64) {
        self.key = key
        self.receiverIndex = receiverIndex
        self.rejectAfterMessages = min(rejectAfterMessages, TunnelLimits.protocolRejectAfterMessages)
        nextCounter = 0
    }

    /// True when the key may seal no more.
    @inline(__always)
    public var isExhausted: Bool { nextCounter >= rejectAfterMessages }

    /// What sealing needs around the contents of a buffer.
    @inline(__always)
    static func hasRoom(_ packet: borrowing PacketBuffer, mtu: Int) -> Bool {
        packet.start >= TransportHeader.length
            && packet.capacity - packet.start
                >= TransportHeader.padded(packet.count, mtu: mtu) + TransportHeader.tagLength
    }

    /// Makes the IP packet in `packet` a datagram, in place: header before it, padding and tag behind it. An empty
    /// packet makes a keepalive. The buffer has its headroom (16 bytes) and tailroom (31). False, and the packet is as
    /// it was, when the key is exhausted.
    public mutating func seal(_ packet: inout PacketBuffer, mtu: Int) -> Bool {
        guard !isExhausted else { return false }
        let length = packet.count
        let padded = TransportHeader.padded(length, mtu: mtu)
        packet.append(padded - length + TransportHeader.tagLength)
        packet.prepend(TransportHeader.length)
        seal(packet.bytes.baseAddress!, length: length, padded: padded)
        return true
    }

    /// Seals the segments of a super-packet, each in its slot of `stride` bytes:
    ///
    /// ```
    /// slot: | room for header (16) | IP packet | room for padding and tag |
    /// ```
    /// All packets but the last are `packetLength` long; with `stride` equal to the datagram's length (32 more than the
    /// padded packet) the slots are what UDP_SEGMENT takes. Returns the bytes from the first slot to the end of the
    /// last datagram, or nil, and nothing is sealed, when the key would be exhausted.
    public mutating func sealSegments(
        _ slots: UnsafeMutableRawPointer, count: Int, stride: Int, packetLength: Int, lastPacketLength: Int, mtu: Int
    ) -> Int? {
        precondition(count > 0 && (0...packetLength).contains(lastPacketLength))
        let padded = TransportHeader.padded(packetLength, mtu: mtu)
        let lastPadded = TransportHeader.padded(lastPacketLength, mtu: mtu)
        let overhead = TransportHeader.length + TransportHeader.tagLength
        precondition(max(padded, lastPadded) + overhead <= stride)
        guard UInt64(count) <= rejectAfterMessages, nextCounter <= rejectAfterMessages - UInt64(count) else {
            return nil
        }
        for index in 0..<count - 1 { seal(slots + index * stride, length: packetLength, padded: padded) }
        seal(slots + (count - 1) * stride, length: lastPacketLength, padded: lastPadded)
        return (count - 1) * stride + lastPadded + overhead
    }

    @inline(__always)
    private mutating func seal(_ datagram: UnsafeMutableRawPointer, length: Int, padded: Int) {
        let contents = datagram + TransportHeader.length
        if padded > length {
            (contents + length).initializeMemory(as: UInt8.self, repeating: 0, count: padded - length)
        }
        TransportHeader.write(to: datagram, receiverIndex: receiverIndex, counter: nextCounter)
        key.seal(contents, count: padded, counter: nextCounter)
        if planted(.keepaliveWithoutCounter), length == 0 { return }
        nextCounter += 1
    }
}
