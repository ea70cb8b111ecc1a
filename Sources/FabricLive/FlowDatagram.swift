internal import FabricCore
internal import FabricScenario
internal import FabricWire

/// What a live flow's datagrams carry: the stream's number (u64), the datagram's number in it from 0 (u64), and then the run's
/// canary over and over, so that the judge of the captures finds flows on the underlay too.
struct FlowDatagram: Hashable {
    static let smallest = 16
    /// What IPv6 and UDP add.
    static let headers = 48

    var stream: Int
    var number: Int

    init(stream: Int, number: Int) {
        self.stream = stream
        self.number = number
    }

    /// Nil for what is no flow's datagram, or not whole.
    init?(_ bytes: UnsafeRawBufferPointer, canary: [UInt8]) {
        guard bytes.count >= Self.smallest, let stream = Int(exactly: bytes.load64(at: 0)),
            let number = Int(exactly: bytes.load64(at: 8))
        else { return nil }
        for offset in Self.smallest..<bytes.count
        where bytes[offset] != canary[(offset - Self.smallest) % canary.count] { return nil }
        self.init(stream: stream, number: number)
    }

    func bytes(count: Int, canary: [UInt8]) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: max(Self.smallest, count))
        bytes.withUnsafeMutableBytes { buffer in
            buffer.store64(UInt64(stream), at: 0)
            buffer.store64(UInt64(number), at: 8)
        }
        for offset in Self.smallest..<bytes.count { bytes[offset] = canary[(offset - Self.smallest) % canary.count] }
        return bytes
    }
}

/// One sender and receiver of a flow, in time: which datagrams are due, and which have come.
struct FlowStream {
    let flow: Int
    let from: Int
    let to: Int
    let domain: RoutingDomainID
    /// Of the UDP payload.
    let bytes: Int
    private let interval: Duration
    private let end: Instant
    private var next: Instant
    private(set) var sent = 0
    /// A bit for each that has come.
    private var arrived: [UInt64] = []

    /// The rate is of inner IP packets, as in the simulator.
    init(_ plan: Plan, flow index: Int, _ pair: PlannedFlow.Pair, start: Instant) {
        let flow = plan.flows[index]
        self.flow = index
        from = pair.from
        to = pair.to
        domain = flow.domain
        bytes = max(FlowDatagram.smallest, flow.packetBytes - FlowDatagram.headers)
        interval = flow.interval
        next = start
        end = start + flow.duration
    }

    /// When the next one is to leave; nil when there are no more.
    var due: Instant? { next < end ? next : nil }

    /// Takes the one that is due, and returns its number.
    mutating func send() -> Int {
        defer {
            sent += 1
            next = next + interval
        }
        return sent
    }

    /// Those that were due more than `patience` ago never leave.
    mutating func skip(until now: Instant, patience: Duration) {
        let late = (now - patience - next).nanoseconds
        guard late > 0 else { return }
        next = next + .nanoseconds((late + interval.nanoseconds - 1) / interval.nanoseconds * interval.nanoseconds)
    }

    /// Those that are due never leave.
    mutating func skip(through now: Instant) { skip(until: now + .nanoseconds(1), patience: .zero) }

    /// False for a number that was never sent, or has come before.
    mutating func arrive(_ number: Int) -> Bool {
        guard number < sent else { return false }
        let (word, bit) = (number / 64, UInt64(1) << (number % 64))
        if word >= arrived.count { arrived += [UInt64](repeating: 0, count: word + 1 - arrived.count) }
        guard arrived[word] & bit == 0 else { return false }
        arrived[word] |= bit
        return true
    }
}
