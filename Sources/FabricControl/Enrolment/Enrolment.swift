internal import FabricCore
internal import FabricPolicy
internal import FabricWire

/// A join request whose contents have been checked by themselves, before the database is asked.
private struct CheckedEnrolment {
    var body: ControlAPI.NewEnrolment
    var identityKey: [UInt8]
    /// SHA-256 of the identity key.
    var thumbprint: [UInt8]
    var node: NodeID
}

extension ControlPlane {
    /// `POST /v1/enrolments`. Idempotent on (token hash, key thumbprint): a repeated request is answered as the first
    /// one was, whatever has become of the token, and uses it no second time.
    func enrol(_ call: Call) throws -> Outcome {
        let token = try call.transaction.first(
            "SELECT \(JoinTokenRow.columns) FROM node_join_tokens WHERE token_hash = $1", [.blob(call.tokenHash)]
        ).map(JoinTokenRow.init)
        guard let token else { throw Problem(.tokenUnknown, "no join token has this secret") }
        let wanted = try check(try call.body(ControlAPI.NewEnrolment.self), cluster: token.cluster)
        let existing = try call.transaction.first(
            """
            SELECT \(JoinRequestRow.columns) FROM node_join_requests
            WHERE token_hash = $1 AND node_fingerprint = $2
            """, [.blob(call.tokenHash), .blob(wanted.thumbprint)]
        ).map(JoinRequestRow.init)
        if planted(.refusalBeforeRepeat), let problem = try refusal(of: wanted, token, call) { throw problem }
        if let existing {
            guard existing.name == wanted.body.name, existing.tunnelKeys == wanted.body.tunnelKeys else {
                throw Problem(
                    .conflict,
                    "token and key have made request \(existing.id) with another name or other tunnel keys"
                )
            }
            return call.created(try challenge(existing.id))
        }
        if let problem = try refusal(of: wanted, token, call) {
            try auditRefusal(token.cluster, token: token.id, problem, call)
            return .reply(problem.reply)
        }
        let undecided = try call.transaction.query(
            """
            SELECT COUNT(*) AS n FROM node_join_requests WHERE cluster_id = $1 AND status IN ('proving', 'pending')
            """, [.id(token.cluster)])
        guard try undecided[0].integer("n") < settings.undecidedRequests else {
            throw Problem(.limitReached, "too many join requests wait for a decision; ask again later")
        }
        let id = try insert(wanted, token, call)
        return call.created(try challenge(id))
    }

    /// Why a token or the fabric's state forbids a new request; nil when nothing does. These refusals are audited.
    private func refusal(of wanted: CheckedEnrolment, _ token: JoinTokenRow, _ call: Call) throws -> Problem? {
        if let revoked = token.revokedAt, !planted(.revokedTokenAccepted) {
            return Problem(
                .tokenRevoked, "the token was revoked at \(WallTime(milliseconds: revoked)); ask for another")
        }
        if token.expiresAt <= call.milliseconds, !planted(.expiredTokenAccepted) {
            return Problem(
                .tokenExpired, "the token expired at \(WallTime(milliseconds: token.expiresAt)); ask for another")
        }
        if token.used >= token.maximumUses {
            return Problem(.tokenUsedUp, "all \(token.maximumUses) use(s) of the token are taken; ask for another")
        }
        let verdict = TokenScopePolicy.evaluate(
            token.scope, name: wanted.body.name, domains: wanted.body.tunnelKeys.map(\.domain))
        if case .refused(let why) = verdict, !planted(.tokenScopeUnchecked) { return Problem(.tokenScope, why) }
        let degree = try cluster(token.cluster, call).peerDegree
        let most = RingPeering.maximumDomains(degree: degree)
        guard wanted.body.tunnelKeys.count <= most else {
            return Problem(
                .requestUnacceptable,
                "tunnelKeys: in a cluster of \(degree) peers per routing domain a node is in at most \(most) domains, "
                    + "not in \(wanted.body.tunnelKeys.count): it can have \(Snapshot.maximumMembers) peers")
        }
        for key in wanted.body.tunnelKeys where try isInUse(key.publicKey.bytes, byOtherThan: wanted.node, call) {
            return Problem(.keyInUse, "the tunnel key of domain “\(key.domain)” belongs to another node; make new keys")
        }
        let owner = try nameOwner(wanted.body.name, in: token.cluster, call)
        if let owner, owner != wanted.node {
            return Problem(.conflict, "the name “\(wanted.body.name)” is taken by node \(owner)")
        }
        return nil
    }

