internal import FabricCore

/// What waits at a host that handles nothing now, or that takes its time.
///
/// ```
/// paused     a stopped process: the kernel lives on; TCP acknowledges up to its window, datagrams fill the socket's
///            buffer, durable writes don't go on; all of it is handled when the process goes on, in order of arrival
/// suspended  the lid is shut: nothing arrives, and the clock of CLOCK_BOOTTIME goes on; timers fire at the wake-up
/// slow       each event takes this much of the processor's time before it has its effect; the others wait
/// busy       an event had its effect and goes on taking the processor's time; the others wait
/// ```
final class HostHold {
    enum Stop { case paused, suspended }

    enum Item {
        case wake
        case timer(UInt64)
        case datagram(source: Endpoint, destination: Endpoint, bytes: [UInt8], ecn: ECN)
        case stream(StreamID, StreamEvent)
        case persisted(UInt64, DiskError?)
        /// A durable write whose time came while the process was stopped.
        case diskCompletion(Int)
        /// Messages of a stream's end are there.
        case delivery(StreamID)
    }

    var stop: Stop?
    /// Nanoseconds of virtual time that each event takes.
    var cost: Int64 = 0
    /// An event that was handled still takes the processor; its end is queued like a service.
    var isBusy = false
    var items = FIFO<Item>()
    var datagramBytes = 0
    /// An event that serves the first item is queued; raised to make an older one void.
    var serviceQueued = false
    var generation: UInt64 = 0
}

extension World {
    /// What a UDP socket keeps for a process that does not read: Linux's `net.core.rmem_default`.
    public static let socketBufferBytes = 212_992
    /// What Linux counts for a datagram beside its payload.
    static let socketBufferOverhead = 768

    // MARK: Orders

    /// Stops the process on the host, as SIGSTOP does. A host that is down, or stopped already, is left alone.
    public func pause(_ host: HostID) { stop(host, .paused) }

    /// The machine sleeps. A host that is down, or stopped already, is left alone.
    public func suspend(_ host: HostID) { stop(host, .suspended) }

    /// Ends a pause or a sleep; one that does neither is left alone.
    public func resume(_ host: HostID) {
        guard let hold = holds[host.index], hold.stop != nil else { return }
        trace.record(.hold, host: Int32(host.index), at: nowNanoseconds, 3)
        let slept = hold.stop == .suspended
        hold.stop = nil
        hosts[host.index].isSuspended = false
        if slept { streams.hostAwoke(host.index) }
        goOn(host.index, hold)
    }

    /// Every event takes `cost` of the host's processor before it has its effect; zero for as fast as ever. It outlasts
    /// crashes: the machine is slow.
    public func setEventCost(_ host: HostID, _ cost: Duration) {
        if cost <= .zero, holds[host.index] == nil { return }
        trace.record(.hold, host: Int32(host.index), at: nowNanoseconds, 4, UInt64(max(0, cost.nanoseconds)))
        let hold = makeHold(host.index)
        hold.cost = max(0, cost.nanoseconds)
        hold.isBusy = false
        hold.serviceQueued = false
        hold.generation &+= 1
        goOn(host.index, hold)
    }

    /// What the host has just done takes its processor for so long: what happens until then waits. A pause or a new speed ends it.
    public func occupy(_ host: HostID, for duration: Duration) {
        guard duration > .zero, hosts[host.index].running, holds[host.index]?.stop == nil else { return }
        trace.record(.hold, host: Int32(host.index), at: nowNanoseconds, 5, UInt64(duration.nanoseconds))
        let hold = makeHold(host.index)
        hold.isBusy = true
        hold.serviceQueued = true
        hold.generation &+= 1
        queue.push(
            time: nowNanoseconds + duration.nanoseconds, kind: .service, host: Int32(host.index),
            payload: hold.generation)
    }

    /// The next thing that a processor that was busy comes to, at this same moment, is a datagram: a process reads on.
    public func readsOn(_ host: HostID) -> Bool {
        guard let hold = holds[host.index], hold.stop == nil, !hold.isBusy, hold.cost == 0 else { return false }
        if case .datagram = hold.items.first { return true }
        return false
    }

    public func isPaused(_ host: HostID) -> Bool { holds[host.index]?.stop == .paused }
    /// Paused, suspended, or behind with its events.
    public func isHeld(_ host: HostID) -> Bool { holds[host.index] != nil }
    public func isSuspended(_ host: HostID) -> Bool { hosts[host.index].isSuspended }
    /// Events that wait at a paused, sleeping or slow host.
    public func heldEvents(of host: HostID) -> Int { holds[host.index]?.items.count ?? 0 }

    private func stop(_ host: HostID, _ stop: HostHold.Stop) {
        guard hosts[host.index].running, holds[host.index]?.stop == nil else { return }
        trace.record(.hold, host: Int32(host.index), at: nowNanoseconds, stop == .paused ? 1 : 2)
        let hold = makeHold(host.index)
        hold.stop = stop
        hold.isBusy = false
        hold.serviceQueued = false
        hold.generation &+= 1
        hosts[host.index].isSuspended = stop == .suspended
    }

