internal import FabricCore

/// The packet path: buffers in and out, no allocation while there is a session.
extension EndpointState {
    // MARK: Sending

    /// Counts for the endpoint and for the peer.
    mutating func count(_ reason: DropReason, _ peer: PeerPointer, _ count: Int = 1) {
        counters[reason] += UInt64(count)
        peer.pointee.countDrop(reason, UInt64(count))
    }

    mutating func drop(_ reason: DropReason, _ peer: PeerPointer? = nil) -> SendOutcome {
        counters[reason] += 1
        peer?.pointee.countDrop(reason)
        return .dropped(reason)
    }

    mutating func send(
        _ handle: DomainHandle, _ packet: inout PacketBuffer, isProbe: Bool, _ now: Now
    ) -> SendOutcome {
        lastNow = now
        guard Int(handle.slot) < domains.count, let domain = domains[Int(handle.slot)],
            domain.pointee.generation == handle.generation
        else { return drop(.unknownDomain) }
        guard let (_, destination) = InnerPacket.parse(UnsafeRawBufferPointer(packet.bytes), destination: true) else {
            return drop(.malformedInnerPacket)
        }
        guard let slot = domain.pointee.allowedIPs.lookup(destination), let peer = peers[slot] else {
            return drop(.noRoute)
        }
        guard let endpoint = peer.pointee.endpoint else { return drop(.noEndpoint, peer) }
        if packet.count > peer.pointee.largestPacket,
            let largest = InnerPacket.refusal(
                UnsafeRawBufferPointer(packet.bytes), largest: peer.pointee.largestPacket)
        {
            count(.tooBig, peer)
            return .tooBig(largest: largest)
        }
        guard peer.pointee.staged.isEmpty, let session = usableSession(peer, now.monotonic) else {
            return stage(packet, for: peer, isProbe: isProbe, now)
        }
        let mtu = peer.pointee.paddingLimit(packet.count, mtu: domain.pointee.mtu)
        guard SendHalf.hasRoom(packet, mtu: mtu) else { return drop(.noRoom, peer) }
        transmit(&packet, peer, session, mtu: mtu, now)
        return .transmit(endpoint)
    }

    /// Seals what the buffer holds; nothing makes a keepalive. The session is usable.
    @inline(__always)
    private mutating func transmit(
        _ packet: inout PacketBuffer, _ peer: PeerPointer, _ session: KeyPairPointer, mtu: Int, _ now: Now
    ) {
        let length = packet.count
        packet.ecn =
            length > 0 && peer.pointee.copiesECN ? InnerPacket.ecn(UnsafeRawBufferPointer(packet.bytes)) : .notECT
        let isSealed = session.pointee.send.seal(&packet, mtu: mtu)
        precondition(isSealed, "a usable session is not exhausted")
        authenticatedPacketSent(peer, now.monotonic)
        if length == 0 {
            counters.keepalivesSent += 1
        } else {
            counters.packetsSent += 1
            counters.bytesSent += UInt64(length)
            peer.pointee.traffic.packetsSent += 1
            peer.pointee.traffic.bytesSent += UInt64(length)
            dataSent(peer, now.monotonic)
        }
        keepKeyFreshAfterSending(peer, session, now)
    }

    private mutating func stage(
        _ packet: borrowing PacketBuffer, for peer: PeerPointer, isProbe: Bool, _ now: Now
    ) -> SendOutcome {
        guard packet.count <= PacketBuffer.maximumPacket else { return drop(.noRoom, peer) }
        let session = usableSession(peer, now.monotonic)
        if !isProbe || session != nil || peer.pointee.staged.isEmpty || planted(.probesCrowdOut),
            peer.pointee.staged.appendDroppingOldest(Array(packet.bytes))
        {
            count(.stagedOverflow, peer)
        }
        if let session, session.pointee.maySend {
            flush(peer)
        } else {
            peer.pointee.keyPairs.current?.pointee.maySend = false
            sendInitiation(peer, now, isRetry: false)
        }
        return .staged(peer.pointee.handle)
    }

    /// Lets staged packets go through `nextTransmit`.
    mutating func flush(_ peer: PeerPointer) {
        guard !peer.pointee.isFlushing, !peer.pointee.staged.isEmpty else { return }
        if transmits.append(.staged(peer.pointee.handle)) {
            peer.pointee.isFlushing = true
        } else {
            counters[.transmitQueueFull] += 1
        }
    }

    mutating func nextTransmit(into buffer: inout PacketBuffer) -> Endpoint? {
        while let pending = transmits.first {
            switch pending {
            case .message(let bytes, let endpoint):
                _ = transmits.popFirst()
                if buffer.assign(bytes) { return endpoint }
                counters[.noRoom] += 1
            case .keepalive(let handle):
                _ = transmits.popFirst()
                guard let peer = resolve(handle), let endpoint = peer.pointee.endpoint,
                    let domain = domains[peer.pointee.domainSlot],
                    let session = usableSession(peer, lastNow.monotonic)
                else { continue }
                buffer.reset()
                transmit(&buffer, peer, session, mtu: domain.pointee.mtu, lastNow)
                return endpoint
            case .staged(let handle):
                if let endpoint = nextStaged(handle, into: &buffer) { return endpoint }
                _ = transmits.popFirst()
                resolve(handle)?.pointee.isFlushing = false
            }
        }
        // The turn ends here.
        handshakeWorkLeft = limits.handshakeWorkPerTurn
        return nil
    }

