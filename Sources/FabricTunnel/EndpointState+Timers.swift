internal import FabricCore

/// The timers of peers: the inputs that set them, as in the kernel's `timers.c`, and what they do.
extension EndpointState {
    @inline(__always)
    mutating func set(_ peer: PeerPointer, _ timer: TunnelTimer, _ instant: Instant) {
        peer.pointee.timers[timer] = instant.nanoseconds
        if instant.nanoseconds < peer.pointee.scheduledAt { schedule(peer, instant.nanoseconds) }
    }

    /// The heap keeps its entry; a wake that finds nothing due moves it.
    @inline(__always)
    mutating func clear(_ peer: PeerPointer, _ timer: TunnelTimer) { peer.pointee.timers[timer] = .max }

    @inline(never)
    private mutating func schedule(_ peer: PeerPointer, _ nanoseconds: Int64) {
        peer.pointee.scheduledAt = nanoseconds
        if nanoseconds == .max {
            deadlines.remove(peer.pointee.slot)
        } else {
            deadlines.set(peer.pointee.slot, nanoseconds)
        }
    }

    /// The peer that is due first, its heap entry made exact.
    private mutating func firstDue() -> PeerPointer? {
        while let entry = deadlines.first, let peer = peers[Int(entry.slot)] {
            let earliest = peer.pointee.timers.earliest?.nanoseconds ?? .max
            if earliest == entry.nanoseconds { return peer }
            schedule(peer, earliest)
        }
        return nil
    }

    mutating func nextDeadline() -> Deadline<TunnelDeadline>? {
        var next = waiting.first.map { Deadline($0.receivedAt, TunnelDeadline.waitingHandshakes) }
        if let peer = firstDue(), let (timer, nanoseconds) = peer.pointee.timers.earliest {
            let due = Deadline(Instant(nanoseconds: nanoseconds), TunnelDeadline.timer(timer, peer.pointee.handle))
            next = Deadline.earlier(next, due)
        }
        return next
    }

    mutating func handleDeadline(_ now: Now) {
        lastNow = now
        while let peer = firstDue(), let (timer, nanoseconds) = peer.pointee.timers.earliest,
            nanoseconds <= now.monotonic.nanoseconds
        {
            // What a timer does sets it, and every other, later than now, so this ends.
            clear(peer, timer)
            fire(timer, peer, now)
        }
        workOnWaiting(now)
    }

    private mutating func fire(_ timer: TunnelTimer, _ peer: PeerPointer, _ now: Now) {
        switch timer {
        case .retransmitHandshake: retransmit(peer, now)
        case .sendKeepalive:
            sendKeepalive(peer, now)
            if peer.pointee.needsAnotherKeepalive {
                peer.pointee.needsAnotherKeepalive = false
                set(peer, .sendKeepalive, now.monotonic + TunnelTimes.keepaliveTimeout)
            }
        case .newHandshake: sendInitiation(peer, now, isRetry: false)
        case .zeroKeyMaterial:
            if !planted(.keysNeverZeroed) { forgetKeys(peer) }
            note(.keysZeroed(peer.pointee.handle))
        case .persistentKeepalive:
            guard let interval = peer.pointee.persistentKeepalive else { return }
            sendKeepalive(peer, now)
            set(peer, .persistentKeepalive, now.monotonic + interval)
        case .answerCrossing: answerCrossing(peer, now)
        }
    }

