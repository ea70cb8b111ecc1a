internal import FabricCore

/// The control plane's tables. Times are milliseconds since the Unix epoch, passed in; documents are JSON as signed.
///
/// No private key, token or credential stands here: tokens as hashes, the control plane's own keys as the salt from
/// which its vault derives them.
enum ControlSchema {
    /// To be applied in order; an applied one never changes.
    static let migrations: [Migration] = [
        Migration(version: 1, name: "clusters and trust", statements: clusters + audit),
        Migration(version: 2, name: "enrolment", statements: enrolment),
        Migration(version: 3, name: "nodes", statements: nodes),
        Migration(version: 4, name: "snapshots and peer records", statements: snapshots),
        Migration(version: 5, name: "peers by node", statements: peersByNode),
        Migration(version: 6, name: "audits of what nodes report", statements: reportAudits),
        Migration(version: 7, name: "write probes", statements: writeProbes),
        Migration(version: 8, name: "what a snapshot follows from", statements: previousHashes),
    ]

    private static let clusters = [
        """
        CREATE TABLE clusters (
            id TEXT NOT NULL PRIMARY KEY,
            name TEXT NOT NULL,
            status TEXT NOT NULL,
            peer_degree BIGINT NOT NULL,
            root_certificate BYTEA NOT NULL,
            key_salt BYTEA NOT NULL,
            issuing_certificate BYTEA,
            trust BYTEA,
            trust_version BIGINT NOT NULL,
            records_version BIGINT NOT NULL,
            audit_sequence BIGINT NOT NULL,
            audit_hash BYTEA NOT NULL,
            refusals_since BIGINT NOT NULL,
            refusals BIGINT NOT NULL,
            created_at BIGINT NOT NULL,
            updated_at BIGINT NOT NULL
        )
        """
    ]

    private static let audit = [
        """
        CREATE TABLE cluster_audit_events (
            cluster_id TEXT NOT NULL REFERENCES clusters (id),
            sequence BIGINT NOT NULL,
            at BIGINT NOT NULL,
            actor TEXT NOT NULL,
            event TEXT NOT NULL,
            subject TEXT NOT NULL,
            detail TEXT NOT NULL,
            hash BYTEA NOT NULL,
            PRIMARY KEY (cluster_id, sequence)
        )
        """
    ]

    private static let enrolment = [
        """
        CREATE TABLE node_join_tokens (
            id TEXT NOT NULL PRIMARY KEY,
            cluster_id TEXT NOT NULL REFERENCES clusters (id),
            name TEXT NOT NULL,
            token_hash BYTEA NOT NULL UNIQUE,
            scope TEXT NOT NULL,
            max_uses BIGINT NOT NULL,
            used_count BIGINT NOT NULL,
            expires_at BIGINT NOT NULL,
            lifetime BIGINT NOT NULL,
            revoked_at BIGINT,
            created_at BIGINT NOT NULL
        )
        """,
        "CREATE INDEX node_join_tokens_by_cluster ON node_join_tokens (cluster_id, id)",
        """
        CREATE TABLE node_join_requests (
            id TEXT NOT NULL PRIMARY KEY,
            cluster_id TEXT NOT NULL REFERENCES clusters (id),
            token_hash BYTEA NOT NULL,
            node_fingerprint BYTEA NOT NULL,
            node_id TEXT NOT NULL,
            node_name TEXT NOT NULL,
            public_key BYTEA NOT NULL,
            tunnel_keys TEXT NOT NULL,
            reported_facts TEXT NOT NULL,
            reported_capabilities TEXT NOT NULL,
            requested_roles TEXT NOT NULL,
            status TEXT NOT NULL,
            rejection_reason TEXT,
            admission BYTEA,
            created_at BIGINT NOT NULL,
            reviewed_at BIGINT,
            UNIQUE (token_hash, node_fingerprint)
        )
        """,
        "CREATE INDEX node_join_requests_by_cluster ON node_join_requests (cluster_id, id)",
        "CREATE INDEX node_join_requests_by_status ON node_join_requests (cluster_id, status, id)",
        """
        CREATE TABLE node_join_request_keys (
            request_id TEXT NOT NULL REFERENCES node_join_requests (id),
            public_key BYTEA NOT NULL,
            PRIMARY KEY (request_id, public_key)
        )
        """,
        "CREATE INDEX node_join_request_keys_by_key ON node_join_request_keys (public_key)",
    ]

