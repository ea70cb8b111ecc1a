internal import FabricCore
internal import FabricWire

extension ControlPlane {
    /// `POST …/approval`: takes the admission that approvers signed on their own machines. Without it nothing here,
    /// nor a captured control plane, can make a member: nodes check the same statement.
    func approve(_ call: Call) throws -> Outcome {
        let row = try joinRequest(call)
        let admission = try call.body(ControlAPI.Approval.self).admission
        switch row.status {
        case .approved:
            guard row.admission?.payload == admission.payload else {
                throw Problem(.conflict, "join request \(row.id) was approved with another statement")
            }
            return call.reply(row.view)
        case .rejected: throw Problem(.conflict, "join request \(row.id) was rejected")
        case .proving:
            throw Problem(.conflict, "the host of join request \(row.id) has not proven its tunnel keys yet")
        case .pending: break
        }
        let cluster = try activeCluster(row.cluster, call)
        try verify(admission, for: row, cluster.trust)
        let owner = try nameOwner(row.name, in: row.cluster, call)
        if let owner, owner != row.node {
            throw Problem(.conflict, "the name “\(row.name)” is taken by node \(owner)")
        }
        for key in row.tunnelKeys where try isInUse(key.publicKey.bytes, byOtherThan: row.node, call) {
            throw Problem(.keyInUse, "the tunnel key of domain “\(key.domain)” belongs to another node")
        }
        let member = NodeKey(cluster: row.cluster, node: row.node)
        if planted(.tokenCountedLate) {
            try call.transaction.execute(
                "UPDATE node_join_tokens SET used_count = used_count + 1 WHERE token_hash = $1", [.blob(row.tokenHash)])
        }
        try markNeighbours(of: member, degree: cluster.row.peerDegree, call)
        try recordMember(row, admission, call)
        try recordPeers(row, call)
        try issueCertificate(
            for: member, publicKey: row.identityKey, cluster, replacing: nil, call)
        try call.transaction.execute(
            "UPDATE node_join_requests SET status = $1, admission = $2, reviewed_at = $3 WHERE id = $4",
            [
                .text(JoinRequestStatus.approved.rawValue), .envelope(admission), .integer(call.milliseconds),
                .id(row.id),
            ])
        try markNeighbours(of: member, degree: cluster.row.peerDegree, call)
        let signers = admission.signatures.map { $0.keyid.prefix(16) }.joined(separator: ", ")
        if !planted(.approvalNotAudited) {
            call.audit(
                row.cluster, actor: Actor.operators, .requestApproved, subject: "join request \(row.id)",
                "node \(row.node), name \(row.name), signed by \(signers)")
        }
        call.audit(
            row.cluster, actor: Actor.control, .certificateIssued, subject: "node \(row.node)",
            "for join request \(row.id)")
        call.touched += [.joinRequest(row.id), .node(row.cluster, row.node)]
        return call.reply(try joinRequest(call).view)
    }

    private func verify(_ envelope: SignedEnvelope, for row: JoinRequestRow, _ trust: TrustMetadata) throws(Problem) {
        let admission: Admission
        do throws(EnvelopeError) {
            admission = try envelope.open(
                Admission.self, keys: trust.approverKeys.map(\.bytes), threshold: trust.approvalThreshold, cryptography)
        } catch {
            throw Problem(.admissionInvalid, "admission: \(error)")
        }
        let differences = [
            ("cluster", admission.cluster == row.cluster), ("node", admission.node == row.node),
            ("name", admission.name == row.name), ("identityKey", admission.identityKey.bytes == row.identityKey),
            ("tunnelKeys", admission.tunnelKeys == row.tunnelKeys),
        ].filter { !$0.1 }.map(\.0)
        guard differences.isEmpty else {
            throw Problem(
                .admissionInvalid, "admission: not what was requested: \(differences.joined(separator: ", "))")
        }
    }

