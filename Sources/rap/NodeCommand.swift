internal import ArgumentParser
internal import FabricCore
internal import FabricOperator
internal import FabricRuntime
internal import FabricWire

struct NodeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "node", abstract: "Shows, disables and enables nodes.",
        subcommands: [List.self, Show.self, Disable.self, Enable.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists nodes.")
        @OptionGroup var global: GlobalOptions
        @Argument(help: "The cluster.") var cluster: String

        func run() throws {
            let id: ClusterID = try identifier(cluster, "a cluster's name")
            let session = try global.session()
            let nodes = try session.all { session.calls.nodes(id, $0) }
            try global.show(nodes) {
                var table = Table([
                    "NAME", "NODE", "HEALTH", "MEMBERSHIP", "PEERS UP", "SNAPSHOT", "APPLIED", "LAST SEEN",
                ])
                for node in nodes.sorted(by: { ($0.name, $0.id) < ($1.name, $1.id) }) {
                    table.add([
                        node.name, node.id.text, node.health, node.membership, "\(node.peersUp)",
                        "\(node.snapshotVersion)", "\(node.appliedVersion)", time(node.lastSeenAt),
                    ])
                }
                return table.text
            }
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Shows a node.")
        @OptionGroup var global: GlobalOptions
        @OptionGroup var target: NodeTarget

        func run() throws {
            let session = try global.session()
            let node = try target.find(session)
            try global.show(node) { describe(node) }
        }
    }

    struct Disable: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Disables a node's membership: its peers drop it, and its certificate counts no more.")
        @OptionGroup var global: GlobalOptions
        @OptionGroup var target: NodeTarget

        func run() throws {
            let session = try global.session()
            let node = try target.find(session)
            let view = try session.perform(session.calls.disable(node.id, in: try target.clusterID()))
            try global.show(view) { "The membership of “\(plain(view.name))” is \(view.membership)." }
        }
    }

    struct Enable: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Enables a node's membership again.")
        @OptionGroup var global: GlobalOptions
        @OptionGroup var target: NodeTarget

        func run() throws {
            let session = try global.session()
            let node = try target.find(session)
            let view = try session.perform(session.calls.enable(node.id, in: try target.clusterID()))
            try global.show(view) { "The membership of “\(plain(view.name))” is \(view.membership)." }
        }
    }
}

/// A node, by id or by name.
struct NodeTarget: ParsableArguments {
    @Argument(help: "The cluster.") var cluster: String
    @Argument(help: "The node's id or name.") var node: String

    func clusterID() throws -> ClusterID { try identifier(cluster, "a cluster's name") }

    func find(_ session: OperatorSession) throws -> ControlAPI.NodeView {
        let id = try clusterID()
        let nodes = try session.all { session.calls.nodes(id, $0) }
        if let exact = nodes.first(where: { $0.id.text == node }) { return exact }
        let named = nodes.filter { $0.name == node }
        if let only = named.first, named.count == 1 { return only }
        // A disabled node's name may be another's by now.
        let active = named.filter { $0.membership == "active" }
        if let only = active.first, active.count == 1 { return only }
        throw Failure(
            named.isEmpty
                ? "cluster “\(id)” has no node “\(node)”"
                : "\(named.count) nodes are called “\(node)”: " + named.map(\.id.text).joined(separator: ", "))
    }
}

private func describe(_ node: ControlAPI.NodeView) -> String {
    var pairs = [
        ("Name", node.name), ("Node", node.id.text), ("Health", node.health), ("Membership", node.membership),
        ("Peers up", "\(node.peersUp)"),
        ("Snapshot", "\(node.snapshotVersion), applied \(node.appliedVersion)"),
        ("Clock offset", "\(node.clockOffsetMilliseconds) ms"),
        ("Host", "\(node.facts.os), \(node.facts.architecture), agent \(node.facts.version)"),
        ("Capabilities", node.capabilities.joined(separator: ", ")),
    ]
    for key in node.tunnelKeys { pairs.append(("Tunnel key of \(key.domain)", Hex.encode(key.publicKey.bytes))) }
    pairs += [
        ("Certificate", node.certificateSerial.map { Hex.encode($0.bytes) } ?? "-"),
        ("Certificate ends", time(node.certificateNotAfter)), ("Joined", time(node.joinedAt)),
        ("Last seen", time(node.lastSeenAt)),
    ]
    return fields(pairs)
}
