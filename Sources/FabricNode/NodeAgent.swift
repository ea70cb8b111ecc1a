public import FabricCore
internal import FabricDocument
internal import FabricMesh
internal import FabricTunnel
internal import FabricWire

/// The agent of one node in one cluster: it makes its keys, enrols, keeps its state, heartbeats, applies snapshots, and
/// carries packets between its interfaces and its tunnels.
///
/// Control lane: the `Component` contract. Packet lane: `send`, `receive`, `nextTransmit` (NodeAgent+Packets.swift).
/// After either, the host drains `nextTransmit` and `nextPathQuestion`, performs the actions, and asks for `nextDeadline`.
public final class NodeAgent: Component {
    public let configuration: NodeConfiguration
    let cryptography: any Cryptography
    let certificates: any CertificateProvider
    let random: any RandomSource

    public internal(set) var phase = NodePhase.idle
    public internal(set) var counters = NodeCounters()

    // What is on disk.
    var identity: IdentityState?
    var membership: MembershipState?
    var trust: TrustMetadata?
    var floors = FloorsState(wallNanoseconds: 0, handshakeNanoseconds: 0, recordSequence: 0)
    var snapshotEnvelope: SignedEnvelope?
    var snapshot: Snapshot?
    /// Of its payload; kept, since every heartbeat tells it.
    var snapshotHash: Blob?
    /// The version of the newest snapshot that is durable: what heartbeats report.
    var durableSnapshotVersion: Int64 = 0

    // Requests and writes under way.
    private var nextNumber: UInt64 = 1
    var enrolment: Enrolment?
    var enrolmentCall = RepeatingCall()
    var heartbeatCall = RepeatingCall()
    var updatesCall = RepeatingCall()
    var renewalCall = RepeatingCall()
    /// Of setting up interfaces that failed.
    var interfaceCall = RepeatingCall()
    /// When one was last found not to be as it should.
    var interfaceFailedAt: Instant?
    var writes: [PendingWrite] = []
    /// Files whose last write failed; tried again when the floors are.
    var writesToRetry: [StateFile] = []
    var floorsDue: Instant?
    var floorsRaised = Instant.zero

    // Where the control plane is, when it is known by name; see NodeAgent+Locate.swift.
    var locator: ControlLocator?
    /// Requests that wait for the first address.
    var heldRequests: [HeldRequest] = []

    // Where this host is, and where its peers are.
    var endpoints: [Endpoint] = []
    var ownRecord: SignedEnvelope?
    var ownRecordSequence: Int64 = 0
    var ownRecordAcknowledged = false
    var ownRecordRefresh = Instant.zero
    var recordsVersion: Int64 = 0
    var heartbeatSequence: Int64 = 0
    /// The number of the record that the heartbeat under way carries; 0 when it carries none.
    var heartbeatRecordSequence: Int64 = 0
    /// Records below this number may be sent: a floor above them is durable.
    var durableRecordFloor: Int64 = 0
    /// Handshake time stamps start here when the wall clock is behind what an earlier life used.
    var handshakeBase = WallTime(nanoseconds: 0)
    var clockOffsetReported = false
    var certificateRenewalAt: WallTime?
    var certificateNotAfter: WallTime?

    // Tunnels; see NodeAgent+Peers.swift.
    var directory: PeerDirectory?
    let tunnels: TunnelEndpoint
    /// The floors that were found allow handshakes though no higher ones can be written; see `FloorsState.startingPoint`.
    var mayStartUnreserved = false
    /// Handshakes may be sent: a time stamp floor is durable, or none can be and the one found serves.
    var tunnelsReady = false
    var domains: [DomainState] = []
    public internal(set) var peers: [NodePeer] = [] {
        // Whatever changes in it may be a probe's time.
        didSet { earliestProbe = nil }
    }
    /// Where a tunnel's peer stands in `peers`, and a node's tunnels. Looked up, never iterated.
    var placeOfHandle: [PeerHandle: Int] = [:]
    var placesOfNode: [NodeID: [Int]] = [:]
    /// The earliest probe of any peer; nil when it is to be looked for again, the distant future
    /// when there is no peer.
    var earliestProbe: Instant?
    var probeCursor: Int?
    // What paths take; see NodeAgent+PathMTU.swift.
    var pathQuestions: [PeerHandle] = []
    var refusalHeardAt: Instant?
    var messageBudget = MessageBudget()
    /// Peers that a person configured; see NodeAgent+StaticPeers.swift.
    var staticPeers: [StaticPeer]
    /// Of those that have a tunnel. Looked up, never iterated.
    var staticHandles: Set<PeerHandle> = []
    /// From what the shadows were worked out last.
    var shadowBasis: ShadowBasis?
    /// Told already.
    var refusedAddresses: Set<InterfaceAddress> = []

    public init(
        configuration: NodeConfiguration, cryptography: any Cryptography, certificates: any CertificateProvider,
        random: any RandomSource, tunnelRandom: any RandomSource
    ) {
        precondition(configuration.domains.contains(.fabric), "every node is in the fabric domain")
        self.configuration = configuration
        self.cryptography = cryptography
        self.certificates = certificates
        self.random = random
        staticPeers = configuration.staticPeers.flatMap { file in
            file.configuration.peers.map { StaticPeer(domain: file.domain, configuration: $0) }
        }
        tunnels = TunnelEndpoint(cryptography: cryptography, random: tunnelRandom, limits: .default)
    }

    public var nodeID: NodeID? {
        guard let identity, let key = try? cryptography.ed25519PublicKey(seed: identity.identitySeed.bytes) else {
            return nil
        }
        return FabricIdentifier.nodeID(identityKey: key, cryptography)
    }

