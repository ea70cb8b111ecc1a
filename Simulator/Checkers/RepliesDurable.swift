/// What a reply has acknowledged is in the database after every recovery. Facts are taken from the replies that left.
struct RepliesDurable {
    /// How far a request has come; it goes no way back.
    private static let rank = ["proving": 0, "pending": 1, "approved": 2, "rejected": 2]

    /// By identifier; looked up by key and walked in order.
    private var requests: [String: String] = [:]
    private var tokens: [String: Bool] = [:]
    /// By node: serial numbers that it was given, the newest last.
    private var serials: [String: [[UInt8]]] = [:]

    mutating func request(_ id: String, is status: String) {
        if Self.rank[status, default: 0] >= Self.rank[requests[id] ?? "", default: 0] { requests[id] = status }
    }

    mutating func token(_ id: String, isRevoked: Bool) { tokens[id] = isRevoked || tokens[id] ?? false }

    mutating func certificate(_ serial: [UInt8], of node: String) {
        if serials[node]?.contains(serial) != true { serials[node, default: []].append(serial) }
    }

    /// What the database holds now.
    struct Found {
        var requests: [String: String] = [:]
        var revokedByToken: [String: Bool] = [:]
        var serials: [String: [UInt8]] = [:]
    }

    func compare(_ found: Found) -> String? {
        for id in requests.keys.sorted() {
            guard let status = found.requests[id] else { return "join request \(id), which a reply told of, is gone" }
            let told = requests[id]!
            if Self.rank[status, default: 0] < Self.rank[told, default: 0] || Self.rank[told] == 2 && status != told {
                return "join request \(id) is \(status), and a reply told that it is \(told)"
            }
        }
        for id in tokens.keys.sorted() {
            guard let isRevoked = found.revokedByToken[id] else {
                return "join token \(id), which a reply told of, is gone"
            }
            if tokens[id]!, !isRevoked { return "join token \(id) is good again after it was revoked" }
        }
        for node in serials.keys.sorted() {
            guard let serial = found.serials[node] else { return "the certificate of node \(node) is gone" }
            // A newer one may have been made whose reply did not leave.
            if let place = serials[node]!.firstIndex(of: serial), place < serials[node]!.count - 1 {
                return "node \(node) has a later certificate than the control plane knows"
            }
        }
        return nil
    }

    mutating func forget() { self = RepliesDurable() }
}
