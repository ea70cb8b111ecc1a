public import FabricCore

/// Ordered, reliable, mutually authenticated streams: a coarse TCP with TLS 1.3 over the same links as the datagrams.
///
/// ```
/// client                         server
///   │ SYN (again after 1, 3, 7 s …)  │
///   │ ─────────────────────────────▶ │   nobody listens: RST ─▶ .closed(.refused)
///   │ ◀───────────────────── SYN/ACK │
///   │ ClientHello                    │   from here on everything is data: flights of up to ten segments, a congestion
///   │ ─────────────────────────────▶ │   and a receive window, acknowledgements, fast retransmission, time-outs of
///   │ ◀─ ServerHello … Finished      │   at least 200 ms that double, head-of-line blocking
///   │ verify; .opened                │
///   │ certificate, Finished          │
///   │ ─────────────────────────────▶ │   verify; .accepted, or an alert ─▶ .closed(.refusedByPeer)
/// ```
///
/// What is sent is a message; the other end receives it whole, in order, once. TCP's checksum turns corruption into loss,
/// its sequence numbers remove duplicates. A crashed host's peers learn by a reset: at once when its kernel lives on, else
/// when they send after it is up again, else by their time-outs.
public final class VirtualStreams {
    /// Bytes that an end takes ahead of its reader.
    public static let receiveWindow = 1 << 20
    /// The largest congestion window.
    public static let maximumWindow = 4 << 20
    /// Bytes that may wait to be sent at one end.
    public static let sendBufferLimit = 16 << 20
    public static let maximumConnections = 1 << 20
    /// How long a server waits for a client to complete its handshake.
    static let serverHandshakeTimeout: Int64 = 30_000_000_000
    /// IP and TCP headers with timestamps.
    static let headerBytes = 52
    /// A TLS record's header, type byte and tag.
    static let recordBytes = 22

    unowned(unsafe) let world: World
    public internal(set) var counters = StreamCounters()
    var connections: [StreamConnection?] = []
    private var generations: [UInt32] = []
    private var freeSlots: [Int] = []
    private var packets: [StreamPacket] = []
    private var freePackets: [Int] = []
    private var listeners: [UInt64: StreamListener] = [:]
    private var nextPort: [UInt16] = []

    init(world: World) { self.world = world }

    // MARK: What hosts call

    /// Listens on a port of all addresses of the host; called again, it replaces identity and rules for connections that
    /// come from then on. Listeners end with the boot.
    public func listen(_ host: HostID, port: UInt16, _ listener: StreamListener) {
        guard world.isRunning(host) else { return }
        listeners[listenerKey(host.index, port)] = listener
        world.trace.record(.streamAction, host: Int32(host.index), at: world.nowNanoseconds, 1, UInt64(port))
    }

    public func stopListening(_ host: HostID, port: UInt16) {
        listeners[listenerKey(host.index, port)] = nil
        world.trace.record(.streamAction, host: Int32(host.index), at: world.nowNanoseconds, 2, UInt64(port))
    }

    /// Starts connecting; `.opened` or `.closed` follows. The host must be running.
    public func connect(_ host: HostID, to destination: Endpoint, _ options: StreamOptions) -> StreamID {
        precondition(world.isRunning(host), "a host that is down connects nowhere")
        while nextPort.count <= host.index { nextPort.append(49_152) }
        let port = nextPort[host.index]
        nextPort[host.index] = port == .max ? 49_152 : port + 1
        let source = Endpoint(address: world.network.address(of: host), port: port)
        let end = StreamEnd(
            host: host.index, local: source, remote: destination, state: .connecting, options: options, listener: nil,
            userTimeout: options.userTimeout)
        let slot: Int
        if let free = freeSlots.popLast() {
            slot = free
        } else {
            slot = connections.count
            precondition(slot < VirtualStreams.maximumConnections)
            connections.append(nil)
            generations.append(0)
        }
        generations[slot] &+= 1
        let connection = StreamConnection(slot: slot, generation: generations[slot], client: end)
        connections[slot] = connection
        counters.connects += 1
        let now = world.nowNanoseconds
        world.trace.record(
            .streamAction, host: Int32(host.index), at: now, 3, VirtualNetwork.digest(source, destination, 0))
        end.handshakeDeadline = now + options.connectTimeout.nanoseconds
        end.retransmitAt = now + StreamEnd.initialTimeout
        end.waitingSince = now
        sendControl(connection, 0, .syn)
        armTimer(connection, 0)
        return connection.identifier(0)
    }

