public import FabricCore
public import FabricDocument

/// The bodies of the control API, by path. `docs/control-api.md` describes each call; unknown fields are refused.
public enum ControlAPI {
    /// `GET /v1/health`, for anyone: whether the control plane can read its records.
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

// MARK: Joining hosts (bearer: the join token's secret)

/// What a host says of itself; for people, never for decisions.
public struct NodeFacts: Hashable, Sendable, Codable {
    public var os: String
    public var architecture: String
    public var version: String
    public init(os: String, architecture: String, version: String) {
        self.os = os
        self.architecture = architecture
        self.version = version
    }
    public static let longestField = 120
}

/// The twelve technical capabilities that an agent may report.
public enum NodeCapability: String, CaseIterable, Sendable {
    case canAcceptClientIngress = "can_accept_client_ingress"
    case canAcceptNodeIngress = "can_accept_node_ingress"
    case canRouteMesh = "can_route_mesh"
    case canEgressInternet = "can_egress_internet"
    case canEgressPrivateNetwork = "can_egress_private_network"
    case canRunRDPWorker = "can_run_rdp_worker"
    case canRunVNCWorker = "can_run_vnc_worker"
    case canRunVPNExit = "can_run_vpn_exit"
    case canRunVPNConnector = "can_run_vpn_connector"
    case canRunFileCache = "can_run_file_cache"
    case canRunUpdateCache = "can_run_update_cache"
    case canRunVideoRelay = "can_run_video_relay"
}

/// The roles that a host may ask for; asking grants nothing.
public enum NodeRole: String, CaseIterable, Sendable {
    case entryNode = "entry-node"
    case relayNode = "relay-node"
    case rdpWorker = "rdp-worker"
    case vncWorker = "vnc-worker"
    case vpnExit = "vpn-exit"
    case vpnConnector = "vpn-connector"
    case fileStorageCache = "file-storage-cache"
    case updateCache = "update-cache"
    case videoRelay = "video-relay"
    case adminIngress = "admin-ingress"
}

extension ControlAPI {
    /// `POST /v1/enrolments`. Repeating it with the same token and identity key returns the same request.
    public struct NewEnrolment: Hashable, Sendable, Codable {
        public var name: String
        /// PKCS#10, DER: proves possession of the identity key.
        public var certificateRequest: Blob
        public var tunnelKeys: [TunnelKey]
        public var facts: NodeFacts
        public var capabilities: [String]
        public var requestedRoles: [String]
        public init(
            name: String, certificateRequest: Blob, tunnelKeys: [TunnelKey], facts: NodeFacts, capabilities: [String],
            requestedRoles: [String]
        ) {
            self.name = name
            self.certificateRequest = certificateRequest
            self.tunnelKeys = tunnelKeys
            self.facts = facts
            self.capabilities = capabilities
            self.requestedRoles = requestedRoles
        }
        public static let longestName = 63
    }

    /// What the host proves next: for each tunnel key, that it can do Diffie-Hellman with it (after RFC 6955).
    public struct Challenge: Hashable, Sendable, Codable {
        public var request: JoinRequestID
        /// X25519, 32 bytes, made for this request.
        public var challengeKey: Blob
        public init(request: JoinRequestID, challengeKey: Blob) {
            self.request = request
            self.challengeKey = challengeKey
        }
    }

    /// `POST /v1/enrolments/{request}/proof`
    public struct Proof: Hashable, Sendable, Codable {
        public var proofs: [DomainProof]
        public init(proofs: [DomainProof]) { self.proofs = proofs }

        public struct DomainProof: Hashable, Sendable, Codable {
            public var domain: RoutingDomainID
            /// HMAC-SHA256 keyed with X25519(tunnel key, challenge key) over `Proof.message`.
            public var mac: Blob
            public init(domain: RoutingDomainID, mac: Blob) {
                self.domain = domain
                self.mac = mac
            }
        }

        public static func message(request: JoinRequestID, domain: RoutingDomainID, publicKey: [UInt8]) -> [UInt8] {
            Array("rap tunnel key proof v1\n\(request)\n\(domain)\n".utf8) + publicKey
        }
    }

    /// `GET /v1/enrolments/{request}?wait=SECONDS`: parks until the request is decided.
    public struct EnrolmentStatus: Hashable, Sendable, Codable {
        public var status: String
        public var rejectionReason: String?
        public var grant: Grant?
        public init(status: String, rejectionReason: String? = nil, grant: Grant? = nil) {
            self.status = status
            self.rejectionReason = rejectionReason
            self.grant = grant
        }
    }

