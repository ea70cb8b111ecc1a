public import FabricCore

/// Why `World.run` came back.
public enum RunOutcome: Hashable, Sendable {
    /// The time asked for has come.
    case reached
    /// `World.stop` was called.
    case stopped
    /// Time no longer advances: `World.maximumEventsPerInstant` events at one instant, the last of them for this host.
    case stuck(HostID?)
}

/// A simulated world: one event loop, integer time, a total order of events by (time, sequence).
///
/// ```
/// scenario step ─┐
/// datagram ──────┤                     ┌─ SimulatedHost.handle(event, now)
/// stream packet ─┼─▶ EventQueue ─▶ run ┤        │ send, connect, persist, setDeadline …
/// disk, timer ───┤                     └────────┘
/// wake-up ───────┘                       every event and action enters the Trace
/// ```
///
/// The world's own time is the truth; hosts see it through their `VirtualClock`. Worlds share nothing, and one world is
/// used from one thread.
public final class World {
    public static let maximumHosts = 100_000
    public static let maximumEventsPerInstant: UInt64 = 5_000_000
    /// Beyond this `run` gives up.
    var eventsPerInstantLimit = World.maximumEventsPerInstant

    struct HostRecord {
        var object: any SimulatedHost
        var name: String
        var clock: VirtualClock
        var running = false
        /// Counts starts, of the process or the machine.
        var boot: UInt16 = 0
        /// The next start is one of the machine.
        var powerWasOff = true
        var deadline: Instant?
        /// World time of the deadline; `.max` for none.
        var wakeTarget: Int64 = .max
        /// World time of the earliest wake event that is queued and valid; `.max` for none.
        var wakeQueued: Int64 = .max
        var wakeGeneration: UInt64 = 0
        /// What happens here may have to wait; see World+Holds.swift.
        var isHeld = false
        var isSuspended = false
        /// Somebody counts its boundaries; see World+Boundaries.swift.
        var isWatched = false
    }

    private struct Progress {
        var now: Int64 = 0
        var events: UInt64 = 0
        var eventsAtInstant: UInt64 = 0
        var stopping = false
    }

    public let seed: UInt64
    /// The true wall-clock time at world time zero.
    public let epoch: WallTime
    public let trace: Trace
    public private(set) var network: VirtualNetwork!
    public private(set) var streams: VirtualStreams!
    public private(set) lazy var resolver = VirtualResolver(random: random("resolver"))
    /// Called after every event, for checkers. It must not act on the world.
    public var afterEvent: ((World) -> Void)?
    /// What happened in words, with causes; nil unless `keepJournal` was called.
    public internal(set) var journal: Journal? {
        didSet {
            queue.journal = journal
            trace.journal = journal
        }
    }
    /// Sees each datagram with what became of it, while a journal is kept.
    public var onDatagram: ((SentDatagram, UnsafeRawBufferPointer) -> Void)?
    /// Called after every event with its kind and host, for measurements. It must not act on the world.
    public var afterEventOfKind: ((String, HostID?) -> Void)?

    let queue = EventQueue()
    private let progress: UnsafeMutablePointer<Progress>
    private(set) var hosts: UnsafeMutablePointer<HostRecord>
    private var hostCapacity = 64
    public private(set) var hostCount = 0
    private var hostNames: Set<String> = []
    private var disks: [HostDisks] = []
    /// Looked up by key only.
    var holds: [Int: HostHold] = [:]
    /// The host whose held event is being handled; -1 for none.
    var servingHost = -1
    /// Datagrams that found a socket's buffer full.
    public internal(set) var socketBufferDrops: UInt64 = 0
    /// Looked up by key only; see World+Boundaries.swift.
    var watches: [Int: BoundaryWatch] = [:]
    private var actions: [(label: String, body: (World) -> Void)?] = []
    private var freeActions: [Int] = []

    public init(seed: UInt64, epoch: WallTime, recording: Trace.Recording = Trace.Recording()) {
        self.seed = seed
        self.epoch = epoch
        trace = Trace(recording)
        progress = .allocate(capacity: 1)
        progress.initialize(to: Progress())
        hosts = .allocate(capacity: 64)
        network = VirtualNetwork(world: self)
        streams = VirtualStreams(world: self)
    }

    deinit {
        progress.deallocate()
        hosts.deinitialize(count: hostCount)
        hosts.deallocate()
    }

