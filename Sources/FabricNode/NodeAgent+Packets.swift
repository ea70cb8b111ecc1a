public import FabricCore
internal import FabricMesh
public import FabricTunnel
internal import FabricWire

/// What the host does with a buffer that the packet lane hands back.
public enum PacketOutcome: Hashable, Sendable {
    /// The buffer holds a datagram for this endpoint.
    case transmit(Endpoint)
    /// The buffer holds an IP packet for the interface of this routing domain.
    case deliver(RoutingDomainID)
    /// Nothing; the buffer is free.
    case done
}

/// The packet lane: borrowed buffers in, small enums out, no allocation.
extension NodeAgent {
    /// An IP packet that the interface of `domain` gave. What is delivered then is the answer that it is too large.
    public func send(_ packet: inout PacketBuffer, domain: RoutingDomainID, now: Now) -> PacketOutcome {
        guard tunnelsReady, domainIndex(domain) != nil else {
            counters.dropsNoDomain += 1
            return .done
        }
        if configuration.clampsSegments, let to = destinationAddress(UnsafeRawBufferPointer(packet.bytes)) {
            clampSegments(packet, largest: tunnels.largestPacket(domain: domain, to: to))
        }
        counters.packetsSent += 1
        return transmit(&packet, domain, isProbe: false, now)
    }

    /// A datagram that the node's socket gave.
    public func receive(_ datagram: inout PacketBuffer, from source: Endpoint, now: Now) -> PacketOutcome {
        guard tunnelsReady else {
            counters.dropsNotReady += 1
            return .done
        }
        let outcome = tunnels.receive(&datagram, from: source, now: now)
        tunnelsUsed(now)
        guard case .packet(let domain, let handle) = outcome else { return .done }
        guard let index = domainIndex(domain),
            let destination = destinationAddress(UnsafeRawBufferPointer(datagram.bytes))
        else {
            counters.dropsNoDomain += 1
            return .done
        }
        if destination == domains[index].overlay.overlayAgent {
            return receiveFabricMessage(&datagram, domain: index, handle, now)
        }
        guard
            destination == domains[index].overlay.overlayHost
                || mayPass(to: destination, from: handle, domain: index)
        else {
            counters.dropsNotOurs += 1
            return .done
        }
        if configuration.clampsSegments { clampSegments(datagram, largest: tunnels.largestPacket(to: handle)) }
        counters.packetsDelivered += 1
        return .deliver(domain)
    }

    /// The next datagram that the agent wants sent on its own account: handshakes, keepalives, probes.
    public func nextTransmit(into buffer: inout PacketBuffer, now: Now) -> Endpoint? {
        while tunnelsReady {
            if let endpoint = tunnels.nextTransmit(into: &buffer) { return endpoint }
            guard let cursor = probeCursor else { return nil }
            guard cursor < peers.count else {
                probeCursor = nil
                continue
            }
            probeCursor = cursor + 1
            guard peers[cursor].health.probeDue <= now.monotonic,
                let domain = domainIndex(peers[cursor].domain)
            else { continue }
            if peers[cursor].health.isResting(at: now.monotonic) {
                knock(cursor, now)
                continue
            }
            probe(cursor, isAnswer: false, domain, now).write(to: buffer.writableArea())
            buffer.count = EchoMessage.packetBytes
            if case .transmit(let endpoint) = transmit(&buffer, domains[domain].id, isProbe: true, now) {
                return endpoint
            }
        }
        return nil
    }

    /// Nil for a domain that the node is not in. By index: nothing is copied for a packet.
    private func domainIndex(_ id: RoutingDomainID) -> Int? {
        for index in 0..<domains.count where domains[index].id == id { return index }
        return nil
    }

    private func transmit(
        _ packet: inout PacketBuffer, _ domain: RoutingDomainID, isProbe: Bool, _ now: Now
    ) -> PacketOutcome {
        switch tunnels.send(domain: domain, &packet, isProbe: isProbe, now: now) {
        case .transmit(let endpoint): return .transmit(endpoint)
        case .tooBig(let largest): return answerTooBig(&packet, largest: largest, domain, now)
        case .staged(let handle):
            if !isProbe, let index = placeOfHandle[handle], peers[index].health.isResting(at: now.monotonic) {
                encourage(index, atOnce: false, now)
            }
            raiseFloorsForHeld(now)
        case .dropped: raiseFloorsForHeld(now)
        }
        return .done
    }

    private func receiveFabricMessage(
        _ packet: inout PacketBuffer, domain: Int, _ handle: PeerHandle, _ now: Now
    ) -> PacketOutcome {
        guard let message = EchoMessage(UnsafeRawBufferPointer(packet.bytes)),
            let index = placeOfHandle[handle],
            message.source == peers[index].overlay.overlayAgent
        else {
            counters.dropsMalformedFabricMessage += 1
            return .done
        }
        peers[index].health.probeReceived(message.probe, now: now.monotonic)
        guard message.probe.wantsAnswer else { return .done }
        counters.probesAnswered += 1
        // In place: it is as long.
        probe(index, isAnswer: true, domain, now).write(to: packet.bytes)
        return transmit(&packet, domains[domain].id, isProbe: true, now)
    }

    private func probe(_ index: Int, isAnswer: Bool, _ domain: Int, _ now: Now) -> EchoMessage {
        EchoMessage(
            source: domains[domain].overlay.overlayAgent, destination: peers[index].overlay.overlayAgent,
            probe: peers[index].health.probeSent(now: now.monotonic, isAnswer: isAnswer))
    }

    private func destinationAddress(_ packet: UnsafeRawBufferPointer) -> IPAddress? {
        if packet.count >= 40, packet[0] >> 4 == 6 {
            return IPAddress(v6High: packet.load64(at: 24), low: packet.load64(at: 32))
        }
        if packet.count >= 20, packet[0] >> 4 == 4 { return IPAddress(v4: packet.load32(at: 16)) }
        return nil
    }

    // MARK: For observers

    public func tunnelStatus(_ peer: NodePeer) -> PeerStatus? { tunnels.peerStatus(peer.handle) }
    public func tunnelStatus(_ handle: PeerHandle) -> PeerStatus? { tunnels.peerStatus(handle) }
    public var tunnelCounters: TunnelCounters { tunnels.counters }

    /// Off unless set. Then each handshake yields lines with private keys: who has them can read the traffic.
    public var isKeyLogging: Bool {
        get { tunnels.isKeyLogging }
        set { tunnels.isKeyLogging = newValue }
    }

    /// Lines for the file that Wireshark reads; see `KeyLogEntry`.
    public func nextKeyLogText() -> String? { tunnels.nextKeyLogEntry()?.text }
}

extension NodeAgent {
    /// The host's overlay address in a domain, once the node is a member.
    public func overlayAddress(in domain: RoutingDomainID) -> IPAddress? {
        domains.first { $0.id == domain }?.overlay.overlayHost
    }
}
