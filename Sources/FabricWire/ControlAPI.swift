public import FabricCore

/// The bodies of the control API, by path. `docs/control-api.md` describes each call; unknown fields are refused.
public enum ControlAPI {
    /// `GET /v1/health`, for anyone: the control plane can read its records, and could write them when it last had to;
    /// `GET /v1/health/live`: its process works.
    public struct Health: Hashable, Sendable, Codable {
        public var status: String
        public init(status: String) { self.status = status }
    }
}

// MARK: Operators (bearer token)

extension ControlAPI {
    /// `POST /v1/clusters`
    public struct NewCluster: Hashable, Sendable, Codable {
        public var id: ClusterID
        public var name: String
        /// The cluster's root CA certificate, DER, made on the operator's machine.
        public var rootCertificate: Blob
        /// Tunnel peers of each node in each routing domain; even.
        public var peerDegree: Int
        public init(id: ClusterID, name: String, rootCertificate: Blob, peerDegree: Int) {
            self.id = id
            self.name = name
            self.rootCertificate = rootCertificate
            self.peerDegree = peerDegree
        }
    }

    /// What the operator signs next: the issuing CA's request, and the snapshot key for the trust metadata.
    public struct ClusterKeys: Hashable, Sendable, Codable {
        public var id: ClusterID
        public var issuingRequest: Blob
        public var snapshotKey: Blob
        public init(id: ClusterID, issuingRequest: Blob, snapshotKey: Blob) {
            self.id = id
            self.issuingRequest = issuingRequest
            self.snapshotKey = snapshotKey
        }
    }

    /// `PUT /v1/clusters/{cluster}/trust`
    public struct ClusterTrust: Hashable, Sendable, Codable {
        public var metadata: SignedEnvelope
        public var issuingCertificate: Blob
        public init(metadata: SignedEnvelope, issuingCertificate: Blob) {
            self.metadata = metadata
            self.issuingCertificate = issuingCertificate
        }
    }

    /// `GET /v1/clusters`, `GET /v1/clusters/{cluster}`
    public struct Cluster: Hashable, Sendable, Codable {
        public var id: ClusterID
        public var name: String
        /// `preparing` until its trust is uploaded, then `active`.
        public var status: String
        public var peerDegree: Int
        public var rootPin: Blob
        public var controlPin: Blob
        public var nodes: Int
        public var pendingRequests: Int
        public var createdAt: Int64
        public init(
            id: ClusterID, name: String, status: String, peerDegree: Int, rootPin: Blob, controlPin: Blob, nodes: Int,
            pendingRequests: Int, createdAt: Int64
        ) {
            self.id = id
            self.name = name
            self.status = status
            self.peerDegree = peerDegree
            self.rootPin = rootPin
            self.controlPin = controlPin
            self.nodes = nodes
            self.pendingRequests = pendingRequests
            self.createdAt = createdAt
        }
    }

    /// What a join token allows.
    public struct TokenScope: Hashable, Sendable, Codable {
        /// Requests may ask for these routing domains only.
        public var domains: [RoutingDomainID]
        /// Node names must begin with this; empty allows all.
        public var namePrefix: String
        public init(domains: [RoutingDomainID], namePrefix: String = "") {
            self.domains = domains
            self.namePrefix = namePrefix
        }
    }

    /// `POST /v1/clusters/{cluster}/join-tokens`; answered with a `JoinTokenView`.
    ///
    /// The operator's machine draws the token's secret and sends its hash: the control plane never holds what could
    /// leak, and a repeated request (same id, same contents) makes no second token.
    public struct NewJoinToken: Hashable, Sendable, Codable {
        public var id: JoinTokenID
        public var name: String
        /// SHA-256 of the secret, 32 bytes.
        public var secretHash: Blob
        public var maximumUses: Int
        public var lifetimeSeconds: Int64
        public var scope: TokenScope
        public init(
            id: JoinTokenID, name: String, secretHash: Blob, maximumUses: Int, lifetimeSeconds: Int64, scope: TokenScope
        ) {
            self.id = id
            self.name = name
            self.secretHash = secretHash
            self.maximumUses = maximumUses
            self.lifetimeSeconds = lifetimeSeconds
            self.scope = scope
        }
        public static let longestLifetimeSeconds: Int64 = 7 * 86_400
        public static let mostUses = 100_000
    }

    /// `GET /v1/clusters/{cluster}/join-tokens`
    public struct JoinTokenView: Hashable, Sendable, Codable {
        public var id: JoinTokenID
        public var name: String
        public var scope: TokenScope
        public var maximumUses: Int
        public var used: Int
        public var expiresAt: Int64
        public var revokedAt: Int64?
        public var createdAt: Int64
        public init(
            id: JoinTokenID, name: String, scope: TokenScope, maximumUses: Int, used: Int, expiresAt: Int64,
            revokedAt: Int64?, createdAt: Int64
        ) {
            self.id = id
            self.name = name
            self.scope = scope
            self.maximumUses = maximumUses
            self.used = used
            self.expiresAt = expiresAt
            self.revokedAt = revokedAt
            self.createdAt = createdAt
        }
    }

