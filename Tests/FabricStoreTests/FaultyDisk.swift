import FabricCore

/// Files in memory with the difference between written and durable, a power switch, and faults to order.
///
/// A file's name and contents are durable when it is synced, a deletion at once. At a crash every write and truncation
/// since then survives or not, each by itself, and every write that survives may be torn.
final class FaultyDisk: Disk {
    enum Survival: CaseIterable { case none, all, some, someTorn }

    enum Change {
        case write(Int, [UInt8])
        case truncate(Int)
    }

    final class Contents {
        var durable: [UInt8]
        var current: [UInt8]
        var pending: [Change] = []
        var nameIsDurable = false

        init(_ bytes: [UInt8] = []) {
            durable = bytes
            current = bytes
        }
    }

    var files: [String: Contents] = [:]
    /// Operations that change something, counted; at `powerFailsAt` the disk stops answering.
    private(set) var operations = 0
    private(set) var syncs = 0
    var powerFailsAt = Int.max
    /// Syncs that fail, by their number from now.
    var failingSyncs: Set<Int> = []
    var failingWrites: Set<Int> = []
    /// What a failed sync was to make durable is lost, though readers see it, and no later sync writes it: as Linux does.
    var forgetsAfterFailedSync = false
    private(set) var writes = 0
    /// What all files together may hold.
    var capacity = Int.max
    var failsReads = false

    var isDead: Bool { operations >= powerFailsAt }

    fileprivate func tick() throws(DiskError) {
        guard !isDead else { throw .failed(code: 5) }
        operations += 1
        guard !isDead else { throw .failed(code: 5) }
    }

    fileprivate func countSync() throws(DiskError) {
        syncs += 1
        if failingSyncs.contains(syncs) { throw .failed(code: 5) }
    }

    fileprivate func countWrite() throws(DiskError) {
        writes += 1
        if failingWrites.contains(writes) { throw .failed(code: 5) }
    }

    fileprivate var used: Int { files.values.reduce(0) { $0 + $1.current.count } }

    func open(_ name: String) throws(DiskError) -> any DiskFile {
        if let contents = files[name] { return FaultyFile(self, contents) }
        try tick()
        let contents = Contents()
        files[name] = contents
        return FaultyFile(self, contents)
    }

    func delete(_ name: String) throws(DiskError) {
        guard files[name] != nil else { throw .notFound }
        try tick()
        files[name] = nil
    }

    func exists(_ name: String) -> Bool { files[name] != nil }

    /// The disk that a machine finds after the power comes back.
    func afterCrash(_ survival: Survival, _ random: any RandomSource) -> FaultyDisk {
        let next = FaultyDisk()
        for (name, contents) in files.sorted(by: { $0.key < $1.key }) {
            if !contents.nameIsDurable, survival == .none || survival != .all && random.below(2) == 0 { continue }
            var bytes = contents.durable
            for change in contents.pending {
                let survives: Bool =
                    switch survival {
                    case .none: false
                    case .all: true
                    case .some, .someTorn: random.below(2) == 0
                    }
                guard survives else { continue }
                var torn = change
                if survival == .someTorn, case .write(let offset, let data) = change {
                    torn = .write(offset, Array(data.prefix(Int(random.below(UInt64(data.count + 1))))))
                }
                FaultyDisk.apply(torn, to: &bytes)
            }
            next.files[name] = Contents(bytes)
            next.files[name]?.nameIsDurable = true
        }
        return next
    }

    fileprivate static func apply(_ change: Change, to bytes: inout [UInt8]) {
        switch change {
        case .write(let offset, let data):
            if data.isEmpty { return }
            if bytes.count < offset + data.count {
                bytes += [UInt8](repeating: 0, count: offset + data.count - bytes.count)
            }
            bytes.replaceSubrange(offset..<offset + data.count, with: data)
        case .truncate(let size):
            if size < bytes.count {
                bytes.removeSubrange(size...)
            } else {
                bytes += [UInt8](repeating: 0, count: size - bytes.count)
            }
        }
    }
}

final class FaultyFile: DiskFile {
    private let disk: FaultyDisk
    private let contents: FaultyDisk.Contents

    init(_ disk: FaultyDisk, _ contents: FaultyDisk.Contents) {
        self.disk = disk
        self.contents = contents
    }

    func read(_ buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(DiskError) -> Int {
        guard !disk.isDead, !disk.failsReads else { throw .failed(code: 5) }
        let available = contents.current.dropFirst(Int(offset)).prefix(buffer.count)
        buffer.copyBytes(from: available)
        return available.count
    }

    func write(_ buffer: UnsafeRawBufferPointer, at offset: Int64) throws(DiskError) {
        try disk.tick()
        try disk.countWrite()
        let growth = max(0, Int(offset) + buffer.count - contents.current.count)
        guard disk.used + growth <= disk.capacity else { throw .full }
        change(.write(Int(offset), Array(buffer)))
    }

    func truncate(to size: Int64) throws(DiskError) {
        try disk.tick()
        change(.truncate(Int(size)))
    }

    func sync() throws(DiskError) {
        try disk.tick()
        do throws(DiskError) { try disk.countSync() } catch {
            if disk.forgetsAfterFailedSync { contents.pending = [] }
            throw error
        }
        if disk.forgetsAfterFailedSync {
            for change in contents.pending { FaultyDisk.apply(change, to: &contents.durable) }
        } else {
            contents.durable = contents.current
        }
        contents.pending = []
        contents.nameIsDurable = true
    }

    func size() throws(DiskError) -> Int64 {
        guard !disk.isDead else { throw .failed(code: 5) }
        return Int64(contents.current.count)
    }

    private func change(_ change: FaultyDisk.Change) {
        FaultyDisk.apply(change, to: &contents.current)
        contents.pending.append(change)
    }
}
