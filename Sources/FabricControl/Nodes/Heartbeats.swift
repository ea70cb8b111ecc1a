internal import FabricCore
internal import FabricDocument
internal import FabricWire

extension ControlPlane {
    /// `POST /v1/node/heartbeat`, when it could not be stored with others (`HeartbeatBatch.swift`).
    func heartbeat(_ call: Call) throws -> Outcome {
        guard let caller = call.node else { preconditionFailure("a node's route without a node") }
        let beat = try call.body(ControlAPI.Heartbeat.self)
        guard Self.isInRange(beat) else {
            throw Problem(.malformedRequest, "sequence, appliedVersion or peersUp is out of range")
        }
        counters.heartbeats += 1
        let receivedAt = (call.request.receivedAt ?? call.now.wall).milliseconds
        let offset = clockOffset(beat, at: receivedAt)
        try keep([NodeState(beat, caller, offset: offset, receivedAt: receivedAt, settings)], call.transaction)
        var report = HeartbeatReport(
            health: caller.health, clockOffset: offset, isSkewed: isSkewed(offset), version: caller.snapshotVersion)
        if (caller.clockOffset.map(isSkewed) ?? false) != report.isSkewed { report.clockChange = report.isSkewed }
        if caller.health != .online { try noteOnline([caller.key], at: call.milliseconds, call.transaction) }
        var recordSequence: Int64?
        if let record = beat.record { recordSequence = try keep(record, of: caller, call) }
        (report.version, report.raise) = try raiseVersion(beat, caller, call)
        call.audits += try auditReports([(report, caller)], at: call.milliseconds, call.transaction)
        call.heardFrom = caller.key
        return call.reply(heartbeatReply(version: report.version, call.now.wall, recordSequence: recordSequence))
    }

    func heartbeatReply(
        version: Int64, _ wall: WallTime, recordSequence: Int64? = nil
    ) -> ControlAPI.HeartbeatReply {
        ControlAPI.HeartbeatReply(
            snapshotVersion: version, clockMilliseconds: wall.milliseconds,
            intervalSeconds: settings.heartbeatInterval.components.seconds, recordSequence: recordSequence)
    }

    static var mostPeersUp: Int { 1_000_000 }

    static func isInRange(_ beat: ControlAPI.Heartbeat) -> Bool {
        beat.sequence >= 1 && beat.appliedVersion >= 0 && (0...mostPeersUp).contains(beat.peersUp)
    }

    /// How far the node's clock is ahead, milliseconds.
    func clockOffset(_ beat: ControlAPI.Heartbeat, at milliseconds: Int64) -> Int64 {
        let (difference, overflow) = beat.clockMilliseconds.subtractingReportingOverflow(milliseconds)
        return overflow ? (beat.clockMilliseconds < 0 ? Int64.min : Int64.max) : difference
    }

    func isSkewed(_ offset: Int64) -> Bool { offset.magnitude > settings.clockTolerance.milliseconds.magnitude }

    func noteOnline(_ keys: [NodeKey], at time: Int64, _ transaction: any Transaction) throws {
        guard !keys.isEmpty else { return }
        let (sql, arguments) = heartbeatTexts.online.statement(
            keys.map { [.id($0.cluster), .id($0.node), .integer(time)] })
        try transaction.execute(sql, arguments)
    }

    /// A node that has applied a snapshot that is not recorded here (the database was restored) would refuse those that
    /// we make: older ones, and such as don't follow from its own. So go on above both versions, with one number left
    /// out: the next snapshot follows from none. Bounded, so that a node can't exhaust its own count.
    ///
    /// Returns the version that stands, and what was done for the audit.
    private func raiseVersion(
        _ beat: ControlAPI.Heartbeat, _ caller: NodeCaller, _ call: Call
    ) throws -> (version: Int64, raise: String?) {
        guard try hasForeignSnapshot(beat, caller, call), !planted(.versionNotRaised) else {
            return (caller.snapshotVersion, nil)
        }
        guard beat.appliedVersion - caller.snapshotVersion <= 1_000_000 else {
            throw Problem(.malformedRequest, "appliedVersion: \(beat.appliedVersion) was never issued")
        }
        let raised = max(beat.appliedVersion, caller.snapshotVersion) + 1
        try call.transaction.execute(
            """
            UPDATE snapshots SET version = $1, dirty = 2, payload_hash = NULL, previous_hash = NULL
            WHERE cluster_id = $2 AND node_id = $3
            """,
            [.integer(raised), .id(caller.key.cluster), .id(caller.key.node)])
        call.snapshotsDirty = true
        return (
            raised,
            "from \(caller.snapshotVersion) to \(raised): the node has applied \(beat.appliedVersion), "
                + (beat.appliedVersion > caller.snapshotVersion ? "which is newer" : "another of that number")
        )
    }

