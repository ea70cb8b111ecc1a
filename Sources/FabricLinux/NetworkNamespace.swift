internal import CFabricLinux
internal import Glibc

/// A step of setting up a test network that failed, with the command and what it said.
public struct NetworkSetupError: Error, Hashable, Sendable, CustomStringConvertible {
    public var command: String
    public var message: String

    public var description: String { "“\(command)” failed: \(message)" }
}

/// A named network namespace, made and removed through ip(8).
///
/// Names have the form `rap-PID-NAME`, PID being the process that made it, so that what a killed run left can be found
/// (`leftovers`) and removed.
public final class NetworkNamespace {
    public static let prefix = "rap-"

    public let name: String
    private var exists = true

    public var path: String { "/run/netns/\(name)" }

    /// True when this process may make namespaces (root, with ip(8) installed).
    public static var isSupported: Bool {
        guard geteuid() == 0, let result = try? ChildProcess.run(["ip", "netns", "list"]) else { return false }
        return result.status == 0
    }

    /// Makes the namespace with its loopback up. `label` is 1 to 32 characters from `a-z 0-9 -`.
    public static func create(_ label: String) throws -> NetworkNamespace {
        let bytes = label.utf8
        precondition(
            (1...32).contains(bytes.count)
                && bytes.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || $0 == 45 })
        let name = "\(prefix)\(getpid())-\(label)"
        try command(["ip", "netns", "add", name])
        let namespace = NetworkNamespace(name: name)
        try namespace.command(["ip", "link", "set", "lo", "up"])
        return namespace
    }

    init(name: String) { self.name = name }

    /// Ends what still runs inside and removes the namespace with all its interfaces. Removing twice is harmless.
    public func delete() throws {
        guard exists else { return }
        try NetworkNamespace.delete(named: name)
        exists = false
    }

    /// Runs a command inside to its end; throws when it fails.
    @discardableResult
    public func command(_ arguments: [String], input: String = "") throws -> String {
        try NetworkNamespace.command(executing(arguments), input: input)
    }

    /// Runs a command inside to its end and returns whatever came of it.
    public func run(_ arguments: [String], input: String = "") throws(SystemError) -> ChildProcess.Result {
        try ChildProcess.run(executing(arguments), input: input)
    }

    /// Starts a program inside.
    public func spawn(_ arguments: [String], output: ChildProcess.Output = .inherit) throws(SystemError) -> ChildProcess
    {
        try ChildProcess(executing(arguments), output: output)
    }

    /// Runs `body` on a new thread inside the namespace and waits for it. Descriptors opened there (sockets,
    /// captures, TUN devices) stay bound to the namespace and may be used from any thread.
    public func withThread<Value>(_ body: () throws -> Value) throws -> Value {
        try runOnThread {
            try check(fabric_enter_network_namespace(self.path), "enter the network namespace \(self.name)")
            return try body()
        }
    }

    /// Namespaces of this form whose maker is no longer there.
    public static func leftovers() throws -> [String] {
        try command(["ip", "netns", "list"]).split(separator: "\n").compactMap { line in
            guard let name = line.split(separator: " ").first, name.hasPrefix(prefix),
                let maker = Int32(name.dropFirst(prefix.count).prefix { $0 != "-" }),
                kill(maker, 0) != 0, errno == ESRCH
            else { return nil }
            return String(name)
        }.sorted()
    }

    /// Removes what `leftovers` names, and returns the names.
    @discardableResult
    public static func removeLeftovers() throws -> [String] {
        let names = try leftovers()
        for name in names { try delete(named: name) }
        return names
    }

    private static func delete(named name: String) throws {
        let inside = try command(["ip", "netns", "pids", name])
        for process in inside.split(separator: "\n").compactMap({ Int32($0) }) where process != getpid() {
            kill(process, SIGKILL)
        }
        try command(["ip", "netns", "delete", name])
    }

    @discardableResult
    static func command(_ arguments: [String], input: String = "") throws -> String {
        let result = try ChildProcess.run(arguments, input: input)
        guard result.status == 0 else {
            let message = result.errors.split(separator: "\n").joined(separator: "; ")
            throw NetworkSetupError(
                command: arguments.joined(separator: " "),
                message: message.isEmpty ? "status \(result.status)" : message)
        }
        return result.output
    }

    private func executing(_ arguments: [String]) -> [String] { ["ip", "netns", "exec", name] + arguments }
}

/// A closure and its result on their way between two threads, one of which waits for the other.
private final class ThreadWork {
    var body: () -> Void
    init(_ body: @escaping () -> Void) { self.body = body }
}

private func runOnThread<Value>(_ body: () throws -> Value) throws -> Value {
    var result: Result<Value, any Error>?
    try withoutActuallyEscaping(body) { body in
        let work = ThreadWork { result = Result { try body() } }
        var thread = pthread_t()
        let context = Unmanaged.passRetained(work)
        let code = pthread_create(
            &thread, nil,
            { context in
                Unmanaged<ThreadWork>.fromOpaque(context!).takeRetainedValue().body()
                return nil
            }, context.toOpaque())
        guard code == 0 else {
            context.release()
            throw SystemError("start a thread", code: code)
        }
        pthread_join(thread, nil)
        work.body = {}
    }
    return try result!.get()
}
