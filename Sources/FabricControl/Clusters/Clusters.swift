internal import FabricCore
internal import FabricPolicy
internal import FabricWire

/// A cluster's row.
struct ClusterRow {
    var id: ClusterID
    var name: String
    var status: ClusterStatus
    var peerDegree: Int
    var rootCertificate: [UInt8]
    var keySalt: [UInt8]
    var issuingCertificate: [UInt8]?
    var trust: SignedEnvelope?
    var trustVersion: Int64
    var createdAt: Int64

    init(_ row: SQLRow) throws {
        id = try row.identifier("id")
        name = try row.text("name")
        let text = try row.text("status")
        guard let status = ClusterStatus(rawValue: text) else { throw StoreError.corrupt("cluster status \(text)") }
        self.status = status
        peerDegree = Int(try row.integer("peer_degree"))
        guard RingPeering.isValid(degree: peerDegree) else { throw StoreError.corrupt("peer degree \(peerDegree)") }
        rootCertificate = try row.blob("root_certificate")
        keySalt = try row.blob("key_salt")
        issuingCertificate = try row.optionalBlob("issuing_certificate")
        trust = try row.optionalEnvelope("trust")
        trustVersion = try row.integer("trust_version")
        createdAt = try row.integer("created_at")
    }

    static let columns = """
        id, name, status, peer_degree, root_certificate, key_salt, issuing_certificate, trust, trust_version, created_at
        """
}

enum ClusterStatus: String {
    case preparing, active
}

/// What issuing and admitting need of an active cluster.
struct ActiveCluster {
    var row: ClusterRow
    var issuingCertificate: [UInt8]
    var trustEnvelope: SignedEnvelope
    var trust: TrustMetadata
}

enum Text {
    static let longestName = 120

    /// A line that people wrote: not empty, bounded, nothing that breaks it or changes how the rest is shown. Hosts
    /// that nobody has approved yet send such lines, and approvers decide by what they see.
    static func isLine(_ text: String, longest: Int, mayBeEmpty: Bool = false) -> Bool {
        (mayBeEmpty ? 0 : 1)...longest ~= text.utf8.count
            && !text.unicodeScalars.contains { scalar in
                switch scalar.properties.generalCategory {
                case .control, .format, .lineSeparator, .paragraphSeparator: true
                default: false
                }
            }
    }
}

extension ControlPlane {
    func createCluster(_ call: Call) throws -> Outcome {
        let wanted = try call.body(ControlAPI.NewCluster.self)
        guard Text.isLine(wanted.name, longest: Text.longestName) else {
            throw Problem(.malformedRequest, "name: one line of 1 to \(Text.longestName) bytes")
        }
        guard RingPeering.isValid(degree: wanted.peerDegree) else {
            throw Problem(.malformedRequest, "peerDegree: an even number from 2 to \(RingPeering.maximumDegree)")
        }
        if let existing = try findCluster(wanted.id, call) {
            // The answer may have been lost; the same wish gets the same answer.
            guard existing.name == wanted.name, existing.peerDegree == wanted.peerDegree,
                existing.rootCertificate == wanted.rootCertificate.bytes
            else { throw Problem(.conflict, "a cluster “\(wanted.id)” with other contents exists") }
            return call.created(try clusterKeys(existing))
        }
        try checkRoot(wanted.rootCertificate.bytes, of: wanted.id, at: call.now.wall)
        let count = try call.transaction.query("SELECT COUNT(*) AS n FROM clusters", [])[0].integer("n")
        guard count < settings.clusters else {
            throw Problem(.limitReached, "there are \(count) clusters; the limit is \(settings.clusters)")
        }
        try call.transaction.execute(
            """
            INSERT INTO clusters (id, name, status, peer_degree, root_certificate, key_salt, trust_version,
                records_version, audit_sequence, audit_hash, refusals_since, refusals, created_at, updated_at)
            VALUES ($1, $2, $3, $4, $5, $6, 0, 0, 0, $7, 0, 0, $8, $8)
            """,
            [
                .id(wanted.id), .text(wanted.name), .text(ClusterStatus.preparing.rawValue),
                .integer(wanted.peerDegree),
                .blob(wanted.rootCertificate.bytes), .blob(call.draw("key salt", 32)),
                .blob(ControlAPI.AuditEvent.firstPrevious), .integer(call.milliseconds),
            ])
        call.audit(wanted.id, actor: Actor.operators, .clusterCreated, subject: "cluster \(wanted.id)", wanted.name)
        return call.created(try clusterKeys(try cluster(wanted.id, call)))
    }

