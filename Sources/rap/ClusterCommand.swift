internal import ArgumentParser
internal import FabricCore
internal import FabricOperator
internal import FabricRuntime
internal import FabricWire

struct ClusterCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cluster", abstract: "Makes and shows clusters.", subcommands: [Create.self, List.self, Show.self])

    struct Create: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes a cluster: its keys here, then the cluster at the control plane.",
            discussion: "A creation that was cut off is finished by giving the same command again.")
        @OptionGroup var global: GlobalOptions
        @Argument(help: "The cluster's name: 1 to 64 characters from a-z, 0-9 and -.") var name: String
        @Option(help: "Tunnel peers of each node in each routing domain; even.") var peers = 4

        func run() throws {
            let id: ClusterID = try identifier(name, "a cluster's name")
            let session = try global.session()
            let cluster = try session.createCluster(id, name: name, peerDegree: peers)
            try global.show(cluster) {
                "Cluster “\(id)” is \(cluster.status).\nIts keys are in \(session.keyFile(id)): a secret that cannot be "
                    + "made again, so keep a copy."
            }
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists clusters.")
        @OptionGroup var global: GlobalOptions

        func run() throws {
            let session = try global.session()
            let clusters = try session.all { session.calls.clusters($0) }
            try global.show(clusters) {
                var table = Table(["CLUSTER", "STATUS", "NODES", "PENDING", "PEERS", "CREATED"])
                for cluster in clusters {
                    table.add([
                        cluster.id.text, cluster.status, "\(cluster.nodes)", "\(cluster.pendingRequests)",
                        "\(cluster.peerDegree)", time(cluster.createdAt),
                    ])
                }
                return table.text
            }
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Shows a cluster.")
        @OptionGroup var global: GlobalOptions
        @Argument(help: "The cluster.") var cluster: String

        func run() throws {
            let id: ClusterID = try identifier(cluster, "a cluster's name")
            let session = try global.session()
            let cluster = try session.perform(session.calls.cluster(id))
            try global.show(cluster) {
                fields([
                    ("Cluster", cluster.id.text), ("Status", cluster.status), ("Nodes", "\(cluster.nodes)"),
                    ("Pending requests", "\(cluster.pendingRequests)"), ("Peers of a node", "\(cluster.peerDegree)"),
                    ("Root pin", Hex.encode(cluster.rootPin.bytes)),
                    ("Control plane's pin", Hex.encode(cluster.controlPin.bytes)),
                    ("Created", time(cluster.createdAt)),
                ])
            }
        }
    }
}
