internal import FabricCore
internal import FabricWire

/// The audit only grows and its hash chain holds; what was decided, by replies that left, stands in it.
struct AuditAppendOnly {
    private(set) var sequence: Int64 = 0
    private var hash = ControlAPI.AuditEvent.firstPrevious
    /// How often each event stands in the audit, and how often at least it must. Looked up by key only.
    private var recorded: [String: Int] = [:]
    private var decided: [String: Int] = [:]

    /// A reply has left that says that this was done.
    mutating func decided(_ event: String) { decided[event, default: 0] += 1 }

    /// The rows above `sequence`, in order.
    mutating func read(_ rows: [ControlAPI.AuditEvent], cluster: ClusterID, _ cryptography: any Cryptography) -> String?
    {
        for row in rows {
            guard row.sequence == sequence + 1 else { return "audit row \(sequence + 1) is missing" }
            guard row.chainHash(previous: hash, cluster: cluster, cryptography) == row.hash.bytes else {
                return "the hash of audit row \(row.sequence) does not follow from the row before"
            }
            sequence = row.sequence
            hash = row.hash.bytes
            recorded[row.event, default: 0] += 1
        }
        for event in Self.mustBeRecorded where recorded[event, default: 0] < decided[event, default: 0] {
            return "“\(event)” was done \(decided[event, default: 0]) times and stands in the audit "
                + "\(recorded[event, default: 0]) times"
        }
        return nil
    }

    /// Events that a reply tells of.
    static let mustBeRecorded = [
        "join token created", "join token revoked", "join request received", "join request approved",
        "join request rejected",
    ]

    /// The rows that are there are those that were: `head` is the greatest sequence now.
    func stillThere(head: Int64) -> String? {
        head < sequence ? "the audit ends at row \(head); it had \(sequence)" : nil
    }

    mutating func forget() { self = AuditAppendOnly() }
}
