public import FabricCore
public import FabricDocument

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
