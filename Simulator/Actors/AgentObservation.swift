internal import FabricCore
internal import FabricMesh
internal import FabricNode
internal import FabricTunnel

/// What an agent had counted before it was given something; what it has counted after says what it made of it. For the
/// journal alone.
struct AgentObservation {
    private var tunnel: TunnelCounters
    private var probesAnswered: UInt64
    private var delivered: UInt64
    private var malformed: UInt64
    private var probesSent: [UInt64]
    private var echoesReceived: [UInt64]

    init(_ agent: NodeAgent) {
        tunnel = agent.tunnelCounters
        probesAnswered = agent.counters.probesAnswered
        delivered = agent.counters.packetsDelivered
        malformed = agent.counters.dropsMalformedFabricMessage + agent.counters.dropsNotOurs
        probesSent = agent.peers.indices.map { agent.peers[$0].health.probesSent }
        echoesReceived = agent.peers.indices.map { agent.peers[$0].health.echoesReceived }
    }

    /// Says of the datagram that has arrived what became of it, and what the answer to it carries.
    func tellReceived(_ agent: NodeAgent, _ journal: Journal) {
        let now = agent.tunnelCounters
        var made: [String] = []
        if now.initiationsReceived > tunnel.initiationsReceived { made.append("handshake accepted") }
        if now.responsesReceived > tunnel.responsesReceived { made.append("handshake completed") }
        if now.sessionsEstablished > tunnel.sessionsEstablished { made.append("session established") }
        if now.keepalivesReceived > tunnel.keepalivesReceived { made.append("peer is alive") }
        if now.cookieRepliesReceived > tunnel.cookieRepliesReceived { made.append("cookie taken") }
        for (reason, count) in now.dropped where count > tunnel[reason] { made.append("dropped: \(reason)") }
        if agent.counters.probesAnswered > probesAnswered {
            made.append("probe answered")
            journal.content = "fabric probe, an answer"
        }
        for index in agent.peers.indices where index < echoesReceived.count {
            let health = agent.peers[index].health
            guard health.echoesReceived > echoesReceived[index] else { continue }
            let trip = (health.roundTrip ?? .zero).nanoseconds / 1000
            made.append("echo came back after \(trip / 1000).\((trip % 1000) / 100) ms")
        }
        if agent.counters.packetsDelivered > delivered { made.append("delivered to the host") }
        if agent.counters.dropsMalformedFabricMessage + agent.counters.dropsNotOurs > malformed {
            made.append("dropped by the agent: not for it, or malformed")
        }
        if !made.isEmpty { journal.annotateCurrent(outcome: made.joined(separator: ", ")) }
    }

    /// Says what the datagram that the agent is about to send carries.
    mutating func tellTransmitting(_ agent: NodeAgent, _ journal: Journal) {
        for index in agent.peers.indices where index < probesSent.count {
            let sent = agent.peers[index].health.probesSent
            guard sent > probesSent[index] else { continue }
            probesSent[index] = sent
            journal.content = "fabric probe \(sent)"
        }
    }
}
