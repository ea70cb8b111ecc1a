internal import FabricCore
internal import FabricDocument
internal import FabricMesh
internal import FabricWire

/// The conversation with the control plane, once the node is a member: heartbeats, updates, certificate renewal.
extension NodeAgent {
    static var updatesWait: Duration { .seconds(50) }
    static var requestTimeout: Duration { .seconds(10) }
    static var promptly: Duration { .milliseconds(50) }
    static var recordLifetime: Duration { .minutes(10) }
    static var defaultHeartbeatInterval: Duration { .seconds(15) }
    static var shortestHeartbeatInterval: Duration { .seconds(1) }
    /// Beyond this, a clock that differs from the control plane's is reported.
    static var reportedClockOffset: Duration { .minutes(2) }

    func handleReply(_ number: RequestNumber, _ reply: HTTPReply, _ now: Now, _ actions: inout [NodeAction]) {
        if locator != nil { noteControlReplied(number, &actions) }
        if number == enrolmentCall.outstanding {
            handleEnrolmentReply(reply, now, &actions)
        } else if number == heartbeatCall.outstanding {
            handleHeartbeatReply(reply, now, &actions)
        } else if number == updatesCall.outstanding {
            handleUpdatesReply(reply, now, &actions)
        } else if number == renewalCall.outstanding {
            handleRenewalReply(reply, now, &actions)
        }
    }

    func handleFailure(_ number: RequestNumber, _ failure: ControlFailure, _ now: Now, _ actions: inout [NodeAction]) {
        counters.requestsFailed += 1
        actions.append(.report(.controlFailed("\(failure)")))
        let isOfACall = locator != nil && controlCall(number) != nil
        if number == enrolmentCall.outstanding {
            enrolmentCall.failed(now: now.monotonic, random: random)
            if planted(.newKeyAfterLostAnswer), failure == .answerLost, membership == nil { startAnew(&actions) }
        } else if number == heartbeatCall.outstanding {
            heartbeatCall.failed(now: now.monotonic, random: random)
            if planted(.heartbeatStopsAtFailure) { heartbeatCall.cancel() }
            recoverExpiredCertificate(now, &actions)
        } else if number == updatesCall.outstanding {
            updatesCall.failed(now: now.monotonic, random: random)
        } else if number == renewalCall.outstanding {
            renewalCall.failed(now: now.monotonic, random: random)
        }
        if isOfACall, failure.speaksAgainstAddress { doubtControlAddress(now, &actions) }
    }

    /// An address is gone, and with it whatever is under way: it is asked again at once, not after its time-out.
    func reconnectControl(_ now: Now, _ actions: inout [NodeAction]) {
        actions.append(.reconnectControl)
        enrolmentCall.restart(at: now.monotonic)
        heartbeatCall.restart(at: now.monotonic)
        updatesCall.restart(at: now.monotonic)
        renewalCall.restart(at: now.monotonic)
    }

    private func decode<Body: Decodable>(
        _ type: Body.Type, _ reply: HTTPReply, _ actions: inout [NodeAction]
    ) -> Body? {
        decode(reply, &actions) {
            try JSON.decode(type, from: $0, limits: DocumentLimits(maximumBytes: HTTPLimits.replyBody))
        }
    }

    private func decode<Body: PlainDocument>(
        _ type: Body.Type, _ reply: HTTPReply, _ actions: inout [NodeAction]
    ) -> Body? {
        decode(reply, &actions) { try JSON.decode(type, from: $0) }
    }

    private func decode<Body>(
        _ reply: HTTPReply, _ actions: inout [NodeAction], _ read: ([UInt8]) throws -> Body
    ) -> Body? {
        guard reply.isSuccess else {
            let problem = try? JSON.decode(Problem.self, from: reply.body)
            actions.append(
                .report(.controlFailed(problem.map { "\($0.title): \($0.detail)" } ?? "status \(reply.status)")))
            return nil
        }
        do { return try read(reply.body) } catch {
            actions.append(.report(.controlFailed("the control plane's answer can't be read: \(error)")))
            return nil
        }
    }

    private static func code(of reply: HTTPReply) -> Problem.Code? {
        (try? JSON.decode(Problem.self, from: reply.body))?.code
    }

    // MARK: Heartbeats

    func makeRecord(_ now: Now) {
        guard let identity, let membership, !endpoints.isEmpty else { return }
        ownRecordSequence += 1
        let record = PeerRecord(
            cluster: membership.cluster, node: membership.node, sequence: ownRecordSequence,
            endpoints: Array(endpoints.prefix(PeerRecord.maximumEndpoints)),
            lifetimeSeconds: Self.recordLifetime.components.seconds)
        ownRecord = try? .sign(record, seeds: [identity.identitySeed.bytes], cryptography)
        ownRecordAcknowledged = false
        ownRecordRefresh = now.monotonic + Self.recordLifetime / 2
    }