    /// What an admitted node receives.
    public struct Grant: Hashable, Sendable, Codable {
        public var admission: SignedEnvelope
        public var trust: SignedEnvelope
        /// The SVID, then the issuing CA; DER.
        public var certificateChain: [Blob]
        public init(admission: SignedEnvelope, trust: SignedEnvelope, certificateChain: [Blob]) {
            self.admission = admission
            self.trust = trust
            self.certificateChain = certificateChain
        }
    }
}

// MARK: Nodes (mutual TLS by SVID)

extension ControlAPI {
    /// `POST /v1/node/heartbeat`
    public struct Heartbeat: Hashable, Sendable, PlainDocument {
        /// Counts from 1 since the agent started.
        public var sequence: Int64
        public var appliedVersion: Int64
        /// SHA-256 of the payload of that snapshot; absent when the node has none, or a newer one is not durable yet.
        public var appliedHash: Blob?
        public var peersUp: Int
        /// The node's wall clock, milliseconds since the Unix epoch.
        public var clockMilliseconds: Int64
        /// The node's newest peer record, when it has not been acknowledged.
        public var record: SignedEnvelope?
        public init(
            sequence: Int64, appliedVersion: Int64, appliedHash: Blob?, peersUp: Int, clockMilliseconds: Int64,
            record: SignedEnvelope?
        ) {
            self.sequence = sequence
            self.appliedVersion = appliedVersion
            self.appliedHash = appliedHash
            self.peersUp = peersUp
            self.clockMilliseconds = clockMilliseconds
            self.record = record
        }

        public func write(to members: inout PlainWriter) -> Bool {
            guard record == nil else { return false }
            if let appliedHash { members.text("appliedHash", Base64URL.encode(appliedHash.bytes)) }
            members.integer("appliedVersion", appliedVersion)
            members.integer("clockMilliseconds", clockMilliseconds)
            members.integer("peersUp", Int64(peersUp))
            members.integer("sequence", sequence)
            return true
        }

        public init?(plain members: PlainMembers) {
            var appliedHash: Blob?
            if let text = members.text("appliedHash") {
                guard let bytes = Base64URL.decode(text) else { return nil }
                appliedHash = Blob(bytes)
            }
            guard members.count == (appliedHash == nil ? 4 : 5),
                let appliedVersion = members.integer("appliedVersion"),
                let clockMilliseconds = members.integer("clockMilliseconds"), let peersUp = members.integer("peersUp"),
                let sequence = members.integer("sequence")
            else { return nil }
            self.init(
                sequence: sequence, appliedVersion: appliedVersion, appliedHash: appliedHash, peersUp: Int(peersUp),
                clockMilliseconds: clockMilliseconds, record: nil)
        }
    }

    public struct HeartbeatReply: Hashable, Sendable, PlainDocument {
        public var snapshotVersion: Int64
        public var clockMilliseconds: Int64
        /// When the next one is due.
        public var intervalSeconds: Int64
        /// The sequence of the node's newest peer record that the control plane holds: it acknowledges a record, and
        /// tells a node whose own count fell behind (a restored disk) where to go on.
        public var recordSequence: Int64?
        public init(
            snapshotVersion: Int64, clockMilliseconds: Int64, intervalSeconds: Int64, recordSequence: Int64? = nil
        ) {
            self.snapshotVersion = snapshotVersion
            self.clockMilliseconds = clockMilliseconds
            self.intervalSeconds = intervalSeconds
            self.recordSequence = recordSequence
        }

        public func write(to members: inout PlainWriter) -> Bool {
            members.integer("clockMilliseconds", clockMilliseconds)
            members.integer("intervalSeconds", intervalSeconds)
            if let recordSequence { members.integer("recordSequence", recordSequence) }
            members.integer("snapshotVersion", snapshotVersion)
            return true
        }

        public init?(plain members: PlainMembers) {
            let recordSequence = members.integer("recordSequence")
            guard members.count == (recordSequence == nil ? 3 : 4),
                let clockMilliseconds = members.integer("clockMilliseconds"),
                let intervalSeconds = members.integer("intervalSeconds"),
                let snapshotVersion = members.integer("snapshotVersion")
            else { return nil }
            self.init(
                snapshotVersion: snapshotVersion, clockMilliseconds: clockMilliseconds,
                intervalSeconds: intervalSeconds,
                recordSequence: recordSequence)
        }
    }

    /// `GET /v1/node/updates?snapshot=V&records=R&wait=SECONDS`: parks until there is something newer.
    public struct Updates: Hashable, Sendable, Codable {
        public var snapshot: SignedEnvelope?
        /// Peer records of the node's peers that changed after `records=R`.
        public var records: [SignedEnvelope]
        public var recordsVersion: Int64
        /// Trust metadata, when newer than `trust=T`.
        public var trust: SignedEnvelope?
        public init(
            snapshot: SignedEnvelope?, records: [SignedEnvelope], recordsVersion: Int64, trust: SignedEnvelope?
        ) {
            self.snapshot = snapshot
            self.records = records
            self.recordsVersion = recordsVersion
            self.trust = trust
        }
    }

    /// `POST /v1/node/certificate`: rotation, with a request for the same identity.
    public struct CertificateRenewal: Hashable, Sendable, Codable {
        public var certificateRequest: Blob
        public init(certificateRequest: Blob) { self.certificateRequest = certificateRequest }
    }

    public struct RenewedCertificate: Hashable, Sendable, Codable {
        public var certificateChain: [Blob]
        public init(certificateChain: [Blob]) { self.certificateChain = certificateChain }
    }
}
