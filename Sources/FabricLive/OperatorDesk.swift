internal import FabricCore
internal import FabricLinux
internal import FabricScenario
internal import FabricWire
internal import Foundation
internal import Glibc
internal import Synchronization

/// The operator at work on two threads of his own: one does the plan's steps in their order, each until it has
/// succeeded; the other looks at the control plane's lists. So a call that takes long delays no cut and no observation.
final class OperatorDesk: Sendable {
    enum Job: Sendable, Hashable {
        /// Indices of `Plan.tokens`.
        case createToken(Int)
        case revokeToken(Int)
        /// The requests of nodes with these names that wait when the job is done.
        case approve([String])
        case reject([String])
        /// Of nodes with these names that are members when the job is done.
        case setMembership([String], active: Bool)
    }

    /// What the control plane's lists say, by the plan's indices; what was heard last while it can't be asked.
    struct Records: Sendable {
        var online: [Bool]
        var requests: [Int]
        var nodes: [Int]
        var audit: [Int]
    }

    static let lookEvery = Duration.seconds(1)
    static let retryAfter = Duration.milliseconds(500)
    /// A job that fails so often while the control plane runs is given up, and told as a trouble.
    static let attempts = 5

    private struct State {
        var jobs: [Job] = []
        var isStopping = false
        var controlRuns = true
        var tokens: [Int: OperatorProgram.Token] = [:]
        var records: Records
        var lastAudit: Int64 = 0
        var troubles: [String] = []
        var done = 0
        var threads = 0
    }

    private let plan: Plan
    private let program: OperatorProgram
    private let state: Mutex<State>

    init(plan: Plan, program: OperatorProgram) {
        self.plan = plan
        self.program = program
        state = Mutex(
            State(
                records: Records(
                    online: plan.nodes.map { _ in false }, requests: plan.nodes.map { _ in 0 },
                    nodes: plan.nodes.map { _ in 0 }, audit: plan.auditEvents.map { _ in 0 })))
    }

    func start() {
        state.withLock { $0.threads = 2 }
        for body in [work, look] {
            Thread.detachNewThread { [self] in
                body()
                state.withLock { $0.threads -= 1 }
            }
        }
    }

    /// Asks both threads to end. A call under way ends with its namespace; `waitForEnd` then returns soon.
    func stop() { state.withLock { $0.isStopping = true } }

    func waitForEnd() {
        while state.withLock({ $0.threads }) > 0 { pause(.milliseconds(20)) }
    }

    // MARK: What the run asks

    func add(_ job: Job) {
        state.withLock { state in
            // A decision on what waits now is the same decision when it has not been looked at yet.
            if state.jobs.last == job { return }
            state.jobs.append(job)
        }
    }

    func token(_ index: Int) -> String? { state.withLock { $0.tokens[index]?.text } }
    var records: Records { state.withLock { $0.records } }
    var troubles: [String] { state.withLock { $0.troubles } }
    var jobsDone: Int { state.withLock { $0.done } }
    func setControlRuns(_ runs: Bool) { state.withLock { $0.controlRuns = runs } }

    // MARK: Steps

    private var isStopping: Bool { state.withLock { $0.isStopping } }

    private func work() {
        while !isStopping {
            guard let job = state.withLock({ $0.jobs.first }) else {
                pause(.milliseconds(20))
                continue
            }
            state.withLock { _ = $0.jobs.removeFirst() }
            perform(job)
        }
    }

    private func perform(_ job: Job) {
        var failures = 0
        while !isStopping {
            do throws(OperatorProgram.Failure) {
                try attempt(job)
                state.withLock { $0.done += 1 }
                return
            } catch {
                if state.withLock({ $0.controlRuns }) { failures += 1 }
                if failures == Self.attempts {
                    let trouble = "operator: “rap \(error.command)” failed: \(error.message)"
                    return state.withLock { if !$0.isStopping { $0.troubles.append(trouble) } }
                }
            }
            pause(Self.retryAfter)
        }
    }

    private func attempt(_ job: Job) throws(OperatorProgram.Failure) {
        switch job {
        case .createToken(let index):
            let token = try program.createToken(plan.tokens[index])
            state.withLock { $0.tokens[index] = token }
        case .revokeToken(let index):
            guard let token = state.withLock({ $0.tokens[index] }) else { return }
            try program.revoke(token)
        case .approve(let names):
            let waiting = try program.joinRequests(status: "pending").filter { names.contains($0.name) }
            if !waiting.isEmpty { try program.approve(waiting) }
        case .reject(let names):
            for request in try program.joinRequests(status: "pending") where names.contains(request.name) {
                try program.reject(request, reason: "rejected by the scenario")
            }
        case .setMembership(let names, let active):
            for node in try program.nodes() where names.contains(node.name) {
                try program.setMembership(of: node, active: active)
            }
        }
    }

    // MARK: Lists

    private func look() {
        var next = LinuxClock.now().monotonic
        while !isStopping {
            if LinuxClock.now().monotonic < next {
                pause(.milliseconds(20))
                continue
            }
            next = LinuxClock.now().monotonic + Self.lookEvery
            // Without an answer, what was heard last stands.
            do throws(OperatorProgram.Failure) { try readLists() } catch {}
        }
    }

    private func readLists() throws(OperatorProgram.Failure) {
        let nodes = try program.nodes()
        var indices: [String: Int] = [:]
        for (index, node) in plan.nodes.enumerated() { indices[node.name] = index }
        var online = plan.nodes.map { _ in false }
        var counts = plan.nodes.map { _ in 0 }
        for node in nodes {
            guard let index = indices[node.name] else { continue }
            counts[index] += 1
            if node.health == "online" { online[index] = true }
        }
        state.withLock { state in
            state.records.online = online
            state.records.nodes = counts
        }
        var requests = plan.nodes.map { _ in 0 }
        for request in try program.joinRequests(status: "all") {
            if let index = indices[request.name] { requests[index] += 1 }
        }
        state.withLock { $0.records.requests = requests }
        let events = try program.audit(after: state.withLock { $0.lastAudit })
        state.withLock { state in
            for event in events where event.sequence > state.lastAudit {
                state.lastAudit = event.sequence
                if let index = plan.auditEvents.firstIndex(of: event.event) { state.records.audit[index] += 1 }
            }
        }
    }
}

/// Sleeps; a signal may cut it short.
func pause(_ duration: Duration) {
    guard duration > .zero else { return }
    usleep(UInt32(clamping: min(duration.nanoseconds / 1000, 900_000)))
}
