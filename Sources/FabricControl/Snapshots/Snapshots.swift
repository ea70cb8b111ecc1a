public import FabricCore
internal import FabricDocument
internal import FabricPolicy
internal import FabricWire

/// `snapshots.dirty`: 0 clean, 1 its peers may have changed, 2 it must be made anew even if they did not.
extension ControlPlane {
    /// Marks the snapshots of a node's present neighbours, in each of its domains. Called before a change and after
    /// it, so that those who lose and those who gain are both reached. `degree` is the cluster's.
    func markNeighbours(of key: NodeKey, degree: Int, _ call: Call) throws {
        if planted(.neighboursNotMarked) { return }
        var neighbours: [NodeID] = []
        for domain in try domains(of: key, call.transaction) {
            neighbours += try ringNeighbours(of: key, in: domain, degree: degree, call.transaction)
        }
        neighbours = neighbours.sortedUnique()
        call.snapshotsDirty = true
        guard !neighbours.isEmpty else { return }
        try call.transaction.execute(
            """
            UPDATE snapshots SET dirty = 1
            WHERE cluster_id = $1 AND dirty < 1 AND node_id IN (\(placeholders(neighbours.count, from: 2)))
            """, [.id(key.cluster)] + neighbours.map { .id($0) })
    }

    private func domains(of key: NodeKey, _ transaction: any Transaction) throws -> [RoutingDomainID] {
        try transaction.query(
            """
            SELECT domain_id FROM peers WHERE cluster_id = $1 AND node_id = $2 AND retired_at IS NULL ORDER BY domain_id
            """, [.id(key.cluster), .id(key.node)]
        ).map { try $0.identifier("domain_id") }
    }

    /// The node's peers by `RingPeering`, from the stretch of the ring around it: the whole ring is never read.
    func ringNeighbours(
        of key: NodeKey, in domain: RoutingDomainID, degree: Int, _ transaction: any Transaction
    ) throws -> [NodeID] {
        func stretch(_ comparison: String, _ order: String, _ limit: Int) throws -> [NodeID] {
            try transaction.query(
                """
                SELECT node_id FROM peers
                WHERE cluster_id = $1 AND domain_id = $2 AND node_id \(comparison) $3 AND retired_at IS NULL
                ORDER BY node_id \(order) LIMIT $4
                """, [.id(key.cluster), .id(domain), .id(key.node), .integer(limit)]
            ).map { try $0.identifier("node_id") }
        }
        let half = degree / 2
        var around = try stretch(">", "ASC", half) + stretch("<", "DESC", half)
        if around.count < degree {
            // Near an end the ring goes on at the other. What lies between the stretches is nobody's neighbour here.
            around += try stretch("<", "ASC", half) + stretch(">", "DESC", half)
        }
        return RingPeering(nodes: around + [key.node], degree: degree).neighbours(of: key.node)
    }
}

/// Snapshots were made, or were not: the commit was not answered.
struct UnknownFlush: Error, CustomStringConvertible {
    /// Whose may have changed. Sorted, each once.
    var touched: [Topic]
    /// The store's.
    var reason: StoreError

    var description: String { reason.description }
}

/// One audience's work in a flush.
private struct DirtySnapshot {
    var key: NodeKey
    var version: Int64
    var dirty: Int64
    var contentHash: [UInt8]?
    var payloadHash: [UInt8]?
}

extension ControlPlane {
    /// Makes dirty snapshots, at most `snapshotsPerFlush`. Returns whose changed, and whether some are left.
    /// Throws `UnknownFlush` when nobody knows whether they were made.
    public func flushSnapshots(now: Now) throws -> (touched: [Topic], isComplete: Bool) {
        var attempted: [Topic] = []
        do {
            return try flush(&attempted, now: now)
        } catch let error as StoreError {
            guard case .unknownOutcome = error else { throw error }
            throw UnknownFlush(touched: attempted, reason: error)
        }
    }