    /// `GET /v1/clusters/{cluster}/join-requests`, `…/{request}`
    public struct JoinRequestView: Hashable, Sendable, Codable {
        public var id: JoinRequestID
        public var node: NodeID
        public var name: String
        public var identityKey: Blob
        public var tunnelKeys: [TunnelKey]
        public var facts: NodeFacts
        public var capabilities: [String]
        public var requestedRoles: [String]
        /// `proving`, `pending`, `approved`, `rejected`
        public var status: String
        public var rejectionReason: String?
        public var createdAt: Int64
        public var decidedAt: Int64?
        public init(
            id: JoinRequestID, node: NodeID, name: String, identityKey: Blob, tunnelKeys: [TunnelKey], facts: NodeFacts,
            capabilities: [String], requestedRoles: [String], status: String, rejectionReason: String?,
            createdAt: Int64,
            decidedAt: Int64?
        ) {
            self.id = id
            self.node = node
            self.name = name
            self.identityKey = identityKey
            self.tunnelKeys = tunnelKeys
            self.facts = facts
            self.capabilities = capabilities
            self.requestedRoles = requestedRoles
            self.status = status
            self.rejectionReason = rejectionReason
            self.createdAt = createdAt
            self.decidedAt = decidedAt
        }
    }

    /// `POST …/join-requests/{request}/approval`
    public struct Approval: Hashable, Sendable, Codable {
        public var admission: SignedEnvelope
        public init(admission: SignedEnvelope) { self.admission = admission }
    }

    /// `POST …/join-requests/{request}/rejection`
    public struct Rejection: Hashable, Sendable, Codable {
        public var reason: String
        public init(reason: String) { self.reason = reason }
        public static let longestReason = 500
    }

    /// `GET /v1/clusters/{cluster}/nodes`, `…/{node}`
    public struct NodeView: Hashable, Sendable, Codable {
        public var id: NodeID
        public var name: String
        /// `online`, `offline` (no heartbeat in time) or `new` (none yet)
        public var health: String
        public var membership: String
        public var tunnelKeys: [TunnelKey]
        public var facts: NodeFacts
        public var capabilities: [String]
        public var snapshotVersion: Int64
        public var appliedVersion: Int64
        public var certificateSerial: Blob?
        public var certificateNotAfter: Int64?
        public var peersUp: Int
        public var clockOffsetMilliseconds: Int64
        public var joinedAt: Int64
        public var lastSeenAt: Int64?
        public init(
            id: NodeID, name: String, health: String, membership: String, tunnelKeys: [TunnelKey], facts: NodeFacts,
            capabilities: [String], snapshotVersion: Int64, appliedVersion: Int64, certificateSerial: Blob?,
            certificateNotAfter: Int64?, peersUp: Int, clockOffsetMilliseconds: Int64, joinedAt: Int64,
            lastSeenAt: Int64?
        ) {
            self.id = id
            self.name = name
            self.health = health
            self.membership = membership
            self.tunnelKeys = tunnelKeys
            self.facts = facts
            self.capabilities = capabilities
            self.snapshotVersion = snapshotVersion
            self.appliedVersion = appliedVersion
            self.certificateSerial = certificateSerial
            self.certificateNotAfter = certificateNotAfter
            self.peersUp = peersUp
            self.clockOffsetMilliseconds = clockOffsetMilliseconds
            self.joinedAt = joinedAt
            self.lastSeenAt = lastSeenAt
        }
    }

    /// `GET /v1/clusters/{cluster}/audit?after=N`
    ///
    /// Each event's hash covers the one before, so that a reader who kept the last hash notices a change of the past.
    public struct AuditEvent: Hashable, Sendable, Codable {
        public var sequence: Int64
        public var at: Int64
        public var actor: String
        public var event: String
        public var subject: String
        public var detail: String
        /// `chainHash` of this event.
        public var hash: Blob
        public init(
            sequence: Int64, at: Int64, actor: String, event: String, subject: String, detail: String, hash: Blob
        ) {
            self.sequence = sequence
            self.at = at
            self.actor = actor
            self.event = event
            self.subject = subject
            self.detail = detail
            self.hash = hash
        }

        /// SHA-256 of the previous event's hash (32 zero bytes before the first) and this event's fields, each as
        /// its length in bytes, a colon, and its text.
        public func chainHash(previous: [UInt8], cluster: ClusterID, _ cryptography: any Cryptography) -> [UInt8] {
            var message = previous
            for field in [cluster.text, "\(sequence)", "\(at)", actor, event, subject, detail] {
                message += Array("\(field.utf8.count):".utf8) + Array(field.utf8)
            }
            return cryptography.sha256(message)
        }

        public static let firstPrevious = [UInt8](repeating: 0, count: 32)
    }

    /// A list, with where to go on.
    public struct Page<Item: Hashable & Sendable & Codable>: Hashable, Sendable, Codable {
        public var items: [Item]
        /// Pass as `after` for the next page; absent on the last.
        public var next: String?
        public init(items: [Item], next: String? = nil) {
            self.items = items
            self.next = next
        }
        public static var mostItems: Int { 1000 }
    }
}
