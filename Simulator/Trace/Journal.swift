public import FabricCore

/// What an entry of the journal tells of, in the words of `rap-sim trace --kind`.
public enum JournalKind: UInt8, CaseIterable, Sendable {
    case step, boot, crash, timer
    case sent, arrived, dropped
    case http, connection, transaction
    case write, written, disk
    case report, network, clock, note

    public var name: String { "\(self)" }

    /// There are few of them, and a person looks for them first.
    public var isNotable: Bool {
        switch self {
        case .step, .boot, .crash, .report, .network, .clock, .note, .transaction, .http, .disk: true
        case .timer, .sent, .arrived, .dropped, .connection, .write, .written: false
        }
    }
}

/// One thing that happened.
public struct JournalEntry: Hashable, Sendable {
    /// The number by which it is named and followed; the same in every run with the same seed.
    public var id: Int
    /// World time.
    public var time: Instant
    /// The index of the trace's entry at or before it.
    public var traceIndex: UInt64
    public var kind: JournalKind
    /// The host concerned; -1 for the world itself.
    public var host: Int
    /// The other host, if there is one; otherwise -1.
    public var peer: Int
    /// The entry that caused it; -1 when nothing that is kept did.
    public var cause: Int
    /// What it is.
    public var text: String
    /// What came of it; empty when there is nothing to say.
    public var outcome: String
}

/// What happened, in order, each entry with the one that caused it. Kept on request, beside the trace: it draws nothing,
/// changes nothing, and the trace's hash is the same with it and without.
///
/// Every entry of the trace passes through here (`traced`). Those who know more than the trace add words. Causes come from
/// the event queue: what is queued while an entry is being handled is caused by that entry.
public final class Journal {
    public static let defaultMaximumEntries = 4_000_000
    static let maximumNetworkChangesPerEvent = 4
    private static let maximumNetworkText = 240

    private struct Row {
        var time: Int64
        var traceIndex: UInt64
        var host: Int32
        var peer: Int32
        var cause: Int32
        var text: Int32
        var outcome: Int32
        var kind: JournalKind
    }

    /// What is counted of everything, also when the entries are no longer kept.
    public enum Tally: Int, CaseIterable, Sendable {
        case events, timers, sent, arrived, lost, handshakes, requests, heartbeats, transactions, writes
    }

    /// Beyond so many, packets, timers, connections and writes are no longer kept; beyond twice as many, nothing is.
    public let maximumEntries: Int
    /// The world time from which on entries are missing.
    public private(set) var truncatedAt: Instant?
    public private(set) var tallies = [UInt64](repeating: 0, count: Tally.allCases.count)
    private var rows: [Row] = []
    private var texts: [String] = [""]
    /// Looked up by key only, as are the dictionaries below.
    private var textIndex: [String: Int32] = ["": 0]
    private unowned let world: World

    /// The entry that is being handled: what happens now is caused by it. -1 for none.
    private(set) var current: Int32 = -1
    /// The entry that was added last, for those who annotate it.
    private(set) var last: Int32 = -1
    /// What each queued event was caused by.
    private var causes: [UInt64: Int32] = [:]
    /// What set the deadline of a host, and why.
    private var deadlines: [(instant: Instant, reason: String, cause: Int32)] = []
    private var writes: [UInt64: Int32] = [:]
    /// Messages under way, by the sending end of the stream.
    private var messages: [UInt64: FIFO<Int32>] = [:]
    private var arriving: Int32 = -1
    private var networkChanges = 0
    /// Before the datagram that arrives.
    private var countersBefore = NetworkCounters()
    /// When events that the handling of the current datagram has queued will take place.
    var pushedTimes: [Int64] = []
    /// Says in words what a message of a stream is; set by whoever knows the protocol.
    var describeMessage: (_ side: Int, _ stream: UInt64, _ bytes: [UInt8]) -> String = { _, _, bytes in
        "message of \(bytes.count) B"
    }
    /// Called with each entry as it is added; for observers that stop a run.
    public var onEntry: ((JournalEntry) -> Void)?
    /// What the next datagram carries inside, if the sender knows.
    var content: String?
    /// What the next datagram is, for its `sent` entry.
    var datagram: (text: String, peer: Int)?

    init(world: World, maximumEntries: Int) {
        precondition(maximumEntries > 0 && maximumEntries < Int(Int32.max) / 2)
        self.world = world
        self.maximumEntries = maximumEntries
    }

    // MARK: Reading

    public var count: Int { rows.count }

    public subscript(_ id: Int) -> JournalEntry {
        let row = rows[id]
        return JournalEntry(
            id: id, time: Instant(nanoseconds: row.time), traceIndex: row.traceIndex, kind: row.kind,
            host: Int(row.host), peer: Int(row.peer), cause: Int(row.cause), text: texts[Int(row.text)],
            outcome: texts[Int(row.outcome)])
    }