    // MARK: Time and randomness

    /// World time: the truth, which no host sees.
    public var now: Instant { Instant(nanoseconds: nowNanoseconds) }
    @inline(__always) var nowNanoseconds: Int64 { progress.pointee.now }
    /// The true wall-clock time.
    public var trueWall: WallTime { epoch + .nanoseconds(nowNanoseconds) }
    /// Events handled so far; superfluous wake-ups don't count.
    public var eventCount: UInt64 { progress.pointee.events }
    /// Events that wait.
    public var pendingEventCount: Int { queue.count }

    /// The stream of one subsystem of the world itself, for example a scenario's choices.
    public func random(_ subsystem: String) -> SeededRandom {
        SeededRandom(seed: seed, stream: "world/\(subsystem)")
    }

    /// A new object for the stream of one subsystem of a host's current boot. Ask once per boot and subsystem: asking again
    /// gives the same numbers again.
    public func random(of host: HostID, _ subsystem: String) -> SeededRandom {
        let record = hosts[host.index]
        return SeededRandom(seed: seed, stream: "\(record.name)/\(record.boot)/\(subsystem)")
    }

    // MARK: Running

    /// Handles all events up to and including `end`, then sets the time to `end`.
    public func run(until end: Instant) -> RunOutcome {
        let progress = progress
        progress.pointee.stopping = false
        while let time = queue.nextTime, time <= end.nanoseconds {
            let event = queue.pop()
            if time != progress.pointee.now {
                progress.pointee.now = time
                progress.pointee.eventsAtInstant = 0
            }
            progress.pointee.eventsAtInstant &+= 1
            if progress.pointee.eventsAtInstant > eventsPerInstantLimit {
                return .stuck(event.host >= 0 ? HostID(index: Int(event.host)) : nil)
            }
            if let journal { journal.popped(event.sequence, isDatagram: event.kind == .datagram) }
            if dispatch(event) {
                progress.pointee.events &+= 1
                if let afterEvent { afterEvent(self) }
                if let afterEventOfKind {
                    afterEventOfKind(event.kind.name, event.host >= 0 ? HostID(index: Int(event.host)) : nil)
                }
            }
            if let journal { journal.eventEnded() }
            if progress.pointee.stopping { return .stopped }
        }
        if end.nanoseconds > progress.pointee.now {
            progress.pointee.now = end.nanoseconds
            progress.pointee.eventsAtInstant = 0
        }
        return .reached
    }

    /// Ends `run` after the event that is being handled.
    public func stop() { progress.pointee.stopping = true }

    /// False for an event that no longer means anything.
    @inline(__always)
    private func dispatch(_ event: Event) -> Bool {
        let host = Int(event.host)
        switch event.kind {
        case .wake: return wake(host, generation: event.payload)
        case .datagram: network.deliver(slot: Int(event.payload))
        case .streamPacket: streams.arrive(slot: Int(event.payload))
        case .streamTimer: return streams.timerFired(event.payload, at: event.time)
        case .diskCompletion:
            guard isStopped(host) else { return disks[host].store.complete(slot: Int(event.payload)) }
            enqueueHeld(host, .diskCompletion(Int(event.payload)))
        case .service: return serve(host, generation: event.payload)
        case .timer:
            guard hosts[host].running, hosts[host].boot == event.boot else { return false }
            trace.record(.timer, host: event.host, at: event.time, event.payload)
            tell(host, .timer(token: event.payload))
        case .boot: return startNow(host, comeback: event.payload)
        case .action:
            let slot = Int(event.payload)
            guard let action = actions[slot] else { return false }
            actions[slot] = nil
            freeActions.append(slot)
            trace.record(.action, host: -1, at: event.time, 0, text: action.label)
            action.body(self)
        }
        return true
    }

    @inline(__always)
    func tell(_ host: Int, _ event: HostEvent) {
        if mustWait(host) { return hold(host, event) }
        let now = hosts[host].clock.now(at: Instant(nanoseconds: nowNanoseconds))
        hosts[host].object.handle(event, now: now)
    }

    // MARK: Scheduling

    /// Runs a step of the scenario at a world time, not before now. The label enters the trace.
    public func schedule(at time: Instant, _ label: String, _ body: @escaping (World) -> Void) {
        let slot: Int
        if let free = freeActions.popLast() {
            slot = free
            actions[slot] = (label, body)
        } else {
            slot = actions.count
            actions.append((label, body))
        }
        queue.push(time: max(time.nanoseconds, nowNanoseconds), kind: .action, host: -1, payload: UInt64(slot))
    }

