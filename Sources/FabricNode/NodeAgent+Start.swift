internal import FabricCore
internal import FabricDocument
internal import FabricMesh
internal import FabricTunnel
internal import FabricWire

/// Coming up: from state files, or from nothing.
extension NodeAgent {
    /// How far ahead of the clock floors are reserved, and how often they are raised.
    static var floorReserve: Duration { .minutes(15) }
    static var floorInterval: Duration { .minutes(5) }
    /// However fast the wall clock runs.
    static var shortestFloorInterval: Duration { .seconds(1) }
    static var recordSequenceReserve: Int64 { 1000 }
    static var persistRetry: Duration { .seconds(10) }
    static var enrolmentPollPause: Duration { .milliseconds(500) }

    func start(_ files: [LoadedFile], _ endpoints: [Endpoint], _ now: Now, _ actions: inout [NodeAction]) {
        precondition(phase == .idle, "an agent starts once")
        self.endpoints = endpoints
        func bytes(_ file: StateFile) -> [UInt8]? { files.first { $0.file == file }?.bytes }
        func load<Document: Decodable>(_ type: Document.Type, _ file: StateFile) -> Loaded<Document> {
            guard let content = bytes(file) else { return .absent }
            do { return .present(try StateFrame.open(type, content, cryptography)) } catch {
                actions.append(.report(.stateRefused(file, error.words)))
                return .unusable(error.words)
            }
        }

        let loadedIdentity = load(IdentityState.self, .identity)
        let loadedMembership = load(MembershipState.self, .membership)
        if case .unusable(let why) = loadedIdentity {
            return breakDown(
                "\(StateFile.identity.rawValue): \(why); restore it, or empty the state directory and enrol again",
                &actions)
        }
        if case .absent = loadedIdentity, bytes(.membership) != nil {
            return breakDown(
                "\(StateFile.identity.rawValue) is missing beside a membership; restore it, or empty the state directory "
                    + "and enrol again", &actions)
        }
        if case .present(let state) = load(FloorsState.self, .floors) {
            if state.isPlausible {
                floors = state
            } else {
                actions.append(.report(.stateRefused(.floors, "its numbers are out of range")))
            }
        }
        reserveFloors(now, &actions)
        if configuration.controlName != nil {
            let known: ControlState? =
                if case .present(let state) = load(ControlState.self, .control) { state } else { nil }
            startLocating(known, now, &actions)
        }
        if planted(.tunnelsBeforeFloor) { tunnelsReady = true }

        if case .present(let state) = loadedIdentity {
            identity = state
        } else {
            identity = makeIdentity()
            setPhase(.joining, &actions)
            persist(.identity, identity, &actions)
            if planted(.keysUsedBeforeDurable) { beginEnrolment(now, &actions) }
        }
        makeRecord(now)
        if case .present(let state) = loadedMembership, adopt(state, now, &actions) {
            if case .present(let state) = load(SnapshotState.self, .snapshot) { restore(state, now, &actions) }
            recoverExpiredCertificate(now, &actions)
        } else if case .present = loadedIdentity {
            beginEnrolment(now, membershipRefused: bytes(.membership) != nil, &actions)
        }
    }

    private enum Loaded<Document> {
        case absent, unusable(String), present(Document)
    }

    private func breakDown(_ why: String, _ actions: inout [NodeAction]) {
        setPhase(.broken(why), &actions)
    }

    /// Of a planted bug: throws the keys away and enrols with others.
    func startAnew(_ actions: inout [NodeAction]) {
        identity = makeIdentity()
        enrolment = nil
        enrolmentCall.cancel()
        persist(.identity, identity, &actions)
    }

    private func makeIdentity() -> IdentityState {
        IdentityState(
            identitySeed: Blob(random.bytes(32)),
            tunnelKeys: configuration.domains.map { .init(domain: $0, privateKey: Blob(random.bytes(32))) })
    }

    /// Reserves time stamps and record numbers ahead, so that none is used twice whatever is lost.
    private func reserveFloors(_ now: Now, _ actions: inout [NodeAction]) {
        (handshakeBase, mayStartUnreserved) = floors.startingPoint(at: now.wall)
        tunnels.raiseTimestampFloor(handshakeBase)
        ownRecordSequence = max(floors.recordSequence, now.wall.seconds)
        raiseFloors(now, &actions)
    }

