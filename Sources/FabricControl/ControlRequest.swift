public import FabricCore
public import FabricWire

/// One request, with what the host knows of the connection that it came on.
public struct ControlRequest: Hashable, Sendable {
    public var http: HTTPRequest
    /// The client's SVID, once `ControlPlane.verifyClient` has accepted the chain that it presented.
    public var peer: CertificateFacts?
    public var source: Endpoint?
    /// When it came, where it has waited since; nil for just now.
    var receivedAt: WallTime?

    public init(_ http: HTTPRequest, peer: CertificateFacts? = nil, source: Endpoint? = nil) {
        self.http = http
        self.peer = peer
        self.source = source
    }
}

/// What a parked request waits for.
public enum Topic: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The decision on a join request.
    case joinRequest(JoinRequestID)
    /// Anything new for a node: its snapshot, its peers' records, the cluster's trust, its own membership.
    case node(ClusterID, NodeID)

    public var description: String {
        switch self {
        case .joinRequest(let request): "join request \(request)"
        case .node(let cluster, let node): "node \(cluster)/\(node)"
        }
    }

    public static func < (a: Topic, b: Topic) -> Bool {
        switch (a, b) {
        case (.joinRequest(let x), .joinRequest(let y)): x < y
        case (.node(let c, let n), .node(let d, let m)): c != d ? c < d : n < m
        case (.joinRequest, .node): true
        case (.node, .joinRequest): false
        }
    }
}

/// What becomes of a request now.
public enum Outcome: Hashable, Sendable {
    /// What it wrote is durable; the reply may leave.
    case reply(HTTPReply)
    /// Nothing yet: ask again when the topic is touched. If it is not until then, `otherwise` is the answer.
    case park(topic: Topic, until: Instant, otherwise: HTTPReply)
}

/// The result of one transaction.
public struct Handled: Hashable, Sendable {
    public var outcome: Outcome
    /// Requests parked on these may have an answer now. Sorted, each once.
    public var touched: [Topic] = []
    /// Snapshots wait to be made: call `flushSnapshots` soon.
    public var snapshotsDirty = false
    /// The node whose heartbeat this was.
    public var heardFrom: NodeKey?

    public init(outcome: Outcome) { self.outcome = outcome }
}

/// A node's membership in a cluster.
public struct NodeKey: Hashable, Comparable, Sendable {
    public var cluster: ClusterID
    public var node: NodeID

    public init(cluster: ClusterID, node: NodeID) {
        self.cluster = cluster
        self.node = node
    }

    public static func < (a: NodeKey, b: NodeKey) -> Bool {
        a.cluster != b.cluster ? a.cluster < b.cluster : a.node < b.node
    }
}

/// Plain counts for metrics; they never decide anything.
public struct ControlCounters: Hashable, Sendable {
    public var requests: UInt64 = 0
    public var succeeded: UInt64 = 0
    /// Replies 4xx and 5xx.
    public var refused: UInt64 = 0
    public var failed: UInt64 = 0
    public var parked: UInt64 = 0
    /// Wake-ups of parked requests, useful or not.
    public var resumed: UInt64 = 0
    /// Parked requests answered with nothing new.
    public var parksExpired: UInt64 = 0
    /// Requests refused because the table of parked ones was full.
    public var parksRefused: UInt64 = 0
    /// Parked requests released early because their topic had too many.
    public var parksDisplaced: UInt64 = 0
    public var storeErrors: UInt64 = 0
    public var unknownTokens: UInt64 = 0
    public var unauthenticated: UInt64 = 0
    public var heartbeats: UInt64 = 0
    /// Transactions for several heartbeats at once.
    public var heartbeatBatches: UInt64 = 0
    /// Of those, batches that could not be stored together for what they hold, or what the records do.
    public var heartbeatBatchesBroken: UInt64 = 0
    public var snapshotsMade: UInt64 = 0
    public var snapshotsUnchanged: UInt64 = 0
    public var nodesMarkedOffline: UInt64 = 0

    public init() {}
}
