internal import CFabricLinux
internal import FabricCore
internal import Glibc

/// A program that this process started, in a process group of its own (so that a Ctrl-C reaches only this process,
/// which then ends its children in order).
public final class ChildProcess {
    public enum Output: Sendable {
        case inherit
        case discard
        /// Appended to a file, which is made with mode 0600.
        case file(String)
    }

    public struct Result: Sendable {
        /// The exit status, or 128 plus the number of the signal that ended it.
        public var status: Int32
        public var output: String
        public var errors: String
    }

    /// The most output of `run` that is kept; the rest is read and dropped.
    public static let maximumOutputBytes = 16 << 20

    public let processID: Int32
    public let arguments: [String]
    private var finished: Int32?

    /// Starts `arguments[0]`, looked up in PATH, with the environment of this process.
    public init(_ arguments: [String], output: Output = .inherit) throws(SystemError) {
        self.arguments = arguments
        processID = try ChildProcess.spawn(arguments) { actions in
            posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
            switch output {
            case .inherit: break
            case .discard:
                posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
                posix_spawn_file_actions_adddup2(&actions, 1, 2)
            case .file(let path):
                posix_spawn_file_actions_addopen(&actions, 1, path, O_WRONLY | O_CREAT | O_APPEND, 0o600)
                posix_spawn_file_actions_adddup2(&actions, 1, 2)
            }
        }
    }

    /// The status when the program has ended, nil while it runs.
    public func poll() -> Int32? { wait(options: WNOHANG) }

    /// Waits for the end.
    @discardableResult
    public func wait() -> Int32 { wait(options: 0) ?? 0 }

    public func signal(_ number: Int32) {
        // Once it is reaped the number may belong to another process.
        if poll() == nil { kill(processID, number) }
    }

    /// Asks it to end (SIGTERM), waits up to `grace`, then ends it (SIGKILL).
    @discardableResult
    public func terminate(grace: Duration) -> Int32 {
        signal(SIGTERM)
        let limit = LinuxClock.now().monotonic + grace
        while LinuxClock.now().monotonic < limit {
            if let status = poll() { return status }
            usleep(10_000)
        }
        signal(SIGKILL)
        return wait()
    }

    /// Runs a program to its end and returns its output.
    public static func run(_ arguments: [String], input: String = "") throws(SystemError) -> Result {
        let (inputRead, inputWrite) = try pipe()
        let (outputRead, outputWrite) = try pipe()
        let (errorsRead, errorsWrite) = try pipe()
        var processID: Int32 = 0
        do {
            defer { for end in [inputRead, outputWrite, errorsWrite] { close(end) } }
            do {
                processID = try spawn(arguments) { actions in
                    posix_spawn_file_actions_adddup2(&actions, inputRead, 0)
                    posix_spawn_file_actions_adddup2(&actions, outputWrite, 1)
                    posix_spawn_file_actions_adddup2(&actions, errorsWrite, 2)
                }
            } catch {
                for end in [inputWrite, outputRead, errorsRead] { close(end) }
                throw error
            }
        }
        let texts = exchange(input: Array(input.utf8), inputWrite, outputRead, errorsRead)
        var status: Int32 = 0
        while waitpid(processID, &status, 0) < 0, errno == EINTR {}
        return Result(status: exitStatus(status), output: texts.output, errors: texts.errors)
    }

    private func wait(options: Int32) -> Int32? {
        if let finished { return finished }
        var status: Int32 = 0
        while true {
            let result = waitpid(processID, &status, options)
            if result == 0 { return nil }
            if result < 0 && errno == EINTR { continue }
            finished = result < 0 ? 0 : ChildProcess.exitStatus(status)
            return finished
        }
    }

    /// Feeds the program's input and collects its output, all at once, so that no side waits on a full pipe. Closes
    /// the three.
    private static func exchange(
        input: [UInt8], _ inputWrite: Int32, _ outputRead: Int32, _ errorsRead: Int32
    ) -> (output: String, errors: String) {
        var collected: [[UInt8]] = [[], []]
        var polls = [
            pollfd(fd: outputRead, events: Int16(POLLIN), revents: 0),
            pollfd(fd: errorsRead, events: Int16(POLLIN), revents: 0),
            pollfd(fd: inputWrite, events: Int16(POLLOUT), revents: 0),
        ]
        var written = 0
        var buffer = [UInt8](repeating: 0, count: 65_536)
        func finish(_ index: Int) {
            close(polls[index].fd)
            polls[index].fd = -1
        }
        // A program that closes its input early must not end us by SIGPIPE.
        let previous = Glibc.signal(SIGPIPE, SIG_IGN)
        defer { Glibc.signal(SIGPIPE, previous) }
        if input.isEmpty { finish(2) }
        while polls[0].fd >= 0 || polls[1].fd >= 0 {
            guard Glibc.poll(&polls, 3, -1) >= 0 || errno == EINTR else { break }
            for index in 0...1 where polls[index].fd >= 0 && polls[index].revents != 0 {
                let count = read(polls[index].fd, &buffer, buffer.count)
                if count <= 0 {
                    finish(index)
                } else if collected[index].count < maximumOutputBytes {
                    collected[index] += buffer[..<count]
                }
            }
            if polls[2].fd >= 0, polls[2].revents != 0 {
                let count = input.withUnsafeBytes {
                    write(polls[2].fd, $0.baseAddress! + written, min(4096, $0.count - written))
                }
                written += max(count, 0)
                if count < 0 || written == input.count { finish(2) }
            }
        }
        for index in 0...2 where polls[index].fd >= 0 { finish(index) }
        return (String(decoding: collected[0], as: UTF8.self), String(decoding: collected[1], as: UTF8.self))
    }

    private static func exitStatus(_ status: Int32) -> Int32 {
        let signal = status & 0x7F
        return signal == 0 ? status >> 8 & 0xFF : 128 + signal
    }

    private static func pipe() throws(SystemError) -> (read: Int32, write: Int32) {
        var ends: [Int32] = [0, 0]
        try check(fabric_pipe(&ends, 0), "create a pipe")
        return (ends[0], ends[1])
    }

    private static func spawn(
        _ arguments: [String], _ prepare: (inout posix_spawn_file_actions_t) -> Void
    ) throws(SystemError) -> Int32 {
        precondition(!arguments.isEmpty)
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        prepare(&actions)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // Signals as a fresh program expects them, whatever this process does with its own.
        var defaults = sigset_t()
        sigfillset(&defaults)
        posix_spawnattr_setsigdefault(&attributes, &defaults)
        var unmasked = sigset_t()
        sigemptyset(&unmasked)
        posix_spawnattr_setsigmask(&attributes, &unmasked)
        posix_spawnattr_setpgroup(&attributes, 0)
        let flags = POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK
        posix_spawnattr_setflags(&attributes, Int16(flags))
        let pointers = arguments.map { strdup($0) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        var processID: pid_t = 0
        let code = posix_spawnp(&processID, arguments[0], &actions, &attributes, pointers, environ)
        guard code == 0 else { throw SystemError("start \(arguments[0])", code: code) }
        return processID
    }
}
