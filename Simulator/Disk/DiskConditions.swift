public import FabricCore

/// The faults and the capacity that a host's files share. Scenario steps change it; all faults are off at first.
public final class DiskConditions {
    /// How long a sync takes.
    public var syncLatency = DiskConditions.usualSyncLatency
    /// Bytes that all files of the host may hold together.
    public var capacity: Int64 = DiskConditions.usualCapacity
    /// Reads that fail with EIO.
    public var readErrors = Probability.never
    /// Writes, creations and deletions that fail with EIO.
    public var writeErrors = Probability.never
    /// Syncs and durable writes that fail with EIO. What a failed sync was to make durable is durable, or lost for good,
    /// drawn one by one; readers go on seeing it until the power fails, and no later sync brings it back (Linux marks
    /// pages clean whose writing failed).
    public var syncErrors = Probability.never
    /// Syncs that succeed and make nothing durable: a cache that lies. A later sync that does not lie makes up for it.
    public var lostSyncs = Probability.never
    /// Power failures that leave writes half done: a prefix, or some of their sectors; whole-file writes with their new
    /// size and a part of their content.
    public var tornWrites = Probability.never
    /// Durable writes after which a bit of the file flips.
    public var bitRot = Probability.never
    /// The unit that a medium writes whole.
    public static let sectorBytes = 512
    public static let usualCapacity: Int64 = 16 << 30
    public static let usualSyncLatency = DelayDistribution(
        .microseconds(800), jitter: .milliseconds(1), shape: .bell)

    /// Linux's number for an input/output error.
    public static let inputOutputError = DiskError.failed(code: 5)

    public internal(set) var usedBytes: Int64 = 0
    public internal(set) var syncs: UInt64 = 0
    public internal(set) var lostWrites: UInt64 = 0
    /// Faults that took place, of all kinds.
    public internal(set) var faults: UInt64 = 0
    /// What faults are drawn from; a fault that is off draws nothing.
    let random: SeededRandom

    public init(random: SeededRandom = SeededRandom(seed: 0, stream: "disk-faults")) { self.random = random }

    /// Whether a fault of this probability takes place now.
    func strikes(_ probability: Probability) -> Bool {
        guard probability.draw(random) else { return false }
        faults &+= 1
        return true
    }

    /// Reserves growth, or releases when negative.
    func reserve(_ bytes: Int64) throws(DiskError) {
        guard bytes <= 0 || usedBytes + bytes <= capacity else { throw .full }
        usedBytes += bytes
    }
}

/// Damage for scenarios: what a medium does to a file at rest.
public enum FileDamage: Hashable, Sendable {
    /// So many random bits are flipped.
    case flippedBits(Int)
    /// The file ends here.
    case truncated(to: Int)
    /// A range reads as zeros.
    case zeroed(Range<Int>)

    func apply(to content: inout [UInt8], _ random: SeededRandom) {
        switch self {
        case .flippedBits(let count):
            guard !content.isEmpty else { return }
            for _ in 0..<max(0, count) {
                let bit = Int(random.below(UInt64(content.count) * 8))
                content[bit / 8] ^= 1 << UInt8(bit % 8)
            }
        case .truncated(let size): content.removeLast(max(0, content.count - max(0, size)))
        case .zeroed(let range): for index in range.clamped(to: 0..<content.count) { content[index] = 0 }
        }
    }
}

/// A host's two kinds of files and what they share.
final class HostDisks {
    let conditions: DiskConditions
    let disk: VirtualDisk
    let store: VirtualStateStore

    init(world: World, host: Int, name: String) {
        conditions = DiskConditions(random: SeededRandom(seed: world.seed, stream: "\(name)/disk-faults"))
        disk = VirtualDisk(
            conditions: conditions, random: SeededRandom(seed: world.seed, stream: "\(name)/disk"),
            trace: { [unowned(unsafe) world] kind, file in
                world.trace.record(.disk, host: Int32(host), at: world.nowNanoseconds, kind, text: file)
            })
        store = VirtualStateStore(
            world: world, host: host, conditions: conditions,
            random: SeededRandom(seed: world.seed, stream: "\(name)/store"))
    }

    func crash(_ kind: CrashKind) {
        store.crash(kind)
        if kind == .power { disk.crash() } else { disk.powerReturns() }
    }
}
