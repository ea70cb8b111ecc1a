internal import FabricCore
internal import FabricDocument
internal import FabricLinux
internal import FabricScenario
internal import FabricWire

/// The operator's command line program, run in the control plane's namespace. Each call blocks until it has ended.
struct OperatorProgram: Sendable {
    static let limits = DocumentLimits(maximumBytes: 16 << 20, maximumDepth: 64, maximumNodes: 2_000_000)

    var program: String
    var namespace: String
    var contextFile: String
    var cluster: String

    /// A call that was refused or got no answer.
    struct Failure: Error {
        var command: String
        var message: String
    }

    struct Token: Sendable {
        var id: String
        var text: String
    }

    func createCluster(peers: Int) throws(Failure) {
        _ = try call(["cluster", "create", cluster, "--peers", "\(peers)"])
    }

    func createToken(_ token: PlannedToken) throws(Failure) -> Token {
        var arguments = ["token", "create", cluster, "--name", token.name, "--uses", "\(token.uses)"]
        arguments += ["--lifetime", "\(token.lifetime.components.seconds)s"]
        for domain in token.domains where domain != .fabric { arguments += ["--domain", domain.text] }
        if !token.namePrefix.isEmpty { arguments += ["--name-prefix", token.namePrefix] }
        let created: CreatedToken = try list(arguments)
        return Token(id: created.view.id.text, text: created.token)
    }

    func revoke(_ token: Token) throws(Failure) { _ = try call(["token", "revoke", cluster, token.id]) }

    func joinRequests(status: String) throws(Failure) -> [ControlAPI.JoinRequestView] {
        try list(["join", "list", cluster, "--status", status])
    }

    func approve(_ requests: [ControlAPI.JoinRequestView]) throws(Failure) {
        _ = try call(["join", "approve", cluster] + requests.map(\.id.text))
    }

    func reject(_ request: ControlAPI.JoinRequestView, reason: String) throws(Failure) {
        _ = try call(["join", "reject", cluster, request.id.text, "--reason", reason])
    }

    func setMembership(of node: ControlAPI.NodeView, active: Bool) throws(Failure) {
        _ = try call(["node", active ? "enable" : "disable", cluster, node.id.text])
    }

    func nodes() throws(Failure) -> [ControlAPI.NodeView] { try list(["node", "list", cluster]) }

    func audit(after: Int64) throws(Failure) -> [ControlAPI.AuditEvent] {
        try list(["audit", cluster, "--after", "\(after)"])
    }

    private struct CreatedToken: Decodable {
        var token: String
        var view: ControlAPI.JoinTokenView
    }

    private func list<Answer: Decodable>(_ arguments: [String]) throws(Failure) -> Answer {
        let output = try call(arguments + ["--json"])
        do throws(DocumentError) {
            return try JSON.decode(Answer.self, from: Array(output.utf8), limits: Self.limits)
        } catch {
            throw Failure(command: arguments.joined(separator: " "), message: "its output can't be read: \(error)")
        }
    }

    private func call(_ arguments: [String]) throws(Failure) -> String {
        let command = arguments.joined(separator: " ")
        let result: ChildProcess.Result
        do throws(SystemError) {
            // Two words each: options of the subcommand, which `--context` is.
            result = try ChildProcess.run(
                ["ip", "netns", "exec", namespace, program] + arguments + ["--context", contextFile])
        } catch {
            throw Failure(command: command, message: "\(error)")
        }
        guard result.status == 0 else {
            let message = result.errors.split(separator: "\n").joined(separator: "; ")
            throw Failure(command: command, message: message.isEmpty ? "status \(result.status)" : message)
        }
        return result.output
    }
}
