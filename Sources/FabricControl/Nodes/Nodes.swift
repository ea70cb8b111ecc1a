internal import FabricCore
internal import FabricWire

extension ControlPlane {
    private static let nodeColumns = """
        m.node_id, m.node_name, m.membership_status, m.health, m.joined_at, n.reported_facts,
        i.certificate_serial, i.certificate_not_after, s.version,
        h.received_at, h.applied_version, h.peers_up, h.clock_offset
        """

    private static let nodeTables = """
        cluster_memberships m
        JOIN nodes n ON n.id = m.node_id
        JOIN node_identities i ON i.cluster_id = m.cluster_id AND i.node_id = m.node_id
        JOIN snapshots s ON s.cluster_id = m.cluster_id AND s.node_id = m.node_id
        LEFT JOIN node_heartbeats h ON h.cluster_id = m.cluster_id AND h.node_id = m.node_id
        """

    func listNodes(_ call: Call) throws -> Outcome {
        let id: ClusterID = try call.identifier(0, "a cluster")
        _ = try cluster(id, call)
        let page = try PageRequest(call, settings)
        let rows = try call.transaction.query(
            """
            SELECT \(Self.nodeColumns) FROM \(Self.nodeTables)
            WHERE m.cluster_id = $1 AND m.node_id > $2 ORDER BY m.node_id LIMIT $3
            """, [.id(id), .text(page.after), .integer(page.limit + 1)])
        return call.reply(try page.page(rows, key: { $0.id.text }) { try self.nodeView($0, in: id, call) })
    }

    func showNode(_ call: Call) throws -> Outcome {
        let key = NodeKey(
            cluster: try call.identifier(0, "a cluster"), node: try call.identifier(1, "a node"))
        return call.reply(try nodeView(key, call))
    }

    private func nodeView(_ key: NodeKey, _ call: Call) throws -> ControlAPI.NodeView {
        let row = try call.transaction.first(
            "SELECT \(Self.nodeColumns) FROM \(Self.nodeTables) WHERE m.cluster_id = $1 AND m.node_id = $2",
            [.id(key.cluster), .id(key.node)])
        guard let row else { throw Problem(.notFound, "cluster “\(key.cluster)” has no node \(key.node)") }
        return try nodeView(row, in: key.cluster, call)
    }

    private func nodeView(_ row: SQLRow, in cluster: ClusterID, _ call: Call) throws -> ControlAPI.NodeView {
        let node: NodeID = try row.identifier("node_id")
        let keyRows = try call.transaction.query(
            """
            SELECT domain_id, public_key FROM peers
            WHERE cluster_id = $1 AND node_id = $2 AND retired_at IS NULL ORDER BY domain_id
            """, [.id(cluster), .id(node)])
        let capabilities = try call.transaction.query(
            "SELECT capability FROM node_capabilities WHERE cluster_id = $1 AND node_id = $2 ORDER BY capability",
            [.id(cluster), .id(node)])
        return ControlAPI.NodeView(
            id: node, name: try row.text("node_name"), health: try row.text("health"),
            membership: try row.text("membership_status"),
            tunnelKeys: try keyRows.map {
                TunnelKey(domain: try $0.identifier("domain_id"), publicKey: Blob(try $0.blob("public_key")))
            },
            facts: try row.document(NodeFacts.self, "reported_facts"),
            capabilities: try capabilities.map { try $0.text("capability") },
            snapshotVersion: try row.integer("version"),
            appliedVersion: try row.optionalInteger("applied_version") ?? 0,
            certificateSerial: Blob(try row.blob("certificate_serial")),
            certificateNotAfter: try row.integer("certificate_not_after") / 1000,
            peersUp: Int(try row.optionalInteger("peers_up") ?? 0),
            clockOffsetMilliseconds: try row.optionalInteger("clock_offset") ?? 0,
            joinedAt: try row.integer("joined_at") / 1000,
            lastSeenAt: try row.optionalInteger("received_at").map { $0 / 1000 })
    }

    /// `POST …/nodes/{node}/disable` and `…/enable`. A disabled node is refused from the next request on, those that
    /// are parked included, and its neighbours get snapshots without it.
    func setMembership(_ call: Call, active: Bool) throws -> Outcome {
        let key = NodeKey(
            cluster: try call.identifier(0, "a cluster"), node: try call.identifier(1, "a node"))
        let view = try nodeView(key, call)
        let wanted = active ? MembershipStatus.active : .disabled
        guard view.membership != wanted.rawValue else { return call.reply(view) }
        if active, let owner = try nameOwner(view.name, in: key.cluster, call) {
            throw Problem(.conflict, "the name “\(view.name)” is taken by node \(owner)")
        }
        let degree = try cluster(key.cluster, call).peerDegree
        try markNeighbours(of: key, degree: degree, call)
        try call.transaction.execute(
            "UPDATE cluster_memberships SET membership_status = $1 WHERE cluster_id = $2 AND node_id = $3",
            [.text(wanted.rawValue), .id(key.cluster), .id(key.node)])
        if active {
            try restorePeers(of: key, call)
        } else {
            try call.transaction.execute(
                "UPDATE peers SET retired_at = $1 WHERE cluster_id = $2 AND node_id = $3 AND retired_at IS NULL",
                [.integer(call.milliseconds), .id(key.cluster), .id(key.node)])
        }
        try call.transaction.execute(
            "UPDATE snapshots SET dirty = $1 WHERE cluster_id = $2 AND node_id = $3",
            [.integer(active ? 1 : 0), .id(key.cluster), .id(key.node)])
        try markNeighbours(of: key, degree: degree, call)
        call.audit(
            key.cluster, actor: Actor.operators, active ? .nodeEnabled : .nodeDisabled, subject: "node \(key.node)",
            view.name)
        call.touched.append(.node(key.cluster, key.node))
        return call.reply(try nodeView(key, call))
    }

    /// The keys of the admission that stands for the node; older ones stay retired.
    private func restorePeers(of key: NodeKey, _ call: Call) throws {
        let row = try call.transaction.first(
            "SELECT admission FROM cluster_memberships WHERE cluster_id = $1 AND node_id = $2",
            [.id(key.cluster), .id(key.node)])
        guard let admission = try? row?.envelope("admission").unverified(Admission.self) else {
            throw StoreError.corrupt("node \(key.node) has no admission")
        }
        for tunnelKey in admission.tunnelKeys {
            try call.transaction.execute(
                "UPDATE peers SET retired_at = NULL WHERE public_key = $1 AND cluster_id = $2 AND node_id = $3",
                [.blob(tunnelKey.publicKey.bytes), .id(key.cluster), .id(key.node)])
        }
    }
}
