internal import FabricControl
internal import FabricCore
internal import FabricDocument
internal import FabricWire

/// What the safety rules know of the control plane: what it was asked and what it replied, and its records now and then.
final class ControlWatch {
    private unowned let checks: SafetyChecks
    private let cluster: ClusterID
    private let query: (String) -> [SQLRow]?
    private let host: () -> HostID

    private var tokens = TokenLimits()
    private var enrolments = EnrolmentOnce()
    private var certificates = CertificatesSound()
    private var audit = AuditAppendOnly()
    private var replies = RepliesDurable()
    /// The hash of a token's secret, by its id. Looked up by key only, as is the next.
    private var hashes: [String: [UInt8]] = [:]
    private var asked: [UInt64: Asked] = [:]
    /// Decided once each: an answer that is repeated tells of nothing new.
    private var known: Set<String> = []
    private var issuers: [[UInt8]: CertificateFacts] = [:]
    private var mustCompare = false

    /// Of a request whose reply tells a fact.
    private enum Asked {
        case token(ControlAPI.NewJoinToken, WallTime)
        case revocation(String)
        case decision(String)
        case enrolment(token: [UInt8], key: [UInt8], WallTime)
        case proof(String)
        case status(String)
        case renewal
    }

    init(
        _ checks: SafetyChecks, cluster: ClusterID, host: @escaping () -> HostID, query: @escaping (String) -> [SQLRow]?
    ) {
        self.checks = checks
        self.cluster = cluster
        self.host = host
        self.query = query
    }

    // MARK: Requests and replies

    private static let membersPath = Array("/v1/node/".utf8)

    func received(_ id: UInt64, _ request: ControlRequest, _ wall: WallTime) {
        // Most requests by far are of nodes that are members.
        guard !request.http.path.utf8.starts(with: Self.membersPath) else {
            if request.http.path.hasSuffix("/certificate") { asked[id] = .renewal }
            return
        }
        let parts = request.http.path.split(separator: "/")
        switch (request.http.method, parts.count, parts.last) {
        case (.post, 2, "enrolments"):
            guard let secret = request.http.bearer.flatMap(Base64URL.decode),
                let body = try? JSON.decode(ControlAPI.NewEnrolment.self, from: request.http.body),
                let key = try? checks.certificates.inspectRequest(body.certificateRequest.bytes).publicKey
            else { return }
            asked[id] = .enrolment(token: checks.cryptography.sha256(secret), key: key, wall)
        case (.post, 4, "proof"): asked[id] = .proof(String(parts[2]))
        case (.get, 3, _) where parts[1] == "enrolments": asked[id] = .status(String(parts[2]))
        case (.post, 4, "join-tokens"):
            guard let body = try? JSON.decode(ControlAPI.NewJoinToken.self, from: request.http.body) else { return }
            asked[id] = .token(body, wall)
        case (.post, 6, "revocation"): asked[id] = .revocation(String(parts[4]))
        case (.post, 6, "approval"):
            // The approver has signed; whether the answer leaves decides nothing.
            if let body = try? JSON.decode(ControlAPI.Approval.self, from: request.http.body),
                let admission = try? body.admission.unverified(Admission.self)
            {
                certificates.approved(admission.node.text)
            }
            asked[id] = .decision(String(parts[4]))
        case (.post, 6, "rejection"): asked[id] = .decision(String(parts[4]))
        default: break
        }
    }

    func disconnected(_ id: UInt64) { asked[id] = nil }

    /// A reply leaves.
    func answered(_ id: UInt64, _ reply: HTTPReply) {
        guard let asked = asked.removeValue(forKey: id), reply.isSuccess else { return }
        checks.note(.repliesDurable)
        switch asked {
        case .token(let body, let wall):
            hashes[body.id.text] = body.secretHash.bytes
            tokens.created(
                body.secretHash.bytes, uses: body.maximumUses, expiresAt: wall + .seconds(body.lifetimeSeconds))
            replies.token(body.id.text, isRevoked: false)
            decided("join token created", body.id.text)
        case .revocation(let id):
            if let hash = hashes[id] { tokens.revoked(hash) }
            replies.token(id, isRevoked: true)
            decided("join token revoked", id)
        case .enrolment(let token, let key, let wall):
            guard let body = try? JSON.decode(ControlAPI.Challenge.self, from: reply.body) else { return }
            guard checks.trusts(host()) else { return }
            checks.judge(.tokenLimits, host(), tokens.used(token, key: key, now: wall))
            checks.judge(
                .enrolmentOnce, host(), enrolments.answered(token: token, key: key, request: body.request.text))
            replies.request(body.request.text, is: "proving")
            decided("join request received", body.request.text)
        case .decision(let id):
            guard let view = try? JSON.decode(ControlAPI.JoinRequestView.self, from: reply.body) else { return }
            replies.request(id, is: view.status)
            decided("join request \(view.status)", id)
        case .proof(let id), .status(let id):
            guard let body = try? JSON.decode(ControlAPI.EnrolmentStatus.self, from: reply.body) else { return }
            replies.request(id, is: body.status)
            if let grant = body.grant { issued(grant.certificateChain) }
        case .renewal:
            guard let body = try? JSON.decode(ControlAPI.RenewedCertificate.self, from: reply.body) else { return }
            issued(body.certificateChain)
        }
    }

