internal import FabricCore

/// A message on its way, from the sender's queue until the receiver has all of it.
struct StreamMessage {
    enum Content {
        case clientHello
        /// The server's hello, certificate and finished.
        case serverFlight(identity: StreamIdentity, wantsCertificate: Bool)
        case clientFinished(identity: StreamIdentity?)
        case application([UInt8])
        case alert(TLSAlert)
        case finish
    }

    var content: Content
    /// The stream offset behind its last byte.
    var end: Int64
}

/// A run of up to ten segments: what one event carries. The sender's and the receiver's knowledge of it stand side by
/// side; each reads its own only.
struct StreamFlight {
    var end: Int64
    var bytes: Int
    var segments: Int
    // The sender's knowledge.
    var transmissions = 0
    var lastSent: Int64 = 0
    /// The place of the last transmission among all of this end.
    var order: Int64 = 0
    var acknowledged = false
    /// Presumed lost, to be sent again when the window allows.
    var lost = false
    // The receiver's knowledge.
    var receivedSegments = 0
    var arrived: Bool { receivedSegments >= segments }
}

/// One end of a connection: a TCP sender (RFC 5681, 6298, coarse), a receiver, and the TLS handshake's state.
final class StreamEnd {
    enum State {
        case connecting
        case handshaking
        case open
        /// Closed by its owner; the rest is still being sent.
        case closing
        case gone
    }

    static let initialTimeout: Int64 = 1_000_000_000
    static let minimumTimeout: Int64 = 200_000_000
    static let maximumTimeout: Int64 = 120_000_000_000
    static let segmentsPerFlight = 10

    let host: Int
    let local: Endpoint
    let remote: Endpoint
    var state: State

    // Sending.
    var messages = FIFO<StreamMessage>()
    var queuedOffset: Int64 = 0
    var sentOffset: Int64 = 0
    var flights = FIFO<StreamFlight>()
    /// The number of the first flight in `flights`.
    var firstFlight: Int64 = 0
    var flightBytes = 0
    var transmissionCount: Int64 = 0
    /// The congestion window, its threshold, and the flight whose acknowledgement ends the current recovery.
    var window = 14_600
    var threshold = Int.max
    var recoveryEnd: Int64 = -1
    /// The stream offset up to which the peer takes bytes.
    var peerEdge: Int64
    var wantsWritable = false

    // Timers, world time; `.max` for none.
    var smoothedRoundTrip: Int64 = 0
    var roundTripVariance: Int64 = 0
    var backoff = 0
    var retransmitAt: Int64 = .max
    var handshakeDeadline: Int64 = .max
    /// Since when the oldest unacknowledged byte waits.
    var waitingSince: Int64 = .max
    var userTimeout: Int64
    var timerQueued: Int64 = .max

    // Receiving.
    /// The first flight, in the peer's numbers, that has not arrived in order.
    var nextFlight: Int64 = 0
    var receivedOffset: Int64 = 0
    /// Up to where messages were handed over.
    var deliveredOffset: Int64 = 0
    /// The host is held, and will be told of what is here when it goes on.
    var deliveryHeld = false
    /// The connection stands, and the process has not begun its handshake yet.
    var helloHeld = false
    var paused = false
    var unread = FIFO<[UInt8]>()
    var unreadBytes = 0
    var peerChain: [[UInt8]] = []

    // The handshake.
    let options: StreamOptions?
    let listener: StreamListener?

    init(
        host: Int, local: Endpoint, remote: Endpoint, state: State, options: StreamOptions?, listener: StreamListener?,
        userTimeout: Duration
    ) {
        self.host = host
        self.local = local
        self.remote = remote
        self.state = state
        self.options = options
        self.listener = listener
        self.userTimeout = userTimeout.nanoseconds
        peerEdge = Int64(VirtualStreams.receiveWindow)
    }

