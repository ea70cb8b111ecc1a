public import FabricCore

/// The receiving side of one session: a key and the replay window. One thread owns it at a time.
public struct ReceiveHalf: ~Copyable {
    public enum Outcome: Int32, Sendable {
        case opened = 0
        /// Received before, or behind the window.
        case replayed = -1
        /// The tag does not match. The bytes are undefined.
        case notAuthentic = -2
        /// A counter that no honest sender reaches.
        case exhausted = -3
    }

    private let key: any PacketKey
    private var window = ReplayWindow()
    private let rejectAfterMessages: UInt64

    public init(key: any PacketKey, rejectAfterMessages: UInt64) {
        self.key = key
        self.rejectAfterMessages = min(rejectAfterMessages, TunnelLimits.protocolRejectAfterMessages)
    }

    /// Opens a transport datagram (32 bytes or more, its type and index judged by the caller) in place. When it opened,
    /// the buffer holds the padded IP packet, or nothing for a keepalive.
    public mutating func open(_ datagram: inout PacketBuffer) -> Outcome {
        let outcome = open(datagram.bytes.baseAddress!, length: datagram.count)
        if outcome == .opened {
            datagram.dropFirst(TransportHeader.length)
            datagram.dropLast(TransportHeader.tagLength)
        }
        return outcome
    }

    /// Opens datagrams that UDP_GRO delivered as one: `stride` bytes each, the last `lastLength`. `results` takes for
    /// each the length of its padded IP packet, which begins 16 bytes into the slot, or the negative raw value of why
    /// not.
    public mutating func openSegments(
        _ slots: UnsafeMutableRawPointer, count: Int, stride: Int, lastLength: Int,
        results: UnsafeMutableBufferPointer<Int32>
    ) {
        precondition(count > 0 && results.count >= count && (0...stride).contains(lastLength))
        for index in 0..<count {
            let length = index == count - 1 ? lastLength : stride
            guard length >= TransportHeader.minimumDatagram else {
                results[index] = Outcome.notAuthentic.rawValue
                continue
            }
            let outcome = open(slots + index * stride, length: length)
            results[index] =
                outcome == .opened ? Int32(length - TransportHeader.minimumDatagram) : outcome.rawValue
        }
    }

    @inline(__always)
    private mutating func open(_ datagram: UnsafeMutableRawPointer, length: Int) -> Outcome {
        let counter = UnsafeRawBufferPointer(start: datagram, count: length).littleEndian64(at: 8)
        guard counter < rejectAfterMessages else { return .exhausted }
        guard window.admits(counter) else { return .replayed }
        let count = length - TransportHeader.minimumDatagram
        if planted(.replayWindowMovedByForgery) { window.insert(counter) }
        guard key.open(datagram + TransportHeader.length, count: count, counter: counter) else { return .notAuthentic }
        window.insert(counter)
        return .opened
    }
}
