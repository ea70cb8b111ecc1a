internal import FabricCore
internal import FabricDocument
internal import FabricWire

/// A heartbeat that may wait a moment for others and be stored with them: it brings no peer record. The rest of what makes a
/// plain one, that nothing changes but the node's latest state and that it is online again, only the records can tell.
struct WaitingHeartbeat {
    let key: NodeKey
    let peer: CertificateFacts
    let beat: ControlAPI.Heartbeat
    /// When it came.
    let wall: WallTime
}

struct HeartbeatAnswer {
    var reply: HTTPReply
    /// The node was heard, whatever the reply.
    var isHeard: Bool
}

extension ControlPlane {
    /// Who sends this heartbeat; nil for every other request.
    func heartbeatSender(_ request: ControlRequest) -> NodeKey? {
        guard request.http.method == .post, request.http.path == Self.heartbeatPath, let peer = request.peer,
            let (cluster, node) = FabricIdentifier.parseNode(peer.spiffeID)
        else { return nil }
        return NodeKey(cluster: cluster, node: node)
    }

    /// Nil for one that is to be handled at once, as is one with anything wrong: `handle(request:now:)` says what.
    func waitingHeartbeat(in request: ControlRequest, of sender: NodeKey, now: Now) -> WaitingHeartbeat? {
        guard request.http.query.isEmpty, let peer = request.peer, peer.validity.contains(now.wall),
            request.http.body.count <= HTTPLimits.requestBody,
            let beat = try? JSON.decode(
                ControlAPI.Heartbeat.self, from: request.http.body, limits: Call.bodyLimits),
            beat.record == nil, Self.isInRange(beat)
        else { return nil }
        return WaitingHeartbeat(key: sender, peer: peer, beat: beat, wall: now.wall)
    }

    static let heartbeatPath = "/v1/node/heartbeat"

    /// Stores the plain ones among these in one transaction of two statements or three, and five more when some of the nodes
    /// were offline. Returns the answers by index; nil for those that are each to be handled as any request: they are not
    /// plain, or the records are such that only some can be stored.
    ///
    /// Never throws: when the store is away, the replies say so.
    func handle(heartbeats: [WaitingHeartbeat], now: Now) -> [HeartbeatAnswer?] {
        // Of the last run.
        var plain: [Int: PlainHeartbeat] = [:]
        do {
            try store.transaction { transaction in
                plain = try plainHeartbeats(heartbeats, now, transaction)
                let inOrder = plain.sorted { $0.key < $1.key }.map(\.value)
                try keep(inOrder.map(\.state), transaction)
                try noteReturns(inOrder, now, transaction)
            }
        } catch let error as StoreError {
            note(error)
            return refuse(heartbeats, plain, error)
        } catch {
            return heartbeats.map { _ in nil }
        }
        counters.heartbeatBatches += 1
        counters.heartbeats += UInt64(plain.count)
        counters.requests += UInt64(plain.count)
        counters.succeeded += UInt64(plain.count)
        return heartbeats.indices.map { index in
            plain[index].map {
                let body = JSON.encodeOwn(heartbeatReply(version: $0.state.snapshotVersion, now.wall))
                return HeartbeatAnswer(reply: HTTPReply(status: 200, body: body), isHeard: true)
            }
        }
    }

    /// When the store is away, asking it for each would only take longer. What it has said before, as that a node is
    /// disabled, stands.
    private func refuse(
        _ heartbeats: [WaitingHeartbeat], _ plain: [Int: PlainHeartbeat], _ error: StoreError
    ) -> [HeartbeatAnswer?] {
        var isHeard = false
        switch error {
        case .corrupt, .statement, .constraint:
            counters.heartbeatBatchesBroken += 1
            return heartbeats.map { _ in nil }
        // They may have been stored.
        case .unknownOutcome: isHeard = true
        case .unavailable: break
        }
        let reply = Self.problem(for: error).reply
        let answers = heartbeats.indices.map {
            plain.isEmpty || plain[$0] != nil
                ? HeartbeatAnswer(reply: reply, isHeard: isHeard && plain[$0] != nil) : nil
        }
        let refused = UInt64(answers.count { $0 != nil })
        counters.requests += refused
        counters.failed += refused
        return answers
    }

