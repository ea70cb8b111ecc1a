/// What an operator may tune. Every limit of the control plane has its name here.
public struct ControlSettings: Sendable {
    /// SHA-256 of the operators' bearer token; the token itself is with the operators.
    public var adminTokenHash: [UInt8]

    /// How often nodes are asked to report.
    public var heartbeatInterval = Duration.seconds(15)
    /// A heartbeat that brings no record waits this long for others, to be stored with them.
    public var heartbeatWait = Duration.milliseconds(500)
    /// Heartbeats stored at once; so many wait no longer.
    public var heartbeatsPerBatch = 512
    public static let mostHeartbeatsPerBatch = 512
    /// Heartbeats that have come and are not stored yet; one more is answered 503.
    public var waitingHeartbeats = 2_048
    /// A request waits so long for others that then run in the same transaction.
    public var requestWait = Duration.milliseconds(1)
    /// Requests that share a transaction; so many wait no longer.
    public var requestsPerTransaction = 64
    /// A node is offline when this many heartbeats are missing.
    public var missedHeartbeats = 3
    /// A node's clock that differs by more is recorded as a change of its health.
    public var clockTolerance = Duration.seconds(120)
    /// Of each node, changes of its health, changes of its clock, and snapshots that are not recorded here, are each audited
    /// once in this time; more are counted, and told with the next.
    public var reportAuditInterval = Duration.seconds(600)
    /// One heartbeat in each interval is kept as history, in a ring of `heartbeatHistory` rows per node.
    public var heartbeatHistoryInterval = Duration.seconds(300)
    public var heartbeatHistory = 48

    /// Requests parked at once; one more is answered 503.
    public var parkedRequests = 20_000
    /// Requests parked on one topic; one more releases the oldest with nothing new.
    public var parkedPerTopic = 4

    /// SVIDs live this long: an outage of a day ends nothing, at rotation after two thirds.
    public var certificateLifetime = Duration.seconds(96 * 3600)
    /// SVIDs are valid this long before their issue, for hosts whose clocks are behind.
    public var certificateBackdating = Duration.seconds(3600)
    /// A node that asks again sooner is given the certificate that it was given last.
    public var shortestRotation = Duration.seconds(60)
    public static let shortestCertificateLifetime = Duration.seconds(72 * 3600)

    public var snapshotRefresh = Duration.seconds(24 * 3600)
    public var snapshotHardExpiry = Duration.seconds(30 * 24 * 3600)
    /// Changes within this time after the first make one snapshot.
    public var snapshotCoalescing = Duration.milliseconds(200)
    /// Snapshots made in one transaction.
    public var snapshotsPerFlush = 128
    /// How often snapshots that need a refresh are looked for.
    public var refreshCheck = Duration.seconds(600)

    /// Peer records are kept at most this long, whatever they ask.
    public var longestRecordLifetime = Duration.seconds(3600)
    /// Peer records in one reply.
    public var recordsPerReply = 256

    /// Items on a page when the caller names no limit.
    public var pageSize = 100
    public var clusters = 1_000
    /// Join tokens of one cluster that are neither expired nor revoked.
    public var liveTokens = 1_000
    /// Join requests of one cluster that nobody has decided.
    public var undecidedRequests = 20_000
    /// Refused enrolments of one cluster that are audited one by one, per minute; the rest are counted.
    public var auditedRefusalsPerMinute = 20

    public init(adminTokenHash: [UInt8]) {
        precondition(adminTokenHash.count == 32)
        self.adminTokenHash = adminTokenHash
    }

    /// After this much silence a node is offline.
    var offlineAfter: Duration { heartbeatInterval * missedHeartbeats }
}
