public import FabricCore

/// Random-access files with a page cache in front of the medium.
///
/// A write is seen by every reader at once and is durable after `sync` of its file (unless `conditions` say otherwise). A
/// power failure keeps of each file what was durable and, drawn from the seed, none, all, a prefix, or a subset of the
/// writes since: what a real cache may have written back. Creation becomes durable with the file's first sync, deletion at once (the Linux host syncs the
/// directory).
///
/// Calls don't wait: the time that they would have taken adds up in `takeElapsed()`, for the host to delay its answers by.
public final class VirtualDisk: Disk {
    public static let maximumFileBytes: Int64 = 4 << 30
    /// Beyond this, the oldest pending writes of a file become durable without a sync, as by a kernel's write-back.
    public static let maximumPendingWrites = 65_536
    public static let maximumPendingBytes = 64 << 20

    public let conditions: DiskConditions
    let random: SeededRandom
    private let trace: (UInt64, String) -> Void
    private var files: [String: VirtualFile] = [:]
    private var elapsed: Int64 = 0
    /// Rises with every change of what readers see.
    private(set) var changes: UInt64 = 0
    /// Rises with those that nobody wrote: power failures, damage, restored images.
    private(set) var upheavals: UInt64 = 0
    /// Asked before each write and sync; true when the power fails there. From then on nothing works until `crash`.
    var boundary: ((_ isSync: Bool, _ file: String) -> Bool)?
    private var isWithoutPower = false

    /// A disk of its own, outside a world. Worlds make one per host.
    public convenience init(conditions: DiskConditions, random: SeededRandom) {
        self.init(conditions: conditions, random: random, trace: { _, _ in })
    }

    init(conditions: DiskConditions, random: SeededRandom, trace: @escaping (UInt64, String) -> Void) {
        self.conditions = conditions
        self.random = random
        self.trace = trace
    }

    public func open(_ name: String) throws(DiskError) -> any DiskFile {
        try checkPower()
        if let file = files[name] { return VirtualFileHandle(disk: self, file: file) }
        if conditions.strikes(conditions.writeErrors) { throw DiskConditions.inputOutputError }
        let file = VirtualFile(name: name)
        files[name] = file
        changes += 1
        return VirtualFileHandle(disk: self, file: file)
    }

    /// Open handles of the file go on reading and writing what has no name any more.
    public func delete(_ name: String) throws(DiskError) {
        guard let file = files[name] else { throw .notFound }
        try passBoundary(isSync: false, name)
        if conditions.strikes(conditions.writeErrors) { throw DiskConditions.inputOutputError }
        files[name] = nil
        file.deleted = true
        noteUpheaval()
        conditions.usedBytes -= Int64(file.content.count)
        trace(1, name)
    }

    public func exists(_ name: String) -> Bool { files[name] != nil }

    /// The names of all files, sorted.
    public var names: [String] { files.keys.sorted() }

    /// What readers see now.
    public func content(_ name: String) -> [UInt8]? { files[name]?.content }

    /// What would be left if no pending write survived a power failure.
    public func durableContent(_ name: String) -> [UInt8]? {
        guard let file = files[name], file.existsDurably else { return nil }
        return file.durable
    }

    /// The time that calls have taken since the last time it was asked for.
    public func takeElapsed() -> Duration {
        defer { elapsed = 0 }
        return .nanoseconds(elapsed)
    }

    /// Damages a file at rest: what is durable of it. Readers see the damage but where a write is pending, or was lost in
    /// a sync that failed: the page cache has that still.
    public func damage(_ name: String, _ damage: FileDamage) {
        guard let file = files[name] else { return }
        let before = file.content.count
        file.damage(damage, random)
        noteUpheaval()
        conditions.usedBytes += Int64(file.content.count - before)
        trace(2, name)
    }

    /// The power fails. Handles from before keep no right: their calls fail from now on.
    public func crash() {
        isWithoutPower = false
        noteUpheaval()
        for name in names {
            guard let file = files[name] else { continue }
            let before = file.content.count
            file.generation += 1
            guard file.existsDurably || (!file.pending.isEmpty && random.below(2) == 0) else {
                conditions.usedBytes -= Int64(before)
                conditions.lostWrites += UInt64(file.pending.count)
                files[name] = nil
                continue
            }
            file.existsDurably = true
            conditions.lostWrites += UInt64(file.losePending(random, tearing: conditions.tornWrites, conditions))
            conditions.usedBytes += Int64(file.content.count - before)
            trace(3, name)
        }
    }

    /// The process died, the kernel lives: its cache has everything.
    func powerReturns() { isWithoutPower = false }

    /// All files as a power failure at this moment would certainly leave them.
    public func image() -> DiskImage {
        DiskImage(
            entries: names.compactMap { name in files[name].flatMap { $0.existsDurably ? (name, $0.durable) : nil } })
    }

