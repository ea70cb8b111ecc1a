internal import FabricCore

/// Sending, acknowledging and sending again.
extension VirtualStreams {
    // MARK: Sending

    /// Sends what the windows allow: first what is presumed lost, then what is new.
    func pump(_ connection: StreamConnection, _ side: Int) {
        guard let end = connection.end(side), end.state != .gone, end.state != .connecting else { return }
        for position in 0..<end.flights.count where end.flights[position].lost {
            guard end.flightBytes < end.window else { break }
            end.flights[position].lost = false
            end.flightBytes += end.flights[position].bytes
            transmit(connection, side, position)
        }
        while end.sentOffset < min(end.queuedOffset, end.peerEdge), end.flightBytes < end.window {
            let mss = segmentSize(end)
            let room = max(end.window - end.flightBytes, mss)
            let bytes = Int(
                min(
                    Int64(min(room, mss * StreamEnd.segmentsPerFlight)),
                    min(end.queuedOffset, end.peerEdge) - end.sentOffset))
            end.sentOffset += Int64(bytes)
            end.flights.append(
                StreamFlight(end: end.sentOffset, bytes: bytes, segments: (bytes + mss - 1) / mss))
            end.flightBytes += bytes
            if end.waitingSince == .max { end.waitingSince = world.nowNanoseconds }
            transmit(connection, side, end.flights.count - 1)
        }
        let waitsForWindow = end.flights.isEmpty && end.sentOffset < end.queuedOffset
        if waitsForWindow, end.waitingSince == .max { end.waitingSince = world.nowNanoseconds }
        if !end.flights.isEmpty || waitsForWindow {
            if end.retransmitAt == .max { end.retransmitAt = world.nowNanoseconds + end.timeout }
        } else {
            end.retransmitAt = .max
        }
        armTimer(connection, side)
        if end.wantsWritable, end.bufferedBytes <= VirtualStreams.sendBufferLimit / 2, end.state == .open {
            end.wantsWritable = false
            tell(connection, side, .writable, 5, text: "writable")
        }
    }

    private func segmentSize(_ end: StreamEnd) -> Int {
        guard let to = world.network.receiver(.tcp, at: end.remote) else { return 1400 }
        return max(16, min(1448, world.network.mtu(end.host, to) - VirtualStreams.headerBytes))
    }

    /// Sends those segments of a flight that the receiver may not have.
    private func transmit(_ connection: StreamConnection, _ side: Int, _ position: Int) {
        guard let end = connection.end(side) else { return }
        let flight = end.flights[position]
        let missing = max(1, flight.segments - flight.receivedSegments)
        if flight.transmissions > 0 { counters.retransmittedSegments += UInt64(missing) }
        end.flights[position].transmissions += 1
        end.flights[position].lastSent = world.nowNanoseconds
        end.transmissionCount += 1
        end.flights[position].order = end.transmissionCount
        let bytes = flight.bytes * missing / flight.segments
        guard let passage = pass(end, segments: missing, bytes: bytes, opens: false) else { return }
        var packet = StreamPacket(
            kind: .data, side: UInt8(side), slot: Int32(connection.slot), generation: connection.generation,
            from: Int32(end.host), to: Int32(passage.to), destination: end.remote)
        packet.source = passage.source
        packet.segments = passage.segments
        packet.wireBytes = passage.segments * (bytes / missing + VirtualStreams.headerBytes)
        packet.flight = end.firstFlight + Int64(position)
        packet.transmission = flight.transmissions + 1
        enqueue(packet, at: passage.arrival)
    }

    // MARK: Arriving