    func sendHeartbeat(_ now: Now, _ actions: inout [NodeAction]) {
        if now.monotonic >= ownRecordRefresh { makeRecord(now) }
        heartbeatSequence += 1
        let body = ControlAPI.Heartbeat(
            sequence: heartbeatSequence, appliedVersion: durableSnapshotVersion,
            appliedHash: durableSnapshotVersion == snapshotVersion ? snapshotHash : nil,
            peersUp: peers.count { $0.health.isUp(at: now.monotonic) },
            clockMilliseconds: now.wall.nanoseconds / 1_000_000, record: sendableRecord)
        heartbeatRecordSequence = sendableRecord == nil ? 0 : ownRecordSequence
        let number = takeNumber()
        heartbeatCall.sent(number, now.monotonic)
        let request = HTTPRequest(.post, "/v1/node/heartbeat", body: JSON.encodeOwn(body))
        ask(number, request, timeout: Self.requestTimeout, now, &actions)
        considerRenewal(now)
    }

    private func handleHeartbeatReply(_ reply: HTTPReply, _ now: Now, _ actions: inout [NodeAction]) {
        guard let answer = decode(ControlAPI.HeartbeatReply.self, reply, &actions) else {
            heartbeatCall.failed(now: now.monotonic, random: random)
            if Self.code(of: reply) == .certificateReplaced { renewalCall.schedule(at: now.monotonic) }
            if Self.code(of: reply) == .forbidden { return joinAgain(now, &actions) }
            return recoverExpiredCertificate(now, &actions)
        }
        if let held = answer.recordSequence { noteRecordHeld(held, now, &actions) }
        // Only the control plane's clock raises the floor: a host's own clock may have been far ahead for a while.
        let (theirs, overflow) = answer.clockMilliseconds.multipliedReportingOverflow(by: 1_000_000)
        if !overflow {
            // It may be wrong itself: the floor never passes the life of our certificate, within which all else stays valid.
            let highest = certificateNotAfter.map { $0 - .seconds(1) } ?? now.wall
            floors.wallNanoseconds = max(floors.wallNanoseconds, min(theirs, highest.nanoseconds))
            let offset = now.wall - WallTime(nanoseconds: theirs)
            if offset.nanoseconds.magnitude > Self.reportedClockOffset.nanoseconds.magnitude, !clockOffsetReported {
                clockOffsetReported = true
                actions.append(.report(.clockOffset(offset)))
            }
        }
        if answer.snapshotVersion > snapshotVersion, updatesCall.isOlder(than: Self.requestTimeout, now.monotonic),
            !planted(.deadParkUnnoticed)
        {
            // The parked request should have brought it: its connection is dead, and nobody has told.
            updatesCall.cancel()
            updatesCall.schedule(at: now.monotonic)
        }
        let interval = max(Self.shortestHeartbeatInterval, .seconds(min(answer.intervalSeconds, 3600)))
        if heartbeatCall.hasFailed(for: PeerHealth.patience, now.monotonic) { encouragePaths(now) }
        // A record that this heartbeat did not carry does not wait for the interval.
        let prompt = sendableRecord != nil && heartbeatRecordSequence != ownRecordSequence
        heartbeatCall.succeeded(
            nextAt: now.monotonic + (prompt ? Self.promptly : interval - random.jitter(interval / 10)))
    }

    /// The newest record, unless the control plane holds it, or its number is not yet reserved durably.
    var sendableRecord: SignedEnvelope? {
        ownRecordAcknowledged || ownRecordSequence >= durableRecordFloor ? nil : ownRecord
    }

    /// The control plane tells the number of the newest record that it holds. When that is above ours, our count was
    /// lost with the disk, and every record of ours would be taken for an old one: go on from there.
    private func noteRecordHeld(_ held: Int64, _ now: Now, _ actions: inout [NodeAction]) {
        if held == ownRecordSequence { ownRecordAcknowledged = true }
        guard held > ownRecordSequence, held < FloorsState.highestRecordSequence else { return }
        ownRecordSequence = held
        makeRecord(now)
        if ownRecordSequence >= floors.recordSequence { raiseFloors(now, &actions) }
    }

    // MARK: Updates

