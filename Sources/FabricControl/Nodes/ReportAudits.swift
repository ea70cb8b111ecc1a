internal import FabricCore

/// When something that a node does by its heartbeats was last audited, and how often it has come up since: a member must not
/// fill the audit, and nothing that it reports may go untold. At most one event in each
/// `ControlSettings.reportAuditInterval`; what comes more often is counted, and told with the next, which follows on the first
/// heartbeat after the interval; of a node that is silent then, `tellSilences` does without.
struct ReportAudit: Hashable {
    /// Milliseconds since the Unix epoch; nil before the first.
    var lastAt: Int64?
    /// Since then, counted only.
    var untold: Int64 = 0

    /// Whether an event may be written. A wall clock that was set back waits for nothing.
    func isDue(at now: Int64, _ interval: Duration) -> Bool {
        guard let lastAt, !planted(.reportsAllAudited) else { return true }
        return now < lastAt || now - lastAt >= interval.milliseconds
    }

    /// Until an event may be written, zero when one may.
    func wait(at now: Int64, _ interval: Duration) -> Duration {
        guard let lastAt, !isDue(at: now, interval) else { return .zero }
        return interval - .milliseconds(now - lastAt)
    }

    /// Something was counted only, and may be told now.
    func mustTell(at now: Int64, _ interval: Duration) -> Bool { untold > 0 && isDue(at: now, interval) }

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
    /// It came to be online, or fell silent. Its first heartbeat of all, which comes once, is told for itself.
    var health = ReportAudit()

    static let columns =
        "h.clock_audited_at, h.clock_untold, h.raise_audited_at, h.raises_untold, h.health_audited_at, h.health_untold"

    /// Nothing yet.
    init() {}

    /// Something was counted only, and may be told now.
    func mustTell(at now: Int64, _ interval: Duration) -> Bool {
        [clock, raises, health].contains { $0.mustTell(at: now, interval) }
    }

    /// From `columns`, which are NULL where there was no heartbeat.
    init(_ row: SQLRow) throws(StoreError) {
        clock.lastAt = try row.optionalInteger("clock_audited_at")
        clock.untold = try row.optionalInteger("clock_untold") ?? 0
        raises.lastAt = try row.optionalInteger("raise_audited_at")
        raises.untold = try row.optionalInteger("raises_untold") ?? 0
        health.lastAt = try row.optionalInteger("health_audited_at")
        health.untold = try row.optionalInteger("health_untold") ?? 0
    }

    /// An event on the health of a node that sends no heartbeats any more: with it all is told that is left to tell.
    mutating func tellSilence(_ news: String, at now: Int64) -> String {
        let parts = [
            health.backlog, clock.backlog.map { "changes of its clock: \($0)" },
            raises.backlog.map { "foreign snapshots: \($0)" },
        ].compactMap { $0 }
        health = ReportAudit(lastAt: now)
        if clock.untold > 0 { clock = ReportAudit(lastAt: now) }
        if raises.untold > 0 { raises = ReportAudit(lastAt: now) }
        return news + (parts.isEmpty ? "" : " (\(parts.joined(separator: "; ")))")
    }

    /// As `HeartbeatTexts.audits` orders them.
    func values(of key: NodeKey) -> [SQLValue] {
        [.id(key.cluster), .id(key.node)]
            + [clock, raises, health].flatMap { audit -> [SQLValue] in
                [audit.lastAt.map { .integer($0) } ?? .null, .integer(audit.untold)]
            }
    }
}

/// One heartbeat's reports, as the audit hears of them.
struct HeartbeatReport {
    /// What its health was before.
    var health: NodeHealth
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
    /// What the audit is to hear of heartbeats' reports, and of those that were counted once that is due. Counts the others.
    func auditReports(
        _ reports: [(HeartbeatReport, NodeCaller)], at time: Int64, _ transaction: any Transaction
    ) throws -> [PendingAudit] {
        var events: [PendingAudit] = []
        var changed: [(NodeKey, ReportAudits)] = []
        for (report, caller) in reports {
            var audits = caller.audits
            events += tell(report, caller, &audits, at: time)
            if audits != caller.audits { changed.append((caller.key, audits)) }
        }
        try save(changed, transaction)
        return events
    }

    /// The nodes must have sent heartbeats.
    func save(_ audits: [(NodeKey, ReportAudits)], _ transaction: any Transaction) throws {
        guard !audits.isEmpty else { return }
        let (sql, arguments) = heartbeatTexts.audits.statement(audits.map { $1.values(of: $0) })
        try transaction.execute(sql, arguments)
    }

    private func tell(
        _ report: HeartbeatReport, _ caller: NodeCaller, _ audits: inout ReportAudits, at time: Int64
    ) -> [PendingAudit] {
        var events: [PendingAudit] = []
        func write(_ event: AuditEventKind, _ detail: String) {
            events.append(
                PendingAudit(
                    cluster: caller.key.cluster, actor: Actor.control, event: event,
                    subject: "node \(caller.key.node)", detail: detail))
        }
        if report.health == .new { write(.healthChanged, "new → online") }
        tell(
            &audits.health, time, news: report.health == .offline ? "offline → online" : nil, standing: "online now"
        ) { write(.healthChanged, $0) }
        let clock = report.isSkewed ? "its clock is \(report.clockOffset / 1000) s off" : "its clock is right"
        tell(
            &audits.clock, time,
            news: report.clockChange.map { $0 ? clock : "\(clock) again" }, standing: "\(clock) now"
        ) { write(.healthChanged, $0) }
        tell(
            &audits.raises, time, news: report.raise,
            standing: "the version is \(report.version): the node kept reporting snapshots that are not recorded here"
        ) { write(.snapshotRaised, $0) }
        return events
    }

    private func tell(
        _ audit: inout ReportAudit, _ time: Int64, news: String?, standing: @autoclosure () -> String,
        _ write: (String) -> Void
    ) {
        guard news != nil || audit.untold > 0 else { return }
        guard audit.isDue(at: time, settings.reportAuditInterval) else {
            if news != nil { audit.count() }
            return
        }
        let backlog = audit.backlog
        write((news ?? standing()) + (backlog.map { " (\($0))" } ?? ""))
        audit = ReportAudit(lastAt: time)
    }
}
