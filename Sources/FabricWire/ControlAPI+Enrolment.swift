public import FabricCore

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
