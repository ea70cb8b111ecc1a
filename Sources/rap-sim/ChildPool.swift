internal import Foundation

/// Whether SIGINT or SIGTERM came; set by the handler that `ChildPool.catchInterrupts` installs.
nonisolated(unsafe) private var interruptCount: sig_atomic_t = 0

/// How a child process ended, and what it wrote.
struct ChildResult {
    enum Ending: Equatable {
        case exited(Int32)
        case signalled(Int32)
        /// It was killed: it took too long.
        case overran
        /// It was killed: it wrote more than `ChildPool.maximumOutput`.
        case wroteTooMuch
    }

    var tag: Int
    var ending: Ending
    var output: [UInt8]
    /// The end of what it wrote to standard error.
    var errors: String
    var seconds: Double
}

/// Runs children of this program, so many at once, from one thread. Each is in a process group of its own, so that a Ctrl-C
/// ends the parent's work in order and not the children's in disorder.
final class ChildPool {
    struct Job {
        var tag: Int
        var arguments: [String]
        /// Added to the parent's environment.
        var environment: [(String, String)] = []
    }

    static let maximumOutput = 64 << 20
    static let keptErrors = 4096

    private struct Child {
        var tag: Int
        var pid: pid_t
        var began: Double
        /// Standard output and standard error; -1 when closed.
        var pipes: [Int32]
        var output: [UInt8] = []
        var errors: [UInt8] = []
        var isLate = false
        var isUnwanted = false
        var isTooLoud = false
    }

    private let jobs: Int
    /// What one child may take.
    var limitSeconds: Double
    private var children: [Child] = []

    init(jobs: Int, limitSeconds: Double) {
        self.jobs = jobs
        self.limitSeconds = limitSeconds
    }

    static var isInterrupted: Bool { interruptCount > 0 }
    static var seconds: Double { Double(DispatchTime.now().uptimeNanoseconds) / 1e9 }
    /// The program that runs now.
    static var ownProgram: String {
        CommandLine.arguments[0].contains("/")
            ? CommandLine.arguments[0] : Bundle.main.executablePath ?? CommandLine.arguments[0]
    }

    static func catchInterrupts() {
        for number in [SIGINT, SIGTERM] {
            signal(number) { _ in
                // The second time there is no waiting.
                if interruptCount > 0 { _exit(130) }
                interruptCount = 1
            }
        }
    }

    /// Runs what `next` gives until it gives nil and all have ended, or until an interrupt. `ended` gets each result; while
    /// nothing happens, `idle` is called a few times a second.
    func run(next: () -> Job?, ended: (ChildResult) -> Void, idle: () -> Void = {}) throws {
        defer { killAll { _ in true } }
        while !Self.isInterrupted {
            while children.count < jobs, let job = next() { try start(job) }
            if children.isEmpty { return }
            for result in wait() where !Self.isInterrupted { ended(result) }
            idle()
        }
    }

    /// Ends those children; their results are not reported.
    func killAll(_ isUnwanted: (Int) -> Bool) {
        for index in children.indices where isUnwanted(children[index].tag) {
            children[index].isUnwanted = true
            kill(children[index].pid, SIGKILL)
        }
        for child in children where child.isUnwanted {
            var status: Int32 = 0
            waitpid(child.pid, &status, 0)
            for pipe in child.pipes where pipe >= 0 { close(pipe) }
        }
        children.removeAll { $0.isUnwanted }
    }

