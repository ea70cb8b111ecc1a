public import FabricCore
internal import FabricWire

/// A node that has shown its SVID, and what its call needs to know of it.
struct NodeCaller {
    var key: NodeKey
    var publicKey: [UInt8]
    /// Of the certificate with which it called.
    var serial: [UInt8]
    var standing: CertificateStanding
    var health: NodeHealth
    var snapshotVersion: Int64
    /// Of the newest snapshot's payload; nil before there is one, and while the next must not follow from it.
    var snapshotHash: [UInt8]?
    /// Of the payload that it follows from; nil when it follows from none.
    var previousHash: [UInt8]?
    var trustVersion: Int64
    var recordsVersion: Int64
    /// As of its last heartbeat; nil before the first. Milliseconds.
    var clockOffset: Int64?
    /// When a heartbeat of it was last kept as history; nil before the first.
    var heartbeatLoggedAt: Int64?
    var audits: ReportAudits
}

extension NodeCaller {
    /// Of a membership `m` and of `joins`.
    static let columns = """
        m.membership_status, m.health, i.public_key, i.identity_status, i.certificate_serial, i.previous_serial,
            c.trust_version, c.records_version, s.version, s.payload_hash, s.previous_hash,
            h.clock_offset, h.logged_at,
            \(ReportAudits.columns)
        """

    static let joins = """
        JOIN clusters c ON c.id = m.cluster_id
        JOIN node_identities i ON i.cluster_id = m.cluster_id AND i.node_id = m.node_id
        JOIN snapshots s ON s.cluster_id = m.cluster_id AND s.node_id = m.node_id
        LEFT JOIN node_heartbeats h ON h.cluster_id = m.cluster_id AND h.node_id = m.node_id
        """

    /// A member who calls with this certificate. Throws a `Problem` when the membership does not stand, or the certificate
    /// is for another key.
    init(_ row: SQLRow, _ key: NodeKey, _ peer: CertificateFacts) throws {
        guard try row.text("membership_status") == MembershipStatus.active.rawValue || planted(.disabledNodeServed),
            try row.text("identity_status") == "active"
        else {
            throw Problem(.nodeDisabled, "the membership of node \(key.node) in cluster \(key.cluster) is disabled")
        }
        guard try row.blob("public_key") == peer.publicKey else {
            throw Problem(.forbidden, "the certificate is not for the node's identity key")
        }
        let current = try row.blob("certificate_serial")
        let previous = try row.optionalBlob("previous_serial")
        self.init(
            key: key, publicKey: peer.publicKey, serial: peer.serial,
            standing: peer.serial == current ? .current : peer.serial == previous ? .previous : .replaced,
            health: NodeHealth(rawValue: try row.text("health")) ?? .new,
            snapshotVersion: try row.integer("version"), snapshotHash: try row.optionalBlob("payload_hash"),
            previousHash: try row.optionalBlob("previous_hash"),
            trustVersion: try row.integer("trust_version"), recordsVersion: try row.integer("records_version"),
            clockOffset: try row.optionalInteger("clock_offset"),
            heartbeatLoggedAt: try row.optionalInteger("logged_at"), audits: try ReportAudits(row))
    }
}

/// Where the certificate of a call stands among those that the node was given.
enum CertificateStanding {
    case current
    /// The one before, still good: the answer that brought the current one may have been lost.
    case previous
    /// Older, as after a restore of the host's disk. It serves to fetch the current one and for nothing else.
    case replaced
}

enum NodeHealth: String {
    case new, online, offline
}

enum MembershipStatus: String {
    case active, disabled
}

