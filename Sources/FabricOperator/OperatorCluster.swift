public import FabricCore
public import FabricWire

/// What an operator keeps of a cluster, on his own machine: the keys that never reach the control plane, and what he
/// has signed with them. To be stored as a secret (0600).
public struct OperatorCluster: Hashable, Sendable, Codable {
    public var cluster: ClusterID
    /// Ed25519 seed of the cluster's root CA and of its trust metadata.
    public var rootSeed: Blob
    /// Ed25519 seed with which this person approves members.
    public var approverSeed: Blob
    /// DER, self-signed.
    public var rootCertificate: Blob
    /// The trust metadata that was signed last; nil before the first.
    public var trust: SignedEnvelope?

    public init(
        cluster: ClusterID, rootSeed: Blob, approverSeed: Blob, rootCertificate: Blob, trust: SignedEnvelope? = nil
    ) {
        self.cluster = cluster
        self.rootSeed = rootSeed
        self.approverSeed = approverSeed
        self.rootCertificate = rootCertificate
        self.trust = trust
    }
}

/// Why the operator's machine would not sign.
public enum OperatorError: Error, Hashable, Sendable, CustomStringConvertible {
    case certificate(CertificateError)
    case badKey
    /// What the control plane sent does not add up; it may be in foreign hands.
    case suspicious(String)

    public var description: String {
        switch self {
        case .certificate(let error): "\(error)"
        case .badKey: "a key is not of the right form"
        case .suspicious(let what): "refused to sign: \(what)"
        }
    }
}

/// The operator's part of the protocol, pure: it draws keys from the source that it is handed, signs, and checks what
/// it signs. The CLI, the simulator's operator and the live runner use it alike.
public struct Operator {
    public let certificates: any CertificateProvider
    public let cryptography: any Cryptography

    public static let rootLifetime = Duration.seconds(20 * 365 * 86_400)
    public static let issuingLifetime = Duration.seconds(5 * 365 * 86_400)
    /// Certificates are valid this long before they were made, for hosts whose clocks are behind.
    public static let backdating = Duration.seconds(86_400)

    public init(certificates: any CertificateProvider, cryptography: any Cryptography) {
        self.certificates = certificates
        self.cryptography = cryptography
    }

    /// Makes a cluster's root key, its certificate and the approver's key.
    public func makeCluster(
        _ cluster: ClusterID, random: any RandomSource, now: WallTime
    ) throws(OperatorError) -> OperatorCluster {
        let rootSeed = random.bytes(32)
        let approverSeed = random.bytes(32)
        do throws(CertificateError) {
            let root = try certificates.makeRoot(
                seed: rootSeed, trustDomain: FabricIdentifier.trustDomain(cluster), serial: serial(random),
                validity: now - Self.backdating..<now + Self.rootLifetime)
            return OperatorCluster(
                cluster: cluster, rootSeed: Blob(rootSeed), approverSeed: Blob(approverSeed),
                rootCertificate: Blob(root))
        } catch {
            throw .certificate(error)
        }
    }

    /// The body of `POST /v1/clusters`.
    public func newCluster(_ cluster: OperatorCluster, name: String, peerDegree: Int) -> ControlAPI.NewCluster {
        ControlAPI.NewCluster(
            id: cluster.cluster, name: name, rootCertificate: cluster.rootCertificate, peerDegree: peerDegree)
    }

    /// Signs the control plane's issuing CA and the cluster's first trust metadata: this person approves, alone (m =
    /// 1). Remembers the metadata in `cluster`; asked again, it signs the same metadata, so that a lost answer changes
    /// nothing.
    public func signTrust(
        _ keys: ControlAPI.ClusterKeys, for cluster: inout OperatorCluster, random: any RandomSource, now: WallTime
    ) throws(OperatorError) -> ControlAPI.ClusterTrust {
        guard keys.id == cluster.cluster else { throw .suspicious("the keys are of cluster “\(keys.id)”") }
        let rootSeed = cluster.rootSeed.bytes
        let issuing: [UInt8]
        do throws(CertificateError) {
            let request = try certificates.inspectRequest(keys.issuingRequest.bytes)
            guard request.asksForAuthority, request.spiffeIDs == [FabricIdentifier.authority(cluster.cluster)] else {
                throw CertificateError.violates("the request is not for an authority of \(cluster.cluster)")
            }
            issuing = try certificates.issueAuthority(
                issuer: cluster.rootCertificate.bytes, issuerSeed: rootSeed, request: keys.issuingRequest.bytes,
                serial: serial(random), validity: now - Self.backdating..<now + Self.issuingLifetime)
        } catch {
            throw .certificate(error)
        }
        do throws(CryptographyError) {
            let metadata = TrustMetadata(
                cluster: cluster.cluster, version: 1, rootCertificate: cluster.rootCertificate,
                approverKeys: [Blob(try cryptography.ed25519PublicKey(seed: cluster.approverSeed.bytes))],
                approvalThreshold: 1, snapshotKeys: [keys.snapshotKey])
            let envelope = try SignedEnvelope.sign(metadata, seeds: [rootSeed], cryptography)
            cluster.trust = envelope
            return ControlAPI.ClusterTrust(metadata: envelope, issuingCertificate: Blob(issuing))
        } catch {
            throw .badKey
        }
    }

