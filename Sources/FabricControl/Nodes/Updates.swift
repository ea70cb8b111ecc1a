internal import FabricCore
internal import FabricWire

extension ControlPlane {
    /// `GET /v1/node/updates?snapshot=V&records=R&trust=T&wait=S`: what is newer than what the node has.
    func updates(_ call: Call) throws -> Outcome {
        guard let caller = call.node else { preconditionFailure("a node's route without a node") }
        let all = 0...Int64.max
        let snapshotVersion = try call.integer("snapshot", in: all, default: 0)
        var recordsVersion = try call.integer("records", in: all, default: 0)
        let trustVersion = try call.integer("trust", in: all, default: 0)
        let deadline = try call.parkingDeadline()
        // A count above ours comes from before a restore of the database: begin anew.
        let isAhead = recordsVersion > caller.recordsVersion
        if isAhead { recordsVersion = 0 }

        var snapshot: SignedEnvelope?
        if caller.snapshotVersion > snapshotVersion { snapshot = try currentSnapshot(of: caller.key, call) }
        // A new snapshot may name peers whose records are older than what the node has seen: it gets all of them.
        let (records, reached) = try records(
            for: caller, after: snapshot == nil ? recordsVersion : 0, call)
        var trust: SignedEnvelope?
        if caller.trustVersion > trustVersion { trust = try cluster(caller.key.cluster, call).trust }

        let updates = ControlAPI.Updates(snapshot: snapshot, records: records, recordsVersion: reached, trust: trust)
        guard snapshot == nil, records.isEmpty, trust == nil, !isAhead else { return call.reply(updates) }
        return call.park(.node(caller.key.cluster, caller.key.node), until: deadline, otherwise: updates)
    }

    /// The newest snapshot; nil while the version was raised and the next one is not made yet.
    private func currentSnapshot(of key: NodeKey, _ call: Call) throws -> SignedEnvelope? {
        try call.transaction.first(
            "SELECT envelope FROM snapshots WHERE cluster_id = $1 AND node_id = $2 AND dirty < 2",
            [.id(key.cluster), .id(key.node)]
        )?.optionalEnvelope("envelope")
    }

    /// Records of the node's peers above a version, and the version up to which they are complete.
    private func records(
        for caller: NodeCaller, after version: Int64, _ call: Call
    ) throws -> (records: [SignedEnvelope], reached: Int64) {
        guard caller.recordsVersion > version else { return ([], caller.recordsVersion) }
        let rows = try call.transaction.query(
            """
            SELECT r.envelope, r.version FROM snapshot_peers p
            JOIN peer_records r ON r.cluster_id = p.cluster_id AND r.node_id = p.peer_id
            WHERE p.cluster_id = $1 AND p.node_id = $2 AND r.version > $3 AND r.expires_at > $4
            ORDER BY r.version LIMIT $5
            """,
            [
                .id(caller.key.cluster), .id(caller.key.node), .integer(version), .integer(call.milliseconds),
                .integer(settings.recordsPerReply),
            ])
        let isComplete = rows.count < settings.recordsPerReply
        let reached = isComplete ? caller.recordsVersion : try rows.last?.integer("version") ?? caller.recordsVersion
        return (try rows.map { try $0.envelope("envelope") }, reached)
    }
}