    private func start(_ job: Job) throws {
        var ends = [[Int32]]()
        for _ in 0..<2 {
            var pair: [Int32] = [0, 0]
            guard pipe(&pair) == 0 else { throw failure("no pipe for a child process") }
            // Another child must not hold this one's pipe open. There is one thread, so nothing comes between.
            for end in pair { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
            ends.append(pair)
        }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, ends[0][1], 1)
        posix_spawn_file_actions_adddup2(&actions, ends[1][1], 2)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var defaults = sigset_t()
        sigemptyset(&defaults)
        sigaddset(&defaults, SIGINT)
        sigaddset(&defaults, SIGTERM)
        posix_spawnattr_setsigdefault(&attributes, &defaults)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF))
        let program = Self.ownProgram
        var environment = ProcessInfo.processInfo.environment
        // Swift seeds its hashing anew in each process unless told otherwise; make sure that nothing tells it.
        environment["SWIFT_DETERMINISTIC_HASHING"] = nil
        for (name, value) in job.environment { environment[name] = value }
        let argv = ([program] + job.arguments).map { strdup($0) } + [nil]
        let envp = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for text in argv + envp { free(text) } }
        var pid: pid_t = 0
        // The very program that runs now, also when its file has been replaced by another build since.
        let code = posix_spawn(&pid, "/proc/self/exe", &actions, &attributes, argv, envp)
        for end in ends { close(end[1]) }
        guard code == 0 else {
            for end in ends { close(end[0]) }
            errno = code
            throw failure("\(program) can't be started")
        }
        children.append(Child(tag: job.tag, pid: pid, began: Self.seconds, pipes: ends.map { $0[0] }))
    }

    private func failure(_ what: String) -> SearchFailure {
        SearchFailure(description: "\(what): \(String(cString: strerror(errno))); fewer --jobs may help", status: 4)
    }

    /// Waits a little for output or an end; gives those that ended.
    private func wait() -> [ChildResult] {
        var waiting: [pollfd] = []
        for child in children {
            for pipe in child.pipes where pipe >= 0 {
                waiting.append(pollfd(fd: pipe, events: Int16(POLLIN), revents: 0))
            }
        }
        // No longer than until the next child is late, which may be sooner than people look.
        let due = children.filter { !$0.isLate }.map { $0.began + limitSeconds - Self.seconds }.min() ?? 1
        poll(&waiting, nfds_t(waiting.count), Int32(max(1, min(200, due * 1000 + 1))))
        var results: [ChildResult] = []
        for index in children.indices {
            for stream in 0..<2 where children[index].pipes[stream] >= 0 {
                let pipe = children[index].pipes[stream]
                guard waiting.contains(where: { $0.fd == pipe && $0.revents != 0 }) else { continue }
                read(index, stream)
            }
            if !children[index].isLate, Self.seconds - children[index].began > limitSeconds {
                children[index].isLate = true
                kill(children[index].pid, SIGKILL)
            }
            if children[index].pipes == [-1, -1] { results.append(finish(children[index])) }
        }
        children.removeAll { $0.pipes == [-1, -1] }
        return results
    }

    private func read(_ index: Int, _ stream: Int) {
        var chunk = [UInt8](repeating: 0, count: 65_536)
        let count = Foundation.read(children[index].pipes[stream], &chunk, chunk.count)
        if count <= 0 {
            close(children[index].pipes[stream])
            children[index].pipes[stream] = -1
        } else if stream == 0 {
            children[index].output += chunk[..<count]
            if children[index].output.count > Self.maximumOutput, !children[index].isTooLoud {
                children[index].isTooLoud = true
                children[index].output = []
                kill(children[index].pid, SIGKILL)
            }
        } else {
            children[index].errors = (children[index].errors + chunk[..<count]).suffix(Self.keptErrors)
        }
    }

    private func finish(_ child: Child) -> ChildResult {
        var status: Int32 = 0
        waitpid(child.pid, &status, 0)
        let signal = status & 0x7F
        let ending: ChildResult.Ending =
            if child.isTooLoud {
                .wroteTooMuch
            } else if child.isLate {
                .overran
            } else {
                signal == 0 ? .exited(status >> 8 & 0xFF) : .signalled(signal)
            }
        return ChildResult(
            tag: child.tag, ending: ending, output: child.output, errors: String(decoding: child.errors, as: UTF8.self),
            seconds: Self.seconds - child.began)
    }
}

/// Why a search can't go on; for people.
struct SearchFailure: Error, CustomStringConvertible {
    var description: String
    /// The program's: 2 when the file or the command is wrong, 4 when the machine has failed.
    var status: Int32 = 2
}
