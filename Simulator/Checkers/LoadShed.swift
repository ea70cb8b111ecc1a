internal import FabricCore
internal import FabricTunnel

/// Who floods a node with handshakes costs it little: beyond the limit it works on those alone that carry a cookie, which
/// shows that their sender receives where he sends from.
///
/// The product counts by the second, so that twice the limit may pass at the seam of two. Here it is a bucket of that size
/// which empties at the limit's rate.
struct LoadShed {
    private static let perSecond = Int64(TunnelLimits.default.handshakesPerSecondBeforeCookies)

    private var handshakes = LeakyBucket(perSecond: perSecond, deepest: 2 * perSecond)

    mutating func booted() { self = LoadShed() }

    /// Whether the node did for this initiation what costs something, without a cookie to show. One that waits has cost nothing
    /// yet.
    static func counts(
        _ datagram: UnsafeRawBufferPointer, _ before: TunnelCounters, _ after: TunnelCounters
    ) -> Bool {
        let cheap: [DropReason] = [.invalidMAC1, .cookieRequired, .rateLimited, .handshakeQueueFull]
        return cheap.allSatisfy { before[$0] == after[$0] } && after.handshakesOpened > before.handshakesOpened
            && !datagram.suffix(16).contains { $0 != 0 }
    }

    /// For how many of these handshakes, which had waited and to which it came, it did so at the least: the counters tell how many
    /// it opened, not which.
    static func counts(_ waited: [[UInt8]], _ before: TunnelCounters, _ after: TunnelCounters) -> Int {
        let opened = Int(after.handshakesOpened - before.handshakesOpened)
        let others = waited.count { datagram in
            !datagram.withUnsafeBytes { HandshakeOnce.isInitiation($0) } || datagram.suffix(16).contains { $0 != 0 }
        }
        return max(0, opened - others)
    }

    mutating func worked(at now: Instant) -> String? {
        handshakes.add(at: now)
            ? "it works on more than \(Self.perSecond) handshakes a second and asks for no cookie" : nil
    }
}
