internal import FabricCore
internal import FabricDocument
internal import FabricWire

/// The files that an agent keeps. Each is written whole, and old or new after a power cut.
///
/// Frame: the line `rap-state 1 <SHA-256 of the rest, hex>` and then JSON.
public enum StateFile: String, CaseIterable, Sendable {
    /// Private keys. Lost: the host is a stranger and must be approved again.
    case identity = "identity.json"
    /// Cluster, trust, admission and certificate. Lost: fetched again with the join token.
    case membership = "membership.json"
    /// The newest snapshot, and peer records. Lost: fetched again.
    case snapshot = "snapshot.json"
    /// What must not go back: time, handshake time stamps, record numbers.
    case floors = "floors.json"
    /// Where a control plane that is known by name answered last. Lost: its name is looked up.
    case control = "control.json"

    /// What becomes of one that is damaged, and what a person can do.
    public var mend: String {
        switch self {
        case .identity: "restore it from a backup, or empty the state directory and enrol again with a join token"
        case .membership: "it is fetched again with the join token; without one, start the agent with --token"
        case .snapshot: "it is fetched again from the control plane"
        case .floors: "it is made anew; should peers refuse this node's handshakes, set its clock"
        case .control: "the control plane's name is looked up"
        }
    }
}

struct IdentityState: Codable, Hashable {
    var identitySeed: Blob
    var tunnelKeys: [DomainKey]

    struct DomainKey: Codable, Hashable {
        var domain: RoutingDomainID
        var privateKey: Blob
    }
}

struct MembershipState: Codable, Hashable {
    var cluster: ClusterID
    var node: NodeID
    var controlPin: Blob
    var clusterPin: Blob
    var trust: SignedEnvelope
    var admission: SignedEnvelope
    var certificateChain: [Blob]
}

struct SnapshotState: Codable, Hashable {
    var snapshot: SignedEnvelope
    var records: [SignedEnvelope]
}

struct ControlState: Codable, Hashable {
    /// What was looked up to find it: under another name it is somebody else.
    var name: HostName
    var address: Endpoint
}

struct FloorsState: Codable, Hashable {
    /// The control plane's clock, as last heard, nanoseconds since the Unix epoch.
    var wallNanoseconds: Int64
    /// No handshake initiation carried a time stamp at or above this.
    var handshakeNanoseconds: Int64
    /// No peer record carried a number at or above this.
    var recordSequence: Int64
    /// The wall clock when this was written; absent in files of older programs. See `startingPoint`.
    var reservedAtNanoseconds: Int64?

    /// No honest count comes near it, and sums below it can't overflow.
    static let highestRecordSequence = Int64.max / 2

    var isPlausible: Bool {
        wallNanoseconds >= 0 && handshakeNanoseconds >= 0 && (reservedAtNanoseconds ?? 0) >= 0
            && (0...Self.highestRecordSequence).contains(recordSequence)
    }

    /// Where the time stamps of a life begin that comes up at `now`, and whether that is safe before a higher floor is
    /// durable.
    ///
    /// A life that could not write may have used stamps above the floor. But each life begins as far above it as the wall
    /// clock has gone on since the floor was written, and its stamps grow no faster than that clock: so a later life begins
    /// above every stamp of an earlier one, written or not, as long as the clock does not go back between them. When it
    /// shows less than at the writing, it has, and only a durable floor helps.
    func startingPoint(at now: WallTime) -> (stamp: WallTime, isSafe: Bool) {
        let floor = WallTime(nanoseconds: handshakeNanoseconds)
        guard let reservedAtNanoseconds, now.nanoseconds >= reservedAtNanoseconds,
            handshakeNanoseconds >= reservedAtNanoseconds
        else { return (floor, false) }
        let (stamp, overflow) = handshakeNanoseconds.addingReportingOverflow(now.nanoseconds - reservedAtNanoseconds)
        return overflow ? (floor, false) : (WallTime(nanoseconds: stamp), true)
    }
}

enum StateFrame {
    static let magic = "rap-state 1 "

    static func seal(_ document: some Encodable, _ cryptography: any Cryptography) -> [UInt8] {
        let body = JSON.encodeOwn(document)
        return Array((magic + Hex.encode(cryptography.sha256(body)) + "\n").utf8) + body
    }

    /// Throws what is wrong, in words; the caller says which file and what mends it.
    static func open<Document: Decodable>(
        _ type: Document.Type, _ bytes: [UInt8], _ cryptography: any Cryptography
    ) throws(StateFrameError) -> Document {
        let headerLength = magic.utf8.count + 65
        guard bytes.count > headerLength, bytes.starts(with: magic.utf8), bytes[headerLength - 1] == 10 else {
            throw .init(words: "it is truncated or not a state file")
        }
        let digest = String(decoding: bytes[magic.utf8.count..<headerLength - 1], as: UTF8.self)
        let body = Array(bytes[headerLength...])
        guard Hex.encode(cryptography.sha256(body)) == digest || planted(.stateChecksumIgnored) else {
            throw .init(words: "its checksum does not match: it is truncated or corrupt")
        }
        // The largest of them holds a snapshot.
        let limits = DocumentLimits(maximumBytes: Snapshot.maximumBytes)
        do { return try JSON.decode(type, from: body, limits: limits) } catch { throw .init(words: "\(error)") }
    }
}

struct StateFrameError: Error {
    var words: String
}

/// One file as the host found it at start.
public struct LoadedFile: Hashable, Sendable {
    public var file: StateFile
    public var bytes: [UInt8]
    public init(file: StateFile, bytes: [UInt8]) {
        self.file = file
        self.bytes = bytes
    }
}
