public import FabricCore
internal import FabricWire

extension ControlPlane {
    /// Takes the documents that the operator signed with the cluster's root key: first to activate the cluster, later
    /// to change its approvers.
    func setTrust(_ call: Call) throws -> Outcome {
        let id: ClusterID = try call.identifier(0, "a cluster")
        let row = try cluster(id, call)
        let wanted = try call.body(ControlAPI.ClusterTrust.self)
        // The same metadata again: a lost answer, or a renewed issuing certificate.
        let isRepeated = row.trust?.payload == wanted.metadata.payload
        if isRepeated, row.issuingCertificate == wanted.issuingCertificate.bytes {
            return call.reply(try clusterView(id, call))
        }
        let metadata = try verify(wanted.metadata, for: row)
        guard isRepeated || metadata.version > row.trustVersion else {
            throw Problem(
                .conflict, "metadata: version \(metadata.version) is not above \(row.trustVersion), which is recorded")
        }
        try verifyIssuing(wanted.issuingCertificate.bytes, for: row, at: call.now.wall)
        try call.transaction.execute(
            """
            UPDATE clusters
            SET trust = $1, trust_version = $2, issuing_certificate = $3, status = $4, updated_at = $5
            WHERE id = $6
            """,
            [
                .envelope(wanted.metadata), .integer(metadata.version), .blob(wanted.issuingCertificate.bytes),
                .text(ClusterStatus.active.rawValue), .integer(call.milliseconds), .id(id),
            ])
        call.audit(
            id, actor: Actor.operators, .clusterTrustSet, subject: "cluster \(id)",
            "version \(metadata.version), \(metadata.approvalThreshold) of \(metadata.approverKeys.count) approvers")
        let members = try call.transaction.query(
            """
            SELECT node_id FROM cluster_memberships
            WHERE cluster_id = $1 AND membership_status = 'active' ORDER BY node_id
            """, [.id(id)])
        call.touched += try members.map { .node(id, try $0.identifier("node_id")) }
        return call.reply(try clusterView(id, call))
    }

    private func verify(_ envelope: SignedEnvelope, for row: ClusterRow) throws -> TrustMetadata {
        let rootKey = try certificates.inspect(row.rootCertificate).publicKey
        let metadata: TrustMetadata
        do throws(EnvelopeError) {
            metadata = try envelope.open(TrustMetadata.self, keys: [rootKey], threshold: 1, cryptography)
        } catch {
            throw Problem(.requestUnacceptable, "metadata: \(error)")
        }
        guard metadata.cluster == row.id else {
            throw Problem(.requestUnacceptable, "metadata: it is for cluster “\(metadata.cluster)”")
        }
        guard metadata.version >= 1 else { throw Problem(.requestUnacceptable, "metadata: version must be at least 1") }
        guard metadata.rootCertificate.bytes == row.rootCertificate else {
            throw Problem(.requestUnacceptable, "metadata: its root certificate is not the cluster's")
        }
        let approvers = metadata.approverKeys
        guard (1...TrustMetadata.maximumApprovers).contains(approvers.count), Set(approvers).count == approvers.count,
            approvers.allSatisfy({ $0.bytes.count == 32 })
        else {
            throw Problem(
                .requestUnacceptable,
                "metadata: approverKeys must be 1 to \(TrustMetadata.maximumApprovers) different Ed25519 keys")
        }
        guard (1...min(approvers.count, SignedEnvelope.maximumSignatures)).contains(metadata.approvalThreshold) else {
            throw Problem(
                .requestUnacceptable,
                "metadata: approvalThreshold \(metadata.approvalThreshold) does not suit \(approvers.count) approver(s)"
            )
        }
        let own = try cryptography.ed25519PublicKey(seed: keys.snapshotSeed(salt: row.keySalt))
        guard metadata.snapshotKeys.contains(Blob(own)) else {
            throw Problem(.requestUnacceptable, "metadata: snapshotKeys lacks this control plane's key")
        }
        return metadata
    }

    private func verifyIssuing(_ certificate: [UInt8], for row: ClusterRow, at time: WallTime) throws(Problem) {
        do throws(CertificateError) {
            try checkIssuing(certificate, for: row, at: time)
        } catch {
            throw Problem(.requestUnacceptable, "issuingCertificate: \(error)")
        }
    }

    /// A certificate under it is made and thrown away: that shows at once that it is a CA, that it is for our key and
    /// the cluster's trust domain, and that it chains to the root.
    private func checkIssuing(
        _ certificate: [UInt8], for row: ClusterRow, at time: WallTime
    ) throws(CertificateError) {
        let seed = keys.issuingSeed(salt: row.keySalt)
        let facts = try certificates.inspect(certificate)
        guard let own = try? cryptography.ed25519PublicKey(seed: seed), facts.publicKey == own else {
            throw CertificateError.violates("it is not for this control plane's issuing key")
        }
        let spiffeID = "\(FabricIdentifier.authority(row.id))/node/probe"
        let probe = try certificates.issueLeaf(
            issuer: certificate, issuerSeed: seed, publicKey: own, spiffeID: spiffeID, dnsNames: [],
            serial: Serial.make([UInt8](repeating: 1, count: 16)), validity: time - .seconds(60)..<time + .seconds(60))
        _ = try certificates.validate(chain: [probe, certificate], roots: [row.rootCertificate], time: time)
    }

    /// The active clusters whose issuing certificate, as recorded, serves no more: it or the root is damaged or has expired, or
    /// keys and records are not of one control plane. Their nodes can't be given certificates.
    public func unusableIssuers(now: WallTime) throws -> [UnusableIssuer] {
        let rows = try store.transaction { transaction in
            try transaction.query("SELECT \(ClusterRow.columns) FROM clusters ORDER BY id", []).map(ClusterRow.init)
        }
        return rows.compactMap { row in
            guard let issuing = row.issuingCertificate else { return nil }
            do throws(CertificateError) {
                try checkIssuing(issuing, for: row, at: now)
                return nil
            } catch {
                return UnusableIssuer(cluster: row.id, reason: error)
            }
        }
    }
}

public struct UnusableIssuer: Hashable, Sendable {
    public var cluster: ClusterID
    public var reason: CertificateError
}