    func raiseFloors(_ now: Now, _ actions: inout [NodeAction]) {
        let used = max(handshakeBase, tunnels.greatestTimestampSent ?? handshakeBase)
        let earliest = max(now.wall, used) + Self.floorReserve
        if floors.handshakeNanoseconds == 0 || !planted(.floorNeverRaised) {
            floors.handshakeNanoseconds = max(floors.handshakeNanoseconds, earliest.nanoseconds)
        }
        floors.recordSequence = max(floors.recordSequence, ownRecordSequence + Self.recordSequenceReserve)
        floors.reservedAtNanoseconds = now.wall.nanoseconds
        persist(.floors, floors, &actions)
        floorsRaised = now.monotonic
        floorsDue = now.monotonic + Self.floorInterval
    }

    /// The wall clock has jumped past the floor, and handshakes wait for a higher one.
    func raiseFloorsForHeld(_ now: Now) {
        if tunnels.isHoldingInitiations, !writes.contains(where: { $0.file == .floors }) { raiseFloorsSoon(now) }
    }

    func raiseFloorsSoon(_ now: Now) {
        floorsDue = min(
            floorsDue ?? .distantFuture, max(now.monotonic, floorsRaised + Self.shortestFloorInterval))
    }

    // MARK: Enrolment

    private func beginEnrolment(_ now: Now, membershipRefused: Bool = false, _ actions: inout [NodeAction]) {
        guard let token = configuration.joinToken else {
            let why =
                membershipRefused
                ? "\(StateFile.membership.rawValue) can't be used, and there is no join token to fetch it again with"
                : "the node is not enrolled and has no join token"
            return breakDown("\(why); give it a join token", &actions)
        }
        guard let identity else { preconditionFailure("the identity comes first") }
        if membership == nil { setPhase(.joining, &actions) }
        do {
            let key = try cryptography.ed25519PublicKey(seed: identity.identitySeed.bytes)
            let node = FabricIdentifier.nodeID(identityKey: key, cryptography)
            let request = try certificates.makeRequest(
                seed: identity.identitySeed.bytes, spiffeID: FabricIdentifier.node(node, in: token.cluster))
            let keys = try identity.tunnelKeys.map {
                TunnelKey(
                    domain: $0.domain,
                    publicKey: Blob(try cryptography.x25519PublicKey(privateKey: $0.privateKey.bytes)))
            }
            enrolment = Enrolment(
                token: token,
                newEnrolment: .init(
                    name: configuration.name, certificateRequest: Blob(request), tunnelKeys: keys,
                    facts: configuration.facts, capabilities: configuration.capabilities,
                    requestedRoles: configuration.requestedRoles),
                tunnelKeys: identity.tunnelKeys, cryptography: cryptography)
        } catch {
            return breakDown("the keys in \(StateFile.identity.rawValue) can't be used: \(error)", &actions)
        }
        actions.append(
            .secureControlChannel(
                .init(
                    controlPin: token.controlPin, clientChain: [], identitySeed: [],
                    timeFloor: WallTime(nanoseconds: floors.wallNanoseconds))))
        enrolmentCall.schedule(at: now.monotonic)
        sendEnrolment(now, &actions)
    }

    func sendEnrolment(_ now: Now, _ actions: inout [NodeAction]) {
        guard let enrolment else { return }
        let (request, timeout) = enrolment.nextRequest()
        let number = takeNumber()
        enrolmentCall.sent(number, now.monotonic)
        ask(number, request, timeout: timeout, now, &actions)
    }

