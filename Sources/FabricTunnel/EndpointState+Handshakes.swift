internal import FabricCore

/// Handshake messages and cookies.
extension EndpointState {
    // MARK: Initiating

    mutating func startHandshake(_ handle: PeerHandle, repeats: Bool, _ now: Now) {
        lastNow = now
        guard let peer = resolve(handle), repeats || !peer.pointee.timers.isSet(.retransmitHandshake) else { return }
        sendInitiation(peer, now, isRetry: false)
        // Unless a packet waits for the session.
        guard !repeats, peer.pointee.staged.isEmpty else { return }
        clear(peer, .retransmitHandshake)
        peer.pointee.isHeld = false
    }

    /// Sends an initiation, unless a handshake message went to the peer within 5 s, or its address is not known.
    mutating func sendInitiation(_ peer: PeerPointer, _ now: Now, isRetry: Bool) {
        if !isRetry { peer.pointee.handshakeAttempts = 0 }
        if let last = peer.pointee.lastSentHandshake, now.monotonic - last < TunnelTimes.rekeyTimeout {
            // What waits must not wait for the next packet, should the handshake under way come to nothing.
            if !peer.pointee.staged.isEmpty, !peer.pointee.timers.isSet(.retransmitHandshake) {
                set(peer, .retransmitHandshake, last + TunnelTimes.rekeyTimeout)
            }
            return
        }
        guard let endpoint = peer.pointee.endpoint, let domain = domains[peer.pointee.domainSlot] else { return }
        let timestamp = nextTimestamp(peer, now.wall)
        if let timestampCeiling, timestamp >= timestampCeiling, !planted(.floorOvertaken) { return hold(peer, now) }
        peer.pointee.lastSentHandshake = now.monotonic
        guard let staticStatic = staticStatic(peer, domain) else { return }
        forgetInitiated(peer)
        let senderIndex = freshIndex()
        let ephemeral = random.bytes(32)
        guard
            let (message, initiated) = try? Handshake.initiate(
                domain.pointee.identity, peer: peer.pointee.publicKey, staticStatic: staticStatic,
                ephemeralPrivateKey: ephemeral, senderIndex: senderIndex, timestamp: timestamp, cryptography)
        else {
            counters[.weakKey] += 1
            return
        }
        peer.pointee.timestamps.greatestSent = timestamp
        greatestTimestampSent = max(greatestTimestampSent ?? timestamp, timestamp)
        peer.pointee.initiated = SentInitiation(handshake: initiated, at: now.monotonic, to: endpoint)
        indexes.set(initiated.senderIndex, peerSlot: peer.pointee.slot, keyPair: nil)
        logKeys(peer, domain, ephemeral: ephemeral)
        queueHandshake(message.bytesBeforeMACs, to: endpoint, peer, now.monotonic)
        counters.initiationsSent += 1
        authenticatedPacketSent(peer, now.monotonic)
        let jitter = random.jitter(TunnelTimes.rekeyTimeoutJitter)
        set(peer, .retransmitHandshake, now.monotonic + TunnelTimes.rekeyTimeout + jitter)
    }

    private mutating func queueHandshake(_ body: [UInt8], to endpoint: Endpoint, _ peer: PeerPointer, _ now: Instant) {
        var message = body
        let mac1 = MessageMACs.append(
            to: &message, mac1Key: peer.pointee.mac1Key, cookie: peer.pointee.cookies.cookie(at: now), cryptography)
        peer.pointee.cookies.sent(mac1: mac1)
        queue(.message(message, endpoint))
    }

    /// Strictly greater than all before, whatever the wall clock does.
    private func nextTimestamp(_ peer: PeerPointer, _ wall: WallTime) -> TAI64N {
        var timestamp = TAI64N(wall)
        if let timestampFloor, !planted(.timestampFloorIgnored) { timestamp = max(timestamp, timestampFloor.successor) }
        if let sent = peer.pointee.timestamps.greatestSent { timestamp = max(timestamp, sent.successor) }
        return timestamp
    }