    /// Whether the node's snapshot is newer than ours, another of the same version, or not the one from which ours follows.
    /// Nil where only the snapshot itself can tell.
    func hasForeignSnapshot(_ beat: ControlAPI.Heartbeat, _ caller: NodeCaller) -> Bool? {
        if beat.appliedVersion > caller.snapshotVersion { return true }
        guard let theirs = beat.appliedHash?.bytes, let ours = caller.snapshotHash else { return false }
        switch beat.appliedVersion {
        case caller.snapshotVersion: return theirs != ours
        case caller.snapshotVersion - 1: return caller.previousHash.map { $0 != theirs }
        default: return false
        }
    }

    private func hasForeignSnapshot(
        _ beat: ControlAPI.Heartbeat, _ caller: NodeCaller, _ call: Call
    ) throws -> Bool {
        if let isForeign = hasForeignSnapshot(beat, caller) { return isForeign }
        guard let theirs = beat.appliedHash?.bytes,
            let envelope = try call.transaction.first(
                "SELECT envelope FROM snapshots WHERE cluster_id = $1 AND node_id = $2",
                [.id(caller.key.cluster), .id(caller.key.node)]
            )?.optionalEnvelope("envelope"),
            let snapshot = try? envelope.unverified(Snapshot.self), let previous = snapshot.previousHash
        else { return false }
        return previous.bytes != theirs
    }
}

// MARK: Peer records

extension ControlPlane {
    /// Keeps the node's record when it is newer than the one held, and returns the sequence then held.
    private func keep(_ envelope: SignedEnvelope, of caller: NodeCaller, _ call: Call) throws -> Int64 {
        let record = try verify(envelope, of: caller)
        let id: [SQLValue] = [.id(caller.key.cluster), .id(caller.key.node)]
        let held = try call.transaction.first(
            "SELECT sequence, expires_at, envelope FROM peer_records WHERE cluster_id = $1 AND node_id = $2", id)
        let heldSequence = try held?.integer("sequence") ?? 0
        if record.sequence <= heldSequence { return heldSequence }
        let version = caller.recordsVersion + 1
        let lifetime = min(record.lifetimeSeconds * 1000, settings.longestRecordLifetime.milliseconds)
        try call.transaction.execute(
            "UPDATE clusters SET records_version = $1 WHERE id = $2", [.integer(version), .id(caller.key.cluster)])
        try call.transaction.execute(
            """
            INSERT INTO peer_records (cluster_id, node_id, sequence, version, expires_at, envelope)
            VALUES ($1, $2, $3, $4, $5, $6)
            ON CONFLICT (cluster_id, node_id) DO UPDATE SET sequence = excluded.sequence, version = excluded.version,
                expires_at = excluded.expires_at, envelope = excluded.envelope
            """,
            id + [
                .integer(record.sequence), .integer(version), .integer(call.milliseconds + lifetime),
                .envelope(envelope),
            ])
        // Who waits learns with its next request that a node which was not away says the same as before.
        if let held, caller.health == .online,
            try held.integer("expires_at") > call.milliseconds + HTTPLimits.longestPark.milliseconds,
            (try? held.envelope("envelope").unverified(PeerRecord.self).endpoints) == record.endpoints
        {
            return record.sequence
        }
        if planted(.recordTouchesNobody) { return record.sequence }
        let audiences = try call.transaction.query(
            "SELECT node_id FROM snapshot_peers WHERE cluster_id = $1 AND peer_id = $2 ORDER BY node_id", id)
        call.touched += try audiences.map { .node(caller.key.cluster, try $0.identifier("node_id")) }
        return record.sequence
    }

    private func verify(_ envelope: SignedEnvelope, of caller: NodeCaller) throws(Problem) -> PeerRecord {
        guard JSON.encodeOwn(envelope).count <= PeerRecord.maximumBytes else {
            throw Problem(.tooLarge, "record: more than \(PeerRecord.maximumBytes) bytes")
        }
        let record: PeerRecord
        do throws(EnvelopeError) {
            record = try envelope.open(PeerRecord.self, keys: [caller.publicKey], threshold: 1, cryptography)
        } catch {
            throw Problem(.requestUnacceptable, "record: \(error)")
        }
        guard record.cluster == caller.key.cluster, record.node == caller.key.node else {
            throw Problem(.requestUnacceptable, "record: it is of another node")
        }
        guard record.sequence >= 1, record.hasUsableEndpoints,
            (1...Int64(86_400)).contains(record.lifetimeSeconds)
        else { throw Problem(.requestUnacceptable, "record: sequence, endpoints or lifetimeSeconds is out of range") }
        return record
    }
}

