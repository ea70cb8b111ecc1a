internal import FabricCore
internal import FabricMesh
internal import FabricTunnel
internal import FabricWire

/// Where a peer is to be sought. Its record lists endpoints; packets from the peer itself may come from another (roaming).
/// What works stays. When it does not, the listed ones have their turns, and the one that worked last has one too.
struct EndpointRotation: Hashable {
    /// Each endpoint's turn: two attempts at a handshake, which WireGuard makes every 5 s.
    static let turn = Duration.seconds(10)

    private var listed: [Endpoint]
    private var lastWorking: Endpoint?
    private var turnBegan: Instant
    private var next = 1

    /// How many there are to try.
    var count: Int { listed.count + (lastWorking.map { listed.contains($0) } ?? true ? 0 : 1) }

    init(_ listed: [Endpoint], now: Instant) {
        self.listed = listed
        turnBegan = now
    }

    /// The peer has told of other endpoints. Returns the one to use from now on; nil leaves the tunnel's.
    mutating func listed(_ endpoints: [Endpoint], current: Endpoint?, isUp: Bool, now: Instant) -> Endpoint? {
        guard endpoints != listed else { return nil }
        listed = endpoints
        next = 0
        guard !isUp || current == nil else { return nil }
        return turn(from: current, now)
    }

    /// The path worked over this endpoint until now.
    mutating func worked(_ current: Endpoint?, now: Instant) {
        lastWorking = current
        next = 0
        turnBegan = now - Self.turn
    }

    /// The peer has proved itself at an endpoint: that has its turn now.
    mutating func answered(now: Instant) { turnBegan = now }

    /// The path is down. Returns the endpoint to use from now on; nil leaves the tunnel's.
    mutating func failed(_ current: Endpoint?, after patience: Duration, now: Instant) -> Endpoint? {
        guard now - turnBegan >= patience else { return nil }
        return turn(from: current, now)
    }

    private mutating func turn(from current: Endpoint?, _ now: Instant) -> Endpoint? {
        var candidates = listed
        if let lastWorking, !candidates.contains(lastWorking) { candidates.append(lastWorking) }
        for _ in candidates {
            let candidate = candidates[next % candidates.count]
            next = (next + 1) % candidates.count
            guard candidate != current else { continue }
            turnBegan = now
            return candidate
        }
        return nil
    }
}

/// Endpoint changes come by peer records and by roaming; a path that works is not moved by a record.
extension NodeAgent {
    /// A newer record of a node: each of its tunnels follows it, unless it works where it is.
    func takeEndpoints(_ endpoints: [Endpoint], of node: NodeID, _ now: Now) {
        for index in placesOfNode[node] ?? [] {
            let current = tunnels.endpoint(of: peers[index].handle)
            if planted(.staleEndpointKept), current != nil { continue }
            if let endpoint = peers[index].endpoints.listed(
                endpoints, current: current, isUp: peers[index].health.isUp(at: now.monotonic), now: now.monotonic)
            {
                tunnels.setEndpoint(peers[index].handle, endpoint)
                askForPath(of: peers[index].handle)
            }
        }
    }

    /// Something speaks for a path: see `PeerHealth`.
    func encourage(_ index: Int, atOnce: Bool, _ now: Now) {
        // Not written to where nothing changes: the next probe's time would be looked for again.
        guard !peers[index].health.isUp(at: now.monotonic) else { return }
        peers[index].health.encourage(atOnce: atOnce, now: now.monotonic)
    }

    /// This host's own way to the others has changed, or was away and is back.
    func encouragePaths(_ now: Now) {
        for index in peers.indices { encourage(index, atOnce: false, now) }
    }

    /// A path that has been down for long is tried with a single initiation, at one endpoint after the other.
    func knock(_ index: Int, _ now: Now) {
        seekEndpoint(index, turn: .zero, now)
        tunnels.startHandshake(peers[index].handle, repeats: false, now: now)
        raiseFloorsForHeld(now)
        peers[index].health.tried(endpoints: peers[index].endpoints.count, now: now.monotonic)
    }

    /// At each round of probes, while the path is down: a peer that does not answer is sought at its next endpoint.
    func seekEndpoint(_ index: Int, turn: Duration = EndpointRotation.turn, _ now: Now) {
        let current = tunnels.endpoint(of: peers[index].handle)
        // It was up when it was looked at before.
        if peers[index].reportedUp { peers[index].endpoints.worked(current, now: now.monotonic) }
        guard !planted(.staleEndpointKept),
            let endpoint = peers[index].endpoints.failed(current, after: turn, now: now.monotonic)
        else { return }
        tunnels.setEndpoint(peers[index].handle, endpoint)
        askForPath(of: peers[index].handle)
    }
}