    /// The initiation may not leave yet: it waits for a higher ceiling, and is else tried again like one that was lost.
    private mutating func hold(_ peer: PeerPointer, _ now: Now) {
        isHoldingInitiations = true
        peer.pointee.isHeld = true
        guard !peer.pointee.timers.isSet(.retransmitHandshake) else { return }
        set(peer, .retransmitHandshake, now.monotonic + TunnelTimes.rekeyTimeout)
    }

    mutating func setTimestampCeiling(_ ceiling: WallTime?, _ now: Now) {
        lastNow = now
        timestampCeiling = ceiling.map { TAI64N($0) }
        guard isHoldingInitiations else { return }
        isHoldingInitiations = false
        for case .some(let peer) in peers where peer.pointee.isHeld {
            peer.pointee.isHeld = false
            sendInitiation(peer, now, isRetry: true)
        }
    }

    private mutating func staticStatic(_ peer: PeerPointer, _ domain: DomainPointer) -> [UInt8]? {
        if let known = peer.pointee.staticStatic { return known }
        peer.pointee.staticStatic = try? Handshake.staticStatic(
            domain.pointee.identity, peer: peer.pointee.publicKey)
        if peer.pointee.staticStatic == nil { counters[.weakKey] += 1 }
        return peer.pointee.staticStatic
    }

    private mutating func logKeys(_ peer: PeerPointer, _ domain: DomainPointer, ephemeral: [UInt8]) {
        guard isKeyLogging else { return }
        _ = keyLog.appendDroppingOldest(
            KeyLogEntry(
                localStaticPrivateKey: domain.pointee.identity.privateKey,
                remoteStaticPublicKey: peer.pointee.publicKey, localEphemeralPrivateKey: ephemeral,
                presharedKey: peer.pointee.presharedKey))
    }

    // MARK: Receiving

    /// The gate before every expensive step: nil when the message may pass. Its mac1 is valid.
    private mutating func refuseUnderLoad(
        _ message: [UInt8], senderIndex: UInt32, from source: Endpoint, _ domain: DomainPointer, _ now: Instant
    ) -> DropReason? {
        guard load.noteHandshake(now) || isUnderLoad, !planted(.cookieNeverAsked) else { return nil }
        guard
            domain.pointee.cookies.hasValidMAC2(message, from: source, now: now, random: random, cryptography)
        else {
            let reply = domain.pointee.cookies.reply(
                to: message, senderIndex: senderIndex, from: source, now: now, cookieKey: domain.pointee.cookieKey,
                random: random, cryptography)
            queue(.message(reply.bytes, source))
            counters.cookieRepliesSent += 1
            return .cookieRequired
        }
        guard sources.admits(source.address, now) else { return .rateLimited }
        counters.handshakesByCookie += 1
        return nil
    }

    mutating func receiveInitiation(_ bytes: [UInt8], from source: Endpoint, _ now: Now) -> ReceiveOutcome {
        guard
            let slot = domains.firstIndex(where: { domain in
                domain.map { MessageMACs.hasValidMAC1(bytes, mac1Key: $0.pointee.mac1Key, cryptography) } ?? false
            }), let domain = domains[slot]
        else { return drop(.invalidMAC1) }
        let message = HandshakeInitiation(bytes)
        if let reason = refuseUnderLoad(
            bytes, senderIndex: message.senderIndex, from: source, domain, now.monotonic)
        {
            return drop(reason)
        }
        counters.handshakesOpened += 1
        do throws(Handshake.Failure) {
            var opened = try Handshake.OpenedInitiation(message, domain.pointee.identity, cryptography)
            guard let peerSlot = domain.pointee.peersByKey[opened.peer], let peer = peers[peerSlot] else {
                return drop(.unknownPeer)
            }
            guard let staticStatic = staticStatic(peer, domain) else { return .dropped(.weakKey) }
            let timestamp = try opened.readTimestamp(staticStatic: staticStatic, cryptography)
            if let greatest = peer.pointee.timestamps.greatestReceived, timestamp <= greatest,
                !planted(.timestampUnchecked)
            {
                return drop(.handshakeReplayed, peer)
            }
            if let last = peer.pointee.lastInitiationReceived,
                now.monotonic - last < TunnelTimes.initiationInterval
            {
                return drop(.handshakeFlood, peer)
            }
            peer.pointee.timestamps.greatestReceived = timestamp
            peer.pointee.lastInitiationReceived = now.monotonic
            counters.initiationsReceived += 1
            updateEndpoint(peer, source)
            if let ours = peer.pointee.initiated, goesFirst(ours, peer, domain, from: source, now.monotonic) {
                peer.pointee.crossing = opened
                set(peer, .answerCrossing, ours.at + TunnelTimes.crossingPatience)
            } else {
                try respond(to: opened, peer, domain, from: source, now)
            }
            authenticatedPacketReceived(peer, now.monotonic)
            return .handshake
        } catch {
            return drop(error.dropReason)
        }
    }

