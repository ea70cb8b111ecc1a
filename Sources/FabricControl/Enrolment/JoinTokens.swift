internal import FabricCore
internal import FabricPolicy
internal import FabricWire

struct JoinTokenRow {
    var id: JoinTokenID
    var cluster: ClusterID
    var name: String
    var hash: [UInt8]
    var scope: ControlAPI.TokenScope
    var maximumUses: Int
    var used: Int
    /// Milliseconds since the Unix epoch, like the other times.
    var expiresAt: Int64
    var lifetime: Int64
    var revokedAt: Int64?
    var createdAt: Int64

    static let columns = """
        id, cluster_id, name, token_hash, scope, max_uses, used_count, expires_at, lifetime, revoked_at, created_at
        """

    init(_ row: SQLRow) throws {
        id = try row.identifier("id")
        cluster = try row.identifier("cluster_id")
        name = try row.text("name")
        hash = try row.blob("token_hash")
        scope = try row.document(ControlAPI.TokenScope.self, "scope")
        maximumUses = Int(try row.integer("max_uses"))
        used = Int(try row.integer("used_count"))
        expiresAt = try row.integer("expires_at")
        lifetime = try row.integer("lifetime")
        revokedAt = try row.optionalInteger("revoked_at")
        createdAt = try row.integer("created_at")
    }

    var view: ControlAPI.JoinTokenView {
        ControlAPI.JoinTokenView(
            id: id, name: name, scope: scope, maximumUses: maximumUses, used: used, expiresAt: expiresAt / 1000,
            revokedAt: revokedAt.map { $0 / 1000 }, createdAt: createdAt / 1000)
    }
}

extension ControlPlane {
    func createToken(_ call: Call) throws -> Outcome {
        let cluster: ClusterID = try call.identifier(0, "a cluster")
        let wanted = try call.body(ControlAPI.NewJoinToken.self)
        _ = try activeCluster(cluster, call)
        try check(wanted)
        let lifetime = wanted.lifetimeSeconds * 1000
        if let existing = try findToken(wanted.id, call) {
            guard existing.cluster == cluster, existing.hash == wanted.secretHash.bytes, existing.name == wanted.name,
                existing.scope == wanted.scope, existing.maximumUses == wanted.maximumUses,
                existing.lifetime == lifetime
            else { throw Problem(.conflict, "a join token \(wanted.id) with other contents exists") }
            return call.created(existing.view)
        }
        let hash = SQLValue.blob(wanted.secretHash.bytes)
        guard try call.transaction.first("SELECT id FROM node_join_tokens WHERE token_hash = $1", [hash]) == nil else {
            throw Problem(.conflict, "another join token has this secret")
        }
        let live = try call.transaction.query(
            """
            SELECT COUNT(*) AS n FROM node_join_tokens
            WHERE cluster_id = $1 AND revoked_at IS NULL AND expires_at > $2
            """, [.id(cluster), .integer(call.milliseconds)])
        guard try live[0].integer("n") < settings.liveTokens else {
            throw Problem(.limitReached, "the cluster has \(settings.liveTokens) live join tokens; revoke some")
        }
        try call.transaction.execute(
            """
            INSERT INTO node_join_tokens (id, cluster_id, name, token_hash, scope, max_uses, used_count, expires_at,
                lifetime, created_at)
            VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8, $9)
            """,
            [
                .id(wanted.id), .id(cluster), .text(wanted.name), hash, .document(wanted.scope),
                .integer(wanted.maximumUses), .integer(call.milliseconds + lifetime), .integer(lifetime),
                .integer(call.milliseconds),
            ])
        call.audit(
            cluster, actor: Actor.operators, .tokenCreated, subject: "join token \(wanted.id)",
            "\(wanted.name): \(wanted.maximumUses) use(s), \(wanted.lifetimeSeconds) s")
        return call.created(try token(wanted.id, in: cluster, call).view)
    }

    private func check(_ wanted: ControlAPI.NewJoinToken) throws(Problem) {
        guard Text.isLine(wanted.name, longest: Text.longestName) else {
            throw Problem(.malformedRequest, "name: one line of 1 to \(Text.longestName) bytes")
        }
        guard wanted.secretHash.bytes.count == 32 else {
            throw Problem(.malformedRequest, "secretHash: SHA-256 of the secret has 32 bytes")
        }
        guard (1...ControlAPI.NewJoinToken.mostUses).contains(wanted.maximumUses) else {
            throw Problem(.malformedRequest, "maximumUses: 1 to \(ControlAPI.NewJoinToken.mostUses)")
        }
        guard (1...ControlAPI.NewJoinToken.longestLifetimeSeconds).contains(wanted.lifetimeSeconds) else {
            throw Problem(
                .malformedRequest, "lifetimeSeconds: 1 to \(ControlAPI.NewJoinToken.longestLifetimeSeconds)")
        }
        if case .refused(let why) = TokenScopePolicy.validate(wanted.scope) {
            throw Problem(.malformedRequest, "scope: \(why)")
        }
    }

    func listTokens(_ call: Call) throws -> Outcome {
        let cluster: ClusterID = try call.identifier(0, "a cluster")
        _ = try self.cluster(cluster, call)
        let page = try PageRequest(call, settings)
        let rows = try call.transaction.query(
            """
            SELECT \(JoinTokenRow.columns) FROM node_join_tokens
            WHERE cluster_id = $1 AND id > $2 ORDER BY id LIMIT $3
            """, [.id(cluster), .text(page.after), .integer(page.limit + 1)])
        return call.reply(try page.page(rows, key: { $0.id.text }) { try JoinTokenRow($0).view })
    }

    func showToken(_ call: Call) throws -> Outcome {
        call.reply(
            try token(try call.identifier(1, "a join token"), in: try call.identifier(0, "a cluster"), call).view)
    }

    func revokeToken(_ call: Call) throws -> Outcome {
        let cluster: ClusterID = try call.identifier(0, "a cluster")
        let found = try token(try call.identifier(1, "a join token"), in: cluster, call)
        guard found.revokedAt == nil else { return call.reply(found.view) }
        try call.transaction.execute(
            "UPDATE node_join_tokens SET revoked_at = $1 WHERE id = $2", [.integer(call.milliseconds), .id(found.id)])
        call.audit(
            cluster, actor: Actor.operators, .tokenRevoked, subject: "join token \(found.id)",
            "after \(found.used) use(s)")
        return call.reply(try token(found.id, in: cluster, call).view)
    }

    private func findToken(_ id: JoinTokenID, _ call: Call) throws -> JoinTokenRow? {
        try call.transaction.first("SELECT \(JoinTokenRow.columns) FROM node_join_tokens WHERE id = $1", [.id(id)])
            .map(JoinTokenRow.init)
    }

    private func token(_ id: JoinTokenID, in cluster: ClusterID, _ call: Call) throws -> JoinTokenRow {
        guard let found = try findToken(id, call), found.cluster == cluster else {
            throw Problem(.notFound, "cluster “\(cluster)” has no join token \(id)")
        }
        return found
    }
}
