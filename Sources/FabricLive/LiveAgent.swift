internal import FabricCore
internal import FabricLinux
internal import FabricNode
internal import FabricScenario

/// One node's agent: its program while it runs, and what it said of itself last.
final class LiveAgent {
    let index: Int
    let name: String
    /// Of the state directory; the status socket stands beside it.
    let statePath: String
    private(set) var process: ChildProcess?
    private(set) var status: NodeStatus?
    /// The command line, once it has been started.
    private(set) var arguments: [String] = []
    private(set) var isCrashed = false
    /// Since when it is stopped (SIGSTOP): it says nothing, and what it said last stands.
    private(set) var pausedAt: Instant?
    /// Counts starts, so that what depends on one can tell.
    private(set) var boots = 0

    init(index: Int, name: String, folder: String) {
        self.index = index
        self.name = name
        // By number: socket paths are short.
        statePath = "\(folder)/n\(index)"
    }

    var isRunning: Bool { process != nil }
    var wasStarted: Bool { !arguments.isEmpty }

    func started(_ process: ChildProcess, _ arguments: [String]) {
        self.process = process
        self.arguments = arguments
        isCrashed = false
        pausedAt = nil
        boots += 1
    }

    /// Stops it where it is; the kernel goes on taking what arrives.
    func pause(_ now: Instant) {
        process?.signal(19)
        pausedAt = now
    }

    func resume() {
        process?.signal(18)
        pausedAt = nil
    }

    /// Kills it without notice.
    func crash() {
        guard let process else { return }
        process.signal(9)
        process.wait()
        self.process = nil
        status = nil
        pausedAt = nil
        isCrashed = true
    }

    /// Reads the status. Returns the exit status when the program has ended by itself.
    func refresh() -> Int32? {
        guard let process else { return nil }
        if let code = process.poll() {
            self.process = nil
            status = nil
            pausedAt = nil
            return code
        }
        if pausedAt == nil, let current = StatusClient.read(statePath + ".sock") { status = current }
        return nil
    }

    var phase: FabricScenario.NodePhase {
        guard isRunning else { return .off }
        guard let status else { return .joining }
        switch status.phase {
        case "awaiting-approval": return .awaitingApproval
        case "active": return .active
        case "refused": return .refused(status.reason ?? "unknown")
        case "broken": return .refused("broken")
        default: return .joining
        }
    }
}
