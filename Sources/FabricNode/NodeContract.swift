public import FabricCore
public import FabricTunnel
public import FabricWire

/// What an operator configures on a host.
public struct NodeConfiguration: Sendable {
    public var name: String
    /// Needed until the node is enrolled.
    public var joinToken: JoinToken?
    /// Fixed at enrolment: the admission names the key of each.
    public var domains: [RoutingDomainID]
    public var facts: NodeFacts
    public var capabilities: [String]
    public var requestedRoles: [String]
    /// How often each peer is probed.
    public var probeInterval: Duration
    /// Peers that a person configured on this host; checked by `StaticPeers.check`. They come and go with the configuration
    /// alone: no snapshot brings them, and none takes them away.
    public var staticPeers: [StaticPeers] = []
    /// Of the interfaces of all domains.
    public var interfaceMTU = NodeConfiguration.defaultInterfaceMTU
    /// Whether TCP connections through the tunnels are told when they open how long segments may be, by the option in their
    /// packets: for hosts beyond this one that never hear of Packet Too Big.
    public var clampsSegments = false
    /// The control plane's name and port, when it is known by name: then requests wait for `useControl`. Nil when the host
    /// knows its address.
    public var controlName: NamedServer?

    /// WireGuard's usual MTU over an underlay of 1500 bytes, less the relay prefix's 8, to a multiple of 4.
    public static let defaultInterfaceMTU = 1412
    /// From what every link that carries IPv6 takes to what an underlay of 9000 bytes does.
    public static let interfaceMTUs = 1280...8912

    public init(
        name: String, joinToken: JoinToken?, domains: [RoutingDomainID], facts: NodeFacts, capabilities: [String],
        requestedRoles: [String], probeInterval: Duration
    ) {
        self.name = name
        self.joinToken = joinToken
        self.domains = domains
        self.facts = facts
        self.capabilities = capabilities
        self.requestedRoles = requestedRoles
        self.probeInterval = probeInterval
    }
}

/// A server that is known by name.
public struct NamedServer: Hashable, Sendable {
    public var name: HostName
    public var port: UInt16

    public init(name: HostName, port: UInt16) {
        self.name = name
        self.port = port
    }
}

public enum NodeEvent: Sendable {
    /// The first event: the state files that exist, and the endpoints at which datagrams reach this host.
    case started(files: [LoadedFile], endpoints: [Endpoint])
    case replied(RequestNumber, HTTPReply)
    case requestFailed(RequestNumber, ControlFailure)
    case persisted(PersistNumber)
    case persistFailed(PersistNumber, DiskError)
    case endpointsChanged([Endpoint])
    /// The interface of the domain is as `.configureInterface` asked.
    case interfaceConfigured(RoutingDomainID)
    /// It is not, or not in all; why, in words. The agent asks again.
    case interfaceFailed(RoutingDomainID, String)
    /// The interface of the domain was looked at, since something about it has changed.
    case interfaceObserved(RoutingDomainID, InterfaceState)
    /// The path that was asked for takes underlay packets of so many bytes, as far as the kernel knows.
    case pathMTU(PathQuestion, Int)
    /// A resolver's answer, with one address or more. Nothing proves it.
    case resolved(ResolutionNumber, ResolvedAddresses)
    case resolutionFailed(ResolutionNumber, ResolutionFailure)
}

public typealias RequestNumber = UInt64
public typealias PersistNumber = UInt64
public typealias ResolutionNumber = UInt64

/// Why a request to the control plane has no reply.
public enum ControlFailure: Error, Hashable, Sendable, CustomStringConvertible {
    case unreachable
    case timedOut
    /// The connection ended after the request had been sent: it may have been carried out.
    case answerLost
    /// The other side is not who it should be, or refused our certificate.
    case untrusted(String)

    public var description: String {
        switch self {
        case .unreachable: "the control plane can't be reached"
        case .timedOut: "the control plane did not answer in time"
        case .answerLost: "the connection ended before the answer"
        case .untrusted(let why): "the secure channel failed: \(why)"
        }
    }
}

public enum NodeAction: Sendable {
    /// Perform a request over the control channel; `.replied` or `.requestFailed` follows, exactly one.
    case request(RequestNumber, HTTPRequest, timeout: Duration)
    /// From now on connections to the control plane use this; those that stand may stay.
    case secureControlChannel(ControlChannelSecurity)
    /// End all connections to the control plane: they came from an address that is gone, and would die in silence. What was
    /// under way on them fails as lost; the next request makes new ones.
    case reconnectControl
    /// From now on connections to the control plane go there, and may take so long to come about. Without `reconnectControl`
    /// those that stand may stay.
    case useControl(Endpoint, connectTimeout: Duration)
    /// Look a name up; `.resolved` or `.resolutionFailed` follows within `timeout`, exactly one.
    case resolve(ResolutionNumber, HostName, timeout: Duration)
    /// Make `bytes` the content of `file`, durably; `.persisted` or `.persistFailed` follows, exactly one.
    case persist(PersistNumber, StateFile, [UInt8])
    /// The network interface of a routing domain shall look like this. Repeated when it changes, and while it fails. A host
    /// with interfaces tells `.interfaceConfigured` or `.interfaceFailed`.
    case configureInterface(InterfaceConfiguration)
    /// Something that a person or a trace may want to know.
    case report(NodeReport)
}

