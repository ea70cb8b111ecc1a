public import FabricCore
internal import FabricDocument
public import FabricWire

/// Who a node's peers are, by admissions that people signed, and where they are, by records that the peers signed.
///
/// Snapshots say who *may* be a peer; `admit` checks each name against its admission. Records say *where*.
public struct PeerDirectory {
    public struct Member: Sendable {
        public let node: NodeID
        public let admission: Admission
        /// Of the admission, as signed.
        public let envelope: SignedEnvelope
        public internal(set) var record: PeerRecord?
        public internal(set) var recordEnvelope: SignedEnvelope?
    }

    /// Sorted by node.
    public private(set) var members: [Member] = []
    /// Where each node stands in `members`. Looked up, never iterated.
    private var places: [NodeID: Int] = [:]
    private let cryptography: any Cryptography
    private let cluster: ClusterID

    public init(cluster: ClusterID, cryptography: any Cryptography) {
        self.cluster = cluster
        self.cryptography = cryptography
    }

    public enum Refusal: Error, Hashable, CustomStringConvertible {
        case tooManyMembers(Int)
        case admission(NodeID?, EnvelopeError)
        case foreignCluster(NodeID)
        case identityMismatch(NodeID)
        case missingAdmission(NodeID)

        public var description: String {
            switch self {
            case .tooManyMembers(let count): "\(count) members are more than \(Snapshot.maximumMembers)"
            case .admission(let node, let error): "the admission of \(node?.text ?? "a member"): \(error)"
            case .foreignCluster(let node): "the admission of \(node) is for another cluster"
            case .identityMismatch(let node): "the admission of \(node) holds a key that does not make that id"
            case .missingAdmission(let node): "peer \(node) has no admission"
            }
        }
    }

    /// Takes the members of a snapshot in place of the ones before, keeping what is known of those that stay. All or nothing.
    public mutating func replaceMembers(_ snapshot: Snapshot, trust: TrustMetadata) throws(Refusal) {
        guard snapshot.members.count <= Snapshot.maximumMembers else { throw .tooManyMembers(snapshot.members.count) }
        var known: [SignedEnvelope: Int] = [:]
        for (place, member) in members.enumerated() where known[member.envelope] == nil {
            known[member.envelope] = place
        }
        var next: [Member] = []
        for envelope in snapshot.members {
            if let place = known[envelope] {
                next.append(members[place])
                continue
            }
            let admission: Admission
            do {
                admission =
                    planted(.admissionUnchecked)
                    ? try envelope.unverified(Admission.self)
                    : try envelope.open(
                        Admission.self, keys: trust.approverKeys.map(\.bytes), threshold: trust.approvalThreshold,
                        cryptography)
            } catch { throw .admission(nil, error) }
            guard admission.cluster == cluster else { throw .foreignCluster(admission.node) }
            guard FabricIdentifier.nodeID(identityKey: admission.identityKey.bytes, cryptography) == admission.node
            else {
                throw .identityMismatch(admission.node)
            }
            let former = member(admission.node)
            next.append(
                Member(
                    node: admission.node, admission: admission, envelope: envelope, record: former?.record,
                    recordEnvelope: former?.recordEnvelope))
        }
        next.sort { $0.node < $1.node }
        var nextPlaces: [NodeID: Int] = [:]
        for (place, member) in next.enumerated() where nextPlaces[member.node] == nil {
            nextPlaces[member.node] = place
        }
        for node in snapshot.domains.flatMap(\.peers) where nextPlaces[node] == nil {
            throw .missingAdmission(node)
        }
        members = next
        places = nextPlaces
    }

    public func member(_ node: NodeID) -> Member? { places[node].map { members[$0] } }

    public enum RecordOutcome: Hashable, Sendable {
        /// It is newer than what was known; the node's endpoints are these.
        case accepted(NodeID, [Endpoint])
        /// It follows directly on what was known and says the same.
        case renewed(NodeID, [Endpoint])
        case older
        case notAPeer
        case refused(String)
    }

    /// Takes one peer record, from wherever it came: it is signed by the node that it speaks of.
    public mutating func take(_ envelope: SignedEnvelope) -> RecordOutcome {
        guard JSON.encodeOwn(envelope).count <= PeerRecord.maximumBytes else { return .refused("larger than 1 KiB") }
        do {
            let claimed = try envelope.unverified(PeerRecord.self)
            guard let index = places[claimed.node] else { return .notAPeer }
            guard claimed.cluster == cluster else { return .refused("it is for another cluster") }
            if let known = members[index].record, known.sequence >= claimed.sequence, !planted(.olderRecordAccepted) {
                return .older
            }
            guard claimed.hasUsableEndpoints else { return .refused("too many endpoints, or one with port 0") }
            let record = try envelope.open(
                PeerRecord.self, keys: [members[index].admission.identityKey.bytes], threshold: 1, cryptography)
            let known = members[index].record
            let saysTheSame = known?.endpoints == record.endpoints && known?.sequence == record.sequence &- 1
            members[index].record = record
            members[index].recordEnvelope = envelope
            return saysTheSame ? .renewed(record.node, record.endpoints) : .accepted(record.node, record.endpoints)
        } catch {
            return .refused("\(error)")
        }
    }
}