    private func flush(_ attempted: inout [Topic], now: Now) throws -> (touched: [Topic], isComplete: Bool) {
        let limit = settings.snapshotsPerFlush
        let (touched, taken, made) = try store.transaction { transaction in
            let rows = try transaction.query(
                """
                SELECT s.cluster_id, s.node_id, s.version, s.dirty, s.content_hash, s.payload_hash FROM snapshots s
                WHERE s.dirty > 0 ORDER BY s.cluster_id, s.node_id LIMIT $1
                """, [.integer(limit)])
            let work = try rows.map {
                DirtySnapshot(
                    key: NodeKey(cluster: try $0.identifier("cluster_id"), node: try $0.identifier("node_id")),
                    version: try $0.integer("version"), dirty: try $0.integer("dirty"),
                    contentHash: try $0.optionalBlob("content_hash"), payloadHash: try $0.optionalBlob("payload_hash"))
            }
            var touched: [Topic] = []
            var clusters: [ClusterID: ClusterRow] = [:]
            for item in work {
                let id = item.key.cluster
                if clusters[id] == nil {
                    clusters[id] = try transaction.first(
                        "SELECT \(ClusterRow.columns) FROM clusters WHERE id = $1", [.id(id)]
                    ).map(ClusterRow.init)
                }
                guard let cluster = clusters[id] else { throw StoreError.corrupt("a snapshot of no cluster") }
                if try make(item, cluster, now, transaction) { touched.append(.node(id, item.key.node)) }
            }
            attempted = touched.sortedUnique()
            return (attempted, work.count, touched.count)
        }
        counters.snapshotsMade += UInt64(made)
        counters.snapshotsUnchanged += UInt64(taken - made)
        return (touched, taken < limit)
    }

    /// Returns false when the snapshot would say what the last one says.
    private func make(
        _ item: DirtySnapshot, _ cluster: ClusterRow, _ now: Now, _ transaction: any Transaction
    ) throws -> Bool {
        let key = item.key
        let domains = try domains(of: key, transaction).map { domain in
            Snapshot.Domain(
                id: domain,
                peers: try ringNeighbours(of: key, in: domain, degree: cluster.peerDegree, transaction))
        }
        let peers = domains.flatMap(\.peers).sortedUnique()
        let members =
            peers.isEmpty
            ? []
            : try transaction.query(
                """
                SELECT admission FROM cluster_memberships
                WHERE cluster_id = $1 AND node_id IN (\(placeholders(peers.count, from: 2))) ORDER BY node_id
                """, [.id(key.cluster)] + peers.map { .id($0) })
        guard members.count == peers.count else { throw StoreError.corrupt("a peer of \(key.node) is no member") }
        let content = cryptography.sha256(
            JSON.encodeOwn(domains) + (try members.flatMap { cryptography.sha256(try $0.blob("admission")) }))
        let id: [SQLValue] = [.id(key.cluster), .id(key.node)]
        if item.dirty == 1, item.contentHash == content {
            try transaction.execute("UPDATE snapshots SET dirty = 0 WHERE cluster_id = $1 AND node_id = $2", id)
            return false
        }
        let seconds = now.wall.seconds
        let snapshot = Snapshot(
            cluster: key.cluster, audience: planted(.snapshotForWrongAudience) ? peers.first ?? key.node : key.node,
            version: item.version + 1, authorityTerm: 1,
            previousHash: planted(.snapshotChainBroken) ? nil : item.payloadHash.map { Blob($0) }, issuedAt: seconds,
            refreshAfter: seconds + settings.snapshotRefresh.components.seconds,
            hardExpiry: seconds + settings.snapshotHardExpiry.components.seconds,
            members: try members.map { try $0.envelope("admission") }, domains: domains)
        let envelope = try SignedEnvelope.sign(
            snapshot, seeds: [keys.snapshotSeed(salt: cluster.keySalt)], cryptography)
        try transaction.execute(
            """
            UPDATE snapshots SET version = $1, dirty = 0, content_hash = $2, payload_hash = $3, previous_hash = $4,
                envelope = $5, refresh_after = $6
            WHERE cluster_id = $7 AND node_id = $8
            """,
            [
                .integer(snapshot.version), .blob(content), .blob(envelope.payloadHash(cryptography).bytes),
                item.payloadHash.map { .blob($0) } ?? .null, .envelope(envelope),
                .integer(snapshot.refreshAfter * 1000),
            ] + id)
        try transaction.execute("DELETE FROM snapshot_peers WHERE cluster_id = $1 AND node_id = $2", id)
        for peer in peers {
            try transaction.execute(
                "INSERT INTO snapshot_peers (cluster_id, node_id, peer_id) VALUES ($1, $2, $3)", id + [.id(peer)])
        }
        return true
    }

    /// Marks snapshots that are due for a refresh before the next check. Returns whether there is anything to flush,
    /// what an earlier run left included.
    public func markStaleSnapshots(now: Now) throws -> Bool {
        let horizon = (now.wall + settings.refreshCheck).milliseconds
        return try store.transaction { transaction in
            try transaction.execute(
                """
                UPDATE snapshots SET dirty = 2 WHERE refresh_after <= $1 AND dirty < 2
                AND EXISTS (SELECT 1 FROM cluster_memberships m WHERE m.cluster_id = snapshots.cluster_id
                    AND m.node_id = snapshots.node_id AND m.membership_status = 'active')
                """, [.integer(horizon)])
            return try transaction.first("SELECT node_id FROM snapshots WHERE dirty > 0 LIMIT 1", []) != nil
        }
    }
}