    var bufferedBytes: Int { Int(queuedOffset - sentOffset) }
    /// What the peer is told: up to where this end takes bytes.
    var receiveEdge: Int64 {
        // What waits for a held process fills the window.
        (deliveryHeld ? deliveredOffset : receivedOffset)
            + Int64(VirtualStreams.receiveWindow - min(unreadBytes, VirtualStreams.receiveWindow))
    }

    func enqueue(_ content: StreamMessage.Content, bytes: Int) {
        queuedOffset += Int64(max(1, bytes))
        messages.append(StreamMessage(content: content, end: queuedOffset))
    }

    /// RFC 6298: smoothing by 1/8, variance by 1/4.
    func sampleRoundTrip(_ sample: Int64) {
        if smoothedRoundTrip == 0 {
            smoothedRoundTrip = max(1, sample)
            roundTripVariance = sample / 2
        } else {
            let difference = sample - smoothedRoundTrip
            roundTripVariance += ((difference < 0 ? -difference : difference) - roundTripVariance) / 4
            smoothedRoundTrip += difference / 8
        }
    }

    var timeout: Int64 {
        let base =
            smoothedRoundTrip == 0
            ? StreamEnd.initialTimeout
            : max(StreamEnd.minimumTimeout, smoothedRoundTrip + 4 * roundTripVariance)
        return min(StreamEnd.maximumTimeout, base << Int64(min(backoff, 10)))
    }

    /// Marks as lost what lies before flight `index` and was sent before it: the later one has arrived.
    func presumeLost(before index: Int, sentBefore order: Int64) {
        var any = false
        for position in 0..<min(index, flights.count) {
            let flight = flights[position]
            if !flight.acknowledged, !flight.lost, flight.order < order {
                markLost(position)
                any = true
            }
        }
        if any { reduceWindow() }
    }

    func markLost(_ position: Int) {
        flights[position].lost = true
        flightBytes -= flights[position].bytes
    }

    /// Halves the window, once per round trip.
    func reduceWindow() {
        guard firstFlight > recoveryEnd else { return }
        recoveryEnd = firstFlight + Int64(flights.count) - 1
        threshold = max(window / 2, 2 * 1460)
        window = threshold
    }

    func growWindow(_ bytes: Int) {
        if window < threshold { window += bytes } else { window += max(1, 1460 * bytes / window) }
        window = min(window, VirtualStreams.maximumWindow)
    }
}

/// A connection: two ends, of which the server's comes with the first SYN.
final class StreamConnection {
    let slot: Int
    let generation: UInt32
    let client: StreamEnd
    var server: StreamEnd?

    init(slot: Int, generation: UInt32, client: StreamEnd) {
        self.slot = slot
        self.generation = generation
        self.client = client
    }

    func end(_ side: Int) -> StreamEnd? { side == 0 ? client : server }
    func identifier(_ side: Int) -> StreamID { StreamID(slot: slot, generation: generation, side: side) }
}

/// A packet of a stream under way.
struct StreamPacket {
    enum Kind: UInt8 {
        case syn
        case synAcknowledgement
        case data
        case acknowledgement
        case reset
        /// Asks for the current window.
        case probe
        /// Not a packet: the reader goes on.
        case resume
    }

    var kind: Kind
    /// The side that sent it.
    var side: UInt8
    var slot: Int32
    var generation: UInt32
    var from: Int32
    var to: Int32
    var destination: Endpoint
    /// As the receiver sees it.
    var source = Endpoint(address: IPAddress(v4: 0), port: 0)
    /// Segments that arrive with it, all counted as one event.
    var segments: Int = 0
    var wireBytes: Int = 0
    /// Data: the flight. Acknowledgement: the flight that caused it, -1 for none.
    var flight: Int64 = -1
    /// Which transmission of the flight it was.
    var transmission = 0
    /// Acknowledgement: the receiver's next flight and window edge.
    var nextFlight: Int64 = 0
    var edge: Int64 = 0
}
