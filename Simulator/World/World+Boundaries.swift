public import FabricCore
public import FabricScenario

/// One point in a component's life at which a crash can fall, as counted in a run.
public struct PassedBoundary: Hashable, Sendable {
    public var boundary: CrashBoundary
    public var time: Instant
    /// What was about to happen, or had just happened.
    public var detail: String
}

/// Counts the boundaries that a host's component passes, and lets the power fail at one of them.
final class BoundaryWatch {
    struct Armed {
        var point: CrashPoint
        var remaining: Int
        /// A step of the scenario armed it, so that the host is in a fault as long as it waits.
        var isOfTimeline: Bool
        /// The last time at which it may fall.
        var until: Instant?

        func isOver(_ now: Instant) -> Bool { until.map { $0 < now } ?? false }
    }

    var armed: [Armed] = []
    var isRecording = false
    var passed: [PassedBoundary] = []
    /// The power has failed in the midst of a call; the host goes down when the call is over.
    var due: Armed?
    /// Of each coming up that a crash at a boundary has made; the one before is called off by the next.
    var comebacks: UInt64 = 0
    /// World time until which a crash of the timeline keeps the host down.
    var faultyUntil = Instant.zero
}

extension World {
    /// Boundaries that are recorded of one host; the rest are counted only.
    public static let maximumRecordedBoundaries = 1_000_000

    /// Lets the host crash at a boundary, counted from now. Several may be armed. Those `ofTimeline` put it in a fault
    /// (`awaitsCrash`).
    public func armCrash(_ host: HostID, _ point: CrashPoint, ofTimeline: Bool) {
        let watch = watch(host.index)
        watch.armed.append(
            BoundaryWatch.Armed(
                point: point, remaining: max(1, point.nth), isOfTimeline: ofTimeline,
                until: point.within.map { now + $0 }))
    }

    /// Whether a crash of the timeline is armed, or keeps the host down.
    func awaitsCrash(_ host: HostID) -> Bool {
        guard isWatched(host), let watch = watches[host.index] else { return false }
        if watch.due?.isOfTimeline == true || now < watch.faultyUntil { return true }
        return watch.armed.contains { $0.isOfTimeline && !$0.isOver(now) }
    }

    /// A host that a crash at a boundary has brought down does not come up by itself any more.
    func callOffComeback(_ host: HostID) {
        guard let watch = watches[host.index] else { return }
        watch.comebacks += 1
        watch.faultyUntil = .zero
    }

    /// Whether the coming up of this number still stands; 0 for a start that somebody asked for.
    func isComebackDue(_ host: Int, _ number: UInt64) -> Bool {
        number == 0 || watches[host].map { $0.comebacks == number } ?? true
    }

    /// Keeps a list of the boundaries that the host passes from now on.
    public func recordBoundaries(of host: HostID) { watch(host.index).isRecording = true }

    /// In their order.
    public func passedBoundaries(of host: HostID) -> [PassedBoundary] { watches[host.index]?.passed ?? [] }

    private func watch(_ host: Int) -> BoundaryWatch {
        if let watch = watches[host] { return watch }
        let watch = BoundaryWatch()
        watches[host] = watch
        hosts[host].isWatched = true
        return watch
    }

    /// Whether somebody wants to know of the host's boundaries.
    @inline(__always)
    func isWatched(_ host: HostID) -> Bool { hosts[host.index].isWatched }

    /// The host's component stands at a boundary. True when the host has crashed: the caller returns and does no more.
    func pass(_ boundary: CrashBoundary, of host: HostID, _ detail: @autoclosure () -> String) -> Bool {
        guard isWatched(host), let armed = count(boundary, host, detail()) else { return false }
        fall(host, armed)
        return true
    }

    /// As `pass`, in the midst of a call that can't be left: the host goes down at `crashIfDue`. Until then its disk answers
    /// nothing but errors. True when the power has failed.
    func passInCall(_ boundary: CrashBoundary, of host: HostID, _ detail: @autoclosure () -> String) -> Bool {
        guard isWatched(host), let watch = watches[host.index] else { return false }
        if watch.due != nil { return true }
        watch.due = count(boundary, host, detail())
        return watch.due != nil
    }

    /// The call is over. True when the host has crashed in it.
    func crashIfDue(_ host: HostID) -> Bool {
        guard isWatched(host), let watch = watches[host.index], let armed = watch.due else { return false }
        watch.due = nil
        fall(host, armed)
        return true
    }

    /// The first point that falls due here, if any does.
    private func count(_ boundary: CrashBoundary, _ host: HostID, _ detail: String) -> BoundaryWatch.Armed? {
        guard isRunning(host), let watch = watches[host.index] else { return nil }
        if watch.isRecording, watch.passed.count < World.maximumRecordedBoundaries {
            watch.passed.append(PassedBoundary(boundary: boundary, time: now, detail: detail))
        }
        watch.armed.removeAll { $0.isOver(now) }
        for index in watch.armed.indices where watch.armed[index].point.boundary.covers(boundary) {
            watch.armed[index].remaining -= 1
        }
        guard
            let index = watch.armed.firstIndex(where: { $0.remaining <= 0 && $0.point.boundary.covers(boundary) })
        else { return nil }
        note(host, "crash at \(boundary.rawValue): \(detail)")
        return watch.armed.remove(at: index)
    }

    private func fall(_ host: HostID, _ armed: BoundaryWatch.Armed) {
        let watch = watch(host.index)
        let end = now + armed.point.downFor
        crash(host, armed.point.powerFails ? .power : .process)
        watch.comebacks += 1
        if armed.isOfTimeline { watch.faultyUntil = end }
        start(host, at: end, comeback: watch.comebacks)
    }
}
