internal import ArgumentParser
internal import FabricCore
internal import FabricOperator
internal import FabricRuntime
internal import FabricWire
internal import Foundation

struct JoinCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "join", abstract: "Shows and decides join requests.",
        subcommands: [List.self, Show.self, Approve.self, Reject.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists join requests.")
        @OptionGroup var global: GlobalOptions
        @Argument(help: "The cluster.") var cluster: String
        @Option(help: "proving, pending, approved, rejected, or all.") var status = "pending"

        func run() throws {
            let id: ClusterID = try identifier(cluster, "a cluster's name")
            guard ["proving", "pending", "approved", "rejected", "all"].contains(status) else {
                throw ValidationError("--status: “\(status)” is not proving, pending, approved, rejected or all")
            }
            let session = try global.session()
            let requests = try session.all {
                session.calls.joinRequests(id, status: status == "all" ? nil : status, $0)
            }
            try global.show(requests) { requestTable(requests) }
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Shows a join request.")
        @OptionGroup var global: GlobalOptions
        @Argument(help: "The cluster.") var cluster: String
        @Argument(help: "The request's id.") var request: String

        func run() throws {
            let id: ClusterID = try identifier(cluster, "a cluster's name")
            let request: JoinRequestID = try identifier(request, "a join request's id")
            let session = try global.session()
            let view = try session.perform(session.calls.joinRequest(request, in: id))
            try global.show(view) { describe(view) }
        }
    }

    struct Approve: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Admits hosts to a cluster, with this operator's signature.",
            discussion: """
                The signature covers the node's name, its identity key and its tunnel keys, which are shown. Compare \
                the node id with what “rap-node-agent status” prints on the host: it follows from the key.
                """)
        @OptionGroup var global: GlobalOptions
        @Argument(help: "The cluster.") var cluster: String
        @Argument(help: "The requests' ids.") var requests: [String] = []
        @Option(help: "Approve the pending request of the node with this name.") var name: String?
        @Flag(help: "Approve every pending request.") var allPending = false

        func validate() throws {
            guard [!requests.isEmpty, name != nil, allPending].filter({ $0 }).count == 1 else {
                throw ValidationError("say what to approve: request ids, --name NODE, or --all-pending")
            }
        }

        func run() throws {
            let id: ClusterID = try identifier(cluster, "a cluster's name")
            let ids: [JoinRequestID] = try requests.map { try identifier($0, "a join request's id") }
            let session = try global.session()
            let keys = try session.loadCluster(id)
            let chosen = try choose(ids, id, session)
            var approved: [ControlAPI.JoinRequestView] = []
            for request in chosen {
                if !global.json { print(describe(request)) }
                do {
                    approved.append(try session.approve(request, in: keys))
                } catch {
                    let done = approved.isEmpty ? "" : " (\(approved.count) of \(chosen.count) were approved before)"
                    throw Failure("\(plain(request.name)) (\(request.id)) was not approved: \(error)\(done)")
                }
                if !global.json { print("→ approved\n") }
            }
            if global.json { try global.show(approved) { "" } } else { print("Approved: \(approved.count).") }
        }

        private func choose(
            _ ids: [JoinRequestID], _ cluster: ClusterID, _ session: OperatorSession
        ) throws -> [ControlAPI.JoinRequestView] {
            if !ids.isEmpty {
                return try ids.map { try session.perform(session.calls.joinRequest($0, in: cluster)) }
            }
            let pending = try session.all { session.calls.joinRequests(cluster, status: "pending", $0) }
            guard let name else { return pending }
            let matching = pending.filter { $0.name == name }
            guard matching.count == 1 else {
                throw Failure(
                    matching.isEmpty
                        ? "no pending request is from a node “\(name)”"
                        : "\(matching.count) pending requests are from a node “\(name)”; choose by id:\n"
                            + requestTable(matching))
            }
            return matching
        }
    }

    struct Reject: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Rejects a join request.")
        @OptionGroup var global: GlobalOptions
        @Argument(help: "The cluster.") var cluster: String
        @Argument(help: "The request's id.") var request: String
        @Option(help: "Why; the host is told.") var reason: String

        func run() throws {
            let id: ClusterID = try identifier(cluster, "a cluster's name")
            let request: JoinRequestID = try identifier(request, "a join request's id")
            let session = try global.session()
            let view = try session.perform(session.calls.reject(request, in: id, reason: reason))
            try global.show(view) { "The request of “\(plain(view.name))” is \(view.status)." }
        }
    }
}

private func requestTable(_ requests: [ControlAPI.JoinRequestView]) -> String {
    var table = Table(["REQUEST", "NAME", "STATUS", "NODE", "DOMAINS", "OS", "CREATED"])
    for request in requests {
        table.add([
            request.id.text, request.name, request.status, request.node.text,
            request.tunnelKeys.map(\.domain.text).joined(separator: ","), request.facts.os, time(request.createdAt),
        ])
    }
    return table.text
}

private func describe(_ request: ControlAPI.JoinRequestView) -> String {
    var pairs = [
        ("Request", request.id.text), ("Name", request.name), ("Node", request.node.text),
        ("Identity key", Hex.encode(request.identityKey.bytes)),
    ]
    for key in request.tunnelKeys { pairs.append(("Tunnel key of \(key.domain)", Hex.encode(key.publicKey.bytes))) }
    pairs += [
        ("Host", "\(request.facts.os), \(request.facts.architecture), agent \(request.facts.version)"),
        ("Capabilities", request.capabilities.joined(separator: ", ")),
        ("Asks for roles", request.requestedRoles.isEmpty ? "none" : request.requestedRoles.joined(separator: ", ")),
        ("Status", request.status), ("Created", time(request.createdAt)),
    ]
    if let decided = request.decidedAt { pairs.append(("Decided", time(decided))) }
    if let reason = request.rejectionReason { pairs.append(("Reason", reason)) }
    return fields(pairs)
}