    /// A packet has arrived.
    func arrive(slot: Int) {
        var packet = takePacket(slot)
        guard Int(packet.slot) < connections.count, let connection = connections[Int(packet.slot)],
            connection.generation == packet.generation
        else { return }
        let side = 1 - Int(packet.side)
        if packet.kind == .resume { return resume(connection, Int(packet.side)) }
        let packets = packet.kind == .data ? packet.segments : 1
        let isOwned = world.network.owns(Int(packet.to), packet.destination.address)
        if !isOwned, world.network.translation != nil {
            guard
                let arrival = world.network.arrive(.tcp, source: packet.source, destination: packet.destination)
            else { return }
            // A mapping that belongs to another's connection by now.
            if let end = connection.end(side), end.host != arrival.host { return world.network.countUnroutable() }
            (packet.to, packet.destination) = (Int32(arrival.host), arrival.destination)
        }
        guard
            world.network.admit(
                from: Int(packet.from), to: Int(packet.to), wireBytes: packet.wireBytes, packets: packets, .tcp)
        else { return }
        guard isOwned || world.network.translation != nil else { return world.network.countUnroutable() }
        world.trace.record(
            .streamPacket, host: packet.to, at: world.nowNanoseconds,
            UInt64(packet.kind.rawValue) << 32 | UInt64(packet.slot), UInt64(bitPattern: packet.flight))
        if packet.kind == .syn { return arriveSyn(connection, packet) }
        guard let end = connection.end(side) else { return }
        if end.state == .gone || end.host != Int(packet.to) {
            if packet.kind != .reset { sendControl(connection, side, .reset) }
            return
        }
        switch packet.kind {
        case .syn, .resume: break
        case .synAcknowledgement: arriveSynAcknowledgement(connection)
        case .data: arriveData(connection, side, packet)
        case .acknowledgement: arriveAcknowledgement(connection, side, packet)
        case .probe: sendControl(connection, side, .acknowledgement)
        case .reset: finish(connection, side, end.state == .connecting ? .refused : .reset)
        }
    }

    private func arriveSyn(_ connection: StreamConnection, _ packet: StreamPacket) {
        // An old duplicate, or the client has given up.
        guard connection.client.state == .connecting else { return }
        let host = Int(packet.to)
        if connection.server == nil || connection.server?.state == .gone {
            let listener = listener(host, packet.destination.port)
            let server = StreamEnd(
                host: host, local: packet.destination, remote: packet.source,
                state: listener == nil ? .gone : .handshaking, options: nil, listener: listener,
                userTimeout: .nanoseconds(connection.client.userTimeout))
            connection.server = server
            guard listener != nil else { return sendControl(connection, 1, .reset) }
            server.handshakeDeadline = world.nowNanoseconds + VirtualStreams.serverHandshakeTimeout
            armTimer(connection, 1)
        }
        sendControl(connection, 1, .synAcknowledgement)
    }

    private func arriveSynAcknowledgement(_ connection: StreamConnection) {
        let client = connection.client
        guard client.state == .connecting else { return }
        client.state = .handshaking
        client.retransmitAt = .max
        // A retransmitted SYN leaves it open which one was answered (Karn).
        if client.backoff == 0 { client.sampleRoundTrip(max(1, world.nowNanoseconds - client.waitingSince)) }
        client.backoff = 0
        client.waitingSince = .max
        if world.mustWait(client.host) {
            client.helloHeld = true
            return holdDelivery(connection, 0)
        }
        client.enqueue(.clientHello, bytes: 320)
        pump(connection, 0)
    }

    private func arriveData(_ connection: StreamConnection, _ side: Int, _ packet: StreamPacket) {
        guard let end = connection.end(side), let sender = connection.end(1 - side) else { return }
        let position = Int(packet.flight - sender.firstFlight)
        // Below the sender's first flight all is acknowledged: a late copy.
        guard position >= 0, position < sender.flights.count else {
            return sendControl(connection, side, .acknowledgement, about: packet)
        }
        // Which segments a copy carries is not modelled; a copy that was not needed counts like a missing one.
        sender.flights[position].receivedSegments += packet.segments
        while end.nextFlight < sender.firstFlight + Int64(sender.flights.count) {
            let next = sender.flights[Int(end.nextFlight - sender.firstFlight)]
            guard next.arrived else { break }
            end.nextFlight += 1
            end.receivedOffset = next.end
        }
        var acknowledged = packet
        acknowledged.segments = sender.flights[position].arrived ? sender.flights[position].segments : packet.segments
        sendControl(connection, side, .acknowledgement, about: acknowledged)
        deliver(connection, side)
    }

