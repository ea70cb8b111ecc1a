internal import FabricCore

/// Streams of hosts that are paused, asleep or slow. The kernel of a paused host goes on acknowledging what fits its
/// window; a sleeping one does nothing.
extension VirtualStreams {
    /// While a process is held, the time that it gives a handshake is looked at this often.
    static let heldHandshakeCheck: Int64 = 1_000_000_000

    /// Notes once that messages wait for the end's process.
    func holdDelivery(_ connection: StreamConnection, _ side: Int) {
        guard let end = connection.end(side), !end.deliveryHeld else { return }
        end.deliveryHeld = true
        world.enqueueHeld(end.host, .delivery(connection.identifier(side)))
    }

    /// The process has come to it. What is beyond `limit` waits for the next turn.
    func deliverHeld(_ stream: StreamID, atMost limit: Int) {
        guard let (connection, end) = find(stream) else { return }
        end.deliveryHeld = false
        if end.helloHeld {
            end.helloHeld = false
            end.enqueue(.clientHello, bytes: 320)
            pump(connection, stream.side)
            return
        }
        deliver(connection, stream.side, atMost: limit)
        // The window has opened again.
        if end.state == .open { sendControl(connection, stream.side, .acknowledgement) }
    }

    /// Timers of a sleeping host wait for its wake-up, and a held process does not see that a handshake takes too long.
    func postponesTimer(_ end: StreamEnd, at time: Int64) -> Bool {
        guard world.mustWait(end.host) else { return false }
        if world.isSuspended(HostID(index: end.host)) {
            // Far enough: `hostAwoke` arms it anew.
            if end.retransmitAt != .max { end.retransmitAt = time + Self.sleepingCheck }
            if end.handshakeDeadline != .max { end.handshakeDeadline = time + Self.sleepingCheck }
            return true
        }
        guard end.handshakeDeadline <= time else { return false }
        end.handshakeDeadline = time + Self.heldHandshakeCheck
        return true
    }

    static let sleepingCheck: Int64 = 3_600_000_000_000

    /// The host is awake: its timers fire now.
    func hostAwoke(_ host: Int) {
        let now = world.nowNanoseconds
        for connection in connections.compactMap({ $0 }) {
            for side in 0...1 {
                guard let end = connection.end(side), end.host == host, end.state != .gone else { continue }
                if end.retransmitAt != .max { end.retransmitAt = now }
                if end.handshakeDeadline != .max { end.handshakeDeadline = now + Self.heldHandshakeCheck }
                armTimer(connection, side)
            }
        }
    }
}