    public func time(of id: Int) -> Instant { Instant(nanoseconds: rows[id].time) }
    public func kind(of id: Int) -> JournalKind { rows[id].kind }
    public func cause(of id: Int) -> Int { Int(rows[id].cause) }
    public func tally(_ tally: Tally) -> UInt64 { tallies[tally.rawValue] }

    /// The first entry at or after a world time.
    public func firstIndex(from time: Instant) -> Int {
        var lower = 0
        var upper = rows.count
        while lower < upper {
            let middle = (lower + upper) / 2
            if rows[middle].time < time.nanoseconds { lower = middle + 1 } else { upper = middle }
        }
        return lower
    }

    // MARK: Adding

    func count(_ tally: Tally) { tallies[tally.rawValue] += 1 }

    private func intern(_ text: String) -> Int32 {
        if let known = textIndex[text] { return known }
        texts.append(text)
        textIndex[text] = Int32(texts.count - 1)
        return Int32(texts.count - 1)
    }

    /// Adds an entry that the current one caused; -1 when it is not kept.
    @discardableResult
    func add(_ kind: JournalKind, host: Int, peer: Int = -1, _ text: String, outcome: String = "") -> Int32 {
        add(kind, host: host, peer: peer, text, outcome: outcome, cause: current)
    }

    @discardableResult
    func add(
        _ kind: JournalKind, host: Int, peer: Int = -1, _ text: String, outcome: String = "", cause: Int32
    ) -> Int32 {
        let limit = kind.isNotable ? maximumEntries * 2 : maximumEntries
        guard rows.count < limit else {
            if truncatedAt == nil { truncatedAt = world.now }
            last = -1
            return -1
        }
        rows.append(
            Row(
                time: world.nowNanoseconds, traceIndex: max(1, world.trace.count) - 1, host: Int32(host),
                peer: Int32(peer), cause: cause, text: intern(text), outcome: intern(outcome), kind: kind))
        last = Int32(rows.count - 1)
        if let onEntry { onEntry(self[rows.count - 1]) }
        return last
    }

    /// Says more of an entry; what is nil stays.
    func annotate(_ id: Int32, text: String? = nil, outcome: String? = nil, peer: Int? = nil) {
        guard id >= 0 else { return }
        if let text { rows[Int(id)].text = intern(text) }
        if let outcome {
            let known = texts[Int(rows[Int(id)].outcome)]
            rows[Int(id)].outcome = intern(known.isEmpty || outcome.isEmpty ? outcome : "\(known); \(outcome)")
        }
        if let peer { rows[Int(id)].peer = Int32(peer) }
    }

    func annotateCurrent(text: String? = nil, outcome: String? = nil, peer: Int? = nil) {
        annotate(current, text: text, outcome: outcome, peer: peer)
    }

    /// Runs `body` with another entry as the cause of what it does.
    func causing<Result>(_ id: Int32, _ body: () -> Result) -> Result {
        let previous = current
        current = id
        defer { current = previous }
        return body()
    }

    // MARK: The event queue

    func pushed(_ sequence: UInt64, at time: Int64) {
        if current >= 0 { causes[sequence] = current }
        pushedTimes.append(time)
    }

    func popped(_ sequence: UInt64, isDatagram: Bool) {
        if isDatagram { countersBefore = world.network.counters }
        current = causes.removeValue(forKey: sequence) ?? -1
        pushedTimes.removeAll(keepingCapacity: true)
    }

    func eventEnded() {
        if networkChanges > Self.maximumNetworkChangesPerEvent {
            annotateCurrent(outcome: "\(networkChanges) changes to the network")
        }
        networkChanges = 0
        current = -1
        content = nil
    }

    /// A host wants to be woken. Called at every event; the cause is the first that asked for this very instant.
    func deadline(of host: Int, _ instant: Instant?, _ reason: @autoclosure () -> String) {
        while deadlines.count <= host { deadlines.append((.distantFuture, "", -1)) }
        guard let instant, deadlines[host].instant != instant else { return }
        deadlines[host] = (instant, reason(), current)
    }

    // MARK: Streams

    func messageSent(_ stream: StreamID, to peer: Int?, _ bytes: [UInt8]) {
        let text = describeMessage(stream.side, stream.value, bytes)
        annotate(last, text: text, peer: peer)
        count(.requests)
        if stream.side == 0, text.contains("/v1/node/heartbeat") { count(.heartbeats) }
        messages[stream.value, default: FIFO()].append(last)
    }

    /// The next message that this end sent is about to be handed over.
    func messageArriving(from stream: StreamID) {
        arriving = messages[stream.value]?.popFirst() ?? -1
        if messages[stream.value]?.isEmpty == true { messages[stream.value] = nil }
    }

    // MARK: The trace

