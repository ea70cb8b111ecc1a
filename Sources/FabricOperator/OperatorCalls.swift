public import FabricCore
internal import FabricDocument
public import FabricWire

/// A call of the control API with the type of its answer.
public struct OperatorCall<Answer: Decodable>: Sendable {
    public var request: HTTPRequest

    /// The answer, or the refusal.
    public func decode(_ reply: HTTPReply) throws(OperatorCallError) -> Answer {
        guard reply.isSuccess else {
            guard reply.contentType == HTTPReply.problemJSON,
                let problem = try? JSON.decode(Problem.self, from: reply.body)
            else { throw .unexpected("status \(reply.status) without a problem document") }
            throw .refused(problem)
        }
        do throws(DocumentError) {
            let limits = DocumentLimits(maximumBytes: HTTPLimits.replyBody, maximumNodes: 2_000_000)
            return try JSON.decode(Answer.self, from: reply.body, limits: limits)
        } catch {
            throw .unexpected("\(error)")
        }
    }
}

public enum OperatorCallError: Error, Hashable, Sendable, CustomStringConvertible {
    case refused(Problem)
    /// Not an answer of this API.
    case unexpected(String)

    public var description: String {
        switch self {
        case .refused(let problem): "\(problem.title): \(problem.detail)"
        case .unexpected(let what): "the control plane's answer can't be read: \(what)"
        }
    }
}

/// Where a list goes on, and how long its pages are.
public struct PageQuery: Hashable, Sendable {
    public var after: String?
    public var limit: Int?
    public init(after: String? = nil, limit: Int? = nil) {
        self.after = after
        self.limit = limit
    }

    var items: [HTTPRequest.QueryItem] {
        (after.map { [.init("after", $0)] } ?? []) + (limit.map { [.init("limit", "\($0)")] } ?? [])
    }
}

/// Every call that operators make. Each may be repeated when its answer was lost.
public struct OperatorCalls: Sendable {
    /// The operators' bearer token.
    public var bearer: String

    public init(bearer: String) { self.bearer = bearer }

    private func get<Answer>(_ path: String, _ query: [HTTPRequest.QueryItem] = []) -> OperatorCall<Answer> {
        OperatorCall(request: HTTPRequest(.get, path, query: query, bearer: bearer))
    }

    private func send<Answer>(_ method: HTTPMethod, _ path: String, _ body: some Encodable) -> OperatorCall<Answer> {
        OperatorCall(request: HTTPRequest(method, path, bearer: bearer, body: JSON.encodeOwn(body)))
    }

    private func post<Answer>(_ path: String) -> OperatorCall<Answer> {
        OperatorCall(request: HTTPRequest(.post, path, bearer: bearer))
    }

    // MARK: Clusters

    public func create(_ cluster: ControlAPI.NewCluster) -> OperatorCall<ControlAPI.ClusterKeys> {
        send(.post, "/v1/clusters", cluster)
    }
    public func clusters(_ page: PageQuery = PageQuery()) -> OperatorCall<ControlAPI.Page<ControlAPI.Cluster>> {
        get("/v1/clusters", page.items)
    }
    public func cluster(_ cluster: ClusterID) -> OperatorCall<ControlAPI.Cluster> { get("/v1/clusters/\(cluster)") }
    public func keys(_ cluster: ClusterID) -> OperatorCall<ControlAPI.ClusterKeys> {
        get("/v1/clusters/\(cluster)/keys")
    }
    public func setTrust(_ trust: ControlAPI.ClusterTrust, of cluster: ClusterID) -> OperatorCall<ControlAPI.Cluster> {
        send(.put, "/v1/clusters/\(cluster)/trust", trust)
    }
    public func audit(
        _ cluster: ClusterID, _ page: PageQuery = PageQuery()
    ) -> OperatorCall<ControlAPI.Page<ControlAPI.AuditEvent>> { get("/v1/clusters/\(cluster)/audit", page.items) }

    // MARK: Join tokens

    public func create(
        _ token: ControlAPI.NewJoinToken, in cluster: ClusterID
    ) -> OperatorCall<ControlAPI.JoinTokenView> { send(.post, "/v1/clusters/\(cluster)/join-tokens", token) }
    public func tokens(
        _ cluster: ClusterID, _ page: PageQuery = PageQuery()
    ) -> OperatorCall<ControlAPI.Page<ControlAPI.JoinTokenView>> {
        get("/v1/clusters/\(cluster)/join-tokens", page.items)
    }
    public func token(_ token: JoinTokenID, in cluster: ClusterID) -> OperatorCall<ControlAPI.JoinTokenView> {
        get("/v1/clusters/\(cluster)/join-tokens/\(token)")
    }
    public func revoke(_ token: JoinTokenID, in cluster: ClusterID) -> OperatorCall<ControlAPI.JoinTokenView> {
        post("/v1/clusters/\(cluster)/join-tokens/\(token)/revocation")
    }

    // MARK: Join requests

    /// - Parameter status: `proving`, `pending`, `approved` or `rejected`; nil for all.
    public func joinRequests(
        _ cluster: ClusterID, status: String? = nil, _ page: PageQuery = PageQuery()
    ) -> OperatorCall<ControlAPI.Page<ControlAPI.JoinRequestView>> {
        get("/v1/clusters/\(cluster)/join-requests", page.items + (status.map { [.init("status", $0)] } ?? []))
    }
    public func joinRequest(
        _ request: JoinRequestID, in cluster: ClusterID
    ) -> OperatorCall<ControlAPI.JoinRequestView> { get("/v1/clusters/\(cluster)/join-requests/\(request)") }
    public func approve(
        _ request: JoinRequestID, in cluster: ClusterID, _ approval: ControlAPI.Approval
    ) -> OperatorCall<ControlAPI.JoinRequestView> {
        send(.post, "/v1/clusters/\(cluster)/join-requests/\(request)/approval", approval)
    }
    public func reject(
        _ request: JoinRequestID, in cluster: ClusterID, reason: String
    ) -> OperatorCall<ControlAPI.JoinRequestView> {
        send(
            .post, "/v1/clusters/\(cluster)/join-requests/\(request)/rejection", ControlAPI.Rejection(reason: reason))
    }

    // MARK: Nodes

    public func nodes(
        _ cluster: ClusterID, _ page: PageQuery = PageQuery()
    ) -> OperatorCall<ControlAPI.Page<ControlAPI.NodeView>> { get("/v1/clusters/\(cluster)/nodes", page.items) }
    public func node(_ node: NodeID, in cluster: ClusterID) -> OperatorCall<ControlAPI.NodeView> {
        get("/v1/clusters/\(cluster)/nodes/\(node)")
    }
    public func disable(_ node: NodeID, in cluster: ClusterID) -> OperatorCall<ControlAPI.NodeView> {
        post("/v1/clusters/\(cluster)/nodes/\(node)/disable")
    }
    public func enable(_ node: NodeID, in cluster: ClusterID) -> OperatorCall<ControlAPI.NodeView> {
        post("/v1/clusters/\(cluster)/nodes/\(node)/enable")
    }
}
