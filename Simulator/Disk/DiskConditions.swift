public import FabricCore

/// The faults and the capacity that a host's files share. Scenario steps change it; all faults are off at first.
public final class DiskConditions {
    /// How long a sync takes.
    public var syncLatency = DelayDistribution(.microseconds(800), jitter: .milliseconds(1), shape: .bell)
    /// Bytes that all files of the host may hold together.
    public var capacity: Int64 = 16 << 30
    /// Writes fail with EIO.
    public var failsWrites = false
    /// Syncs and durable writes fail with EIO; what they would have made durable stays pending.
    public var failsSyncs = false
    /// A power failure may leave the last pending write half done, and whole-file writes torn (new size, part of the new
    /// content): a disk that lies about its barriers.
    public var tearsWrites = false

    /// Linux's number for an input/output error.
    public static let inputOutputError = DiskError.failed(code: 5)

    public internal(set) var usedBytes: Int64 = 0
    public internal(set) var syncs: UInt64 = 0
    public internal(set) var lostWrites: UInt64 = 0

    public init() {}

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
    let conditions = DiskConditions()
    let disk: VirtualDisk
    let store: VirtualStateStore

    init(world: World, host: Int, name: String) {
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
        if kind == .power { disk.crash() }
    }
}