    /// The files become those of the image, durably. Handles from before are dead.
    public func restore(_ image: DiskImage) {
        noteUpheaval()
        for name in names {
            guard let file = files[name] else { continue }
            file.generation += 1
            conditions.usedBytes -= Int64(file.content.count)
        }
        files = [:]
        for (name, content) in image.entries {
            let file = VirtualFile(name: name)
            file.content = content
            file.durable = content
            file.existsDurably = true
            files[name] = file
            conditions.usedBytes += Int64(content.count)
            trace(5, name)
        }
    }

    func checkPower() throws(DiskError) {
        if isWithoutPower { throw DiskConditions.inputOutputError }
    }

    /// Before a write or a sync.
    func passBoundary(isSync: Bool, _ name: String) throws(DiskError) {
        try checkPower()
        guard let boundary, boundary(isSync, name) else { return }
        isWithoutPower = true
        throw DiskConditions.inputOutputError
    }

    func sync(_ file: VirtualFile) throws(DiskError) {
        try passBoundary(isSync: true, file.name)
        elapsed += conditions.syncLatency.draw(random)
        if conditions.strikes(conditions.syncErrors) {
            file.failSync(conditions.random)
            trace(6, file.name)
            throw DiskConditions.inputOutputError
        }
        conditions.syncs += 1
        if conditions.strikes(conditions.lostSyncs) { return trace(7, file.name) }
        file.flushAll()
        if conditions.strikes(conditions.bitRot) { rot(file) }
        trace(4, file.name)
    }

    private func rot(_ file: VirtualFile) {
        FileDamage.flippedBits(1).apply(to: &file.durable, conditions.random)
        file.content = file.durable
        noteUpheaval()
    }

    fileprivate func noteChange() { changes += 1 }

    private func noteUpheaval() {
        changes += 1
        upheavals += 1
    }
}

/// The files of a disk at one moment, sorted by name.
public struct DiskImage {
    var entries: [(name: String, content: [UInt8])]
}

/// One file: what readers see, what is durable, and the changes between the two.
final class VirtualFile {
    enum Change {
        case write(offset: Int, bytes: [UInt8])
        case truncate(Int)
    }

    let name: String
    var content: [UInt8] = []
    var durable: [UInt8] = []
    var pending: [Change] = []
    var pendingBytes = 0
    var existsDurably = false
    var deleted = false
    /// Raised by a crash: handles from before are dead.
    var generation = 0

    init(name: String) { self.name = name }

    static func apply(_ change: Change, to content: inout [UInt8]) {
        switch change {
        case .write(let offset, let bytes):
            let end = offset + bytes.count
            grow(&content, to: end)
            bytes.withUnsafeBytes { source in
                content.withUnsafeMutableBytes { target in
                    guard let from = source.baseAddress, let to = target.baseAddress else { return }
                    (to + offset).copyMemory(from: from, byteCount: source.count)
                }
            }
        case .truncate(let size):
            if size < content.count {
                content.removeLast(content.count - size)
            } else {
                grow(&content, to: size)
            }
        }
    }

    private static let zeros = [UInt8](repeating: 0, count: 65_536)

    /// In stretches that are copied at once: byte by byte this was a quarter of the time of all tests in debug builds.
    private static func grow(_ content: inout [UInt8], to count: Int) {
        while content.count < count { content.append(contentsOf: zeros[..<min(zeros.count, count - content.count)]) }
    }

    func add(_ change: Change) {
        VirtualFile.apply(change, to: &content)
        pending.append(change)
        if case .write(_, let bytes) = change { pendingBytes += bytes.count }
        if pending.count > VirtualDisk.maximumPendingWrites || pendingBytes > VirtualDisk.maximumPendingBytes {
            writeBack(pending.count / 2)
        }
    }

    func flushAll() {
        writeBack(pending.count)
        existsDurably = true
    }

    private func writeBack(_ count: Int) {
        for change in pending[..<count] {
            VirtualFile.apply(change, to: &durable)
            if case .write(_, let bytes) = change { pendingBytes -= bytes.count }
        }
        pending.removeFirst(count)
        existsDurably = existsDurably || count > 0
    }

    func damage(_ damage: FileDamage, _ random: SeededRandom) {
        let healthy = durable
        damage.apply(to: &durable, random)
        if durable.count != healthy.count {
            // What was cut off is read anew, with what is pending.
            content = durable
            for change in pending { VirtualFile.apply(change, to: &content) }
            return
        }
        for index in healthy.indices where durable[index] != healthy[index] {
            if index < content.count, content[index] == healthy[index], !isPending(index) {
                content[index] = durable[index]
            }
        }
    }

