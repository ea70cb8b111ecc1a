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
    }

    var armed: [Armed] = []
    var isRecording = false
    var passed: [PassedBoundary] = []
    /// The power has failed in the midst of a call; the host goes down when the call is over.
    var due: CrashPoint?
}

extension World {
    /// Boundaries that are recorded of one host; the rest are counted only.
    public static let maximumRecordedBoundaries = 1_000_000

    /// Lets the host crash at a boundary, counted from now. Several may be armed.
    public func armCrash(_ host: HostID, _ point: CrashPoint) {
        let watch = watch(host.index)
        watch.armed.append(BoundaryWatch.Armed(point: point, remaining: max(1, point.nth)))
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
        guard isWatched(host), let point = count(boundary, host, detail()) else { return false }
        fall(host, point)
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
        guard isWatched(host), let watch = watches[host.index], let point = watch.due else { return false }
        watch.due = nil
        fall(host, point)
        return true
    }

    /// The first point that falls due here, if any does.
    private func count(_ boundary: CrashBoundary, _ host: HostID, _ detail: String) -> CrashPoint? {
        guard isRunning(host), let watch = watches[host.index] else { return nil }
        if watch.isRecording, watch.passed.count < World.maximumRecordedBoundaries {
            watch.passed.append(PassedBoundary(boundary: boundary, time: now, detail: detail))
        }
        for index in watch.armed.indices where watch.armed[index].point.boundary.covers(boundary) {
            watch.armed[index].remaining -= 1
        }
        guard
            let index = watch.armed.firstIndex(where: { $0.remaining <= 0 && $0.point.boundary.covers(boundary) })
        else { return nil }
        note(host, "crash at \(boundary.rawValue): \(detail)")
        return watch.armed.remove(at: index).point
    }

    private func fall(_ host: HostID, _ point: CrashPoint) {
        crash(host, point.powerFails ? .power : .process)
        start(host, at: now + point.downFor)
    }
}