    /// By index.
    private func plainHeartbeats(
        _ heartbeats: [WaitingHeartbeat], _ now: Now, _ transaction: any Transaction
    ) throws -> [Int: PlainHeartbeat] {
        let rows = try callerRows(heartbeats.map(\.key), transaction)
        var plain: [Int: PlainHeartbeat] = [:]
        var seen: Set<NodeKey> = []
        for (index, heartbeat) in heartbeats.enumerated() {
            // Two of one node: the second goes by itself, after the first.
            guard seen.insert(heartbeat.key).inserted, let row = rows[heartbeat.key],
                let caller = try? NodeCaller(row, heartbeat.key, heartbeat.peer)
            else { continue }
            plain[index] = plainHeartbeat(heartbeat, caller, now)
        }
        return plain
    }

    /// What the heartbeat makes of the node's row; nil when it does more than that.
    private func plainHeartbeat(_ heartbeat: WaitingHeartbeat, _ caller: NodeCaller, _ now: Now) -> PlainHeartbeat? {
        let beat = heartbeat.beat
        let offset = clockOffset(beat, at: heartbeat.wall.milliseconds)
        guard caller.standing != .replaced, caller.health != .new, let lastOffset = caller.clockOffset,
            isSkewed(lastOffset) == isSkewed(offset),
            !caller.audits.mustTell(at: now.wall.milliseconds, settings.reportAuditInterval),
            hasForeignSnapshot(beat, caller) == false
        else { return nil }
        return PlainHeartbeat(
            state: NodeState(beat, caller, offset: offset, receivedAt: heartbeat.wall.milliseconds, settings),
            returned: caller.health == .offline ? caller : nil)
    }

    /// Those that were offline are online: after an outage they may be all.
    private func noteReturns(_ heartbeats: [PlainHeartbeat], _ now: Now, _ transaction: any Transaction) throws {
        let time = now.wall.milliseconds
        let reports = heartbeats.compactMap { heartbeat -> (HeartbeatReport, NodeCaller)? in
            guard let caller = heartbeat.returned, !planted(.returnUnnoticed) else { return nil }
            let offset = heartbeat.state.clockOffset
            let report = HeartbeatReport(
                health: caller.health, clockOffset: offset, isSkewed: isSkewed(offset),
                version: caller.snapshotVersion)
            return (report, caller)
        }
        try noteOnline(reports.map(\.1.key), at: time, transaction)
        try append(auditReports(reports, at: time, transaction), transaction, time)
    }

    private func callerRows(_ keys: [NodeKey], _ transaction: any Transaction) throws -> [NodeKey: SQLRow] {
        let (sql, arguments) = heartbeatTexts.callers.statement(
            keys.sortedUnique().map { [.id($0.cluster), .id($0.node)] })
        var byKey: [NodeKey: SQLRow] = [:]
        for row in try transaction.query(sql, arguments) {
            byKey[NodeKey(cluster: try row.identifier("cluster_id"), node: try row.identifier("node_id"))] = row
        }
        return byKey
    }

    /// Writes the nodes' latest state, and into their history what begins a stretch of time.
    func keep(_ states: [NodeState], _ transaction: any Transaction) throws {
        guard !states.isEmpty else { return }
        let latest = heartbeatTexts.latest.statement(states.map(\.latest))
        try transaction.execute(latest.sql, latest.arguments)
        let firsts = states.filter(\.isHistory)
        guard !firsts.isEmpty else { return }
        let history = heartbeatTexts.history.statement(firsts.map(\.history))
        try transaction.execute(history.sql, history.arguments)
    }
}

/// Statements for many heartbeats at once.
struct HeartbeatTexts {
    /// The nodes that sent them. SQLite takes each in its turn and looks it up by its key: it thinks a list of a few hundred
    /// rows longer than any table, and would go through the table instead, but for CROSS JOIN.
    let callers = ManyRows(columns: 2) { values in
        """
        SELECT m.cluster_id, m.node_id, \(NodeCaller.columns)
        FROM (VALUES \(values)) AS k
        CROSS JOIN cluster_memberships m
        \(NodeCaller.joins)
        WHERE m.cluster_id = k.column1 AND m.node_id = k.column2
        """
    }