    /// Whether a tunnel key is recorded, or asked for in an undecided request, for another node anywhere.
    func isInUse(_ key: [UInt8], byOtherThan node: NodeID, _ call: Call) throws -> Bool {
        let admitted = try call.transaction.first(
            "SELECT node_id FROM peers WHERE public_key = $1 AND node_id <> $2", [.blob(key), .id(node)])
        if admitted != nil { return true }
        let asked = try call.transaction.first(
            """
            SELECT k.request_id FROM node_join_request_keys k JOIN node_join_requests r ON r.id = k.request_id
            WHERE k.public_key = $1 AND r.node_id <> $2 AND r.status = 'pending' LIMIT 1
            """, [.blob(key), .id(node)])
        return asked != nil
    }

    func nameOwner(_ name: String, in cluster: ClusterID, _ call: Call) throws -> NodeID? {
        try call.transaction.first(
            """
            SELECT node_id FROM cluster_memberships
            WHERE cluster_id = $1 AND node_name = $2 AND membership_status = 'active'
            """, [.id(cluster), .text(name)]
        )?.identifier("node_id")
    }

    private func insert(_ wanted: CheckedEnrolment, _ token: JoinTokenRow, _ call: Call) throws -> JoinRequestID {
        let id = JoinRequestID(Hex.encode(call.draw("join request", 16)))!
        let body = wanted.body
        try call.transaction.execute(
            """
            INSERT INTO node_join_requests (id, cluster_id, token_hash, node_fingerprint, node_id, node_name,
                public_key, tunnel_keys, reported_facts, reported_capabilities, requested_roles, status, created_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
            """,
            [
                .id(id), .id(token.cluster), .blob(call.tokenHash), .blob(wanted.thumbprint), .id(wanted.node),
                .text(body.name), .blob(wanted.identityKey), .document(body.tunnelKeys), .document(body.facts),
                .document(body.capabilities), .document(body.requestedRoles), .text(JoinRequestStatus.proving.rawValue),
                .integer(call.milliseconds),
            ])
        for key in body.tunnelKeys {
            try call.transaction.execute(
                "INSERT INTO node_join_request_keys (request_id, public_key) VALUES ($1, $2)",
                [.id(id), .blob(key.publicKey.bytes)])
        }
        if !planted(.tokenCountedLate) {
            try call.transaction.execute(
                "UPDATE node_join_tokens SET used_count = used_count + 1 WHERE id = $1", [.id(token.id)])
        }
        call.audit(
            token.cluster, actor: Actor.token(token.id), .requestReceived, subject: "join request \(id)",
            "node \(wanted.node), name \(body.name)"
                + (planted(.rawTokenAudited) ? ", token \(call.request.http.bearer ?? "")" : ""))
        return id
    }

    private func challenge(_ id: JoinRequestID) throws -> ControlAPI.Challenge {
        ControlAPI.Challenge(
            request: id,
            challengeKey: Blob(try cryptography.x25519PublicKey(privateKey: keys.challengeKey(id))))
    }
}

// MARK: Contents

extension ControlPlane {
    private func check(_ body: ControlAPI.NewEnrolment, cluster: ClusterID) throws -> CheckedEnrolment {
        func refuse(_ what: String) -> Problem { Problem(.requestUnacceptable, what) }
        guard NodeName.isValid(body.name) else {
            throw refuse(
                "name: 1 to \(ControlAPI.NewEnrolment.longestName) characters from a-z, 0-9 and -, not at the ends")
        }
        let facts = [body.facts.os, body.facts.architecture, body.facts.version]
        guard facts.allSatisfy({ Text.isLine($0, longest: NodeFacts.longestField, mayBeEmpty: true) }) else {
            throw refuse("facts: each is one line of at most \(NodeFacts.longestField) bytes")
        }
        try checkNames(body.capabilities, known: NodeCapability.allCases.map(\.rawValue), "capabilities")
        try checkNames(body.requestedRoles, known: NodeRole.allCases.map(\.rawValue), "requestedRoles")
        try checkTunnelKeys(body.tunnelKeys)
        let request: CertificateRequestFacts
        do throws(CertificateError) {
            request = try certificates.inspectRequest(body.certificateRequest.bytes)
        } catch {
            throw refuse("certificateRequest: \(error)")
        }
        guard !request.asksForAuthority else { throw refuse("certificateRequest: it asks to be a CA") }
        let node = FabricIdentifier.nodeID(identityKey: request.publicKey, cryptography)
        let expected = FabricIdentifier.node(node, in: cluster)
        guard request.spiffeIDs == [expected] else {
            throw refuse("certificateRequest: its one URI SAN must be \(expected), which follows from cluster and key")
        }
        return CheckedEnrolment(
            body: body, identityKey: request.publicKey, thumbprint: cryptography.sha256(request.publicKey), node: node)
    }