// MARK: Silence

extension ControlPlane {
    /// The nodes that count as online, so that a fresh `ControlService` can watch them.
    func onlineNodes() throws -> [NodeKey] {
        try store.transaction { transaction in
            try transaction.query(
                """
                SELECT cluster_id, node_id FROM cluster_memberships WHERE health = 'online'
                ORDER BY cluster_id, node_id
                """, []
            ).map { NodeKey(cluster: try $0.identifier("cluster_id"), node: try $0.identifier("node_id")) }
        }
    }

    /// Records that nodes fell silent. Returns how long it is until the first change is due that was counted only; nil when
    /// none was.
    func markOffline(_ nodes: [NodeKey], now: Now) throws -> Duration? {
        let time = now.wall.milliseconds
        let wait: Duration? = try store.transaction { transaction in
            var wait: Duration?
            var audits: [PendingAudit] = []
            for key in nodes.sorted() {
                let changed = try transaction.execute(
                    """
                    UPDATE cluster_memberships SET health = 'offline',
                        last_seen_at = (SELECT h.received_at FROM node_heartbeats h
                            WHERE h.cluster_id = cluster_memberships.cluster_id
                            AND h.node_id = cluster_memberships.node_id)
                    WHERE cluster_id = $1 AND node_id = $2 AND health = 'online'
                    """, [.id(key.cluster), .id(key.node)])
                guard changed > 0 else { continue }
                let row = try transaction.first(
                    "SELECT \(ReportAudits.columns) FROM node_heartbeats h WHERE h.cluster_id = $1 AND h.node_id = $2",
                    [.id(key.cluster), .id(key.node)])
                var reports = try row.map(ReportAudits.init) ?? ReportAudits()
                if reports.health.isDue(at: time, settings.reportAuditInterval) {
                    let news = "online → offline: \(settings.missedHeartbeats) heartbeats missing"
                    audits.append(key.silence(reports.tellSilence(news, at: time)))
                } else {
                    reports.health.count()
                    wait = .earliest(wait, reports.health.wait(at: time, settings.reportAuditInterval))
                }
                try save([(key, reports)], transaction)
            }
            try append(audits, transaction, time)
            return wait
        }
        counters.nodesMarkedOffline += UInt64(nodes.count)
        return wait
    }

    /// Tells what was counted of silent nodes, once it is due: nothing comes of them any more that would. Of the others the
    /// next heartbeat does, or that they fall silent. Returns how long it is until the next is due; nil when none is left.
    func tellSilences(now: Now) throws -> Duration? {
        let time = now.wall.milliseconds
        return try store.transaction { transaction in
            let rows = try transaction.query(
                """
                SELECT h.cluster_id, h.node_id, \(ReportAudits.columns)
                FROM node_heartbeats h
                JOIN cluster_memberships m ON m.cluster_id = h.cluster_id AND m.node_id = h.node_id
                WHERE h.health_untold > 0 AND m.health = 'offline'
                ORDER BY h.cluster_id, h.node_id
                """, [])
            var wait: Duration?
            var audits: [PendingAudit] = []
            for row in rows {
                let key = NodeKey(cluster: try row.identifier("cluster_id"), node: try row.identifier("node_id"))
                var reports = try ReportAudits(row)
                guard reports.health.isDue(at: time, settings.reportAuditInterval) else {
                    wait = .earliest(wait, reports.health.wait(at: time, settings.reportAuditInterval))
                    continue
                }
                audits.append(key.silence(reports.tellSilence("offline now", at: time)))
                try save([(key, reports)], transaction)
            }
            try append(audits, transaction, time)
            return wait
        }
    }
}

extension NodeKey {
    fileprivate func silence(_ detail: String) -> PendingAudit {
        PendingAudit(
            cluster: cluster, actor: Actor.control, event: .healthChanged, subject: "node \(node)", detail: detail)
    }
}

extension Duration {
    static func earliest(_ a: Duration?, _ b: Duration) -> Duration { a.map { min($0, b) } ?? b }
}