    func handleEnrolmentReply(_ reply: HTTPReply, _ now: Now, _ actions: inout [NodeAction]) {
        guard var current = enrolment else { return }
        let outcome = current.handle(reply)
        enrolment = current
        switch outcome {
        case .proceed:
            enrolmentCall.succeeded(nextAt: nil)
            sendEnrolment(now, &actions)
        case .awaitingApproval(isNews: true):
            if membership == nil { setPhase(.awaitingApproval, &actions) }
            enrolmentCall.succeeded(nextAt: nil)
            sendEnrolment(now, &actions)
        case .awaitingApproval(isNews: false):
            // Asking must not become a tight loop when the control plane does not park.
            enrolmentCall.succeeded(nextAt: now.monotonic + Self.enrolmentPollPause)
        case .retry(let why):
            actions.append(.report(.controlFailed(why)))
            enrolmentCall.failed(now: now.monotonic, random: random)
        case .refused(let code, let detail):
            enrolment = nil
            enrolmentCall.cancel()
            guard membership != nil else { return setPhase(.refused(code, detail), &actions) }
            // A member whose certificate has expired, or whom the control plane has forgotten: its tunnels go on, and it is
            // the member again that it was. The control plane may know it by then; its heartbeat asks.
            actions.append(.report(.controlFailed("no new certificate (\(code.rawValue)): \(detail)")))
            secureChannel(&actions)
            heartbeatCall.failed(now: now.monotonic, random: random)
            updatesCall.failed(now: now.monotonic, random: random)
        case .granted(let grant):
            guard let token = configuration.joinToken else { preconditionFailure("a grant without a token") }
            let state = MembershipState(
                cluster: token.cluster, node: nodeID!, controlPin: Blob(token.controlPin),
                clusterPin: Blob(token.clusterPin), trust: grant.trust, admission: grant.admission,
                certificateChain: grant.certificateChain)
            enrolmentCall.succeeded(nextAt: nil)
            if adopt(state, now, &actions) {
                enrolment = nil
                if !planted(.membershipNotPersisted) { persist(.membership, state, &actions) }
            } else {
                enrolmentCall.failed(now: now.monotonic, random: random)
            }
        }
    }

    // MARK: Membership

    /// Takes a membership if everything in it proves true; otherwise says why and changes nothing.
    private func adopt(_ state: MembershipState, _ now: Now, _ actions: inout [NodeAction]) -> Bool {
        do {
            let trust = try openTrust(state.trust, clusterPin: state.clusterPin.bytes, cluster: state.cluster)
            let key = try cryptography.ed25519PublicKey(seed: identity!.identitySeed.bytes)
            let admission = try state.admission.open(
                Admission.self, keys: trust.approverKeys.map(\.bytes), threshold: trust.approvalThreshold, cryptography)
            guard admission.cluster == state.cluster, admission.identityKey.bytes == key, admission.node == nodeID
            else {
                throw MembershipError("the admission is for another node")
            }
            for tunnelKey in identity!.tunnelKeys {
                let publicKey = try cryptography.x25519PublicKey(privateKey: tunnelKey.privateKey.bytes)
                guard admission.tunnelKey(in: tunnelKey.domain) == publicKey else {
                    throw MembershipError("the admission lacks this node's key in domain \(tunnelKey.domain)")
                }
            }
            try takeChain(state.certificateChain.map(\.bytes), trust: trust, cluster: state.cluster, key: key, now)
            self.trust = trust
            membership = state
            if directory == nil { directory = PeerDirectory(cluster: state.cluster, cryptography: cryptography) }
        } catch {
            actions.append(.report(.stateRefused(.membership, "\(error)")))
            return false
        }
        secureChannel(&actions)
        setPhase(.active, &actions)
        makeRecord(now)
        openDomains(&actions)
        heartbeatCall.schedule(at: now.monotonic)
        updatesCall.schedule(at: now.monotonic)
        return true
    }

    func openTrust(_ envelope: SignedEnvelope, clusterPin: [UInt8], cluster: ClusterID) throws -> TrustMetadata {
        let claimed = try envelope.unverified(TrustMetadata.self)
        guard constantTimeEqual(cryptography.sha256(claimed.rootCertificate.bytes), clusterPin) else {
            throw MembershipError("the trust metadata holds a root certificate that the join token does not name")
        }
        let root = try certificates.inspect(claimed.rootCertificate.bytes)
        let trust = try envelope.open(TrustMetadata.self, keys: [root.publicKey], threshold: 1, cryptography)
        guard trust.cluster == cluster, trust.approvalThreshold >= 1,
            trust.approverKeys.count <= TrustMetadata.maximumApprovers
        else { throw MembershipError("the trust metadata is for another cluster, or has no approvers") }
        return trust
    }

    /// A certificate that has expired can't be renewed with itself. The join token still names this node's request, so
    /// enrolling again brings a new one, to the same node; tunnels go on meanwhile.
    func recoverExpiredCertificate(_ now: Now, _ actions: inout [NodeAction]) {
        guard enrolment == nil, let certificateNotAfter, trustedWall(now) >= certificateNotAfter else { return }
        guard configuration.joinToken != nil else {
            let what =
                "the certificate expired at \(certificateNotAfter); start the agent with a join token to get another"
            actions.append(.report(.controlFailed(what)))
            return
        }
        joinAgain(now, &actions)
    }