    /// `POST …/rejection`.
    func reject(_ call: Call) throws -> Outcome {
        let row = try joinRequest(call)
        let reason = try call.body(ControlAPI.Rejection.self).reason
        guard Text.isLine(reason, longest: ControlAPI.Rejection.longestReason) else {
            throw Problem(.malformedRequest, "reason: one line of 1 to \(ControlAPI.Rejection.longestReason) bytes")
        }
        switch row.status {
        case .rejected:
            guard row.rejectionReason == reason else {
                throw Problem(.conflict, "join request \(row.id) was rejected for another reason")
            }
            return call.reply(row.view)
        case .approved: throw Problem(.conflict, "join request \(row.id) was approved; disable the node instead")
        case .proving, .pending: break
        }
        try call.transaction.execute(
            "UPDATE node_join_requests SET status = $1, rejection_reason = $2, reviewed_at = $3 WHERE id = $4",
            [.text(JoinRequestStatus.rejected.rawValue), .text(reason), .integer(call.milliseconds), .id(row.id)])
        call.audit(
            row.cluster, actor: Actor.operators, .requestRejected, subject: "join request \(row.id)",
            "node \(row.node), name \(row.name): \(reason)")
        call.touched.append(.joinRequest(row.id))
        return call.reply(try joinRequest(call).view)
    }
}

// MARK: Rows of a new member

extension ControlPlane {
    private func recordMember(_ row: JoinRequestRow, _ admission: SignedEnvelope, _ call: Call) throws {
        let now = SQLValue.integer(call.milliseconds)
        try call.transaction.execute(
            """
            INSERT INTO nodes (id, reported_facts, created_at, updated_at) VALUES ($1, $2, $3, $4)
            ON CONFLICT (id) DO UPDATE SET reported_facts = excluded.reported_facts, updated_at = excluded.updated_at
            """, [.id(row.node), .document(row.facts), now, now])
        try call.transaction.execute(
            """
            INSERT INTO cluster_memberships (cluster_id, node_id, node_name, membership_status, health, admission,
                joined_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT (cluster_id, node_id) DO UPDATE SET node_name = excluded.node_name,
                membership_status = excluded.membership_status, admission = excluded.admission
            """,
            [
                .id(row.cluster), .id(row.node), .text(row.name), .text(MembershipStatus.active.rawValue),
                .text(NodeHealth.new.rawValue), .envelope(admission), now,
            ])
        try call.transaction.execute(
            """
            INSERT INTO snapshots (cluster_id, node_id, version, dirty, refresh_after) VALUES ($1, $2, 0, 1, $3)
            ON CONFLICT (cluster_id, node_id) DO UPDATE SET dirty = 1
            """, [.id(row.cluster), .id(row.node), .integer(Int64.max)])
        try call.transaction.execute(
            "DELETE FROM node_capabilities WHERE cluster_id = $1 AND node_id = $2", [.id(row.cluster), .id(row.node)])
        for capability in row.capabilities {
            try call.transaction.execute(
                "INSERT INTO node_capabilities (cluster_id, node_id, capability) VALUES ($1, $2, $3)",
                [.id(row.cluster), .id(row.node), .text(capability)])
        }
    }

    /// A node's old keys stay on record, retired: a key is never anybody else's.
    private func recordPeers(_ row: JoinRequestRow, _ call: Call) throws {
        try call.transaction.execute(
            "UPDATE peers SET retired_at = $1 WHERE cluster_id = $2 AND node_id = $3 AND retired_at IS NULL",
            [.integer(call.milliseconds), .id(row.cluster), .id(row.node)])
        for key in row.tunnelKeys {
            let recorded = try call.transaction.first(
                "SELECT cluster_id, domain_id FROM peers WHERE public_key = $1", [.blob(key.publicKey.bytes)])
            if let recorded {
                guard try recorded.text("cluster_id") == row.cluster.text,
                    try recorded.text("domain_id") == key.domain.text
                else {
                    throw Problem(
                        .keyInUse, "the tunnel key of domain “\(key.domain)” serves the node elsewhere; make new keys")
                }
            }
            try call.transaction.execute(
                """
                INSERT INTO peers (public_key, cluster_id, node_id, domain_id) VALUES ($1, $2, $3, $4)
                ON CONFLICT (public_key) DO UPDATE SET retired_at = NULL
                """, [.blob(key.publicKey.bytes), .id(row.cluster), .id(row.node), .id(key.domain)])
        }
    }
}
