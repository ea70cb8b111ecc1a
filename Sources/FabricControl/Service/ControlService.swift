public import FabricCore
public import FabricWire

/// The control plane as a component: requests in, replies out, when they are due.
///
/// ```
/// .started ───────────────► bring the schema up to date, watch the nodes that were online, flush what was left dirty
/// .request(id, request) ──► waits a moment, one transaction for all that wait ──► .reply(id, reply)
///                                           └─► parked on a topic ──► touched, or its time is up ──► .reply
/// .request(id, heartbeat) ► waits somewhat longer, two statements for all that wait ──► .reply …
/// .disconnected(id) ──────► its parked request is forgotten
/// ```
/// What it keeps in memory can be lost: requests and heartbeats that wait are asked again, timers are found again at the start.
public final class ControlService: Component {
    /// The host's name for a request; not used twice.
    public struct RequestID: Hashable, Comparable, Sendable {
        public var number: UInt64
        public init(_ number: UInt64) { self.number = number }
        public static func < (a: RequestID, b: RequestID) -> Bool { a.number < b.number }
    }

    public enum Event: Sendable {
        /// Once, before anything else.
        case started
        case request(RequestID, ControlRequest)
        /// Whoever asked is gone; no reply is wanted.
        case disconnected(RequestID)
    }

    public enum Action: Hashable, Sendable {
        case reply(RequestID, HTTPReply)
    }

    public enum DeadlineReason: String, CustomStringConvertible, Sendable {
        case requests = "requests wait to run"
        case heartbeats = "heartbeats wait to be stored"
        case parkExpiry = "a parked request's time is up"
        case snapshotFlush = "snapshots are to be made"
        case silenceSweep = "look for nodes that fell silent"
        case silenceTelling = "tell what was counted of silent nodes"
        case refreshCheck = "look for snapshots to refresh"
        case startRetry = "begin again after a store error"
        case writeProbe = "see whether records can be written again"
        public var description: String { rawValue }
    }

    public let plane: ControlPlane
    public var counters: ControlCounters { plane.counters }
    /// Heartbeats that wait to be stored.
    public var heartbeatsNow: Int { heartbeats.count }
    /// Requests parked now.
    public var parkedNow: Int { parked.count }

    private var parked = ParkedRequests()
    private var requests = WaitingRequests()
    private var heartbeats = WaitingHeartbeats()
    /// Heartbeats that are no plain ones, in a turn: replies leave in between.
    private static let singlesPerTurn = 8
    /// When each online node was last heard from, by our monotonic clock: wall clocks jump, and a jump must not make
    /// every node look silent.
    private var lastHeard: [NodeKey: Instant] = [:]
    private var startAt: Instant?
    private var flushAt: Instant?
    private var sweepAt: Instant?
    private var tellAt: Instant?
    private var refreshAt: Instant?
    private var probeAt: Instant?

    /// While records can't be written, one write is tried after this much time: somebody may have made room, and nobody may
    /// ask for a change that would show it.
    public static let probePause = Duration.seconds(5)
    /// After a store error, timers try again after this.
    public static let retryDelay = Duration.seconds(1)

    public init(_ plane: ControlPlane) { self.plane = plane }

    public func handle(_ event: Event, now: Now, into actions: inout [Action]) {
        switch event {
        case .started: start(now)
        case .request(let id, let request):
            if let sender = plane.heartbeatSender(request) {
                take(id, request, sender, now, into: &actions)
            } else {
                collect(.init(id: id, request: request), now, into: &actions)
            }
        case .disconnected(let id):
            _ = parked.remove(id)
            requests.forget(id)
            heartbeats.forget(id)
        }
        planProbe(now)
    }

    public func handleDeadline(now: Now, into actions: inout [Action]) {
        let instant = now.monotonic
        if let startAt, startAt <= instant { start(now) }
        if let due = requests.due, due <= instant { runRequests(now, into: &actions) }
        handleSingles(now, into: &actions)
        if let due = heartbeats.batchDue, due <= instant { storeHeartbeats(now, into: &actions) }
        if let flushAt, flushAt <= instant { flush(now) }
        while let id = parked.firstExpired(at: instant) {
            plane.counters.parksExpired += 1
            release(id, into: &actions)
        }
        if let sweepAt, sweepAt <= instant {
            // Nobody is silent whose heartbeat has come.
            while requests.heartbeats > 0 { runRequests(now, into: &actions) }
            sweep(now)
        }
        if let tellAt, tellAt <= instant { tellSilences(now) }
        if let refreshAt, refreshAt <= instant { checkRefresh(now) }
        if let probeAt, probeAt <= instant { probe(now) }
        planProbe(now)
    }

