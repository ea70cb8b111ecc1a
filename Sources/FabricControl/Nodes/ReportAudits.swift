internal import FabricCore

/// When something that a node reports was last audited, and how often it has come up since: a member must not fill the
/// audit, and nothing that it reports may go untold. At most one event in each `ControlSettings.reportAuditInterval`; what
/// comes more often is counted, and told with the next, which follows on the first heartbeat after the interval.
struct ReportAudit: Hashable {
    /// Milliseconds since the Unix epoch; nil before the first.
    var lastAt: Int64?
    /// Since then, counted only.
    var untold: Int64 = 0

    /// Whether an event may be written. A wall clock that was set back waits for nothing.
    func isDue(at now: Int64, _ interval: Duration) -> Bool {
        guard let lastAt else { return true }
        return now < lastAt || now - lastAt >= interval.milliseconds
    }

    /// What an event says of those that were counted only; nil when there are none.
    var backlog: String? {
        guard untold > 0, let lastAt else { return nil }
        return "\(untold) untold since \(WallTime(milliseconds: lastAt))"
    }

    mutating func count() { untold = untold == .max ? .max : untold + 1 }
}

/// A node's, in the row of its heartbeats.
struct ReportAudits: Hashable {
    /// Its clock came to be wrong, or right again.
    var clock = ReportAudit()
    /// It has a snapshot that is not recorded here.
    var raises = ReportAudit()

    static let columns = "h.clock_audited_at, h.clock_untold, h.raise_audited_at, h.raises_untold"

    /// Nothing yet.
    init() {}

    /// From `columns`, which are NULL where there was no heartbeat.
    init(_ row: SQLRow) throws(StoreError) {
        clock.lastAt = try row.optionalInteger("clock_audited_at")
        clock.untold = try row.optionalInteger("clock_untold") ?? 0
        raises.lastAt = try row.optionalInteger("raise_audited_at")
        raises.untold = try row.optionalInteger("raises_untold") ?? 0
    }

    /// What is left to tell of a node that sends no heartbeats any more.
    var backlog: String? {
        let parts = [
            clock.backlog.map { "changes of its clock: \($0)" }, raises.backlog.map { "foreign snapshots: \($0)" },
        ].compactMap { $0 }
        return parts.isEmpty ? nil : parts.joined(separator: "; ")
    }

    /// The node must have a row.
    func save(_ key: NodeKey, _ transaction: any Transaction) throws {
        func time(_ audit: ReportAudit) -> SQLValue { audit.lastAt.map { .integer($0) } ?? .null }
        try transaction.execute(
            """
            UPDATE node_heartbeats SET clock_audited_at = $1, clock_untold = $2, raise_audited_at = $3, raises_untold = $4
            WHERE cluster_id = $5 AND node_id = $6
            """,
            [
                time(clock), .integer(clock.untold), time(raises), .integer(raises.untold), .id(key.cluster),
                .id(key.node),
            ])
    }
}

/// One heartbeat's reports, as the audit hears of them.
struct HeartbeatReport {
    /// The clock came to be wrong (true), or right again (false); nil when it is as it was.
    var clockChange: Bool?
    /// What became of the snapshot's version; nil when the node has none but ours.
    var raise: String?
    /// Milliseconds.
    var clockOffset: Int64
    var isSkewed: Bool
    var version: Int64
}

extension ControlPlane {
    /// Audits what a heartbeat reported, or counts it, and tells what was counted once that is due.
    func auditReports(_ report: HeartbeatReport, _ caller: NodeCaller, _ call: Call) throws {
        var audits = caller.audits
        let clock = report.isSkewed ? "its clock is \(report.clockOffset / 1000) s off" : "its clock is right"
        tell(
            &audits.clock, call,
            news: report.clockChange.map { $0 ? clock : "\(clock) again" }, standing: "\(clock) now"
        ) {
            call.audit(caller.key.cluster, actor: Actor.control, .healthChanged, subject: "node \(caller.key.node)", $0)
        }
        tell(
            &audits.raises, call, news: report.raise,
            standing: "the version is \(report.version): the node kept reporting snapshots that are not recorded here"
        ) {
            call.audit(
                caller.key.cluster, actor: Actor.control, .snapshotRaised, subject: "node \(caller.key.node)", $0)
        }
        if audits != caller.audits { try audits.save(caller.key, call.transaction) }
    }

    private func tell(
        _ audit: inout ReportAudit, _ call: Call, news: String?, standing: @autoclosure () -> String,
        _ write: (String) -> Void
    ) {
        guard news != nil || audit.untold > 0 else { return }
        guard audit.isDue(at: call.milliseconds, settings.reportAuditInterval) else {
            if news != nil { audit.count() }
            return
        }
        let backlog = audit.backlog
        write((news ?? standing()) + (backlog.map { " (\($0))" } ?? ""))
        audit = ReportAudit(lastAt: call.milliseconds)
    }
}