    /// An entry of the trace, as it is recorded. Digests say nothing to a reader; the text is the label, if it has one.
    func traced(_ kind: TraceKind, _ host: Int, _ first: UInt64, _ second: UInt64, _ text: String) {
        switch kind {
        case .boot: current = add(.boot, host: host, first > 1 ? "boots again" : "boots")
        case .crash: add(.crash, host: host, first == 1 ? "loses power" : "its process dies")
        case .wake: woken(host)
        case .timer: count(.timers)
        case .datagramSent: sent(host)
        case .datagramDelivered: delivered(host)
        case .datagramDropped:
            count(.lost)
            let fate = DatagramWords.fate(countersBefore, world.network.counters)
            add(
                .dropped, host: host, peer: Int(first), words(of: current),
                outcome: "on arrival: \(fate.isEmpty ? "nobody takes it" : fate)")
        case .streamEvent, .streamAction: traceStream(kind, host, first, text)
        case .persist where !text.isEmpty:
            count(.writes)
            writes[UInt64(host) << 48 ^ first] = add(.write, host: host, "writes \(text)")
        case .persisted:
            let write = writes.removeValue(forKey: UInt64(host) << 48 ^ first) ?? -1
            let file = words(of: write).dropFirst("writes ".count)
            current = add(
                .written, host: host, "\(file.isEmpty ? "a file" : String(file)) is durable",
                outcome: second == 0 ? "" : "no: the write failed", cause: write)
            if second != 0 { annotate(current, text: "\(file.isEmpty ? "a file" : String(file)) is not durable") }
        case .disk: if !text.isEmpty, first != 4 { add(.disk, host: host, "file \(text)") }
        case .clock:
            let value = Int64(bitPattern: second)
            add(
                .clock, host: host,
                first == 1 ? "wall clock jumps by \(value / 1_000_000) ms" : "clock drifts by \(value) ppb")
        case .network: networkChanged(host, text)
        case .action: current = add(.step, host: -1, text)
        case .note: if !text.isEmpty { add(.note, host: host, text) }
        case .streamPacket, .streamTimer, .persist: break
        case .hold: add(.note, host: host, text.isEmpty ? "is held up or goes on" : text)
        }
    }

    private func words(of id: Int32) -> String { id >= 0 ? texts[Int(rows[Int(id)].text)] : "" }

    private func woken(_ host: Int) {
        count(.timers)
        let deadline = host < deadlines.count ? deadlines[host] : (.distantFuture, "", -1)
        current = add(
            .timer, host: host, deadline.reason.isEmpty ? "wakes" : "wakes to \(deadline.reason)",
            cause: deadline.cause)
        if host < deadlines.count { deadlines[host] = (.distantFuture, "", -1) }
    }

    /// A step may change thousands of pairs: the first few say what it is about, the rest are counted.
    private func networkChanged(_ host: Int, _ text: String) {
        networkChanges += 1
        if networkChanges <= Self.maximumNetworkChangesPerEvent { add(.network, host: host, readable(text)) }
    }

    /// The network names hosts and places by number: `host 3` becomes the host's name. Long lists are cut.
    private func readable(_ text: String) -> String {
        var words: [String] = []
        for word in text.replacing("Simulator.NetworkSelector.", with: "").split(separator: " ") {
            let number = Int(word.prefix { $0.isNumber })
            let end = word.drop { $0.isNumber }
            if let number, let kind = words.last, kind.hasSuffix("host"), number < world.hostCount {
                words[words.count - 1] = kind.dropLast(4) + world.name(of: HostID(index: number)) + end
            } else if let number, let kind = words.last, kind.hasSuffix("place"), number < world.network.places.count {
                words[words.count - 1] = kind.dropLast(5) + world.network.places[number] + end
            } else {
                words.append(String(word))
            }
        }
        let whole = words.joined(separator: " ")
        return whole.count > Self.maximumNetworkText ? whole.prefix(Self.maximumNetworkText) + " …" : whole
    }

    private func sent(_ host: Int) {
        count(.sent)
        current = add(.sent, host: host, peer: datagram?.peer ?? -1, datagram?.text ?? "datagram")
    }

    private func delivered(_ host: Int) {
        count(.arrived)
        let peer = current >= 0 ? Int(rows[Int(current)].host) : -1
        current = add(.arrived, host: host, peer: peer, words(of: current))
    }

    private func traceStream(_ kind: TraceKind, _ host: Int, _ first: UInt64, _ text: String) {
        if kind == .streamEvent {
            if text.isEmpty {
                let sender = arriving >= 0 ? Int(rows[Int(arriving)].host) : -1
                current = add(
                    .http, host: host, peer: sender, words(of: arriving), outcome: "arrives", cause: arriving)
                arriving = -1
            } else {
                current = add(.connection, host: host, "connection: \(text)")
            }
            return
        }
        switch first {
        case 1: add(.connection, host: host, "listens on port")
        case 2: add(.connection, host: host, "stops listening")
        case 3: add(.connection, host: host, "connects")
        case 4: add(.connection, host: host, "closes a connection")
        case 5: add(.connection, host: host, "resets a connection")
        default: add(.http, host: host, "message")
        }
    }
}