    /// Replaces the host's one deadline, given on its own monotonic clock; nil for none. Changing it costs a comparison
    /// unless it comes to lie before the wake event that is already queued.
    public func setDeadline(_ host: HostID, _ deadline: Instant?) {
        let record = hosts + host.index
        guard record.pointee.running else { return }
        record.pointee.deadline = deadline
        guard let deadline else {
            record.pointee.wakeTarget = .max
            return
        }
        let target = max(record.pointee.clock.worldTime(of: deadline).nanoseconds, nowNanoseconds)
        record.pointee.wakeTarget = target
        if target < record.pointee.wakeQueued { queueWake(host.index, at: target) }
    }

    /// A one-off timer beside the deadline, given as a delay on the host's clock; it ends with the boot.
    public func setTimer(_ host: HostID, after delay: Duration, token: UInt64) {
        let record = hosts + host.index
        guard record.pointee.running else { return }
        let due = record.pointee.clock.now(at: now).monotonic + delay
        let time = max(record.pointee.clock.worldTime(of: due).nanoseconds, nowNanoseconds)
        queue.push(time: time, kind: .timer, host: Int32(host.index), boot: record.pointee.boot, payload: token)
    }

    private func queueWake(_ host: Int, at time: Int64) {
        hosts[host].wakeGeneration &+= 1
        hosts[host].wakeQueued = time
        queue.push(time: time, kind: .wake, host: Int32(host), payload: hosts[host].wakeGeneration)
    }

    private func wake(_ host: Int, generation: UInt64) -> Bool {
        let record = hosts + host
        guard generation == record.pointee.wakeGeneration else { return false }
        record.pointee.wakeQueued = .max
        guard record.pointee.running, record.pointee.wakeTarget != .max else { return false }
        if record.pointee.wakeTarget > nowNanoseconds {
            queueWake(host, at: record.pointee.wakeTarget)
            return false
        }
        record.pointee.wakeTarget = .max
        record.pointee.deadline = nil
        trace.record(.wake, host: Int32(host), at: nowNanoseconds)
        tell(host, .wake)
        return true
    }

    // MARK: Hosts

    /// Adds a host to a place. It does nothing until `start`. Names are unique: they name the random streams.
    public func addHost(_ object: any SimulatedHost, name: String, place: PlaceID) -> HostID {
        precondition(hostCount < World.maximumHosts)
        precondition(hostNames.insert(name).inserted, "two hosts named \(name)")
        if hostCount == hostCapacity {
            let larger = UnsafeMutablePointer<HostRecord>.allocate(capacity: hostCapacity * 2)
            larger.moveInitialize(from: hosts, count: hostCount)
            hosts.deallocate()
            hosts = larger
            hostCapacity *= 2
        }
        let clock = VirtualClock(at: now, monotonic: .zero, wall: trueWall)
        (hosts + hostCount).initialize(to: HostRecord(object: object, name: name, clock: clock))
        hostCount += 1
        network.attach(name, to: place)
        disks.append(HostDisks(world: self, host: hostCount - 1, name: name))
        return HostID(index: hostCount - 1)
    }

    public func name(of host: HostID) -> String { hosts[host.index].name }
    public func object(of host: HostID) -> any SimulatedHost { hosts[host.index].object }
    public func isRunning(_ host: HostID) -> Bool { hosts[host.index].running }
    @inline(__always) func isRunning(_ host: Int) -> Bool { hosts[host].running }
    /// Packets arrive there.
    @inline(__always) func isReachable(_ host: Int) -> Bool { hosts[host].running && !hosts[host].isSuspended }
    @inline(__always) func bootNumber(_ host: Int) -> UInt16 { hosts[host].boot }
    /// Random-access files, for example of a database.
    public func disk(of host: HostID) -> VirtualDisk { disks[host.index].disk }
    /// Whole-file durable state.
    public func store(of host: HostID) -> VirtualStateStore { disks[host.index].store }
    /// The faults and the capacity of both.
    public func diskConditions(of host: HostID) -> DiskConditions { disks[host.index].conditions }