    /// Signs further metadata, such as one with other approvers. The version must grow.
    public func sign(_ metadata: TrustMetadata, for cluster: inout OperatorCluster) throws(OperatorError)
        -> SignedEnvelope
    {
        let last = cluster.trust.flatMap { try? $0.unverified(TrustMetadata.self) }
        guard metadata.cluster == cluster.cluster, metadata.rootCertificate == cluster.rootCertificate else {
            throw .suspicious("the metadata is of another cluster")
        }
        guard metadata.version > last?.version ?? 0 else { throw .suspicious("the metadata's version does not grow") }
        do throws(CryptographyError) {
            let envelope = try SignedEnvelope.sign(metadata, seeds: [cluster.rootSeed.bytes], cryptography)
            cluster.trust = envelope
            return envelope
        } catch {
            throw .badKey
        }
    }

    /// Signs the admission of the host that a join request describes, after checking that the request is sound in
    /// itself: a control plane in foreign hands must not slip another key under a node's name.
    public func approve(
        _ request: ControlAPI.JoinRequestView, in cluster: OperatorCluster, now: WallTime
    ) throws(OperatorError) -> ControlAPI.Approval {
        guard request.node == FabricIdentifier.nodeID(identityKey: request.identityKey.bytes, cryptography) else {
            throw .suspicious("the node's id does not follow from its identity key")
        }
        guard request.identityKey.bytes.count == 32, request.tunnelKeys.allSatisfy({ $0.publicKey.bytes.count == 32 }),
            Set(request.tunnelKeys.map(\.domain)).count == request.tunnelKeys.count,
            request.tunnelKeys.count <= TunnelKey.maximumDomains
        else { throw .suspicious("the request's keys are malformed") }
        let admission = Admission(
            cluster: cluster.cluster, node: request.node, name: request.name, identityKey: request.identityKey,
            tunnelKeys: request.tunnelKeys, approvedAt: now.seconds)
        do throws(CryptographyError) {
            return ControlAPI.Approval(
                admission: try SignedEnvelope.sign(admission, seeds: [cluster.approverSeed.bytes], cryptography))
        } catch {
            throw .badKey
        }
    }

    /// Draws a join token. The secret stays here, in the token's text; the control plane gets its hash.
    ///
    /// - Parameter view: the cluster as the control plane shows it, for the pins.
    public func makeToken(
        name: String, maximumUses: Int, lifetime: Duration, scope: ControlAPI.TokenScope,
        for view: ControlAPI.Cluster, of cluster: OperatorCluster, random: any RandomSource
    ) throws(OperatorError) -> (token: JoinToken, body: ControlAPI.NewJoinToken) {
        let pin = cryptography.sha256(cluster.rootCertificate.bytes)
        guard view.id == cluster.cluster, view.rootPin.bytes == pin else {
            throw .suspicious("the control plane shows another root for cluster “\(cluster.cluster)”")
        }
        guard view.controlPin.bytes.count == 32 else { throw .suspicious("the control plane's pin is malformed") }
        let secret = random.bytes(32)
        let body = ControlAPI.NewJoinToken(
            id: JoinTokenID(random: random), name: name, secretHash: Blob(cryptography.sha256(secret)),
            maximumUses: maximumUses, lifetimeSeconds: lifetime.components.seconds, scope: scope)
        let token = JoinToken(
            secret: secret, controlPin: view.controlPin.bytes, clusterPin: pin, cluster: cluster.cluster)
        return (token, body)
    }

    /// 16 bytes, positive, without a leading zero.
    private func serial(_ random: any RandomSource) -> [UInt8] {
        var serial = random.bytes(16)
        serial[0] = serial[0] & 0x7F | 0x40
        return serial
    }
}