    /// Whether a write to this byte waits to be made durable.
    private func isPending(_ index: Int) -> Bool {
        pending.contains { change in
            switch change {
            case .write(let offset, let bytes): offset <= index && index < offset + bytes.count
            case .truncate(let size): size <= index
            }
        }
    }

    /// The sync failed: each change is durable or lost for good, and none is tried again.
    func failSync(_ random: SeededRandom) {
        for change in pending where random.below(2) == 0 {
            VirtualFile.apply(change, to: &durable)
            existsDurably = true
        }
        pending.removeAll()
        pendingBytes = 0
    }

    /// A write of which a power failure left a part: its beginning, or some of its sectors.
    private func tear(_ change: Change, _ random: SeededRandom) {
        guard case .write(let offset, let bytes) = change else { return }
        if random.below(2) == 0 {
            let part = Array(bytes[..<Int(random.below(UInt64(bytes.count) + 1))])
            return VirtualFile.apply(.write(offset: offset, bytes: part), to: &durable)
        }
        var start = 0
        while start < bytes.count {
            let end = min(
                bytes.count, start + DiskConditions.sectorBytes - (offset + start) % DiskConditions.sectorBytes)
            if random.below(2) == 0 {
                VirtualFile.apply(.write(offset: offset + start, bytes: Array(bytes[start..<end])), to: &durable)
            }
            start = end
        }
    }

    /// Keeps a part of the pending changes, drawn from the seed; returns how many were lost.
    func losePending(_ random: SeededRandom, tearing: Probability, _ conditions: DiskConditions) -> Int {
        defer {
            pending.removeAll()
            pendingBytes = 0
            content = durable
        }
        if pending.isEmpty { return 0 }
        var lost = 0
        switch random.below(4) {
        case 0: lost = pending.count
        case 1: for change in pending { VirtualFile.apply(change, to: &durable) }
        case 2:
            let kept = Int(random.below(UInt64(pending.count) + 1))
            for change in pending[..<kept] { VirtualFile.apply(change, to: &durable) }
            lost = pending.count - kept
            if kept < pending.count, conditions.strikes(tearing) { tear(pending[kept], conditions.random) }
        default:
            for change in pending {
                if random.below(2) == 0 {
                    VirtualFile.apply(change, to: &durable)
                } else {
                    lost += 1
                    if conditions.strikes(tearing) { tear(change, conditions.random) }
                }
            }
        }
        return lost
    }
}

/// One opening of a file; it dies with the power.
final class VirtualFileHandle: DiskFile {
    private let disk: VirtualDisk
    private let file: VirtualFile
    private let generation: Int

    init(disk: VirtualDisk, file: VirtualFile) {
        self.disk = disk
        self.file = file
        generation = file.generation
    }

    private func check() throws(DiskError) {
        if generation != file.generation { throw DiskConditions.inputOutputError }
        try disk.checkPower()
    }

    func read(_ buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(DiskError) -> Int {
        try check()
        if disk.conditions.strikes(disk.conditions.readErrors) { throw DiskConditions.inputOutputError }
        let available = Int64(file.content.count) - offset
        guard offset >= 0, available > 0 else { return 0 }
        let count = min(buffer.count, Int(available))
        file.content.withUnsafeBytes {
            buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[Int(offset)..<Int(offset) + count]))
        }
        return count
    }

    func write(_ buffer: UnsafeRawBufferPointer, at offset: Int64) throws(DiskError) {
        try check()
        try disk.passBoundary(isSync: false, file.name)
        if disk.conditions.strikes(disk.conditions.writeErrors) { throw DiskConditions.inputOutputError }
        let (end, overflow) = offset.addingReportingOverflow(Int64(buffer.count))
        guard offset >= 0, !overflow, end <= VirtualDisk.maximumFileBytes else { throw .full }
        if buffer.isEmpty { return }
        if !file.deleted { try disk.conditions.reserve(max(0, end - Int64(file.content.count))) }
        file.add(.write(offset: Int(offset), bytes: Array(buffer)))
        disk.noteChange()
    }

    func truncate(to size: Int64) throws(DiskError) {
        try check()
        try disk.passBoundary(isSync: false, file.name)
        if disk.conditions.strikes(disk.conditions.writeErrors) { throw DiskConditions.inputOutputError }
        guard size >= 0, size <= VirtualDisk.maximumFileBytes else { throw .full }
        if !file.deleted { try disk.conditions.reserve(size - Int64(file.content.count)) }
        file.add(.truncate(Int(size)))
        disk.noteChange()
    }

    func sync() throws(DiskError) {
        try check()
        try disk.sync(file)
    }

    func size() throws(DiskError) -> Int64 {
        try check()
        return Int64(file.content.count)
    }
}