    public func nextDeadline() -> Deadline<DeadlineReason>? {
        var earliest: Deadline<DeadlineReason>?
        func consider(_ instant: Instant?, _ reason: DeadlineReason) {
            earliest = .earlier(earliest, instant.map { Deadline($0, reason) })
        }
        consider(startAt, .startRetry)
        consider(requests.due, .requests)
        consider(heartbeats.due, .heartbeats)
        consider(flushAt, .snapshotFlush)
        consider(parked.nextDeadline, .parkExpiry)
        consider(sweepAt, .silenceSweep)
        consider(tellAt, .silenceTelling)
        consider(refreshAt, .refreshCheck)
        consider(probeAt, .writeProbe)
        return earliest
    }
}

// MARK: Requests

extension ControlService {
    private func collect(_ entry: WaitingRequests.Entry, _ now: Now, into actions: inout [Action]) {
        requests.append(entry, due: now.monotonic + plane.settings.requestWait)
        if requests.count >= plane.settings.requestsPerTransaction { runRequests(now, into: &actions) }
    }

    private func runRequests(_ now: Now, into actions: inout [Action]) {
        run(requests.take(atMost: plane.settings.requestsPerTransaction, now.monotonic), now, into: &actions)
    }

    private func run(_ entries: some Collection<WaitingRequests.Entry>, _ now: Now, into actions: inout [Action]) {
        guard !entries.isEmpty else { return }
        for (entry, handled) in zip(entries, plane.handle(requests: entries.map(\.run), now: now)) {
            apply(handled, to: entry, now: now, into: &actions)
        }
    }

    private func apply(
        _ handled: Handled, to entry: WaitingRequests.Entry, now: Now, into actions: inout [Action]
    ) {
        if let id = entry.id {
            switch handled.outcome {
            case .reply(let reply): actions.append(.reply(id, reply))
            case .park(let topic, let until, let otherwise):
                precondition(until > now.monotonic, "a handler parked a request whose time is up")
                let request = ParkedRequests.Parked(
                    request: entry.request, topic: topic, until: until, otherwise: otherwise)
                park(id, request, into: &actions)
            }
        }
        if handled.snapshotsDirty, flushAt == nil {
            flushAt =
                planted(.snapshotsNotCoalesced) ? now.monotonic : now.monotonic + plane.settings.snapshotCoalescing
        }
        if let key = handled.heardFrom { hear(key, now) }
        wake(handled.touched, now: now)
    }

    private func park(_ id: RequestID, _ request: ParkedRequests.Parked, into actions: inout [Action]) {
        let others = parked.waiting(for: request.topic)
        if others.count >= plane.settings.parkedPerTopic {
            plane.counters.parksDisplaced += 1
            release(others[0], into: &actions)
        }
        guard parked.count < plane.settings.parkedRequests else {
            plane.counters.parksRefused += 1
            let problem = Problem(.unavailable, "too many requests wait already; ask without wait, or later")
            actions.append(.reply(id, problem.reply))
            return
        }
        plane.counters.parked += 1
        parked.insert(id, request)
    }

    /// Parked requests of these topics run again.
    private func wake(_ topics: [Topic], now: Now) {
        for topic in topics {
            if planted(.approvalWakesNobody), case .joinRequest = topic { continue }
            for id in parked.waiting(for: topic) {
                guard let waiting = parked.remove(id) else { continue }
                requests.append(.init(id: id, request: waiting.request, parked: waiting), due: now.monotonic)
            }
        }
    }

    /// Nothing has touched its topic, so nothing is asked of the records: whoever waits will ask again.
    private func release(_ id: RequestID, into actions: inout [Action]) {
        guard let waiting = parked.remove(id) else { return }
        plane.counters.succeeded += 1
        actions.append(.reply(id, waiting.otherwise))
    }
}

// MARK: Heartbeats

extension ControlService {
    private func take(
        _ id: RequestID, _ request: ControlRequest, _ sender: NodeKey, _ now: Now, into actions: inout [Action]
    ) {
        if let beat = plane.waitingHeartbeat(in: request, of: sender, now: now) {
            guard heartbeats.count < plane.settings.waitingHeartbeats else {
                let problem = Problem(
                    .unavailable, "too many heartbeats wait to be stored; send the next when it is due")
                return actions.append(.reply(id, problem.reply))
            }
            heartbeats.collect(id, request, beat, due: now.monotonic + plane.settings.heartbeatWait)
            if heartbeats.batchCount >= plane.settings.heartbeatsPerBatch { storeHeartbeats(now, into: &actions) }
            return
        }
        var request = request
        request.receivedAt = now.wall
        // It does not wait for heartbeats, but none that came before it may be stored after it.
        if heartbeats.isInBatch(sender) { storeHeartbeats(now, into: &actions) }
        for earlier in heartbeats.takeSingles(of: sender) {
            collect(.init(id: earlier.id, request: earlier.request, isHeartbeat: true), now, into: &actions)
        }
        collect(.init(id: id, request: request, isHeartbeat: true), now, into: &actions)
    }

