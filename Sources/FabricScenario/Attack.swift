internal import FabricCore

/// What somebody does who means harm, beside the faults that come by chance. He stands on the path, has the control plane's
/// keys, or lies about his own; he has no key of an approver and no node's.
public enum Attack: Sendable, Hashable {
    case replay(PlannedReplay)
    case flood(PlannedFlood)
    case captureControl(PlannedCapture)
    case impostor(PlannedImpostor)
}

/// Datagrams are recorded where they leave their sender, and sent again.
public struct PlannedReplay: Sendable, Hashable {
    /// Senders and receivers, sorted.
    public var from: [Int]
    public var to: [Int]
    public var what: ReplayedMessages
    /// How long after the datagram its copy leaves.
    public var after: Duration
    public var source: AttackSource
    /// So many bits of each copy are flipped, drawn from the seed.
    public var flippedBits: Int
    /// Of the datagrams, in parts per million.
    public var share: Int64
    public var duration: Duration
}

/// Datagrams that come to nothing, at a steady pace.
public struct PlannedFlood: Sendable, Hashable {
    /// The targets, sorted.
    public var to: [Int]
    public var what: FloodMessages
    /// Between two of them, at each target.
    public var interval: Duration
    public var source: AttackSource
    public var duration: Duration
}

/// The control plane, in foreign hands, answers what these nodes ask for updates.
public struct PlannedCapture: Sendable, Hashable {
    public var nodes: [Int]
    public var sends: CapturedAnswer
    /// A run in which there was nothing to send is broken.
    public var isRequired: Bool
    public var duration: Duration
}

/// A node asks to join with tunnel keys that another one holds.
public struct PlannedImpostor: Sendable, Hashable {
    public var node: Int
    public var keysOf: Int
    /// Index into `Plan.tokens`.
    public var token: Int
}

/// Which datagrams are sent again.
public enum ReplayedMessages: String, NamedChoice {
    case any, handshakes, data
    public static let noun = "kind of message"
}

/// What a flood consists of.
public enum FloodMessages: String, NamedChoice {
    /// Initiations that anybody can make who knows a node's public key: the first check lets them pass, nothing else.
    case handshakes
    /// What anybody can make: noise, and what looks like a packet of a session that there is not.
    case garbage
    public static let noun = "kind of flood"
}

/// The address from which an attacker's datagrams come.
public enum AttackSource: String, NamedChoice {
    /// One that he has.
    case own
    /// One that he has not: the genuine sender's, or any.
    case forged
    public static let noun = "source"
}

/// What a control plane in foreign hands sends. It signs with the keys that it has.
public enum CapturedAnswer: String, NamedChoice {
    /// The oldest snapshot that the node has had.
    case oldSnapshot = "old-snapshot"
    /// A snapshot for another node, with a number above the node's own.
    case foreignSnapshot = "foreign-snapshot"
    /// A snapshot with a member more, whose admission no approver has signed.
    case stranger
    /// Of each peer the oldest record that it has given.
    case oldRecords = "old-records"
    public static let noun = "answer"
}