    /// Whether an initiation of the peer that comes now has met ours on the way, and ours goes first. Two sessions would be one
    /// too many: each side would use its own, and both renew it at the same time. So the one by the smaller public key goes first. Linux and
    /// wireguard-go give up their own initiation for ours whatever the keys. What comes from elsewhere than ours went has not
    /// met it: ours may never arrive.
    private func goesFirst(
        _ ours: SentInitiation, _ peer: PeerPointer, _ domain: DomainPointer, from source: Endpoint, _ now: Instant
    ) -> Bool {
        ours.to == source && now - ours.at < TunnelTimes.crossingPatience
            && domain.pointee.identity.publicKey.lexicographicallyPrecedes(peer.pointee.publicKey)
            && !planted(.crossingUnnoticed)
    }

    /// Our own initiation was not answered in time, so the peer's is.
    mutating func answerCrossing(_ peer: PeerPointer, _ now: Now) {
        guard let opened = peer.pointee.crossing, let endpoint = peer.pointee.endpoint,
            let domain = domains[peer.pointee.domainSlot]
        else { return }
        do throws(Handshake.Failure) {
            try respond(to: opened, peer, domain, from: endpoint, now)
        } catch {
            count(error.dropReason, peer)
        }
    }

    private mutating func forgetCrossing(_ peer: PeerPointer) {
        peer.pointee.crossing = nil
        clear(peer, .answerCrossing)
    }

    private mutating func respond(
        to opened: Handshake.OpenedInitiation, _ peer: PeerPointer, _ domain: DomainPointer, from source: Endpoint,
        _ now: Now
    ) throws(Handshake.Failure) {
        forgetCrossing(peer)
        let senderIndex = freshIndex()
        let ephemeral = random.bytes(32)
        let (message, session) = try opened.respond(
            presharedKey: peer.pointee.presharedKey, ephemeralPrivateKey: ephemeral, senderIndex: senderIndex,
            cryptography)
        let keyPair = begin(session, peer, isInitiator: false, now.monotonic)
        let (a, b) = peer.pointee.keyPairs.addResponded(keyPair, now: now.monotonic)
        discard(a)
        discard(b)
        peer.pointee.lastSentHandshake = now.monotonic
        logKeys(peer, domain, ephemeral: ephemeral)
        queueHandshake(message.bytesBeforeMACs, to: source, peer, now.monotonic)
        counters.responsesSent += 1
        authenticatedPacketSent(peer, now.monotonic)
    }

    private mutating func begin(
        _ session: Handshake.Session, _ peer: PeerPointer, isInitiator: Bool, _ now: Instant
    ) -> KeyPairPointer {
        let keyPair = KeyPairPointer.allocate(capacity: 1)
        keyPair.initialize(
            to: KeyPair(
                session, peerSlot: peer.pointee.slot, isInitiator: isInitiator, now: now, limits: limits, cryptography))
        indexes.set(session.localIndex, peerSlot: peer.pointee.slot, keyPair: keyPair)
        peer.pointee.newHandshakeJitter = random.jitter(TunnelTimes.rekeyTimeoutJitter)
        set(peer, .zeroKeyMaterial, now + TunnelTimes.zeroKeysAfter)
        return keyPair
    }

