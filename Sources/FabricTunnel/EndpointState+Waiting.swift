internal import FabricCore

/// A handshake message that waits until the host has taken in what else there is.
struct WaitingHandshake {
    var bytes: [UInt8]
    var source: Endpoint
    var receivedAt: Instant
    /// Among the datagrams of the endpoint.
    var number: UInt64
}

/// Handshakes are worked on in portions, so that packets under a session never wait behind many of them, however slow the
/// processor.
///
/// ```
/// receive ──▶ a turn's portion is left and nobody waits ──▶ worked on at once
///         └─▶ else: the queue ──▶ handleDeadline, due at once, portion by portion
///               │ an eighth of it is full, or the first has waited 250 ms: load is presumed, cookies are asked for
///               └ all of it is full: dropped, which costs nothing
/// ```
/// A turn is what the host does until `nextTransmit` has nothing more. One that takes many datagrams in a turn has read what
/// its socket held, and a processor that is too slow for the handshakes that come shows by the queue, as in the kernel
/// (`wg_packet_receive`), not by a count per second that it may never reach.
extension EndpointState {
    /// What a message costs of a turn's portion (`TunnelLimits.handshakeWorkPerTurn`): a few hashes, or Diffie-Hellman.
    private static let refusalWork = 1
    private static let openingWork = 8

    mutating func receiveHandshake(
        _ type: MessageType, _ datagram: UnsafeRawBufferPointer, from source: Endpoint, _ now: Now
    ) -> ReceiveOutcome {
        // Told by a look at a table: such a one takes nobody's place.
        if type == .handshakeResponse, !isAwaited(datagram) { return drop(.unknownReceiverIndex) }
        if waiting.isEmpty && handshakeWorkLeft > 0 || planted(.handshakesNeverWait) {
            return work(on: Array(datagram), from: source, now)
        }
        guard waiting.count < limits.waitingHandshakes else {
            load.presume(now.monotonic)
            return drop(.handshakeQueueFull)
        }
        _ = waiting.append(
            WaitingHandshake(
                bytes: Array(datagram), source: source, receivedAt: now.monotonic, number: datagramNumber))
        noteWaiting(now.monotonic)
        return .waiting
    }

    /// A portion of those that wait, the oldest first.
    mutating func workOnWaiting(_ now: Now) {
        while handshakeWorkLeft > 0 {
            noteWaiting(now.monotonic)
            guard let next = waiting.popFirst() else { return }
            datagramNumber = next.number
            _ = work(on: next.bytes, from: next.source, now)
        }
    }

    private mutating func noteWaiting(_ now: Instant) {
        guard let first = waiting.first else { return }
        if waiting.count >= limits.waitingHandshakesBeforeCookies
            || now - first.receivedAt >= limits.handshakeWaitBeforeCookies
        {
            load.presume(now)
        }
    }

    private mutating func work(on message: [UInt8], from source: Endpoint, _ now: Now) -> ReceiveOutcome {
        let opened = counters.handshakesOpened
        let outcome =
            message.count == HandshakeInitiation.length
            ? receiveInitiation(message, from: source, now) : receiveResponse(message, from: source, now)
        handshakeWorkLeft -= counters.handshakesOpened == opened ? Self.refusalWork : Self.openingWork
        return outcome
    }

    /// The response names an initiation of ours that has none.
    private func isAwaited(_ response: UnsafeRawBufferPointer) -> Bool {
        guard let entry = indexes.find(response.littleEndian32(at: 8)) else { return false }
        return entry.keyPair == nil
    }
}
