/// What a host shows the judge at one moment. Nodes, peers, flows and audit events are indices: of `Plan.nodes`, of the
/// node's peer list, of `Plan.flows`, of `Plan.auditEvents`. A call costs no allocation on any host that means to be fast.
public protocol WorldView {
    func phase(of node: Int) -> NodePhase
    /// The peers that policy gives the node, by the snapshot it has applied; 0 before there is one.
    func peerCount(of node: Int) -> Int
    /// A node that is a peer in several routing domains counts once, as up when all are.
    func peer(_ index: Int, of node: Int) -> PeerView
    /// As the control plane sees it; a host that can't ask now says what it heard last.
    func isOnline(_ node: Int) -> Bool
    /// Join requests that the control plane has recorded under this node's name.
    func joinRequestCount(of node: Int) -> Int
    /// Node records under this node's name.
    func recordCount(of node: Int) -> Int
    func auditCount(of event: Int) -> Int
    func flow(_ index: Int) -> FlowView
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
