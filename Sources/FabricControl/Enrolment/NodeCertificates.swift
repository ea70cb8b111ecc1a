internal import FabricCore
internal import FabricWire

extension ControlPlane {
    /// Issues an SVID and records it as the node's current one.
    ///
    /// - Parameter replacing: the serial that stays good until the next rotation: the answer with the new certificate
    ///   may be lost.
    func issueCertificate(
        for member: NodeKey, publicKey: [UInt8], _ cluster: ActiveCluster, replacing previous: [UInt8]?, _ call: Call
    ) throws {
        let issuing = try certificates.inspect(cluster.issuingCertificate)
        let now = call.now.wall
        // A leaf never outlives its issuer, nor begins before it.
        let from = max(now - settings.certificateBackdating, issuing.validity.lowerBound)
        let to =
            planted(.certificateOutlivesIssuer)
            ? now + settings.certificateLifetime * 1000
            : min(now + settings.certificateLifetime, issuing.validity.upperBound)
        guard from < to else {
            throw Problem(
                .unavailable, "the cluster's issuing certificate has expired; its operator must sign a new one")
        }
        let serial = Serial.make(
            planted(.serialRepeated)
                ? Array(cryptography.sha256(publicKey).prefix(16))
                : call.draw("serial \(member.cluster) \(member.node)", 16))
        let certificate = try certificates.issueLeaf(
            issuer: cluster.issuingCertificate, issuerSeed: keys.issuingSeed(salt: cluster.row.keySalt),
            publicKey: publicKey, spiffeID: FabricIdentifier.node(member.node, in: member.cluster), dnsNames: [],
            serial: serial, validity: from..<to)
        try call.transaction.execute(
            """
            INSERT INTO node_identities (cluster_id, node_id, public_key, certificate, certificate_serial,
                certificate_not_before, certificate_not_after, previous_serial, identity_status, rotated_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'active', $9)
            ON CONFLICT (cluster_id, node_id) DO UPDATE SET public_key = excluded.public_key,
                certificate = excluded.certificate, certificate_serial = excluded.certificate_serial,
                certificate_not_before = excluded.certificate_not_before,
                certificate_not_after = excluded.certificate_not_after, previous_serial = excluded.previous_serial,
                identity_status = excluded.identity_status, rotated_at = excluded.rotated_at, revoked_at = NULL
            """,
            [
                .id(member.cluster), .id(member.node), .blob(publicKey), .blob(certificate), .blob(serial),
                .integer(from.milliseconds), .integer(to.milliseconds), previous.map { .blob($0) } ?? .null,
                .integer(call.milliseconds),
            ])
    }

    /// What an approved host receives. Asked for again, it is the same; a certificate that expired before its host
    /// came back for it is replaced.
    func grant(for row: JoinRequestRow, _ call: Call) throws -> ControlAPI.Grant {
        let cluster = try activeCluster(row.cluster, call)
        let member = NodeKey(cluster: row.cluster, node: row.node)
        guard let admission = row.admission else { throw StoreError.corrupt("request \(row.id) has no admission") }
        var identity = try self.identity(of: member, call)
        guard identity.active else {
            throw Problem(.nodeDisabled, "the membership of node \(row.node) in cluster \(row.cluster) is disabled")
        }
        if identity.notAfter <= call.milliseconds {
            try issueCertificate(for: member, publicKey: row.identityKey, cluster, replacing: nil, call)
            call.audit(
                row.cluster, actor: Actor.control, .certificateIssued, subject: "node \(row.node)",
                "the one before expired at \(WallTime(milliseconds: identity.notAfter))")
            identity = try self.identity(of: member, call)
        }
        return ControlAPI.Grant(
            admission: admission, trust: cluster.trustEnvelope,
            certificateChain: [Blob(identity.certificate), Blob(cluster.issuingCertificate)])
    }

    private func identity(
        of member: NodeKey, _ call: Call
    ) throws -> (certificate: [UInt8], serial: [UInt8], rotatedAt: Int64, notAfter: Int64, active: Bool) {
        let row = try call.transaction.first(
            """
            SELECT i.certificate, i.certificate_serial, i.rotated_at, i.certificate_not_after, m.membership_status
            FROM node_identities i
            JOIN cluster_memberships m ON m.cluster_id = i.cluster_id AND m.node_id = i.node_id
            WHERE i.cluster_id = $1 AND i.node_id = $2
            """, [.id(member.cluster), .id(member.node)])
        guard let row else { throw StoreError.corrupt("node \(member.node) has no identity") }
        return (
            try row.blob("certificate"), try row.blob("certificate_serial"), try row.integer("rotated_at"),
            try row.integer("certificate_not_after"),
            try row.text("membership_status") == MembershipStatus.active.rawValue
        )
    }

    /// `POST /v1/node/certificate`: a fresh SVID for the same identity key, which the connection has proven.
    ///
    /// One that was issued a moment ago is answered again: a lost answer makes no second one, and a host in a loop
    /// fills neither the table nor the audit log.
    func renewCertificate(_ call: Call) throws -> Outcome {
        guard let caller = call.node else { preconditionFailure("a node's route without a node") }
        let wanted = try call.body(ControlAPI.CertificateRenewal.self)
        let request: CertificateRequestFacts
        do throws(CertificateError) {
            request = try certificates.inspectRequest(wanted.certificateRequest.bytes)
        } catch {
            throw Problem(.requestUnacceptable, "certificateRequest: \(error)")
        }
        let expected = FabricIdentifier.node(caller.key.node, in: caller.key.cluster)
        guard !request.asksForAuthority, request.spiffeIDs == [expected], request.publicKey == caller.publicKey else {
            throw Problem(
                .requestUnacceptable, "certificateRequest: it must be for \(expected) and the same identity key")
        }
        let cluster = try activeCluster(caller.key.cluster, call)
        var identity = try self.identity(of: caller.key, call)
        let age = call.milliseconds - identity.rotatedAt
        if !(0..<settings.shortestRotation.milliseconds).contains(age) || identity.notAfter <= call.milliseconds {
            let isReplaced = caller.standing == .replaced
            let previous = isReplaced ? identity.serial : caller.serial
            try issueCertificate(
                for: caller.key, publicKey: caller.publicKey, cluster,
                replacing: planted(.previousSerialForgotten) ? nil : previous, call)
            call.audit(
                caller.key.cluster, actor: Actor.node(caller.key.node), .certificateRotated,
                subject: "node \(caller.key.node)",
                "after serial \(Hex.encode(caller.serial))"
                    + (isReplaced ? ", which had been replaced: the host's disk was restored or copied" : ""))
            identity = try self.identity(of: caller.key, call)
        }
        return call.reply(
            ControlAPI.RenewedCertificate(
                certificateChain: [Blob(identity.certificate), Blob(cluster.issuingCertificate)]))
    }
}
