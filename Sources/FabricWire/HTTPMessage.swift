/// One HTTP request as deciding code sees it: the host has parsed, bounded and authenticated the connection it came on.
public struct HTTPRequest: Hashable, Sendable {
    public var method: HTTPMethod
    /// Absolute path without the query, e.g. `/v1/clusters`.
    public var path: String
    /// Query parameters in their order, percent-decoded.
    public var query: [QueryItem]
    /// The token of `Authorization: Bearer`, if any.
    public var bearer: String?
    /// JSON, UTF-8; empty when there is none.
    public var body: [UInt8]

    public init(
        _ method: HTTPMethod, _ path: String, query: [QueryItem] = [], bearer: String? = nil, body: [UInt8] = []
    ) {
        self.method = method
        self.path = path
        self.query = query
        self.bearer = bearer
        self.body = body
    }

    public struct QueryItem: Hashable, Sendable {
        public var name: String
        public var value: String
        public init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    /// The first value of a query parameter.
    public func parameter(_ name: String) -> String? { query.first { $0.name == name }?.value }
}

public enum HTTPMethod: String, Hashable, Sendable, CaseIterable {
    case get = "GET"
    case post = "POST"
    case put = "PUT"
    case patch = "PATCH"
    case delete = "DELETE"
}

public struct HTTPReply: Hashable, Sendable {
    public var status: Int
    public var contentType: String
    public var body: [UInt8]

    public init(status: Int, contentType: String = HTTPReply.json, body: [UInt8]) {
        self.status = status
        self.contentType = contentType
        self.body = body
    }

    public static let json = "application/json"
    public static let problemJSON = "application/problem+json"

    public var isSuccess: Bool { (200..<300).contains(status) }
}

/// Sizes that both sides of the control API keep to.
public enum HTTPLimits {
    /// The largest request body that the control plane reads, before it knows who asks.
    public static let requestBody = 64 * 1024
    /// The largest reply that a client reads.
    public static let replyBody = 4 * 1024 * 1024
    /// The longest time for which a request may be parked.
    public static let longestPark = Duration.seconds(60)
}
