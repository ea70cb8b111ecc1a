/// What befalls hosts beside the network: their processes, processors, clocks, disks, and the control plane's database.
public enum HostFault: Sendable, Hashable {
    /// The process dies; the kernel lives. It is down until a restart.
    case kill(EndpointSet)
    /// The process is stopped: the kernel takes what arrives, nothing is handled.
    case pause(EndpointSet)
    /// The machine sleeps: nothing arrives, clocks go on.
    case suspend(EndpointSet)
    /// Ends a pause or a sleep.
    case resume(EndpointSet)
    case slowProcessor(EndpointSet, ProcessorCost)
    /// Both clocks run so much faster than the truth, in parts per billion.
    case drift(EndpointSet, partsPerBillion: Int64)
    /// The disks are from now on as said; what is not named stays.
    case disk(EndpointSet, [DiskSetting])
    /// Bits of files at rest flip; of every file when no name is given.
    case bitRot(EndpointSet, file: String?, bits: Int)
    /// The control plane's database is from now on as said; what is not named stays.
    case database([DatabaseSetting])
    /// The control plane's disk is copied as it is, under a name.
    case backUpControl(String)
    /// The control plane's disk becomes what it was; the control plane starts anew.
    case restoreControl(String)
    /// The next time that so many boundaries were passed, each host goes down, and comes up again.
    case crashAt(EndpointSet, CrashPoint)
    /// What resolvers tell these nodes from now on when they look the control plane up.
    case dnsAnswers([Int], DNSAnswer)
    /// The control plane gets another address, and its name leads there.
    case moveControl
}

/// One property of a disk. Shares are in parts per million of the operations.
public enum DiskSetting: Sendable, Hashable {
    /// Bytes that may still be written; nil for plenty.
    case room(Int?)
    /// Reads that fail.
    case readErrors(Int64)
    /// Writes that fail.
    case writeErrors(Int64)
    /// Syncs that fail: what they were to make durable is durable, or lost for good, and a later sync does not say so.
    case syncErrors(Int64)
    /// Syncs that succeed and make nothing durable.
    case lostSyncs(Int64)
    /// Power failures that leave writes half done.
    case tornWrites(Int64)
    /// Durable writes after which a bit of the file flips.
    case bitRot(Int64)
    /// How long a sync takes; nil for as usual.
    case syncTime(Duration?)

    /// The property as it is when nothing is wrong.
    public var mended: DiskSetting {
        switch self {
        case .room: .room(nil)
        case .readErrors: .readErrors(0)
        case .writeErrors: .writeErrors(0)
        case .syncErrors: .syncErrors(0)
        case .lostSyncs: .lostSyncs(0)
        case .tornWrites: .tornWrites(0)
        case .bitRot: .bitRot(0)
        case .syncTime: .syncTime(nil)
        }
    }
}

/// One property of the control plane's database. Shares are in parts per million of the transactions.
public enum DatabaseSetting: Sendable, Hashable {
    /// Transactions that fail before they begin; all of them is an outage.
    case failures(Int64)
    /// Transactions whose commit is not answered: half of them took place.
    case unknownCommits(Int64)
    /// How long each transaction takes beside what the disk takes.
    case transactionTime(Duration)

    /// The property as it is when nothing is wrong.
    public var mended: DatabaseSetting {
        switch self {
        case .failures: .failures(0)
        case .unknownCommits: .unknownCommits(0)
        case .transactionTime: .transactionTime(.zero)
        }
    }
}

/// A crash that waits for a component to come to a point.
public struct CrashPoint: Sendable, Hashable {
    public var boundary: CrashBoundary
    /// Counted from 1.
    public var nth: Int
    /// Power, or only the process.
    public var powerFails: Bool
    public var downFor: Duration
    /// What has not come by then, counted from the step, does not come any more; nil for however late.
    public var within: Duration?

    public init(boundary: CrashBoundary, nth: Int, powerFails: Bool, downFor: Duration, within: Duration? = nil) {
        self.boundary = boundary
        self.nth = nth
        self.powerFails = powerFails
        self.downFor = downFor
        self.within = within
    }
}

/// Where between its actions a component can crash.
public enum CrashBoundary: String, NamedChoice, CustomStringConvertible {
    /// Any of those that follow but `transmit` and `write`, which are many.
    case any
    /// An agent is about to write a state file.
    case persist
    /// A state file is durable, and the agent does not know yet.
    case persisted
    /// An agent is about to send a request.
    case send
    /// A reply has arrived at an agent, which has not looked at it yet.
    case reply
    /// An agent is about to send a datagram.
    case transmit
    /// A request has arrived at the control plane, which has not looked at it yet.
    case request
    /// The control plane's database is about to write.
    case write
    /// The control plane's database is about to make its writes durable.
    case sync
    /// What the control plane decided is durable, and nobody knows yet.
    case commit
    /// An answer of the control plane is about to leave.
    case answer

    public static let noun = "boundary"
    public var description: String { rawValue }

    /// Whether agents pass it.
    public var isOfNodes: Bool {
        switch self {
        case .any, .persist, .persisted, .send, .reply, .transmit: true
        case .request, .write, .sync, .commit, .answer: false
        }
    }

    /// Whether the control plane passes it.
    public var isOfControl: Bool { self == .any || !isOfNodes }

    /// Whether a point that names this boundary means that one.
    public func covers(_ passed: CrashBoundary) -> Bool {
        self == passed || self == .any && passed != .transmit && passed != .write
    }
}

/// What takes a slow processor's time; all zero for one that is as fast as ever.
public struct ProcessorCost: Sendable, Hashable {
    /// Each event, before it has its effect.
    public var perEvent = Duration.zero
    /// Each handshake that a node works on, besides.
    public var perHandshake = Duration.zero
    /// Each packet that a node seals, or opens, or finds forged in opening it, besides.
    public var perPacket = Duration.zero

    public init(perEvent: Duration = .zero, perHandshake: Duration = .zero, perPacket: Duration = .zero) {
        self.perEvent = perEvent
        self.perHandshake = perHandshake
        self.perPacket = perPacket
    }

    public static let none = ProcessorCost()
}
