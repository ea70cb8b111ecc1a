internal import FabricCore
internal import FabricWire

enum JoinRequestStatus: String {
    /// The host has not proven its tunnel keys yet.
    case proving
    case pending, approved, rejected
}

struct JoinRequestRow {
    var id: JoinRequestID
    var cluster: ClusterID
    var tokenHash: [UInt8]
    var node: NodeID
    var name: String
    var identityKey: [UInt8]
    var tunnelKeys: [TunnelKey]
    var facts: NodeFacts
    var capabilities: [String]
    var requestedRoles: [String]
    var status: JoinRequestStatus
    var rejectionReason: String?
    var admission: SignedEnvelope?
    /// Milliseconds since the Unix epoch.
    var createdAt: Int64
    var decidedAt: Int64?

    static let columns = """
        id, cluster_id, token_hash, node_id, node_name, public_key, tunnel_keys, reported_facts, reported_capabilities,
        requested_roles, status, rejection_reason, admission, created_at, reviewed_at
        """

    init(_ row: SQLRow) throws {
        id = try row.identifier("id")
        cluster = try row.identifier("cluster_id")
        tokenHash = try row.blob("token_hash")
        node = try row.identifier("node_id")
        name = try row.text("node_name")
        identityKey = try row.blob("public_key")
        tunnelKeys = try row.document([TunnelKey].self, "tunnel_keys")
        facts = try row.document(NodeFacts.self, "reported_facts")
        capabilities = try row.document([String].self, "reported_capabilities")
        requestedRoles = try row.document([String].self, "requested_roles")
        let text = try row.text("status")
        guard let status = JoinRequestStatus(rawValue: text) else {
            throw StoreError.corrupt("join request status \(text)")
        }
        self.status = status
        rejectionReason = try row.optionalText("rejection_reason")
        admission = try row.optionalEnvelope("admission")
        createdAt = try row.integer("created_at")
        decidedAt = try row.optionalInteger("reviewed_at")
    }

    var view: ControlAPI.JoinRequestView {
        ControlAPI.JoinRequestView(
            id: id, node: node, name: name, identityKey: Blob(identityKey), tunnelKeys: tunnelKeys, facts: facts,
            capabilities: capabilities, requestedRoles: requestedRoles, status: status.rawValue,
            rejectionReason: rejectionReason, createdAt: createdAt / 1000, decidedAt: decidedAt.map { $0 / 1000 })
    }
}

extension ControlPlane {
    func findJoinRequest(_ id: JoinRequestID, _ call: Call) throws -> JoinRequestRow? {
        try call.transaction.first("SELECT \(JoinRequestRow.columns) FROM node_join_requests WHERE id = $1", [.id(id)])
            .map(JoinRequestRow.init)
    }

    /// The request of an operator's call.
    func joinRequest(_ call: Call) throws -> JoinRequestRow {
        let cluster: ClusterID = try call.identifier(0, "a cluster")
        let id: JoinRequestID = try call.identifier(1, "a join request")
        guard let found = try findJoinRequest(id, call), found.cluster == cluster else {
            throw Problem(.notFound, "cluster “\(cluster)” has no join request \(id)")
        }
        return found
    }

    /// The request of a joining host's call: only whoever holds its token may ask for it.
    func ownJoinRequest(_ call: Call) throws -> JoinRequestRow {
        let id: JoinRequestID = try call.identifier(0, "a join request")
        guard let found = try findJoinRequest(id, call), constantTimeEqual(found.tokenHash, call.tokenHash) else {
            throw Problem(.notFound, "this token has no join request \(id)")
        }
        return found
    }

    func listJoinRequests(_ call: Call) throws -> Outcome {
        let cluster: ClusterID = try call.identifier(0, "a cluster")
        _ = try self.cluster(cluster, call)
        let page = try PageRequest(call, settings)
        let wanted = call.request.http.parameter("status")
        guard let wanted else {
            let rows = try call.transaction.query(
                """
                SELECT \(JoinRequestRow.columns) FROM node_join_requests
                WHERE cluster_id = $1 AND id > $2 ORDER BY id LIMIT $3
                """, [.id(cluster), .text(page.after), .integer(page.limit + 1)])
            return call.reply(try page.page(rows, key: { $0.id.text }) { try JoinRequestRow($0).view })
        }
        guard let status = JoinRequestStatus(rawValue: wanted) else {
            throw Problem(.malformedRequest, "the parameter “status” must be proving, pending, approved or rejected")
        }
        let rows = try call.transaction.query(
            """
            SELECT \(JoinRequestRow.columns) FROM node_join_requests
            WHERE cluster_id = $1 AND status = $2 AND id > $3 ORDER BY id LIMIT $4
            """, [.id(cluster), .text(status.rawValue), .text(page.after), .integer(page.limit + 1)])
        return call.reply(try page.page(rows, key: { $0.id.text }) { try JoinRequestRow($0).view })
    }

    func showJoinRequest(_ call: Call) throws -> Outcome { call.reply(try joinRequest(call).view) }
}