    /// Nil when none is left, or the session ended meanwhile.
    private mutating func nextStaged(_ handle: PeerHandle, into buffer: inout PacketBuffer) -> Endpoint? {
        guard let peer = resolve(handle), let domain = domains[peer.pointee.domainSlot] else { return nil }
        while let packet = peer.pointee.staged.first {
            guard let session = usableSession(peer, lastNow.monotonic) else {
                peer.pointee.keyPairs.current?.pointee.maySend = false
                sendInitiation(peer, lastNow, isRetry: false)
                return nil
            }
            _ = peer.pointee.staged.popFirst()
            guard let endpoint = peer.pointee.endpoint, buffer.assign(packet) else {
                count(.noRoom, peer)
                continue
            }
            let mtu = peer.pointee.paddingLimit(buffer.count, mtu: domain.pointee.mtu)
            transmit(&buffer, peer, session, mtu: mtu, lastNow)
            return endpoint
        }
        return nil
    }

    // MARK: Receiving

    mutating func drop(_ reason: DropReason, _ peer: PeerPointer? = nil) -> ReceiveOutcome {
        counters[reason] += 1
        peer?.pointee.countDrop(reason)
        return .dropped(reason)
    }

    mutating func receive(_ datagram: inout PacketBuffer, from source: Endpoint, _ now: Now) -> ReceiveOutcome {
        lastNow = now
        datagramsReceived &+= 1
        datagramNumber = datagramsReceived
        guard source.port != 0 else { return drop(.unanswerable) }
        let bytes = UnsafeRawBufferPointer(datagram.bytes)
        switch MessageType(datagram: bytes) {
        case .transportData: return receiveData(&datagram, from: source, now)
        case .handshakeInitiation: return receiveHandshake(.handshakeInitiation, bytes, from: source, now)
        case .handshakeResponse: return receiveHandshake(.handshakeResponse, bytes, from: source, now)
        case .cookieReply:
            // Noise of this type costs a look at a table, and no memory.
            guard indexes.find(bytes.littleEndian32(at: 4)) != nil else { return drop(.unknownReceiverIndex) }
            return receiveCookieReply(Array(bytes), now)
        case nil: return drop(.malformedMessage)
        }
    }

    private mutating func receiveData(_ datagram: inout PacketBuffer, from source: Endpoint, _ now: Now)
        -> ReceiveOutcome
    {
        let receiverIndex = UnsafeRawBufferPointer(datagram.bytes).littleEndian32(at: 4)
        guard let entry = indexes.find(receiverIndex), let session = entry.keyPair,
            let peer = peers[Int(entry.peerSlot)], let domain = domains[peer.pointee.domainSlot]
        else { return drop(.unknownReceiverIndex) }
        guard session.pointee.age(now.monotonic) < TunnelTimes.rejectAfter || planted(.deadSessionsReceive) else {
            return drop(.sessionExpired, peer)
        }
        if planted(.endpointTakenUnauthenticated) { updateEndpoint(peer, source) }
        switch session.pointee.receive.open(&datagram) {
        case .opened: break
        case .replayed: return drop(.replayed, peer)
        case .notAuthentic: return drop(.notAuthentic, peer)
        case .exhausted: return drop(.sessionExpired, peer)
        }
        // From here on the sender is proven.
        updateEndpoint(peer, source)
        if peer.pointee.keyPairs.next == session, !planted(.responderNeverConfirms) { confirmSession(peer, now) }
        keepKeyFreshAfterReceiving(peer, now)
        authenticatedPacketReceived(peer, now.monotonic)
        guard datagram.count > 0 else {
            counters.keepalivesReceived += 1
            return .keepalive(peer.pointee.handle)
        }
        dataReceived(peer, now.monotonic)
        guard let (length, address) = InnerPacket.parse(UnsafeRawBufferPointer(datagram.bytes), destination: false)
        else { return drop(.malformedInnerPacket, peer) }
        guard domain.pointee.allowedIPs.lookup(address) == Int(entry.peerSlot) || planted(.innerSourceUnchecked) else {
            return drop(.sourceNotAllowed, peer)
        }
        guard datagram.ecn == .notECT || InnerPacket.take(datagram.ecn, datagram.bytes) else {
            return drop(.congestion, peer)
        }
        if !planted(.paddingKept) { datagram.dropLast(datagram.count - length) }
        counters.packetsReceived += 1
        counters.bytesReceived += UInt64(length)
        peer.pointee.traffic.packetsReceived += 1
        peer.pointee.traffic.bytesReceived += UInt64(length)
        if planted(.firstDomainForAll), let first = domains[0] { return .packet(first.pointee.id, peer.pointee.handle) }
        return .packet(domain.pointee.id, peer.pointee.handle)
    }

    /// A handshake that waited does not move the peer back to where it was before what came meanwhile.
    @inline(__always)
    mutating func updateEndpoint(_ peer: PeerPointer, _ source: Endpoint) {
        guard datagramNumber >= peer.pointee.newestDatagram else { return }
        peer.pointee.newestDatagram = datagramNumber
        guard peer.pointee.endpoint != source, !planted(.roamingIgnored) else { return }
        peer.pointee.move(to: source)
        note(.endpointChanged(peer.pointee.handle, source))
    }
}