public struct ControlChannelSecurity: Hashable, Sendable {
    /// SHA-256 of the control plane's root certificate, which its chain must end with.
    public var controlPin: [UInt8]
    /// The SVID chain to present (DER) and its key; absent before enrolment.
    public var clientChain: [[UInt8]]
    public var identitySeed: [UInt8]
    /// Certificates are judged at the later of this and the host's wall clock.
    public var timeFloor: WallTime

    public init(controlPin: [UInt8], clientChain: [[UInt8]], identitySeed: [UInt8], timeFloor: WallTime) {
        self.controlPin = controlPin
        self.clientChain = clientChain
        self.identitySeed = identitySeed
        self.timeFloor = timeFloor
    }
}

public enum NodeReport: Hashable, Sendable, CustomStringConvertible {
    case phaseChanged(NodePhase)
    case stateRefused(StateFile, String)
    case persistFailed(StateFile, DiskError)
    case controlFailed(String)
    case snapshotApplied(version: Int64, peers: Int)
    case snapshotRefused(String)
    case recordRefused(String)
    case certificateRenewed(notAfter: WallTime)
    case clockOffset(Duration)
    case peerUp(NodeID, RoutingDomainID)
    case peerDown(NodeID, RoutingDomainID)
    /// A static peer or address of a routing domain, and why the fabric does not take it.
    case staticRefused(RoutingDomainID, String, why: String)
    /// What the static peers of a routing domain may take from the fabric.
    case staticShadows(RoutingDomainID, String)
    case interfaceFailed(RoutingDomainID, String)
    /// It was not as it should be, and is again.
    case interfaceMended(RoutingDomainID)
    /// The control plane, known by name, answers at this address now.
    case controlFound(HostName, Endpoint)
    case lookupFailed(HostName, ResolutionFailure)

    public var description: String {
        switch self {
        case .phaseChanged(let phase): "phase: \(phase)"
        case .stateRefused(let file, let why): "state file \(file.rawValue) refused: \(why); \(file.mend)"
        case .persistFailed(let file, let error): "state file \(file.rawValue) can't be written: \(error.words)"
        case .controlFailed(let why): why
        case .snapshotApplied(let version, let peers): "snapshot \(version) applied, \(peers) peers"
        case .snapshotRefused(let why): "snapshot refused: \(why)"
        case .recordRefused(let why): "peer record refused: \(why)"
        case .certificateRenewed(let notAfter): "certificate renewed, valid until \(notAfter)"
        case .clockOffset(let offset): "this host's clock differs from the control plane's by \(offset)"
        case .peerUp(let node, let domain): "peer \(node) up in \(domain)"
        case .peerDown(let node, let domain): "peer \(node) down in \(domain)"
        case .staticRefused(let domain, let what, let why): "static peers of \(domain): \(what) is refused: \(why)"
        case .staticShadows(let domain, let what): "static peers of \(domain): \(what)"
        case .interfaceFailed(let domain, let why): "the interface of \(domain) is not as it should be: \(why)"
        case .interfaceMended(let domain): "the interface of \(domain) is as it should be again"
        case .controlFound(let name, let endpoint): "the control plane \(name) answers at \(endpoint)"
        case .lookupFailed(let name, let failure): "\(name) can't be looked up: \(failure)"
        }
    }
}

public enum NodePhase: Hashable, Sendable, CustomStringConvertible {
    /// Before `.started`.
    case idle
    /// Keys are being made durable, or the control plane has not answered yet.
    case joining
    case awaitingApproval
    case active
    /// The control plane refused for good; a person must act, and the agent restart.
    case refused(Problem.Code, String)
    /// The state on disk can't be used; a person must act.
    case broken(String)

    public var description: String {
        switch self {
        case .idle: "idle"
        case .joining: "joining"
        case .awaitingApproval: "awaiting approval"
        case .active: "active"
        case .refused(let code, let detail): "refused (\(code.rawValue)): \(detail)"
        case .broken(let why): "broken: \(why)"
        }
    }
}

/// Why the agent wants to be woken.
public enum NodeDeadline: Hashable, Sendable, CustomStringConvertible {
    case retryEnrolment, heartbeat, updates, renewal, floors, probe, health, interfaces, lookup
    case tunnel(TunnelTimer)
    /// Handshakes that had to wait.
    case waitingHandshakes

    public var description: String {
        switch self {
        case .retryEnrolment: "retry enrolment"
        case .heartbeat: "heartbeat"
        case .updates: "ask for updates"
        case .renewal: "renew certificate"
        case .floors: "raise floors"
        case .probe: "probe peers"
        case .health: "peer health"
        case .interfaces: "set up interfaces again"
        case .lookup: "look the control plane up"
        case .tunnel(let reason): "tunnel: \(reason)"
        case .waitingHandshakes: "tunnel: waiting handshakes"
        }
    }
}
