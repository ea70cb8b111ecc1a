internal import FabricCore
internal import FabricTunnel

/// The time stamps of a node's handshakes with a peer only grow, across reboots too: a peer refuses one that went back, and
/// would for as long as the clock is behind.
struct HandshakeTimeForward {
    private struct Pair: Hashable {
        var host: Int
        var peer: [UInt8]
    }

    /// Looked up by key only.
    private var greatest: [Pair: TAI64N] = [:]

    /// What the host has sent last to a peer key. Nil when it is in order, otherwise what went back.
    mutating func sent(_ stamp: TAI64N, by host: Int, to peer: [UInt8]) -> String? {
        let pair = Pair(host: host, peer: peer)
        let before = greatest[pair]
        greatest[pair] = max(before ?? stamp, stamp)
        guard let before, stamp < before else { return nil }
        return "a handshake carries time stamp \(Hex.encode(stamp.bytes)) after \(Hex.encode(before.bytes))"
    }

    /// The host's disk has lost what was durable: nothing can keep its stamps from going back.
    mutating func forget(_ host: Int) { greatest = greatest.filter { $0.key.host != host } }
}