    func sendUpdates(_ now: Now, _ actions: inout [NodeAction]) {
        let number = takeNumber()
        updatesCall.sent(number, now.monotonic)
        let request = HTTPRequest(
            .get, "/v1/node/updates",
            query: [
                .init("snapshot", "\(snapshotVersion)"), .init("records", "\(recordsVersion)"),
                .init("trust", "\(trust?.version ?? 0)"), .init("wait", "\(Self.updatesWait.components.seconds)"),
            ])
        ask(number, request, timeout: Self.updatesWait + Self.requestTimeout, now, &actions)
    }

    private func handleUpdatesReply(_ reply: HTTPReply, _ now: Now, _ actions: inout [NodeAction]) {
        guard let updates = decode(ControlAPI.Updates.self, reply, &actions) else {
            return updatesCall.failed(now: now.monotonic, random: random)
        }
        if let envelope = updates.trust { takeTrust(envelope, &actions) }
        var changed = false
        var refused = false
        if let envelope = updates.snapshot {
            if takeSnapshot(envelope, now, &actions) { changed = true } else { refused = envelope != snapshotEnvelope }
        }
        for envelope in updates.records where takeRecord(envelope, now, &actions) { changed = true }
        recordsVersion = updates.recordsVersion
        if changed { persistSnapshot(&actions) }
        // What was refused would come again at once.
        if refused { return updatesCall.failed(now: now.monotonic, random: random) }
        // A reply that brought nothing must not become a tight loop when the control plane does not park.
        let nothing = updates.snapshot == nil && updates.records.isEmpty && updates.trust == nil
        updatesCall.succeeded(nextAt: now.monotonic + (nothing ? .milliseconds(500) : Self.promptly))
    }

    private func takeTrust(_ envelope: SignedEnvelope, _ actions: inout [NodeAction]) {
        guard var membership, let trust else { return }
        do {
            let next = try openTrust(envelope, clusterPin: membership.clusterPin.bytes, cluster: membership.cluster)
            guard next.version > trust.version else { return }
            self.trust = next
            membership.trust = envelope
            self.membership = membership
            persist(.membership, membership, &actions)
        } catch {
            actions.append(.report(.snapshotRefused("trust metadata: \(error)")))
        }
    }

    // MARK: Certificate renewal

    private func considerRenewal(_ now: Now) {
        guard let certificateRenewalAt, trustedWall(now) >= certificateRenewalAt, renewalCall.due == nil,
            !planted(.renewalNeverDue)
        else { return }
        renewalCall.schedule(at: now.monotonic)
    }

    func sendRenewal(_ now: Now, _ actions: inout [NodeAction]) {
        guard let identity, let membership,
            let request = try? certificates.makeRequest(
                seed: identity.identitySeed.bytes,
                spiffeID: FabricIdentifier.node(membership.node, in: membership.cluster))
        else { return renewalCall.cancel() }
        let number = takeNumber()
        renewalCall.sent(number, now.monotonic)
        let body = ControlAPI.CertificateRenewal(certificateRequest: Blob(request))
        let post = HTTPRequest(.post, "/v1/node/certificate", body: JSON.encodeOwn(body))
        ask(number, post, timeout: Self.requestTimeout, now, &actions)
    }

    private func handleRenewalReply(_ reply: HTTPReply, _ now: Now, _ actions: inout [NodeAction]) {
        guard let renewed = decode(ControlAPI.RenewedCertificate.self, reply, &actions), var membership, let trust,
            let identity
        else { return renewalCall.failed(now: now.monotonic, random: random) }
        do {
            let key = try cryptography.ed25519PublicKey(seed: identity.identitySeed.bytes)
            if let leaf = renewed.certificateChain.first {
                let begins = try certificates.inspect(leaf.bytes).validity.lowerBound
                guard begins <= trustedWall(now) else { throw MembershipError("it is not valid before \(begins)") }
            }
            try takeChain(
                renewed.certificateChain.map(\.bytes), trust: trust, cluster: membership.cluster, key: key, now)
        } catch {
            actions.append(.report(.controlFailed("the renewed certificate is refused: \(error)")))
            return renewalCall.failed(now: now.monotonic, random: random)
        }
        membership.certificateChain = renewed.certificateChain
        self.membership = membership
        persist(.membership, membership, &actions)
        if !planted(.renewedCertificateUnused) { secureChannel(&actions) }
        renewalCall.succeeded(nextAt: nil)
        // Calls that were refused under the old one need not wait for their turn.
        heartbeatCall.schedule(at: now.monotonic)
        updatesCall.schedule(at: now.monotonic)
        if let facts = try? certificates.inspect(renewed.certificateChain[0].bytes) {
            actions.append(.report(.certificateRenewed(notAfter: facts.validity.upperBound)))
        }
    }
}