    /// The root must be a CA of the cluster's own trust domain. That it works as one shows when trust is uploaded.
    private func checkRoot(_ certificate: [UInt8], of cluster: ClusterID, at time: WallTime) throws {
        let facts: CertificateFacts
        do throws(CertificateError) {
            facts = try certificates.inspect(certificate)
        } catch {
            throw Problem(.requestUnacceptable, "rootCertificate: \(error)")
        }
        let expected = FabricIdentifier.authority(cluster)
        guard facts.spiffeID == expected else {
            throw Problem(
                .requestUnacceptable,
                "rootCertificate: it is for \(facts.spiffeID.prefix(120)), not for \(expected)"
            )
        }
        guard facts.validity.contains(time) else {
            throw Problem(.requestUnacceptable, "rootCertificate: it is not valid now")
        }
    }

    func showClusterKeys(_ call: Call) throws -> Outcome {
        call.reply(try clusterKeys(try cluster(try call.identifier(0, "a cluster"), call)))
    }

    private func clusterKeys(_ cluster: ClusterRow) throws -> ControlAPI.ClusterKeys {
        ControlAPI.ClusterKeys(
            id: cluster.id,
            issuingRequest: Blob(
                try certificates.makeRequest(
                    seed: keys.issuingSeed(salt: cluster.keySalt), spiffeID: FabricIdentifier.authority(cluster.id))),
            snapshotKey: Blob(
                try cryptography.ed25519PublicKey(seed: keys.snapshotSeed(salt: cluster.keySalt))))
    }

    func listClusters(_ call: Call) throws -> Outcome {
        let page = try PageRequest(call, settings)
        let rows = try call.transaction.query(
            "SELECT \(Self.clusterViewColumns) FROM clusters WHERE id > $1 ORDER BY id LIMIT $2",
            [.text(page.after), .integer(page.limit + 1)])
        return call.reply(try page.page(rows, key: { $0.id.text }) { try self.clusterView($0) })
    }

    func showCluster(_ call: Call) throws -> Outcome {
        call.reply(try clusterView(try call.identifier(0, "a cluster"), call))
    }

    func clusterView(_ id: ClusterID, _ call: Call) throws -> ControlAPI.Cluster {
        let row = try call.transaction.first(
            "SELECT \(Self.clusterViewColumns) FROM clusters WHERE id = $1", [.id(id)])
        guard let row else { throw Problem(.notFound, "there is no cluster “\(id)”") }
        return try clusterView(row)
    }

    private static let clusterViewColumns =
        ClusterRow.columns + """
            ,
            (SELECT COUNT(*) FROM cluster_memberships m
                WHERE m.cluster_id = clusters.id AND m.membership_status = 'active') AS node_count,
            (SELECT COUNT(*) FROM node_join_requests r WHERE r.cluster_id = clusters.id AND r.status = 'pending')
                AS pending_count
            """

    private func clusterView(_ row: SQLRow) throws -> ControlAPI.Cluster {
        let cluster = try ClusterRow(row)
        return ControlAPI.Cluster(
            id: cluster.id, name: cluster.name, status: cluster.status.rawValue, peerDegree: cluster.peerDegree,
            rootPin: Blob(cryptography.sha256(cluster.rootCertificate)), controlPin: Blob(controlPin),
            nodes: Int(try row.integer("node_count")), pendingRequests: Int(try row.integer("pending_count")),
            createdAt: cluster.createdAt / 1000)
    }

    func findCluster(_ id: ClusterID, _ call: Call) throws -> ClusterRow? {
        try call.transaction.first("SELECT \(ClusterRow.columns) FROM clusters WHERE id = $1", [.id(id)])
            .map(ClusterRow.init)
    }

    func cluster(_ id: ClusterID, _ call: Call) throws -> ClusterRow {
        guard let row = try findCluster(id, call) else { throw Problem(.notFound, "there is no cluster “\(id)”") }
        return row
    }

    /// A cluster that can admit nodes.
    func activeCluster(_ id: ClusterID, _ call: Call) throws -> ActiveCluster {
        let row = try cluster(id, call)
        guard row.status == .active, let issuing = row.issuingCertificate, let envelope = row.trust else {
            throw Problem(.conflict, "cluster “\(id)” is not active: upload its trust first")
        }
        do throws(EnvelopeError) {
            return ActiveCluster(
                row: row, issuingCertificate: issuing, trustEnvelope: envelope,
                trust: try envelope.unverified(TrustMetadata.self))
        } catch {
            throw StoreError.corrupt("trust of \(id): \(error)")
        }
    }
}