    private func storeHeartbeats(_ now: Now, into actions: inout [Action]) {
        // They are older than those here.
        while requests.heartbeats > 0 { runRequests(now, into: &actions) }
        let batch = heartbeats.takeBatch()
        for (waiting, answer) in zip(batch, plane.handle(heartbeats: batch.map(\.beat), now: now)) {
            guard let answer else {
                heartbeats.addSingle(waiting, now.monotonic)
                continue
            }
            if answer.isHeard { hear(waiting.beat.key, now) }
            if let id = waiting.id { actions.append(.reply(id, answer.reply)) }
        }
    }

    private func handleSingles(_ now: Now, into actions: inout [Action]) {
        run(
            heartbeats.takeSingles(atMost: Self.singlesPerTurn).map { .init(id: $0.id, request: $0.request) }, now,
            into: &actions)
    }
}

// MARK: Timers

extension ControlService {
    private func start(_ now: Now) {
        do {
            try plane.prepare(now: now.wall)
            for key in try plane.onlineNodes() { hear(key, now) }
            if try plane.markStaleSnapshots(now: now) { flushAt = now.monotonic }
            tellAt = try plane.tellSilences(now: now).map { now.monotonic + $0 }
            startAt = nil
            refreshAt = now.monotonic + plane.settings.refreshCheck
        } catch {
            plane.note(error)
            startAt = now.monotonic + Self.retryDelay
        }
    }

    private func hear(_ key: NodeKey, _ now: Now) {
        lastHeard[key] = now.monotonic
        if sweepAt == nil { sweepAt = now.monotonic + plane.settings.offlineAfter }
    }

    private func flush(_ now: Now) {
        do {
            let (touched, isComplete) = try plane.flushSnapshots(now: now)
            flushAt = isComplete ? nil : now.monotonic
            wake(touched, now: now)
        } catch {
            plane.note(error)
            flushAt = now.monotonic + Self.retryDelay
            // They may have been made, and then the next flush finds nothing to tell.
            if let unknown = error as? UnknownFlush { wake(unknown.touched, now: now) }
        }
    }

    private func sweep(_ now: Now) {
        let horizon = now.monotonic - plane.settings.offlineAfter
        // Nobody is silent whose heartbeat has come.
        let waiting = heartbeats.senders
        let silent = lastHeard.filter { $0.value <= horizon && !waiting.contains($0.key) }.keys.sorted()
        do {
            if !silent.isEmpty, !planted(.silenceUnnoticed), let wait = try plane.markOffline(silent, now: now) {
                tellAt = min(tellAt ?? .distantFuture, now.monotonic + wait)
            }
            for key in silent { lastHeard[key] = nil }
            sweepAt = lastHeard.isEmpty ? nil : now.monotonic + plane.settings.heartbeatInterval / 3
        } catch {
            plane.note(error)
            sweepAt = now.monotonic + Self.retryDelay
            // It may have taken place, and the next sweep finds nobody to count.
            tellAt = min(tellAt ?? .distantFuture, now.monotonic + Self.retryDelay)
        }
    }

    private func tellSilences(_ now: Now) {
        do {
            tellAt = try plane.tellSilences(now: now).map { now.monotonic + $0 }
        } catch {
            plane.note(error)
            tellAt = now.monotonic + Self.retryDelay
        }
    }

    private func checkRefresh(_ now: Now) {
        refreshAt = now.monotonic + plane.settings.refreshCheck
        do {
            if try plane.markStaleSnapshots(now: now), flushAt == nil { flushAt = now.monotonic }
        } catch {
            plane.note(error)
            refreshAt = now.monotonic + Self.retryDelay
        }
    }

    private func planProbe(_ now: Now) {
        if plane.writeFailure == nil {
            probeAt = nil
        } else if probeAt == nil {
            probeAt = now.monotonic + Self.probePause
        }
    }

    private func probe(_ now: Now) {
        probeAt = nil
        do { try plane.probeWriting(now: now.wall) } catch { plane.note(error) }
    }
}
