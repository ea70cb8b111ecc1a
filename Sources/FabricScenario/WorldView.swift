/// What a host shows the judge at one moment. Nodes, peers, flows and audit events are indices: of `Plan.nodes`, of the
/// node's peer list, of `Plan.flows`, of `Plan.auditEvents`. A call costs no allocation on any host that means to be fast.
public protocol WorldView {
    func phase(of node: Int) -> NodePhase
    /// The peers that policy gives the node, by the snapshot it has applied; 0 before there is one.
    func peerCount(of node: Int) -> Int
    /// A node that is a peer in several routing domains counts once, as up when all are.
    func peer(_ index: Int, of node: Int) -> PeerView
    /// Whether the node is active, has peers, and all of them are up. A host may know it with less work than looking at each.
    func reachesAllPeers(_ node: Int) -> Bool
    /// As the control plane sees it; a host that can't ask now says what it heard last.
    func isOnline(_ node: Int) -> Bool
    /// Join requests that the control plane has recorded under this node's name.
    func joinRequestCount(of node: Int) -> Int
    /// Node records under this node's name.
    func recordCount(of node: Int) -> Int
    func auditCount(of event: Int) -> Int
    func flow(_ index: Int) -> FlowView
    /// The version of the snapshot that the node has applied; 0 before there is one.
    func snapshotVersion(of node: Int) -> Int64
    /// The version of the newest snapshot that the control plane has made for the node; 0 before there is one.
    func issuedSnapshotVersion(of node: Int) -> Int64
    var controlIsUp: Bool { get }
    /// Whether a `crash-at` step holds the node: it waits for its boundary, or is down and comes up by itself.
    func awaitsCrash(_ node: Int) -> Bool
    /// Nil for a node without a certificate, or on a host that can't tell (its plans are refused).
    func certificate(of node: Int) -> CertificateView?
    /// The wall clock less the true time.
    func clockOffset(of node: Int) -> Duration
    /// How old the session with this peer is; nil when there is none that can send.
    func sessionAge(_ index: Int, of node: Int) -> Duration?
}

/// The live host can't tell these; `liveCannot` keeps such files from it.
extension WorldView {
    public func issuedSnapshotVersion(of node: Int) -> Int64 { 0 }
    public var controlIsUp: Bool { false }
    public func awaitsCrash(_ node: Int) -> Bool { false }
    public func certificate(of node: Int) -> CertificateView? { nil }
    public func clockOffset(of node: Int) -> Duration { .zero }
    public func sessionAge(_ index: Int, of node: Int) -> Duration? { nil }
}

/// By the true time.
public struct CertificateView: Hashable, Sendable {
    public var age: Duration
    /// Negative after its expiry.
    public var left: Duration

    public init(age: Duration, left: Duration) {
        self.age = age
        self.left = left
    }
}

extension WorldView {
    public func reachesAllPeers(_ node: Int) -> Bool {
        let count = peerCount(of: node)
        for index in 0..<count where !peer(index, of: node).isUp { return false }
        return count > 0 && phase(of: node) == .active
    }
}

public enum NodePhase: Hashable, Sendable {
    /// Not started, or crashed.
    case off
    case joining
    case awaitingApproval
    case active
    /// The code of the control plane's problem.
    case refused(String)

    public var text: String {
        switch self {
        case .off: "off"
        case .joining: "joining"
        case .awaitingApproval: "awaiting approval"
        case .active: "active"
        case .refused(let code): "refused: \(code)"
        }
    }
}

public struct PeerView: Hashable, Sendable {
    /// The peer's index in `Plan.nodes`.
    public var node: Int
    public var hasSession: Bool
    /// Handshakes completed with this peer since the node started.
    public var handshakes: Int
    /// An echo was answered lately.
    public var isUp: Bool

    @inlinable public init(node: Int, hasSession: Bool, handshakes: Int, isUp: Bool) {
        self.node = node
        self.hasSession = hasSession
        self.handshakes = handshakes
        self.isUp = isUp
    }
}

public struct FlowView: Hashable, Sendable {
    public var sentPackets: Int64
    public var deliveredPackets: Int64

    @inlinable public init(sentPackets: Int64, deliveredPackets: Int64) {
        self.sentPackets = sentPackets
        self.deliveredPackets = deliveredPackets
    }
}