    private func makeHold(_ host: Int) -> HostHold {
        if let hold = holds[host] { return hold }
        let hold = HostHold()
        holds[host] = hold
        hosts[host].isHeld = true
        return hold
    }

    /// The host has stopped for good: nothing waits for it any more.
    func dropHold(_ host: Int) {
        guard let hold = holds[host] else { return }
        hosts[host].isSuspended = false
        hold.stop = nil
        hold.isBusy = false
        hold.items.removeAll()
        hold.datagramBytes = 0
        hold.serviceQueued = false
        hold.generation &+= 1
        releaseIfIdle(host, hold)
    }

    private func releaseIfIdle(_ host: Int, _ hold: HostHold) {
        guard hold.stop == nil, !hold.isBusy, hold.cost == 0, hold.items.isEmpty else { return }
        holds[host] = nil
        hosts[host].isHeld = false
    }

    // MARK: Holding

    /// Whether what happens at the host now has to wait.
    @inline(__always)
    func mustWait(_ host: Int) -> Bool { hosts[host].isHeld && servingHost != host }

    /// Whether the host's process does not go on at all.
    @inline(__always)
    func isStopped(_ host: Int) -> Bool { hosts[host].isHeld && holds[host]?.stop != nil }

    func hold(_ host: Int, _ event: HostEvent) {
        switch event {
        case .wake: enqueueHeld(host, .wake)
        case .timer(let token): enqueueHeld(host, .timer(token))
        case .stream(let stream, let event): enqueueHeld(host, .stream(stream, event))
        case .persisted(let operation, let failure): enqueueHeld(host, .persisted(operation, failure))
        case .datagram(let source, let destination, let bytes, let ecn):
            guard let hold = holds[host] else { return }
            let size = bytes.count + World.socketBufferOverhead
            guard hold.datagramBytes + size <= World.socketBufferBytes else {
                trace.record(.datagramDropped, host: Int32(host), at: nowNanoseconds, UInt64(bytes.count))
                socketBufferDrops &+= 1
                return
            }
            hold.datagramBytes += size
            enqueueHeld(host, .datagram(source: source, destination: destination, bytes: Array(bytes), ecn: ecn))
        }
    }

    func enqueueHeld(_ host: Int, _ item: HostHold.Item) {
        guard let hold = holds[host] else { return }
        hold.items.append(item)
        queueService(host, hold)
    }

    private func queueService(_ host: Int, _ hold: HostHold) {
        guard hold.stop == nil, hold.cost > 0, !hold.serviceQueued, !hold.items.isEmpty else { return }
        hold.serviceQueued = true
        queue.push(
            time: nowNanoseconds + hold.cost, kind: .service, host: Int32(host), payload: hold.generation)
    }

    // MARK: Serving

    /// A slow host is done with its first event. False for an order that no longer means anything.
    func serve(_ host: Int, generation: UInt64) -> Bool {
        guard let hold = holds[host], hold.serviceQueued, hold.generation == generation else { return false }
        hold.serviceQueued = false
        if hold.isBusy {
            hold.isBusy = false
            goOn(host, hold)
            return true
        }
        guard let item = hold.items.popFirst() else { return false }
        perform(item, host, hold)
        if holds[host] === hold { queueService(host, hold) }
        return true
    }

    private func goOn(_ host: Int, _ hold: HostHold) {
        if hold.stop != nil || hold.isBusy { return }
        if hold.cost > 0 { return queueService(host, hold) }
        // What the handlers cause is handled behind what waits already.
        while holds[host] === hold, hold.stop == nil, !hold.isBusy, hold.cost == 0, let item = hold.items.popFirst() {
            perform(item, host, hold)
        }
        if holds[host] === hold { releaseIfIdle(host, hold) }
    }

    private func perform(_ item: HostHold.Item, _ host: Int, _ hold: HostHold) {
        guard hosts[host].running else { return }
        let before = servingHost
        servingHost = host
        defer { servingHost = before }
        switch item {
        case .wake: tell(host, .wake)
        case .timer(let token): tell(host, .timer(token: token))
        case .stream(let stream, let event): tell(host, .stream(stream, event))
        case .persisted(let operation, let failure): tell(host, .persisted(operation: operation, failure: failure))
        case .diskCompletion(let payload): _ = store(of: HostID(index: host)).complete(slot: payload)
        case .delivery(let stream):
            streams.deliverHeld(stream, atMost: hold.cost > 0 ? 1 : .max)
        case .datagram(let source, let destination, let bytes, let ecn):
            hold.datagramBytes -= bytes.count + World.socketBufferOverhead
            bytes.withUnsafeBytes {
                tell(host, .datagram(source: source, destination: destination, bytes: $0, ecn: ecn))
            }
        }
    }
}
