public import FabricCore

/// A cluster's root-signed metadata: who may admit members, and who may sign snapshots.
///
/// Signed by the key of the cluster's root certificate, which never reaches the control plane. A reader keeps the highest
/// version that it has seen and refuses lower ones.
public struct TrustMetadata: SignedDocument, Hashable, Sendable {
    public static let payloadType = "application/vnd.rap.trust+json"

    public var cluster: ClusterID
    public var version: Int64
    /// The cluster's root CA certificate, DER.
    public var rootCertificate: Blob
    /// Ed25519 public keys of the people who approve members.
    public var approverKeys: [Blob]
    /// How many approvers must sign an admission.
    public var approvalThreshold: Int
    /// Ed25519 public keys that may sign snapshots.
    public var snapshotKeys: [Blob]

    public init(
        cluster: ClusterID, version: Int64, rootCertificate: Blob, approverKeys: [Blob], approvalThreshold: Int,
        snapshotKeys: [Blob]
    ) {
        self.cluster = cluster
        self.version = version
        self.rootCertificate = rootCertificate
        self.approverKeys = approverKeys
        self.approvalThreshold = approvalThreshold
        self.snapshotKeys = snapshotKeys
    }

    public static let maximumApprovers = 32
}

/// A node's public key in one routing domain: what a tunnel peer is.
public struct TunnelKey: Hashable, Sendable, Codable {
    public var domain: RoutingDomainID
    /// X25519, 32 bytes.
    public var publicKey: Blob

    public init(domain: RoutingDomainID, publicKey: Blob) {
        self.domain = domain
        self.publicKey = publicKey
    }

    /// The most routing domains of one node.
    public static let maximumDomains = 16
}

/// The statement by which people admit a node to a cluster. Nodes accept a peer only with one; the control plane can't make it.
public struct Admission: SignedDocument, Hashable, Sendable {
    public static let payloadType = "application/vnd.rap.admission+json"

    public var cluster: ClusterID
    public var node: NodeID
    public var name: String
    /// Ed25519, 32 bytes.
    public var identityKey: Blob
    public var tunnelKeys: [TunnelKey]
    /// Seconds since the Unix epoch, by the approver's clock; for people.
    public var approvedAt: Int64

    public init(
        cluster: ClusterID, node: NodeID, name: String, identityKey: Blob, tunnelKeys: [TunnelKey], approvedAt: Int64
    ) {
        self.cluster = cluster
        self.node = node
        self.name = name
        self.identityKey = identityKey
        self.tunnelKeys = tunnelKeys
        self.approvedAt = approvedAt
    }

    public func tunnelKey(in domain: RoutingDomainID) -> [UInt8]? {
        tunnelKeys.first { $0.domain == domain }?.publicKey.bytes
    }
}

/// What one node needs to know of its cluster, and no more. Signed by the control plane.
///
/// A reader refuses: another audience or cluster, a version below its own, an equal version with another hash, and an
/// authority term below its own. Past `hardExpiry` it goes on with the tunnels it has and takes no new peers.
public struct Snapshot: SignedDocument, Hashable, Sendable {
    public static let payloadType = "application/vnd.rap.snapshot+json"
    /// The most peers of a node over all its routing domains. An enrolment that could pass it is refused.
    public static let maximumMembers = 256
    /// The largest document that holds a snapshot: the most members with the longest admissions, signed and in base64
    /// twice over, and a record of each.
    public static let maximumBytes = HTTPLimits.replyBody

    public var cluster: ClusterID
    public var audience: NodeID
    public var version: Int64
    public var authorityTerm: Int64
    /// The payload hash of the version before; absent in the first.
    public var previousHash: Blob?
    /// Seconds since the Unix epoch, by the control plane's clock.
    public var issuedAt: Int64
    public var refreshAfter: Int64
    public var hardExpiry: Int64
    /// The admissions of every node that `domains` names, each once, sorted by node.
    public var members: [SignedEnvelope]
    public var domains: [Domain]

    public struct Domain: Hashable, Sendable, Codable {
        public var id: RoutingDomainID
        /// The nodes with which this one may have tunnels in this domain, sorted.
        public var peers: [NodeID]
        public init(id: RoutingDomainID, peers: [NodeID]) {
            self.id = id
            self.peers = peers
        }
    }

    public init(
        cluster: ClusterID, audience: NodeID, version: Int64, authorityTerm: Int64, previousHash: Blob?,
        issuedAt: Int64,
        refreshAfter: Int64, hardExpiry: Int64, members: [SignedEnvelope], domains: [Domain]
    ) {
        self.cluster = cluster
        self.audience = audience
        self.version = version
        self.authorityTerm = authorityTerm
        self.previousHash = previousHash
        self.issuedAt = issuedAt
        self.refreshAfter = refreshAfter
        self.hardExpiry = hardExpiry
        self.members = members
        self.domains = domains
    }
}

/// Where a node can be reached now: small, signed by the node, sequenced, short-lived. Never part of a snapshot.
public struct PeerRecord: SignedDocument, Hashable, Sendable {
    public static let payloadType = "application/vnd.rap.peer-record+json"
    /// The largest signed record, as JSON.
    public static let maximumBytes = 1024
    public static let maximumEndpoints = 4

    public var cluster: ClusterID
    public var node: NodeID
    /// Grows with every record, across restarts.
    public var sequence: Int64
    public var endpoints: [Endpoint]
    public var lifetimeSeconds: Int64

    public init(cluster: ClusterID, node: NodeID, sequence: Int64, endpoints: [Endpoint], lifetimeSeconds: Int64) {
        self.cluster = cluster
        self.node = node
        self.sequence = sequence
        self.endpoints = endpoints
        self.lifetimeSeconds = lifetimeSeconds
    }

    /// Few enough, and none with port 0, to which nothing can be sent.
    public var hasUsableEndpoints: Bool {
        endpoints.count <= PeerRecord.maximumEndpoints && endpoints.allSatisfy { $0.port != 0 }
    }
}