    private func decided(_ event: String, _ id: String) {
        if known.insert("\(event) \(id)").inserted { audit.decided(event) }
    }

    private func issued(_ chain: [Blob]) {
        guard chain.count >= 2, let leaf = try? checks.certificates.inspect(chain[0].bytes),
            let node = FabricIdentifier.parseNode(leaf.spiffeID)?.node.text
        else { return }
        if issuers[chain[1].bytes] == nil { issuers[chain[1].bytes] = try? checks.certificates.inspect(chain[1].bytes) }
        guard let issuer = issuers[chain[1].bytes] else { return }
        checks.judge(.certificatesSound, host(), certificates.issued(leaf, chain[0].bytes, issuer: issuer, to: node))
        replies.certificate(leaf.serial, of: node)
    }

    // MARK: Records

    /// The control plane is up again: what it said must still be so.
    func booted() {
        mustCompare = true
        asked.removeAll()
        if checks.trusts(host()) { compare() }
    }

    /// The database was put back to an earlier state, or damaged: what it said then is all that can be asked for.
    func databaseReplaced() {
        tokens.forgetUses()
        enrolments.forget()
        audit.forget()
        replies.forget()
        known.removeAll()
    }

    private func compare() {
        guard let requests = query("SELECT id, status FROM node_join_requests ORDER BY id"),
            let tokens = query("SELECT id, revoked_at FROM node_join_tokens ORDER BY id"),
            let serials = query("SELECT node_id, certificate_serial FROM node_identities ORDER BY node_id")
        else { return }
        mustCompare = false
        var found = RepliesDurable.Found()
        for row in requests { if let id = try? row.text("id") { found.requests[id] = try? row.text("status") } }
        for row in tokens {
            if let id = try? row.text("id") {
                found.revokedByToken[id] = (try? row.optionalInteger("revoked_at")) ?? nil != nil
            }
        }
        for row in serials {
            if let node = try? row.text("node_id") { found.serials[node] = try? row.blob("certificate_serial") }
        }
        checks.judge(.repliesDurable, host(), replies.compare(found))
    }

    /// Now and then, and at the end.
    func sweep(limits: [QueuesBounded.Table]) {
        guard checks.trusts(host()) else { return }
        if mustCompare { compare() }
        readAudit()
        let strangers = query(
            """
            SELECT i.node_id AS id FROM node_identities i LEFT JOIN cluster_memberships m
            ON m.cluster_id = i.cluster_id AND m.node_id = i.node_id WHERE m.node_id IS NULL ORDER BY i.node_id LIMIT 1
            """)
        if let strangers {
            checks.judge(
                .certificatesSound, host(),
                strangers.first.flatMap { try? $0.text("id") }.map { "node \($0) has a certificate and is no member" })
        }
        for table in limits {
            guard let count = query(table.sql)?.first.flatMap({ try? $0.integer("n") }) else { continue }
            checks.judge(
                .queuesBounded, host(),
                count > table.limit ? "\(count) \(table.what) are kept; the limit is \(table.limit)" : nil)
        }
    }

    private func readAudit() {
        guard let head = query("SELECT audit_sequence AS n FROM clusters WHERE id = '\(cluster)'")?.first,
            let last = try? head.integer("n"),
            let rows = query(
                """
                SELECT sequence, at, actor, event, subject, detail, hash FROM cluster_audit_events
                WHERE cluster_id = '\(cluster)' AND sequence > \(audit.sequence) ORDER BY sequence
                """)
        else { return }
        let events = rows.compactMap { row in
            try? ControlAPI.AuditEvent(
                sequence: row.integer("sequence"), at: row.integer("at") / 1000, actor: row.text("actor"),
                event: row.text("event"), subject: row.text("subject"), detail: row.text("detail"),
                hash: Blob(row.blob("hash")))
        }
        checks.judge(.auditAppendOnly, host(), audit.stillThere(head: last))
        checks.judge(.auditAppendOnly, host(), audit.read(events, cluster: cluster, checks.cryptography))
    }

    /// The bytes of the database's files.
    func scan(_ content: [UInt8], _ file: String) {
        checks.judge(
            .secretsStaySecret, host(),
            checks.secrets.find(in: content).map { "the database's file \(file) holds \($0)" })
    }
}