    public var snapshotVersion: Int64 { snapshot?.version ?? 0 }

    // MARK: Component

    public func handle(_ event: NodeEvent, now: Now, into actions: inout [NodeAction]) {
        switch event {
        case .started(let files, let endpoints): start(files, endpoints, now, &actions)
        case .replied(let number, let reply): handleReply(number, reply, now, &actions)
        case .requestFailed(let number, let failure): handleFailure(number, failure, now, &actions)
        case .persisted(let number): handlePersisted(number, now, &actions)
        case .persistFailed(let number, let error): handlePersistFailed(number, error, now, &actions)
        case .resolved(let number, let answer): handleResolved(number, answer, now, &actions)
        case .resolutionFailed(let number, let failure): handleUnresolved(number, failure, now, &actions)
        case .endpointsChanged(let endpoints):
            guard endpoints != self.endpoints else { return }
            let isGone = self.endpoints.contains { old in !endpoints.contains { $0.address == old.address } }
            self.endpoints = endpoints
            encouragePaths(now)
            makeRecord(now)
            if isGone { reconnectControl(now, &actions) }
            if phase == .active { heartbeatCall.schedule(at: now.monotonic) }
        case .interfaceConfigured(let domain): noteInterface(of: domain, failure: nil, now, &actions)
        case .interfaceFailed(let domain, let why): noteInterface(of: domain, failure: why, now, &actions)
        case .interfaceObserved(let domain, let state): judgeInterface(of: domain, state, now, &actions)
        case .pathMTU(let question, let bytes): tunnels.setPathMTU(question.peer, at: question.endpoint, bytes)
        }
    }

    public func handleDeadline(now: Now, into actions: inout [NodeAction]) {
        if enrolmentCall.isDue(now.monotonic) { sendEnrolment(now, &actions) }
        if heartbeatCall.isDue(now.monotonic) { sendHeartbeat(now, &actions) }
        if updatesCall.isDue(now.monotonic) { sendUpdates(now, &actions) }
        if renewalCall.isDue(now.monotonic) { sendRenewal(now, &actions) }
        if interfaceCall.isDue(now.monotonic) { retryInterfaces(&actions) }
        if let floorsDue, floorsDue <= now.monotonic {
            raiseFloors(now, &actions)
            retryWrites(&actions)
        }
        if locator?.isDue(now.monotonic) == true { lookUpControl(now, &actions) }
        if let probeDue, probeDue <= now.monotonic { probePeers(now, &actions) }
        tunnels.handleDeadline(now: now)
        tunnelsUsed(now)
    }

    public func nextDeadline() -> Deadline<NodeDeadline>? {
        var next: Deadline<NodeDeadline>?
        // It captures nothing, so that a turn allocates nothing in debug builds either, where that is counted.
        func consider(_ instant: Instant?, _ reason: NodeDeadline, _ next: inout Deadline<NodeDeadline>?) {
            guard let instant else { return }
            next = Deadline.earlier(next, Deadline(instant, reason))
        }
        consider(probeDue, .probe, &next)
        consider(enrolmentCall.due, .retryEnrolment, &next)
        consider(heartbeatCall.due, .heartbeat, &next)
        consider(updatesCall.due, .updates, &next)
        consider(renewalCall.due, .renewal, &next)
        consider(interfaceCall.due, .interfaces, &next)
        consider(floorsDue, .floors, &next)
        if let locator, !locator.isLookingUp { consider(locator.due, .lookup, &next) }
        if let tunnel = tunnels.nextDeadline() {
            switch tunnel.reason {
            case .timer(let timer, _): consider(tunnel.instant, .tunnel(timer), &next)
            case .waitingHandshakes: consider(tunnel.instant, .waitingHandshakes, &next)
            }
        }
        return next
    }

    // MARK: Shared by the parts

    func setPhase(_ next: NodePhase, _ actions: inout [NodeAction]) {
        guard phase != next else { return }
        phase = next
        actions.append(.report(.phaseChanged(next)))
    }

    func takeNumber() -> UInt64 {
        defer { nextNumber += 1 }
        return nextNumber
    }

    struct PendingWrite {
        var number: PersistNumber
        var file: StateFile
        var snapshotVersion: Int64?
        var recordFloor: Int64
        var handshakeFloor: WallTime
    }

    /// Writes a state file. One write of a file at a time is the host's to order; the last one asked for wins.
    func persist(
        _ file: StateFile, _ document: some Encodable, snapshotVersion: Int64? = nil, _ actions: inout [NodeAction]
    ) {
        let number = takeNumber()
        writes.append(
            PendingWrite(
                number: number, file: file, snapshotVersion: snapshotVersion, recordFloor: floors.recordSequence,
                handshakeFloor: WallTime(nanoseconds: floors.handshakeNanoseconds)))
        actions.append(.persist(number, file, StateFrame.seal(document, cryptography)))
    }

    /// The wall clock, but never earlier than what the control plane has said.
    func trustedWall(_ now: Now) -> WallTime {
        planted(.timeFloorIgnored) ? now.wall : max(now.wall, WallTime(nanoseconds: floors.wallNanoseconds))
    }
}

public struct NodeCounters: Hashable, Sendable {
    public var packetsDelivered: UInt64 = 0
    public var packetsSent: UInt64 = 0
    public var probesAnswered: UInt64 = 0
    public var dropsNotOurs: UInt64 = 0
    public var dropsMalformedFabricMessage: UInt64 = 0
    public var dropsNoDomain: UInt64 = 0
    /// Datagrams that came before the tunnels were up.
    public var dropsNotReady: UInt64 = 0
    /// Senders that were told that a packet is larger than what its path takes.
    public var tooBigTold: UInt64 = 0
    public var requestsFailed: UInt64 = 0
}