    private func arriveAcknowledgement(_ connection: StreamConnection, _ side: Int, _ packet: StreamPacket) {
        guard let end = connection.end(side) else { return }
        let now = world.nowNanoseconds
        end.peerEdge = max(end.peerEdge, packet.edge)
        var progress = false
        let position = Int(packet.flight - end.firstFlight)
        if packet.flight >= 0, position >= 0, position < end.flights.count {
            let flight = end.flights[position]
            if packet.transmission == 1, flight.transmissions == 1 {
                end.sampleRoundTrip(max(1, now - flight.lastSent))
            }
            if packet.segments >= flight.segments, packet.nextFlight <= packet.flight {
                progress = acknowledge(end, position) || progress
            } else if packet.segments < flight.segments, packet.segments >= 3, !flight.lost, !flight.acknowledged,
                packet.transmission == flight.transmissions
            {
                // Three segments of a flight behind a missing one: fast retransmission of the rest.
                end.markLost(position)
                end.reduceWindow()
            }
            if packet.transmission == flight.transmissions {
                end.presumeLost(before: position, sentBefore: flight.order)
            }
        }
        let reached = Int(min(max(0, packet.nextFlight - end.firstFlight), Int64(end.flights.count)))
        for index in 0..<reached { progress = acknowledge(end, index) || progress }
        while let first = end.flights.first, first.acknowledged, end.firstFlight < packet.nextFlight {
            _ = end.flights.popFirst()
            end.firstFlight += 1
        }
        if progress {
            end.backoff = 0
            end.waitingSince = end.flights.isEmpty ? .max : now
            end.retransmitAt = end.flights.isEmpty ? .max : now + end.timeout
        } else if end.flights.isEmpty {
            // A peer that answers probes lives; it may keep its window shut for as long as it likes.
            end.waitingSince = .max
            if end.sentOffset < end.peerEdge {
                end.backoff = 0
                end.retransmitAt = .max
            }
        }
        if end.state == .closing, end.flights.isEmpty, end.sentOffset == end.queuedOffset {
            return drop(connection, side)
        }
        pump(connection, side)
    }

    /// True when the flight was not acknowledged before.
    private func acknowledge(_ end: StreamEnd, _ position: Int) -> Bool {
        let flight = end.flights[position]
        if flight.acknowledged { return false }
        end.flights[position].acknowledged = true
        if !flight.lost { end.flightBytes -= flight.bytes }
        end.flights[position].lost = false
        end.growWindow(flight.bytes)
        return true
    }

    // MARK: Timers

    /// Queues the end's next timer event, unless one is queued that comes no later.
    func armTimer(_ connection: StreamConnection, _ side: Int) {
        guard let end = connection.end(side), end.state != .gone else { return }
        let wanted = min(end.retransmitAt, end.handshakeDeadline)
        guard wanted < end.timerQueued else { return }
        end.timerQueued = wanted
        world.queue.push(
            time: wanted, kind: .streamTimer, host: Int32(end.host), payload: connection.identifier(side).value)
    }

    /// False when the timer had been superseded.
    func timerFired(_ payload: UInt64, at time: Int64) -> Bool {
        let stream = StreamID(value: payload)
        guard let (connection, end) = find(stream), end.timerQueued == time else { return false }
        end.timerQueued = .max
        if postponesTimer(end, at: time) {
            armTimer(connection, stream.side)
            return false
        }
        let wanted = min(end.retransmitAt, end.handshakeDeadline)
        guard wanted <= time else {
            if wanted != .max { armTimer(connection, stream.side) }
            return false
        }
        world.trace.record(.streamTimer, host: Int32(end.host), at: time, payload)
        let waitedTooLong = end.waitingSince != .max && time - end.waitingSince >= end.userTimeout
        if end.handshakeDeadline <= time || (end.state != .connecting && waitedTooLong) {
            finish(connection, stream.side, .timedOut)
            return true
        }
        end.backoff += 1
        if end.state == .connecting {
            end.retransmitAt = time + StreamEnd.initialTimeout << Int64(min(end.backoff, 10))
            sendControl(connection, 0, .syn)
            armTimer(connection, 0)
            return true
        }
        end.retransmitAt = time + end.timeout
        if end.flights.isEmpty {
            if end.sentOffset < end.queuedOffset { sendControl(connection, stream.side, .probe) }
        } else {
            end.reduceWindow()
            end.window = 2 * 1460
            for position in 0..<end.flights.count
            where !end.flights[position].acknowledged && !end.flights[position].lost {
                end.markLost(position)
            }
        }
        pump(connection, stream.side)
        return true
    }
}