extension ControlPlane {
    /// Refuses a call that is not the caller's to make.
    func admit(_ call: Call, _ access: Access) throws {
        switch access {
        case .anyone: return
        case .operators:
            guard let bearer = call.request.http.bearer,
                constantTimeEqual(cryptography.sha256(Array(bearer.utf8)), settings.adminTokenHash)
            else { throw Problem(.unauthenticated, "this call needs the operators' token as bearer") }
        case .joiningHost:
            guard let bearer = call.request.http.bearer else {
                throw Problem(.unauthenticated, "this call needs a join token's secret as bearer")
            }
            guard let secret = Base64URL.decode(bearer), secret.count == 32 else {
                throw Problem(.tokenUnknown, "the bearer is not a join token's secret")
            }
            call.tokenHash = cryptography.sha256(secret)
        case .node:
            let caller = try authenticateNode(call)
            guard caller.standing != .replaced else {
                throw Problem(.certificateReplaced, "the certificate has been replaced; ask for the newest")
            }
            call.node = caller
        case .renewingNode:
            call.node = try authenticateNode(call)
        }
    }

    private func authenticateNode(_ call: Call) throws -> NodeCaller {
        guard let peer = call.request.peer else {
            throw Problem(.unauthenticated, "this call needs a node's certificate (mutual TLS)")
        }
        guard let (cluster, node) = FabricIdentifier.parseNode(peer.spiffeID) else {
            throw Problem(.unauthenticated, "\(peer.spiffeID.prefix(120)) is not a node")
        }
        // A connection may outlive the certificate with which it was opened.
        guard peer.validity.contains(call.now.wall) else {
            throw Problem(
                .unauthenticated,
                "the node's certificate is valid from \(peer.validity.lowerBound) to \(peer.validity.upperBound)")
        }
        let key = NodeKey(cluster: cluster, node: node)
        let row = try call.transaction.first(
            """
            SELECT \(NodeCaller.columns)
            FROM cluster_memberships m
            \(NodeCaller.joins)
            WHERE m.cluster_id = $1 AND m.node_id = $2
            """, [.id(cluster), .id(node)])
        guard let row else { throw Problem(.forbidden, "node \(node) is not a member of cluster \(cluster)") }
        return try NodeCaller(row, key, peer)
    }

    /// Checks the chain that a client presented in its TLS handshake; call it once per connection.
    ///
    /// Membership, revocation and expiry are judged again at every request.
    public func verifyClient(chain: [[UInt8]], now: Now) throws -> CertificateFacts {
        let cluster = try Self.claimedCluster(of: chain, certificates)
        let root = try store.transaction { transaction in
            try transaction.first("SELECT root_certificate FROM clusters WHERE id = $1", [.id(cluster)])?
                .blob("root_certificate")
        }
        guard let root else { throw CertificateError.untrustedRoot }
        return try certificates.validate(chain: chain, roots: [root], time: now.wall)
    }

    /// `verifyClient` for a host that does it on another thread than this object's: `roots` is what `clusterRoots` gave.
    public static func verifyClient(
        chain: [[UInt8]], roots: [ClusterID: [UInt8]], time: WallTime, _ certificates: any CertificateProvider
    ) throws(CertificateError) -> CertificateFacts {
        let cluster = try claimedCluster(of: chain, certificates)
        guard let root = roots[cluster] else { throw .untrustedRoot }
        return try certificates.validate(chain: chain, roots: [root], time: time)
    }

    /// Every cluster's root certificate, DER. They never change; clusters are only added, by `POST /v1/clusters`.
    public func clusterRoots() throws -> [ClusterID: [UInt8]] {
        let rows = try store.transaction { try $0.query("SELECT id, root_certificate FROM clusters", []) }
        var roots: [ClusterID: [UInt8]] = [:]
        for row in rows { roots[try row.identifier("id")] = try row.blob("root_certificate") }
        return roots
    }

    /// The cluster in whose name the leaf speaks, with nothing verified.
    private static func claimedCluster(
        of chain: [[UInt8]], _ certificates: any CertificateProvider
    ) throws(CertificateError) -> ClusterID {
        guard let leaf = chain.first, chain.count <= longestClientChain else {
            throw .malformed("a chain of \(chain.count) certificates")
        }
        let claimed = try certificates.inspect(leaf)
        guard let (cluster, _) = FabricIdentifier.parseNode(claimed.spiffeID) else {
            throw .violates("\(claimed.spiffeID.prefix(120)) is not a node")
        }
        return cluster
    }

    /// Certificates in a client's chain.
    static let longestClientChain = 4
}