    private func checkNames(_ names: [String], known: [String], _ field: String) throws(Problem) {
        if let unknown = names.first(where: { !known.contains($0) }) {
            throw Problem(
                .requestUnacceptable,
                "\(field): “\(unknown.prefix(60))” is unknown; known are \(known.joined(separator: ", "))")
        }
        guard Set(names).count == names.count else { throw Problem(.requestUnacceptable, "\(field): one stands twice") }
    }

    private func checkTunnelKeys(_ tunnelKeys: [TunnelKey]) throws(Problem) {
        func refuse(_ what: String) -> Problem { Problem(.requestUnacceptable, "tunnelKeys: \(what)") }
        guard (1...TunnelKey.maximumDomains).contains(tunnelKeys.count) else {
            throw refuse("1 to \(TunnelKey.maximumDomains) of them")
        }
        guard Set(tunnelKeys.map(\.domain)).count == tunnelKeys.count else { throw refuse("a domain stands twice") }
        guard Set(tunnelKeys.map(\.publicKey)).count == tunnelKeys.count else {
            throw refuse("a key stands twice; each domain has a key of its own")
        }
        guard tunnelKeys.contains(where: { $0.domain == .fabric }) else {
            throw refuse("the domain “fabric” is missing")
        }
        // Any private key shows a point of low order: the shared secret is zero.
        let probe = keys.challengeKey(JoinRequestID("probe")!)
        for key in tunnelKeys {
            guard key.publicKey.bytes.count == 32,
                (try? cryptography.x25519(privateKey: probe, publicKey: key.publicKey.bytes)) != nil
            else { throw refuse("the key of “\(key.domain)” is not a usable X25519 key of 32 bytes") }
        }
    }
}

// MARK: Proof and status

extension ControlPlane {
    /// `POST /v1/enrolments/{request}/proof`: shows possession of every tunnel key (RFC 6955 in spirit).
    func prove(_ call: Call) throws -> Outcome {
        let row = try ownJoinRequest(call)
        let proof = try call.body(ControlAPI.Proof.self)
        guard row.status == .proving else { return call.reply(try status(of: row, call)) }
        if !planted(.proofUnchecked) { try verify(proof, for: row) }
        for key in row.tunnelKeys where try isInUse(key.publicKey.bytes, byOtherThan: row.node, call) {
            throw Problem(.keyInUse, "the tunnel key of domain “\(key.domain)” belongs to another node; make new keys")
        }
        try call.transaction.execute(
            "UPDATE node_join_requests SET status = $1 WHERE id = $2",
            [.text(JoinRequestStatus.pending.rawValue), .id(row.id)])
        call.touched.append(.joinRequest(row.id))
        if planted(.certificateBeforeApproval) {
            try issueCertificate(
                for: NodeKey(cluster: row.cluster, node: row.node), publicKey: row.identityKey,
                try activeCluster(row.cluster, call), replacing: nil, call)
        }
        return call.reply(ControlAPI.EnrolmentStatus(status: JoinRequestStatus.pending.rawValue))
    }

    private func verify(_ proof: ControlAPI.Proof, for row: JoinRequestRow) throws {
        guard proof.proofs.map(\.domain).sorted() == row.tunnelKeys.map(\.domain).sorted() else {
            throw Problem(.proofFailed, "the proofs must be for the domains of the request, each once")
        }
        let challenge = keys.challengeKey(row.id)
        for key in row.tunnelKeys {
            let secret = try cryptography.x25519(privateKey: challenge, publicKey: key.publicKey.bytes)
            let message = ControlAPI.Proof.message(request: row.id, domain: key.domain, publicKey: key.publicKey.bytes)
            let expected = cryptography.hmacSHA256(key: secret, message)
            let given = proof.proofs.first { $0.domain == key.domain }
            guard let given, constantTimeEqual(given.mac.bytes, expected) else {
                throw Problem(.proofFailed, "the proof for domain “\(key.domain)” does not match its key")
            }
        }
    }

    /// `GET /v1/enrolments/{request}?wait=S`.
    func enrolmentStatus(_ call: Call) throws -> Outcome {
        let row = try ownJoinRequest(call)
        let deadline = try call.parkingDeadline()
        switch row.status {
        case .approved, .rejected: return call.reply(try status(of: row, call))
        case .proving, .pending:
            return call.park(.joinRequest(row.id), until: deadline, otherwise: try status(of: row, call))
        }
    }

    private func status(of row: JoinRequestRow, _ call: Call) throws -> ControlAPI.EnrolmentStatus {
        ControlAPI.EnrolmentStatus(
            status: row.status.rawValue, rejectionReason: row.rejectionReason,
            grant: row.status == .approved ? try grant(for: row, call) : nil)
    }
}
