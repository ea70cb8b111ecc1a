internal import FabricCore
internal import FabricWire

/// Whose call a route is.
enum Access: Sendable {
    /// The operators' bearer token.
    case operators
    /// A join token's secret as bearer.
    case joiningHost
    /// A node's SVID, the current one or the one before.
    case node
    /// A node's SVID, whichever has not expired.
    case renewingNode
    case anyone
}

struct Route: Sendable {
    var method: HTTPMethod
    /// `{…}` stands for one segment, which the handler finds in `Call.segments`, in order.
    var pattern: [Substring]
    var access: Access
    /// The query parameters that it knows; others are refused.
    var parameters: [String]
    var handler: @Sendable (ControlPlane, Call) throws -> Outcome

    init(
        _ method: HTTPMethod, _ pattern: String, _ access: Access, parameters: [String] = [],
        _ handler: @escaping @Sendable (ControlPlane, Call) throws -> Outcome
    ) {
        self.method = method
        self.pattern = pattern.split(separator: "/")
        self.access = access
        self.parameters = parameters
        self.handler = handler
    }
}

struct Router: Sendable {
    private let routes: [Route]
    /// Those without placeholders, by path: most requests go to one of them.
    private let fixed: [String: [Route]]

    static let longestPath = 512

    init(_ routes: [Route]) {
        self.routes = routes
        let plain = routes.filter { !$0.pattern.contains { $0.hasPrefix("{") } }
        fixed = Dictionary(grouping: plain) { "/" + $0.pattern.joined(separator: "/") }
    }

    /// The route, and the segments that stand for its placeholders.
    func match(_ request: HTTPRequest) throws(Problem) -> (route: Route, segments: [String]) {
        guard request.path.utf8.count <= Self.longestPath, request.path.hasPrefix("/") else {
            throw Problem(.notFound, "there is nothing at this path")
        }
        if let route = fixed[request.path]?.first(where: { $0.method == request.method }) { return (route, []) }
        let segments = request.path.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
        var allowed: [String] = []
        for route in routes where route.pattern.count == segments.count {
            var values: [String] = []
            let matches = zip(route.pattern, segments).allSatisfy { expected, found in
                if expected.hasPrefix("{") {
                    values.append(String(found))
                    return !found.isEmpty
                }
                return expected == found
            }
            guard matches else { continue }
            if route.method == request.method { return (route, values) }
            allowed.append(route.method.rawValue)
        }
        guard allowed.isEmpty else {
            throw Problem(
                .methodNotAllowed,
                "\(request.method.rawValue) does not apply here; \(allowed.joined(separator: ", ")) does")
        }
        throw Problem(.notFound, "there is nothing at \(request.path.prefix(120))")
    }
}

extension ControlPlane {
    private static let paging = ["after", "limit"]

    /// Every call of the control API; `docs/control-api.md` describes them in this order.
    static let router = Router([
        Route(.get, "v1/health", .anyone) { try $0.showHealth($1) },
        // Answered without a transaction.
        Route(.get, "v1/health/live", .anyone) { $1.reply(ControlPlane.healthy) },

        Route(.post, "v1/clusters", .operators) { try $0.createCluster($1) },
        Route(.get, "v1/clusters", .operators, parameters: paging) { try $0.listClusters($1) },
        Route(.get, "v1/clusters/{cluster}", .operators) { try $0.showCluster($1) },
        Route(.get, "v1/clusters/{cluster}/keys", .operators) { try $0.showClusterKeys($1) },
        Route(.put, "v1/clusters/{cluster}/trust", .operators) { try $0.setTrust($1) },
        Route(.get, "v1/clusters/{cluster}/audit", .operators, parameters: paging) { try $0.listAudit($1) },

        Route(.post, "v1/clusters/{cluster}/join-tokens", .operators) { try $0.createToken($1) },
        Route(.get, "v1/clusters/{cluster}/join-tokens", .operators, parameters: paging) { try $0.listTokens($1) },
        Route(.get, "v1/clusters/{cluster}/join-tokens/{token}", .operators) { try $0.showToken($1) },
        Route(.post, "v1/clusters/{cluster}/join-tokens/{token}/revocation", .operators) { try $0.revokeToken($1) },

        Route(.get, "v1/clusters/{cluster}/join-requests", .operators, parameters: paging + ["status"]) {
            try $0.listJoinRequests($1)
        },
        Route(.get, "v1/clusters/{cluster}/join-requests/{request}", .operators) { try $0.showJoinRequest($1) },
        Route(.post, "v1/clusters/{cluster}/join-requests/{request}/approval", .operators) { try $0.approve($1) },
        Route(.post, "v1/clusters/{cluster}/join-requests/{request}/rejection", .operators) { try $0.reject($1) },

        Route(.get, "v1/clusters/{cluster}/nodes", .operators, parameters: paging) { try $0.listNodes($1) },
        Route(.get, "v1/clusters/{cluster}/nodes/{node}", .operators) { try $0.showNode($1) },
        Route(.post, "v1/clusters/{cluster}/nodes/{node}/disable", .operators) {
            try $0.setMembership($1, active: false)
        },
        Route(.post, "v1/clusters/{cluster}/nodes/{node}/enable", .operators) {
            try $0.setMembership($1, active: true)
        },

        Route(.post, "v1/enrolments", .joiningHost) { try $0.enrol($1) },
        Route(.post, "v1/enrolments/{request}/proof", .joiningHost) { try $0.prove($1) },
        Route(.get, "v1/enrolments/{request}", .joiningHost, parameters: ["wait"]) { try $0.enrolmentStatus($1) },

        Route(.post, ControlPlane.heartbeatPath, .node) { try $0.heartbeat($1) },
        Route(.get, "v1/node/updates", .node, parameters: ["snapshot", "records", "trust", "wait"]) {
            try $0.updates($1)
        },
        Route(.post, "v1/node/certificate", .renewingNode) { try $0.renewCertificate($1) },
    ])
}