    private mutating func retransmit(_ peer: PeerPointer, _ now: Now) {
        if planted(.retransmissionOff) { return }
        // An answer of ours that went out meanwhile counts as a handshake message too: five seconds from that.
        if let last = peer.pointee.lastSentHandshake, now.monotonic - last < TunnelTimes.rekeyTimeout {
            let jitter = random.jitter(TunnelTimes.rekeyTimeoutJitter)
            return set(peer, .retransmitHandshake, last + TunnelTimes.rekeyTimeout + jitter)
        }
        guard peer.pointee.handshakeAttempts >= TunnelTimes.maximumAttempts - 1 else {
            peer.pointee.handshakeAttempts += 1
            set(peer, .retransmitHandshake, now.monotonic + TunnelTimes.rekeyTimeout)
            return sendInitiation(peer, now, isRetry: true)
        }
        clear(peer, .sendKeepalive)
        if !peer.pointee.staged.isEmpty { count(.stagedExpired, peer, peer.pointee.staged.count) }
        peer.pointee.staged.removeAll()
        forgetInitiated(peer)
        // Old keys don't stay for ever because no new ones come.
        if !peer.pointee.timers.isSet(.zeroKeyMaterial) {
            set(peer, .zeroKeyMaterial, now.monotonic + TunnelTimes.zeroKeysAfter)
        }
        counters.handshakesGivenUp += 1
        note(.handshakeGaveUp(peer.pointee.handle))
    }

    /// Without a session, starts a handshake, whose end sends a keepalive by itself.
    private mutating func sendKeepalive(_ peer: PeerPointer, _ now: Now) {
        if planted(.keepaliveNeverSent) { return }
        if usableSession(peer, now.monotonic) == nil {
            sendInitiation(peer, now, isRetry: false)
        } else if peer.pointee.staged.isEmpty {
            queue(.keepalive(peer.pointee.handle))
        } else {
            flush(peer)
        }
    }

    // MARK: Inputs

    /// A packet with data has gone out.
    @inline(__always)
    mutating func dataSent(_ peer: PeerPointer, _ now: Instant) {
        guard !peer.pointee.timers.isSet(.newHandshake) else { return }
        set(
            peer, .newHandshake,
            now + TunnelTimes.keepaliveTimeout + TunnelTimes.rekeyTimeout + peer.pointee.newHandshakeJitter)
    }

    /// An authentic packet with data has come in.
    @inline(__always)
    mutating func dataReceived(_ peer: PeerPointer, _ now: Instant) {
        if peer.pointee.timers.isSet(.sendKeepalive) {
            peer.pointee.needsAnotherKeepalive = true
        } else {
            set(peer, .sendKeepalive, now + TunnelTimes.keepaliveTimeout)
        }
    }

    /// Anything that the other side can authenticate has gone out.
    @inline(__always)
    mutating func authenticatedPacketSent(_ peer: PeerPointer, _ now: Instant) {
        clear(peer, .sendKeepalive)
        restartPersistentKeepalive(peer, now)
    }

    /// Anything authentic has come in.
    @inline(__always)
    mutating func authenticatedPacketReceived(_ peer: PeerPointer, _ now: Instant) {
        clear(peer, .newHandshake)
        restartPersistentKeepalive(peer, now)
    }

    @inline(__always)
    private mutating func restartPersistentKeepalive(_ peer: PeerPointer, _ now: Instant) {
        if let interval = peer.pointee.persistentKeepalive { set(peer, .persistentKeepalive, now + interval) }
    }

    // MARK: Rekeying

    @inline(__always)
    mutating func keepKeyFreshAfterSending(_ peer: PeerPointer, _ session: KeyPairPointer, _ now: Now) {
        guard
            session.pointee.send.nextCounter > limits.rekeyAfterMessages
                || session.pointee.isInitiator && session.pointee.age(now.monotonic) >= TunnelTimes.rekeyAfter
                    && !planted(.rekeyTimerOff)
        else { return }
        sendInitiation(peer, now, isRetry: false)
    }

    @inline(__always)
    mutating func keepKeyFreshAfterReceiving(_ peer: PeerPointer, _ now: Now) {
        guard let current = peer.pointee.keyPairs.current, current.pointee.isInitiator,
            !peer.pointee.hasRekeyedOnReceive,
            current.pointee.age(now.monotonic) >= TunnelTimes.rekeyOnReceiveAfter
        else { return }
        peer.pointee.hasRekeyedOnReceive = true
        sendInitiation(peer, now, isRetry: false)
    }
}