    mutating func receiveResponse(_ bytes: [UInt8], from source: Endpoint, _ now: Now) -> ReceiveOutcome {
        let message = HandshakeResponse(bytes)
        guard let entry = indexes.find(message.receiverIndex), entry.keyPair == nil,
            let peer = peers[Int(entry.peerSlot)], let domain = domains[peer.pointee.domainSlot],
            let initiated = peer.pointee.initiated?.handshake, initiated.senderIndex == message.receiverIndex
        else { return drop(.unknownReceiverIndex) }
        guard MessageMACs.hasValidMAC1(bytes, mac1Key: domain.pointee.mac1Key, cryptography) else {
            return drop(.invalidMAC1)
        }
        if let reason = refuseUnderLoad(
            bytes, senderIndex: message.senderIndex, from: source, domain, now.monotonic)
        {
            return drop(reason)
        }
        counters.handshakesOpened += 1
        let session: Handshake.Session
        do throws(Handshake.Failure) {
            session = try Handshake.finish(
                initiated, message, domain.pointee.identity, presharedKey: peer.pointee.presharedKey, cryptography)
        } catch {
            return drop(error.dropReason)
        }
        counters.responsesReceived += 1
        peer.pointee.initiated = nil
        forgetCrossing(peer)
        updateEndpoint(peer, source)
        let keyPair = begin(session, peer, isInitiator: true, now.monotonic)
        let (a, b) = peer.pointee.keyPairs.addInitiated(keyPair, now: now.monotonic)
        discard(a)
        discard(b)
        if planted(.oldSessionDroppedAtRekey) { discard(peer.pointee.keyPairs.takePrevious()) }
        handshakeCompleted(peer, isInitiator: true, now.monotonic)
        authenticatedPacketReceived(peer, now.monotonic)
        if planted(.stagedPacketsLost) { peer.pointee.staged.removeAll() }
        // The responder may not send before it has had a packet: give it one.
        if peer.pointee.staged.isEmpty {
            queue(.keepalive(peer.pointee.handle))
        } else {
            flush(peer)
        }
        return .handshake
    }

    /// The first packet under the session that we responded to: the other side has it.
    mutating func confirmSession(_ peer: PeerPointer, _ now: Now) {
        let (over, isCurrent) = peer.pointee.keyPairs.confirmNext()
        discard(over)
        if isCurrent {
            // A response to what we sent before would bring a session that the other side has forgotten.
            forgetInitiated(peer)
            handshakeCompleted(peer, isInitiator: false, now.monotonic)
            flush(peer)
        } else {
            peer.pointee.handshakes += 1
            counters.sessionsEstablished += 1
        }
    }

    private mutating func handshakeCompleted(_ peer: PeerPointer, isInitiator: Bool, _ now: Instant) {
        clear(peer, .retransmitHandshake)
        peer.pointee.isHeld = false
        peer.pointee.handshakeAttempts = 0
        peer.pointee.hasRekeyedOnReceive = false
        peer.pointee.lastHandshake = now
        peer.pointee.handshakes += 1
        counters.sessionsEstablished += 1
        note(.sessionEstablished(peer.pointee.handle, initiator: isInitiator))
    }

    /// The cookie is used when the handshake is next tried: a reply does not make us send.
    mutating func receiveCookieReply(_ bytes: [UInt8], _ now: Now) -> ReceiveOutcome {
        let reply = CookieReply(bytes)
        guard let entry = indexes.find(reply.receiverIndex), let peer = peers[Int(entry.peerSlot)] else {
            return drop(.unknownReceiverIndex)
        }
        guard
            peer.pointee.cookies.take(
                reply, cookieKey: peer.pointee.cookieKey, now: now.monotonic, cryptography)
        else { return drop(.invalidCookieReply) }
        counters.cookieRepliesReceived += 1
        // The peer is there: an initiation that was not to be repeated is, now that it would be taken.
        if let initiated = peer.pointee.initiated, !peer.pointee.timers.isSet(.retransmitHandshake) {
            set(peer, .retransmitHandshake, max(now.monotonic, initiated.at) + TunnelTimes.rekeyTimeout)
        }
        return .handshake
    }
}

extension Handshake.Failure {
    var dropReason: DropReason {
        switch self {
        case .weakKey: .weakKey
        case .notAuthentic: .handshakeNotAuthentic
        }
    }
}
