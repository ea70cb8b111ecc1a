public import FabricCore
internal import FabricPacket
public import FabricTunnel
internal import FabricWire

/// Paths that take less than others. The kernel below knows what an underlay path takes: from its routes, and from routers that
/// refused a datagram. The agent asks the host for it when a tunnel has a new session (so every two minutes while it is
/// used), when a peer is sought or found elsewhere, and when a run of datagrams was refused for its size.
///
/// A packet from the interface that is larger, and may not be fragmented, is answered with Packet Too Big; so its sender learns.
/// What a link must take all the same (IPv6's 1,280 bytes) goes on, in datagrams that the underlay fragments. Of a path that
/// swallows large datagrams and tells nobody, nothing is known here.
public struct PathQuestion: Hashable, Sendable {
    public var peer: PeerHandle
    public var endpoint: Endpoint
}

/// How many messages about packets that are too large an agent makes: a burst, then at a rate (Linux's own numbers for ICMP).
struct MessageBudget {
    static let interval = Duration.milliseconds(1)
    static let burst: Int64 = 50

    /// When it will be whole again.
    private var wholeAt = Instant.zero

    mutating func take(_ now: Instant) -> Bool {
        let next = max(wholeAt, now) + Self.interval
        guard next <= now + .nanoseconds(Self.interval.nanoseconds * Self.burst) else { return false }
        wholeAt = next
        return true
    }
}

extension NodeAgent {
    /// Paths that wait for being asked for; those beyond are asked for at their next session.
    static var maximumPathQuestions: Int { 1024 }
    /// Refused runs are heard of once in that time: a path that takes less than what IPv6 must pass refuses them all.
    static var refusalInterval: Duration { .seconds(1) }

    /// The next path of which the agent wants to know what it takes. The host looks it up and answers with `.pathMTU`, or not.
    public func nextPathQuestion() -> PathQuestion? {
        while let peer = pathQuestions.popLast() {
            if let endpoint = tunnels.endpoint(of: peer) { return PathQuestion(peer: peer, endpoint: endpoint) }
        }
        return nil
    }

    func askForPath(of peer: PeerHandle) {
        guard pathQuestions.count < Self.maximumPathQuestions, pathQuestions.last != peer else { return }
        pathQuestions.append(peer)
    }

    /// Datagrams for that endpoint were refused because of their size: what the path takes is not what it was.
    public func datagramsTooLarge(for endpoint: Endpoint, now: Now) {
        guard refusalHeardAt.map({ now.monotonic - $0 >= Self.refusalInterval }) ?? true else { return }
        refusalHeardAt = now.monotonic
        for peer in peers where tunnels.endpoint(of: peer.handle) == endpoint { askForPath(of: peer.handle) }
        for case .some(let handle) in staticPeers.map(\.handle) where tunnels.endpoint(of: handle) == endpoint {
            askForPath(of: handle)
        }
    }

    /// The packet does not fit its path: makes of it what its sender is told, as far as messages may be sent.
    func answerTooBig(
        _ packet: inout PacketBuffer, largest: Int, _ domain: RoutingDomainID, _ now: Now
    ) -> PacketOutcome {
        guard let state = domains.first(where: { $0.id == domain }), messageBudget.take(now.monotonic),
            PacketTooBig.answer(&packet, largest: largest, source: state.overlay.overlayHost)
        else { return .done }
        counters.tooBigTold += 1
        return .deliver(domain)
    }

    /// TCP connections through the tunnels, where it was asked for: their ends learn what passes from the packets that open them.
    func clampSegments(_ packet: borrowing PacketBuffer, largest: Int?) {
        MaximumSegmentSize.clamp(packet.bytes, largest: min(configuration.interfaceMTU, largest ?? .max))
    }
}