    /// Both clocks of a host, now.
    public func now(of host: HostID) -> Now { hosts[host.index].clock.now(at: now) }
    public func clock(of host: HostID) -> VirtualClock { hosts[host.index].clock }

    /// Boots the host at a world time; a host that runs by then is left alone.
    public func start(_ host: HostID, at time: Instant) { start(host, at: time, comeback: 0) }

    /// `comeback`: see `isComebackDue`.
    func start(_ host: HostID, at time: Instant, comeback: UInt64) {
        queue.push(
            time: max(time.nanoseconds, nowNanoseconds), kind: .boot, host: Int32(host.index), payload: comeback)
    }

    private func startNow(_ host: Int, comeback: UInt64) -> Bool {
        let record = hosts + host
        guard !record.pointee.running, isComebackDue(host, comeback) else { return false }
        record.pointee.running = true
        record.pointee.boot &+= 1
        if record.pointee.powerWasOff {
            record.pointee.powerWasOff = false
            // Machines come up within a minute of their own clock's zero, each at another reading.
            let reading = random(of: HostID(index: host), "boot").jitter(.seconds(60)) + .seconds(1)
            record.pointee.clock.reboot(at: now, monotonic: .zero + reading)
        }
        trace.record(.boot, host: Int32(host), at: nowNanoseconds, UInt64(record.pointee.boot))
        record.pointee.object.boot(record.pointee.clock.now(at: now))
        return true
    }

    /// Stops the host at once: its deadline, timers, connections and pending writes are dropped as `kind` says.
    /// A host that is down is left alone.
    public func crash(_ host: HostID, _ kind: CrashKind) {
        let record = hosts + host.index
        guard record.pointee.running else { return }
        trace.record(.crash, host: Int32(host.index), at: nowNanoseconds, kind == .power ? 1 : 0)
        streams.hostCrashed(host.index, kind)
        record.pointee.running = false
        record.pointee.deadline = nil
        record.pointee.wakeTarget = .max
        dropHold(host.index)
        if kind == .power { record.pointee.powerWasOff = true }
        disks[host.index].crash(kind)
        record.pointee.object.crashed()
    }

    // MARK: Clocks

    /// Steps a host's wall clock.
    public func jumpWallClock(_ host: HostID, by step: Duration) {
        hosts[host.index].clock.jumpWall(by: step)
        trace.record(.clock, host: Int32(host.index), at: nowNanoseconds, 1, UInt64(bitPattern: step.nanoseconds))
    }

    /// Sets a host's drift, in parts per billion; positive is fast. The pending deadline moves with it.
    public func setClockDrift(_ host: HostID, partsPerBillion: Int64) {
        let record = hosts + host.index
        record.pointee.clock.setDrift(partsPerBillion: partsPerBillion, at: now)
        trace.record(.clock, host: Int32(host.index), at: nowNanoseconds, 2, UInt64(bitPattern: partsPerBillion))
        if let deadline = record.pointee.deadline { setDeadline(host, deadline) }
    }

    // MARK: What hosts do

    /// Sends a UDP datagram; see `VirtualNetwork.send`. A host that is down sends nothing.
    @inline(__always)
    public func send(
        from host: HostID, source: Endpoint, destination: Endpoint, bytes: UnsafeRawBufferPointer, ecn: ECN = .notECT
    ) {
        guard hosts[host.index].running else { return }
        if journal != nil {
            return sendWatched(from: host, source: source, destination: destination, bytes: bytes, ecn: ecn)
        }
        network.send(from: host.index, source: source, destination: destination, bytes: bytes, ecn: ecn)
    }

    public func send(
        from host: HostID, source: Endpoint, destination: Endpoint, _ bytes: [UInt8], ecn: ECN = .notECT
    ) {
        bytes.withUnsafeBytes { send(from: host, source: source, destination: destination, bytes: $0, ecn: ecn) }
    }

    /// Puts something that a host decided or observed into the trace.
    public func note(_ host: HostID?, _ text: String, _ value: UInt64 = 0) {
        trace.record(.note, host: host.map { Int32($0.index) } ?? -1, at: nowNanoseconds, value, text: text)
    }

    /// Puts bytes that a host decided on into the trace.
    public func note(_ host: HostID?, _ tag: UInt64, bytes: UnsafeRawBufferPointer) {
        trace.record(.note, host: host.map { Int32($0.index) } ?? -1, at: nowNanoseconds, tag, bytes: bytes)
    }
}