    /// Queues a message. False, and nothing is queued, when the end is not open or `sendBufferLimit` would be passed;
    /// in the latter case `.writable` follows.
    public func send(_ stream: StreamID, _ bytes: [UInt8]) -> Bool {
        guard let (connection, end) = find(stream), end.state == .open else { return false }
        guard end.bufferedBytes + bytes.count <= VirtualStreams.sendBufferLimit else {
            end.wantsWritable = true
            return false
        }
        bytes.withUnsafeBytes {
            world.trace.record(.streamAction, host: Int32(end.host), at: world.nowNanoseconds, stream.value, bytes: $0)
        }
        world.journal?.messageSent(stream, to: connection.end(1 - stream.side)?.host, bytes)
        let records = (bytes.count + 16_383) / 16_384
        end.enqueue(.application(bytes), bytes: bytes.count + max(1, records) * VirtualStreams.recordBytes)
        pump(connection, stream.side)
        return true
    }

    /// Closes after all that was sent; this end hears no more of it, and what comes from the peer is dropped.
    public func close(_ stream: StreamID) {
        guard let (connection, end) = find(stream), end.state != .closing else { return }
        world.trace.record(.streamAction, host: Int32(end.host), at: world.nowNanoseconds, 4, stream.value)
        if end.state == .connecting { return drop(connection, stream.side) }
        end.state = .closing
        end.unread.removeAll()
        end.unreadBytes = 0
        end.enqueue(.finish, bytes: VirtualStreams.recordBytes)
        pump(connection, stream.side)
    }

    /// Ends the stream at once with a reset (sent once, it may be lost).
    public func reset(_ stream: StreamID) {
        guard let (connection, end) = find(stream) else { return }
        world.trace.record(.streamAction, host: Int32(end.host), at: world.nowNanoseconds, 5, stream.value)
        sendControl(connection, stream.side, .reset)
        drop(connection, stream.side)
    }

    /// Stops or resumes handing messages to this end; while stopped, the peer can send no more than the receive window.
    public func setReading(_ stream: StreamID, _ reading: Bool) {
        guard let (connection, end) = find(stream), end.state == .open, end.paused == reading else { return }
        end.paused = !reading
        guard reading, !end.unread.isEmpty else { return }
        enqueue(
            StreamPacket(
                kind: .resume, side: UInt8(stream.side), slot: Int32(connection.slot),
                generation: connection.generation, from: Int32(end.host), to: Int32(end.host), destination: end.local),
            at: world.nowNanoseconds)
    }

    /// Bytes that wait to be sent; nil when the end is gone.
    public func bufferedBytes(_ stream: StreamID) -> Int? { find(stream)?.1.bufferedBytes }
    public func isOpen(_ stream: StreamID) -> Bool { find(stream)?.1.state == .open }
    /// The peer's address as this end sees it.
    public func remote(_ stream: StreamID) -> Endpoint? { find(stream)?.1.remote }
    /// Connections of which at least one end is left.
    public var connectionCount: Int { connections.count - freeSlots.count }

    // MARK: Finding and dropping

    private func listenerKey(_ host: Int, _ port: UInt16) -> UInt64 { UInt64(host) << 16 | UInt64(port) }
    func listener(_ host: Int, _ port: UInt16) -> StreamListener? { listeners[listenerKey(host, port)] }

    func find(_ stream: StreamID) -> (StreamConnection, StreamEnd)? {
        guard stream.slot < connections.count, let connection = connections[stream.slot],
            connection.generation == stream.generation, let end = connection.end(stream.side), end.state != .gone
        else { return nil }
        return (connection, end)
    }

    /// Forgets one end; the connection goes with the second.
    func drop(_ connection: StreamConnection, _ side: Int) {
        guard let end = connection.end(side), end.state != .gone else { return }
        end.state = .gone
        end.retransmitAt = .max
        end.handshakeDeadline = .max
        end.unread.removeAll()
        if connection.client.state == .gone, connection.server.map({ $0.state == .gone }) ?? true,
            connections[connection.slot] === connection
        {
            connections[connection.slot] = nil
            freeSlots.append(connection.slot)
        }
    }