    /// The control plane does not know this member, as when its records come from a backup made before the node joined:
    /// the join token asks for the same place again, which a person approves again. Tunnels go on meanwhile. The calls that are
    /// given up for it come back when it ends, however it ends; renewal with the heartbeat.
    func joinAgain(_ now: Now, _ actions: inout [NodeAction]) {
        guard enrolment == nil, configuration.joinToken != nil else { return }
        heartbeatCall.cancel()
        updatesCall.cancel()
        renewalCall.cancel()
        beginEnrolment(now, &actions)
    }

    /// Checks an SVID chain. An expired one is taken: see `recoverExpiredCertificate`.
    func takeChain(_ chain: [[UInt8]], trust: TrustMetadata, cluster: ClusterID, key: [UInt8], _ now: Now) throws {
        guard let leaf = chain.first else { throw MembershipError("there is no certificate") }
        let claimed = try certificates.inspect(leaf)
        let time = min(trustedWall(now), claimed.validity.upperBound - .seconds(1))
        let facts = try certificates.validate(
            chain: chain, roots: [trust.rootCertificate.bytes], time: max(time, claimed.validity.lowerBound))
        guard facts.publicKey == key, facts.spiffeID == FabricIdentifier.node(nodeID!, in: cluster) else {
            throw MembershipError("the certificate is for another identity")
        }
        let lifetime = facts.validity.upperBound - facts.validity.lowerBound
        certificateRenewalAt = facts.validity.lowerBound + lifetime * 2 / 3
        certificateNotAfter = facts.validity.upperBound
    }

    func secureChannel(_ actions: inout [NodeAction]) {
        guard let membership, let identity else { return }
        actions.append(
            .secureControlChannel(
                .init(
                    controlPin: membership.controlPin.bytes, clientChain: membership.certificateChain.map(\.bytes),
                    identitySeed: identity.identitySeed.bytes,
                    timeFloor: WallTime(nanoseconds: planted(.timeFloorIgnored) ? 0 : floors.wallNanoseconds))))
    }

    // MARK: Durable writes

    func handlePersisted(_ number: PersistNumber, _ now: Now, _ actions: inout [NodeAction]) {
        guard let index = writes.firstIndex(where: { $0.number == number }) else { return }
        let write = writes.remove(at: index)
        switch write.file {
        case .identity where planted(.keysUsedBeforeDurable): break
        case .identity: beginEnrolment(now, &actions)
        case .floors:
            noteDurableFloor(write.recordFloor, now)
            tunnelsReady = true
            tunnels.setTimestampCeiling(write.handshakeFloor, now: now)
            tunnelsUsed(now)
        case .snapshot: durableSnapshotVersion = max(durableSnapshotVersion, write.snapshotVersion ?? 0)
        case .membership, .control: break
        }
    }

    private func noteDurableFloor(_ floor: Int64, _ now: Now) {
        let waited = phase == .active && sendableRecord == nil
        durableRecordFloor = max(durableRecordFloor, floor)
        if waited, sendableRecord != nil { heartbeatCall.schedule(at: now.monotonic) }
    }

    /// What could not be written is tried again: a full disk loses nothing that was there.
    func handlePersistFailed(_ number: PersistNumber, _ error: DiskError, _ now: Now, _ actions: inout [NodeAction]) {
        guard let index = writes.firstIndex(where: { $0.number == number }) else { return }
        let write = writes.remove(at: index)
        actions.append(.report(.persistFailed(write.file, error)))
        if !writesToRetry.contains(write.file) { writesToRetry.append(write.file) }
        if write.file == .floors {
            // A full disk must not keep the node from its peers, neither at boot nor later: see `FloorsState.startingPoint`.
            if mayStartUnreserved { tunnelsReady = true }
            if tunnelsReady { tunnels.setTimestampCeiling(nil, now: now) }
        }
        floorsDue = min(floorsDue ?? .distantFuture, now.monotonic + Self.persistRetry)
    }

    func retryWrites(_ actions: inout [NodeAction]) {
        let files = writesToRetry
        writesToRetry = []
        for file in files {
            switch file {
            case .identity: persist(.identity, identity, &actions)
            case .membership: persist(.membership, membership, &actions)
            case .snapshot: persistSnapshot(&actions)
            case .control: persistControl(&actions)
            case .floors: break
            }
        }
    }
}

struct MembershipError: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}
