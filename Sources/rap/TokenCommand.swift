internal import ArgumentParser
internal import FabricCore
internal import FabricOperator
internal import FabricRuntime
internal import FabricWire

struct TokenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token", abstract: "Makes, lists and revokes join tokens.",
        subcommands: [Create.self, List.self, Revoke.self])

    /// What `create --json` prints.
    struct Created: Encodable {
        var token: String
        var view: ControlAPI.JoinTokenView
    }

    struct Create: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes a join token and prints it.",
            discussion: "The token is a secret and is shown once: the control plane has only its hash.")
        @OptionGroup var global: GlobalOptions
        @Argument(help: "The cluster.") var cluster: String
        @Option(help: "What the token is for; people read it.") var name: String
        @Option(help: "How many hosts may use it.") var uses = 1
        @Option(help: "How long it can be used, such as 15m, 1h or 7d.") var lifetime = "1h"
        @Option(help: "A routing domain that hosts may join besides “fabric”; repeat for several.")
        var domain: [String] = []
        @Option(help: "Node names must begin with this.") var namePrefix = ""

        func run() throws {
            let id: ClusterID = try identifier(cluster, "a cluster's name")
            guard let duration = Duration(text: lifetime), duration > .zero else {
                throw ValidationError("--lifetime: “\(lifetime)” is not a time such as 15m, 1h or 7d")
            }
            let others: [RoutingDomainID] = try domain.map { try identifier($0, "a routing domain") }
            let scope = ControlAPI.TokenScope(
                domains: [.fabric] + others.filter { $0 != .fabric }, namePrefix: namePrefix)
            let session = try global.session()
            let (token, view) = try session.createToken(
                in: id, name: name, uses: uses, lifetime: duration, scope: scope)
            // The token alone on its line, so that a shell can take it.
            try global.show(Created(token: token.description, view: view)) { token.description }
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists join tokens.")
        @OptionGroup var global: GlobalOptions
        @Argument(help: "The cluster.") var cluster: String

        func run() throws {
            let id: ClusterID = try identifier(cluster, "a cluster's name")
            let session = try global.session()
            let tokens = try session.all { session.calls.tokens(id, $0) }
            try global.show(tokens) {
                var table = Table(["TOKEN", "NAME", "STATUS", "USED", "EXPIRES", "DOMAINS", "NAME PREFIX"])
                for token in tokens {
                    table.add([
                        token.id.text, token.name, status(token, session.now), "\(token.used)/\(token.maximumUses)",
                        time(token.expiresAt), token.scope.domains.map(\.text).joined(separator: ","),
                        token.scope.namePrefix,
                    ])
                }
                return table.text
            }
        }

        private func status(_ token: ControlAPI.JoinTokenView, _ now: WallTime) -> String {
            if token.revokedAt != nil { return "revoked" }
            if token.expiresAt <= now.seconds { return "expired" }
            return token.used >= token.maximumUses ? "used up" : "live"
        }
    }

    struct Revoke: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Revokes a join token: nobody can use it any more. Nodes that joined with it stay.")
        @OptionGroup var global: GlobalOptions
        @Argument(help: "The cluster.") var cluster: String
        @Argument(help: "The token's id, as “token list” shows it.") var token: String

        func run() throws {
            let id: ClusterID = try identifier(cluster, "a cluster's name")
            let token: JoinTokenID = try identifier(token, "a join token's id")
            let session = try global.session()
            let view = try session.perform(session.calls.revoke(token, in: id))
            try global.show(view) { "Token “\(plain(view.name))” was revoked at \(time(view.revokedAt))." }
        }
    }
}