    private static let nodes = [
        """
        CREATE TABLE nodes (
            id TEXT NOT NULL PRIMARY KEY,
            reported_facts TEXT NOT NULL,
            created_at BIGINT NOT NULL,
            updated_at BIGINT NOT NULL
        )
        """,
        """
        CREATE TABLE cluster_memberships (
            cluster_id TEXT NOT NULL REFERENCES clusters (id),
            node_id TEXT NOT NULL REFERENCES nodes (id),
            node_name TEXT NOT NULL,
            membership_status TEXT NOT NULL,
            health TEXT NOT NULL,
            admission BYTEA NOT NULL,
            joined_at BIGINT NOT NULL,
            last_seen_at BIGINT,
            PRIMARY KEY (cluster_id, node_id)
        )
        """,
        """
        CREATE UNIQUE INDEX cluster_memberships_by_name ON cluster_memberships (cluster_id, node_name)
            WHERE membership_status = 'active'
        """,
        """
        CREATE TABLE node_identities (
            cluster_id TEXT NOT NULL,
            node_id TEXT NOT NULL,
            public_key BYTEA NOT NULL,
            certificate BYTEA NOT NULL,
            certificate_serial BYTEA NOT NULL,
            certificate_not_before BIGINT NOT NULL,
            certificate_not_after BIGINT NOT NULL,
            previous_serial BYTEA,
            identity_status TEXT NOT NULL,
            rotated_at BIGINT NOT NULL,
            revoked_at BIGINT,
            PRIMARY KEY (cluster_id, node_id)
        )
        """,
        """
        CREATE TABLE peers (
            public_key BYTEA NOT NULL PRIMARY KEY,
            cluster_id TEXT NOT NULL,
            node_id TEXT NOT NULL,
            domain_id TEXT NOT NULL,
            retired_at BIGINT
        )
        """,
        """
        CREATE UNIQUE INDEX peers_by_domain ON peers (cluster_id, domain_id, node_id) WHERE retired_at IS NULL
        """,
        """
        CREATE TABLE node_capabilities (
            cluster_id TEXT NOT NULL,
            node_id TEXT NOT NULL,
            capability TEXT NOT NULL,
            PRIMARY KEY (cluster_id, node_id, capability)
        )
        """,
        """
        CREATE TABLE node_heartbeats (
            cluster_id TEXT NOT NULL,
            node_id TEXT NOT NULL,
            sequence BIGINT NOT NULL,
            received_at BIGINT NOT NULL,
            applied_version BIGINT NOT NULL,
            peers_up BIGINT NOT NULL,
            clock_offset BIGINT NOT NULL,
            logged_at BIGINT NOT NULL,
            PRIMARY KEY (cluster_id, node_id)
        )
        """,
        """
        CREATE TABLE node_heartbeat_history (
            cluster_id TEXT NOT NULL,
            node_id TEXT NOT NULL,
            slot BIGINT NOT NULL,
            received_at BIGINT NOT NULL,
            applied_version BIGINT NOT NULL,
            peers_up BIGINT NOT NULL,
            clock_offset BIGINT NOT NULL,
            PRIMARY KEY (cluster_id, node_id, slot)
        )
        """,
    ]

    private static let snapshots = [
        """
        CREATE TABLE snapshots (
            cluster_id TEXT NOT NULL,
            node_id TEXT NOT NULL,
            version BIGINT NOT NULL,
            dirty BIGINT NOT NULL,
            content_hash BYTEA,
            payload_hash BYTEA,
            envelope BYTEA,
            refresh_after BIGINT NOT NULL,
            PRIMARY KEY (cluster_id, node_id)
        )
        """,
        "CREATE INDEX snapshots_dirty ON snapshots (cluster_id, node_id) WHERE dirty > 0",
        "CREATE INDEX snapshots_by_refresh ON snapshots (refresh_after)",
        """
        CREATE TABLE snapshot_peers (
            cluster_id TEXT NOT NULL,
            node_id TEXT NOT NULL,
            peer_id TEXT NOT NULL,
            PRIMARY KEY (cluster_id, node_id, peer_id)
        )
        """,
        "CREATE INDEX snapshot_peers_by_peer ON snapshot_peers (cluster_id, peer_id, node_id)",
        """
        CREATE TABLE peer_records (
            cluster_id TEXT NOT NULL,
            node_id TEXT NOT NULL,
            sequence BIGINT NOT NULL,
            version BIGINT NOT NULL,
            expires_at BIGINT NOT NULL,
            envelope BYTEA NOT NULL,
            PRIMARY KEY (cluster_id, node_id)
        )
        """,
    ]

    /// Without it, what asks for one node's peers reads those of the whole cluster.
    private static let peersByNode = [
        "CREATE INDEX peers_by_node ON peers (cluster_id, node_id, domain_id) WHERE retired_at IS NULL"
    ]

    /// See `ReportAudits`.
    private static let reportAudits = [
        "ALTER TABLE node_heartbeats ADD COLUMN clock_audited_at BIGINT",
        "ALTER TABLE node_heartbeats ADD COLUMN clock_untold BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE node_heartbeats ADD COLUMN raise_audited_at BIGINT",
        "ALTER TABLE node_heartbeats ADD COLUMN raises_untold BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE node_heartbeats ADD COLUMN health_audited_at BIGINT",
        "ALTER TABLE node_heartbeats ADD COLUMN health_untold BIGINT NOT NULL DEFAULT 0",
        "CREATE INDEX node_heartbeats_untold ON node_heartbeats (cluster_id, node_id) WHERE health_untold > 0",
    ]

    /// One row, which the control plane writes to find out whether it can.
    private static let writeProbes = [
        "CREATE TABLE write_probes (id BIGINT NOT NULL PRIMARY KEY, probed_at BIGINT NOT NULL)"
    ]

    /// NULL also for snapshots made before there was this column, until they are made anew.
    private static let previousHashes = ["ALTER TABLE snapshots ADD COLUMN previous_hash BYTEA"]
}
