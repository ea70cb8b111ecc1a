internal import FabricCore
internal import FabricWire

/// What is audited; the texts are stable.
enum AuditEventKind: String {
    case clusterCreated = "cluster created"
    case clusterTrustSet = "cluster trust set"
    case tokenCreated = "join token created"
    case tokenRevoked = "join token revoked"
    case enrolmentRefused = "enrolment refused"
    case requestReceived = "join request received"
    case requestApproved = "join request approved"
    case requestRejected = "join request rejected"
    case certificateIssued = "node certificate issued"
    case certificateRotated = "node certificate rotated"
    case healthChanged = "node health changed"
    case nodeDisabled = "node disabled"
    case nodeEnabled = "node enabled"
    case snapshotRaised = "node snapshot version raised"
}

enum Actor {
    static let operators = "operator"
    static let control = "control plane"
    static func node(_ node: NodeID) -> String { "node \(node)" }
    static func token(_ token: JoinTokenID) -> String { "join token \(token)" }
}

/// An event that a run wants to record; it is written at the run's end.
struct PendingAudit {
    var cluster: ClusterID
    var actor: String
    var event: AuditEventKind
    var subject: String
    var detail: String
}

extension ControlPlane {
    /// Appends each to its cluster's hash chain.
    func append(_ events: [PendingAudit], _ transaction: any Transaction, _ milliseconds: Int64) throws {
        for cluster in events.map(\.cluster).sortedUnique() {
            try append(events.filter { $0.cluster == cluster }, to: cluster, transaction, milliseconds)
        }
    }

    static var auditRowsPerStatement: Int { 512 }

    /// The chain's head stands in the cluster's row.
    private func append(
        _ events: [PendingAudit], to cluster: ClusterID, _ transaction: any Transaction, _ milliseconds: Int64
    ) throws {
        let head = try transaction.first(
            "SELECT audit_sequence, audit_hash FROM clusters WHERE id = $1", [.id(cluster)])
        guard let head else { throw StoreError.corrupt("no cluster \(cluster) to audit") }
        var sequence = try head.integer("audit_sequence")
        var hash = try head.blob("audit_hash")
        var rows: [[SQLValue]] = []
        for event in events {
            sequence += 1
            let document = ControlAPI.AuditEvent(
                sequence: sequence, at: milliseconds / 1000, actor: event.actor, event: event.event.rawValue,
                subject: event.subject, detail: event.detail, hash: Blob([]))
            hash = document.chainHash(previous: planted(.auditChainBroken) ? [] : hash, cluster: cluster, cryptography)
            rows.append([
                .id(cluster), .integer(sequence), .integer(milliseconds), .text(event.actor),
                .text(event.event.rawValue), .text(event.subject), .text(event.detail), .blob(hash),
            ])
        }
        for begin in stride(from: 0, to: rows.count, by: Self.auditRowsPerStatement) {
            let part = rows[begin..<min(begin + Self.auditRowsPerStatement, rows.count)]
            let (sql, arguments) = auditText.statement(Array(part))
            try transaction.execute(sql, arguments)
        }
        try transaction.execute(
            "UPDATE clusters SET audit_sequence = $1, audit_hash = $2 WHERE id = $3",
            [.integer(sequence), .blob(hash), .id(cluster)])
    }

    func listAudit(_ call: Call) throws -> Outcome {
        let id: ClusterID = try call.identifier(0, "a cluster")
        _ = try cluster(id, call)
        let after = try call.integer("after", in: 0...Int64.max, default: 0)
        let page = try PageRequest(call, settings)
        let rows = try call.transaction.query(
            """
            SELECT sequence, at, actor, event, subject, detail, hash FROM cluster_audit_events
            WHERE cluster_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3
            """, [.id(id), .integer(after), .integer(page.limit + 1)])
        return call.reply(
            try page.page(rows, key: { "\($0.sequence)" }) { row in
                ControlAPI.AuditEvent(
                    sequence: try row.integer("sequence"), at: try row.integer("at") / 1000,
                    actor: try row.text("actor"), event: try row.text("event"), subject: try row.text("subject"),
                    detail: try row.text("detail"), hash: Blob(try row.blob("hash")))
            })
    }

    /// Records a refused enrolment, but not more than so many a minute: what strangers send must not fill the
    /// database.
    func auditRefusal(_ cluster: ClusterID, token: JoinTokenID, _ problem: Problem, _ call: Call) throws {
        let row = try call.transaction.first(
            "SELECT refusals_since, refusals FROM clusters WHERE id = $1", [.id(cluster)])
        guard let row else { return }
        var since = try row.integer("refusals_since")
        var count = try row.integer("refusals")
        let source = call.request.source.map { " from \($0)" } ?? ""
        if call.milliseconds < since || call.milliseconds - since >= 60_000 {
            let hidden = count - Int64(settings.auditedRefusalsPerMinute)
            if hidden > 0 {
                call.audit(
                    cluster, actor: Actor.control, .enrolmentRefused, subject: "cluster \(cluster)",
                    "\(hidden) more were refused in the minute after \(WallTime(milliseconds: since))")
            }
            since = call.milliseconds
            count = 0
        }
        count += 1
        try call.transaction.execute(
            "UPDATE clusters SET refusals_since = $1, refusals = $2 WHERE id = $3",
            [.integer(since), .integer(count), .id(cluster)])
        if count <= settings.auditedRefusalsPerMinute || planted(.refusalsAllAudited) {
            let code = problem.code?.rawValue ?? "refused"
            call.audit(
                cluster, actor: Actor.token(token), .enrolmentRefused, subject: "join token \(token)",
                "\(code)\(source)")
        }
    }
}