    let latest = ManyRows(columns: 8) { values in
        """
        INSERT INTO node_heartbeats (cluster_id, node_id, sequence, received_at, applied_version, peers_up,
            clock_offset, logged_at)
        SELECT DISTINCT k.column1, k.column2, k.column3, k.column4, k.column5, k.column6, k.column7, k.column8
        FROM (VALUES \(values)) AS k
        WHERE true
        ON CONFLICT (cluster_id, node_id) DO UPDATE SET sequence = excluded.sequence,
            received_at = excluded.received_at, applied_version = excluded.applied_version,
            peers_up = excluded.peers_up, clock_offset = excluded.clock_offset, logged_at = excluded.logged_at
        """
    }

    /// Nodes that are online again, since when.
    let online = ManyRows(columns: 3) { values in
        """
        UPDATE cluster_memberships SET health = 'online', last_seen_at = k.column3
        FROM (VALUES \(values)) AS k
        WHERE cluster_memberships.cluster_id = k.column1 AND cluster_memberships.node_id = k.column2
        """
    }

    /// What the audit has heard of them. A column of NULLs alone has no type of its own.
    let audits = ManyRows(columns: 8) { values in
        """
        UPDATE node_heartbeats SET clock_audited_at = CAST(k.column3 AS BIGINT), clock_untold = k.column4,
            raise_audited_at = CAST(k.column5 AS BIGINT), raises_untold = k.column6,
            health_audited_at = CAST(k.column7 AS BIGINT), health_untold = k.column8
        FROM (VALUES \(values)) AS k
        WHERE node_heartbeats.cluster_id = k.column1 AND node_heartbeats.node_id = k.column2
        """
    }

    /// Into a ring of slots, where the newest overwrites the oldest.
    let history = ManyRows(columns: 7) { values in
        """
        INSERT INTO node_heartbeat_history (cluster_id, node_id, slot, received_at, applied_version, peers_up,
            clock_offset)
        SELECT DISTINCT k.column1, k.column2, k.column3, k.column4, k.column5, k.column6, k.column7
        FROM (VALUES \(values)) AS k
        WHERE true
        ON CONFLICT (cluster_id, node_id, slot) DO UPDATE SET received_at = excluded.received_at,
            applied_version = excluded.applied_version, peers_up = excluded.peers_up,
            clock_offset = excluded.clock_offset
        """
    }
}

private struct PlainHeartbeat {
    let state: NodeState
    /// The node, when it was offline.
    let returned: NodeCaller?
}

/// What is kept of a node's newest heartbeat.
struct NodeState {
    let key: NodeKey
    let sequence: Int64
    /// Milliseconds since the Unix epoch, as is `loggedAt`.
    let receivedAt: Int64
    let appliedVersion: Int64
    let peersUp: Int
    /// Milliseconds.
    let clockOffset: Int64
    /// When history was last kept of the node, this one included.
    let loggedAt: Int64
    let slot: Int64
    /// It is the first of its stretch of time.
    let isHistory: Bool
    /// The newest that the node is to have.
    let snapshotVersion: Int64

    init(
        _ beat: ControlAPI.Heartbeat, _ caller: NodeCaller, offset: Int64, receivedAt: Int64,
        _ settings: ControlSettings
    ) {
        key = caller.key
        sequence = beat.sequence
        self.receivedAt = receivedAt
        appliedVersion = beat.appliedVersion
        peersUp = beat.peersUp
        clockOffset = offset
        snapshotVersion = caller.snapshotVersion
        let period = max(1, settings.heartbeatHistoryInterval.milliseconds)
        let stretch = receivedAt / period
        slot = planted(.historyUnbounded) ? stretch : stretch % Int64(settings.heartbeatHistory)
        isHistory = caller.heartbeatLoggedAt.map { $0 / period != stretch } ?? true
        loggedAt = isHistory ? receivedAt : caller.heartbeatLoggedAt ?? receivedAt
    }

    private var id: [SQLValue] { [.id(key.cluster), .id(key.node)] }
    private var reported: [SQLValue] {
        [.integer(receivedAt), .integer(appliedVersion), .integer(peersUp), .integer(clockOffset)]
    }

    /// As `node_heartbeats` orders them.
    var latest: [SQLValue] { id + [.integer(sequence)] + reported + [.integer(loggedAt)] }
    /// As `node_heartbeat_history` orders them.
    var history: [SQLValue] { id + [.integer(slot)] + reported }
}
