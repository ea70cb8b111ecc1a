internal import FabricCore

/// What the tracker found out by one segment.
enum TCPFinding {
    case tls(TLSViolation)
    /// The connection's beginning is not in the capture, so nothing can be said of it.
    case beginningNotCaptured
    /// More out-of-order bytes than the tracker keeps.
    case tooMuchOutOfOrder
    /// A canary that spans segments.
    case canary
}

/// Reassembles TCP connections just enough to check them: in-order bytes go to a `TLSStream` per direction and to the
/// search for canaries across segments; nothing of them is kept.
///
/// Bounded: the oldest connection gives way to a new one beyond `maximumConnections` (if it goes on, it is reported as
/// one whose beginning was not captured), and out-of-order bytes are limited per direction and in all.
final class TCPTracker {
    static let maximumConnections = 16_384
    static let maximumOutOfOrderBytes = 1 << 20
    static let maximumOutOfOrderBytesInAll = 64 << 20

    private struct Key: Hashable {
        var low: Endpoint
        var high: Endpoint
    }

    private struct Direction {
        var tls: TLSStream
        /// The sequence number of the next byte in order; nil until the SYN.
        var next: UInt32?
        /// Later bytes, in order of sequence number, not overlapping what is in order.
        var waiting: [(sequence: UInt32, bytes: [UInt8])] = []
        var waitingBytes = 0
        /// The last bytes in order: a canary may begin in them.
        var tail: [UInt8] = []
        var isCondemned = false
    }

    private struct Connection {
        var client: Endpoint
        /// The sequence number of the SYN.
        var initialSequence: UInt32
        var clientSide = Direction(tls: TLSStream(side: .client))
        var serverSide = Direction(tls: TLSStream(side: .server))
    }

    private let canaries: [[UInt8]]
    private let tailBytes: Int
    private var connections: [Key: Connection] = [:]
    private var byAge: [Key] = []
    private var oldest = 0
    private var outOfOrderBytes = 0
    /// Connections in which both sides said a TLS 1.3 hello.
    private(set) var tlsConnections: UInt64 = 0

    init(canaries: [[UInt8]]) {
        self.canaries = canaries
        tailBytes = max(0, (canaries.map(\.count).max() ?? 0) - 1)
    }

    /// Takes a segment. The kind is what the segment counts as; findings are reported once per direction.
    func take(_ segment: TCPSegment, _ flow: Flow, _ frame: UnsafeRawBufferPointer) -> (PacketKind, [TCPFinding]) {
        let key =
            flow.source < flow.destination
            ? Key(low: flow.source, high: flow.destination) : Key(low: flow.destination, high: flow.source)
        let payload = UnsafeRawBufferPointer(rebasing: frame[segment.payload])
        if segment.isSYN, !segment.isACK { open(key, flow.source, segment.sequence) }
        guard var connection = connections[key] else {
            if payload.isEmpty { return (.tcpControl, []) }
            // Remember it, so that it is reported once for each direction.
            insert(key, Connection(client: flow.source, initialSequence: segment.sequence))
            connections[key]!.clientSide.isCondemned = true
            connections[key]!.serverSide.isCondemned = true
            return (.otherTCP, [.beginningNotCaptured])
        }
        let isClient = connection.client == flow.source
        // Taken out while it changes, so that its arrays are not copied.
        connections[key] = nil
        let hadBoth = connection.clientSide.tls.hasHello && connection.serverSide.tls.hasHello
        let result =
            isClient
            ? take(segment, payload, &connection.clientSide) : take(segment, payload, &connection.serverSide)
        if !hadBoth, connection.clientSide.tls.hasHello, connection.serverSide.tls.hasHello { tlsConnections += 1 }
        connections[key] = connection
        return result
    }

    /// Directions that end with a gap: bytes were captured behind others that were not.
    func flowsWithGaps() -> [Flow] {
        connections.flatMap { key, connection -> [Flow] in
            let server = connection.client == key.low ? key.high : key.low
            return [
                (connection.clientSide, connection.client, server), (connection.serverSide, server, connection.client),
            ].compactMap { direction, source, destination in
                direction.waiting.isEmpty ? nil : Flow(source: source, destination: destination, protocolNumber: 6)
            }
        }.sorted { ($0.source, $0.destination) < ($1.source, $1.destination) }
    }

    private func open(_ key: Key, _ client: Endpoint, _ sequence: UInt32) {
        // The same SYN once more: sent again, or seen on a second interface.
        if let known = connections[key], known.client == client, known.initialSequence == sequence { return }
        if let replaced = connections.removeValue(forKey: key) { release(replaced) } else { byAge.append(key) }
        makeRoom()
        connections[key] = Connection(client: client, initialSequence: sequence)
    }