    /// Tells the owner that its end is gone, unless it closed it itself.
    func finish(_ connection: StreamConnection, _ side: Int, _ closure: StreamClosure) {
        guard let end = connection.end(side), end.state != .gone else { return }
        let silent = end.state == .closing || (side == 1 && end.state == .handshaking)
        drop(connection, side)
        if silent { return }
        switch closure {
        case .timedOut: counters.timedOut += 1
        case .reset, .refused: counters.resets += 1
        case .finished, .refusedPeer, .refusedByPeer: break
        }
        tell(connection, side, .closed(closure), 6, text: closure.description)
    }

    func tell(_ connection: StreamConnection, _ side: Int, _ event: StreamEvent, _ code: UInt64, text: String) {
        guard let end = connection.end(side) else { return }
        world.trace.record(.streamEvent, host: Int32(end.host), at: world.nowNanoseconds, code, text: text)
        world.tell(end.host, .stream(connection.identifier(side), event))
    }

    /// The host has stopped: its ends are gone. When its kernel lives on, their peers are reset.
    func hostCrashed(_ host: Int, _ kind: CrashKind) {
        for slot in connections.indices {
            guard let connection = connections[slot] else { continue }
            for side in 0...1 {
                guard let end = connection.end(side), end.host == host, end.state != .gone else { continue }
                if kind == .process, end.state != .connecting { sendControl(connection, side, .reset) }
                drop(connection, side)
            }
        }
        // Ports are few; a host's listeners are found by walking its keys.
        for key in listeners.keys.sorted() where key >> 16 == UInt64(host) { listeners[key] = nil }
    }

    // MARK: Packets

    func takePacketSlot(_ packet: StreamPacket) -> Int {
        if let slot = freePackets.popLast() {
            packets[slot] = packet
            return slot
        }
        packets.append(packet)
        return packets.count - 1
    }

    func takePacket(_ slot: Int) -> StreamPacket {
        freePackets.append(slot)
        return packets[slot]
    }

    /// What became of packets at their sending.
    struct StreamPassage {
        /// How many arrive, and when the last does.
        var segments: Int
        var arrival: Int64
        var to: Int
        /// Their source, as the receiver sees it.
        var source: Endpoint
    }

    /// Passes `segments` packets of `bytes` in all through the link; nil when none arrives. Only what `opens` a connection
    /// makes a mapping in a translator on the way.
    func pass(_ end: StreamEnd, segments: Int, bytes: Int, opens: Bool) -> StreamPassage? {
        let network = world.network!
        guard network.owns(end.host, end.local.address) else {
            network.countUnroutable()
            return nil
        }
        var passage = StreamPassage(segments: 0, arrival: 0, to: -1, source: end.local)
        if network.translation == nil {
            guard let owner = network.ownerIndex(end.remote.address) else {
                network.countUnroutable()
                return nil
            }
            passage.to = owner
        } else {
            guard
                let departure = network.depart(
                    .tcp, from: end.host, source: end.local, destination: end.remote, opens: opens)
            else { return nil }
            (passage.to, passage.source) = (departure.to, departure.source)
        }
        let share = bytes / segments + VirtualStreams.headerBytes
        for _ in 0..<segments {
            let one = network.pass(from: end.host, to: passage.to, wireBytes: share, .tcp)
            if one.arrival >= 0, !one.corrupted {
                passage.segments += 1
                passage.arrival = max(passage.arrival, one.arrival)
            }
        }
        return passage.segments > 0 ? passage : nil
    }

    /// Sends a packet without data, once.
    func sendControl(
        _ connection: StreamConnection, _ side: Int, _ kind: StreamPacket.Kind, about data: StreamPacket? = nil
    ) {
        guard let end = connection.end(side), let passage = pass(end, segments: 1, bytes: 0, opens: kind == .syn) else {
            return
        }
        var packet = StreamPacket(
            kind: kind, side: UInt8(side), slot: Int32(connection.slot), generation: connection.generation,
            from: Int32(end.host), to: Int32(passage.to), destination: end.remote)
        packet.source = passage.source
        packet.wireBytes = VirtualStreams.headerBytes
        packet.flight = data?.flight ?? -1
        packet.transmission = data?.transmission ?? 0
        packet.segments = data?.segments ?? 0
        packet.nextFlight = end.nextFlight
        packet.edge = end.receiveEdge
        enqueue(packet, at: passage.arrival)
    }

    func enqueue(_ packet: StreamPacket, at arrival: Int64) {
        world.queue.push(
            time: arrival, kind: .streamPacket, host: packet.to, payload: UInt64(takePacketSlot(packet)))
    }
}