    private func insert(_ key: Key, _ connection: Connection) {
        byAge.append(key)
        makeRoom()
        connections[key] = connection
    }

    private func makeRoom() {
        while connections.count >= TCPTracker.maximumConnections {
            if let removed = connections.removeValue(forKey: byAge[oldest]) { release(removed) }
            oldest += 1
        }
        if oldest > TCPTracker.maximumConnections {
            byAge.removeFirst(oldest)
            oldest = 0
        }
    }

    private func release(_ connection: Connection) {
        outOfOrderBytes -= connection.clientSide.waitingBytes + connection.serverSide.waitingBytes
    }

    private func take(
        _ segment: TCPSegment, _ payload: UnsafeRawBufferPointer, _ direction: inout Direction
    ) -> (PacketKind, [TCPFinding]) {
        var sequence = segment.sequence
        if segment.isSYN {
            sequence &+= 1
            if direction.next == nil { direction.next = sequence }
        }
        guard !payload.isEmpty else { return (.tcpControl, []) }
        guard !direction.isCondemned else { return (.otherTCP, []) }
        guard let next = direction.next else {
            direction.isCondemned = true
            return (.otherTCP, [.beginningNotCaptured])
        }
        var findings: [TCPFinding] = []
        let ahead = Int32(bitPattern: sequence &- next)
        if ahead > 0 {
            if !store(payload, at: sequence, &direction) { condemn(&direction, .tooMuchOutOfOrder, &findings) }
        } else if -Int(ahead) < payload.count {
            advance(&direction, UnsafeRawBufferPointer(rebasing: payload[(-Int(ahead))...]), &findings)
            takeWaiting(&direction, &findings)
        }
        return (direction.isCondemned ? .otherTCP : .tls, findings)
    }

    /// False when there is no room.
    private func store(_ payload: UnsafeRawBufferPointer, at sequence: UInt32, _ direction: inout Direction) -> Bool {
        let index =
            direction.waiting.firstIndex { Int32(bitPattern: $0.sequence &- sequence) >= 0 } ?? direction.waiting.count
        if index < direction.waiting.count, direction.waiting[index].sequence == sequence,
            direction.waiting[index].bytes.count >= payload.count
        {
            return true
        }
        guard direction.waitingBytes + payload.count <= TCPTracker.maximumOutOfOrderBytes,
            outOfOrderBytes + payload.count <= TCPTracker.maximumOutOfOrderBytesInAll
        else { return false }
        direction.waiting.insert((sequence, Array(payload)), at: index)
        direction.waitingBytes += payload.count
        outOfOrderBytes += payload.count
        return true
    }

    /// Takes what has come into order.
    private func takeWaiting(_ direction: inout Direction, _ findings: inout [TCPFinding]) {
        while !direction.isCondemned, let first = direction.waiting.first, let next = direction.next {
            let behind = Int(Int32(bitPattern: next &- first.sequence))
            guard behind >= 0 else { return }
            direction.waiting.removeFirst()
            direction.waitingBytes -= first.bytes.count
            outOfOrderBytes -= first.bytes.count
            guard behind < first.bytes.count else { continue }
            first.bytes.withUnsafeBytes {
                advance(&direction, UnsafeRawBufferPointer(rebasing: $0[behind...]), &findings)
            }
        }
    }

    /// Takes the next bytes in order.
    private func advance(
        _ direction: inout Direction, _ bytes: UnsafeRawBufferPointer, _ findings: inout [TCPFinding]
    ) {
        direction.next! &+= UInt32(truncatingIfNeeded: bytes.count)
        if tailBytes > 0 {
            let seam = direction.tail + bytes.prefix(tailBytes)
            if !direction.tail.isEmpty, canaries.contains(where: { ByteSearch.find($0, in: seam) }) {
                findings.append(.canary)
            }
            direction.tail = Array((direction.tail + bytes.suffix(tailBytes)).suffix(tailBytes))
        }
        if let violation = direction.tls.take(bytes) { condemn(&direction, .tls(violation), &findings) }
    }

    private func condemn(_ direction: inout Direction, _ finding: TCPFinding, _ findings: inout [TCPFinding]) {
        direction.isCondemned = true
        outOfOrderBytes -= direction.waitingBytes
        direction.waiting = []
        direction.waitingBytes = 0
        findings.append(finding)
    }
}
