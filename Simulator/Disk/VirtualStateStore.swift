public import FabricCore

/// A node's durable files, each written whole: write to a temporary file, sync, rename.
///
/// An operation completes by `HostEvent.persisted` after a latency; operations of one host complete in the order in which
/// they were given. A crash before completion leaves the old file or the new one, never a mixture (unless
/// `DiskConditions.tornWrites`).
public final class VirtualStateStore {
    /// The most operations under way at once on one host.
    public static let maximumPending = 4096
    public static let maximumFileBytes = 64 << 20

    private struct Operation {
        var identifier: UInt64
        var name: String
        /// Nil removes the file.
        var content: [UInt8]?
        /// Bytes that the operation has reserved.
        var reserved: Int64
        var failure: DiskError?
    }

    /// A replacement of which nobody knows whether it is durable.
    private struct Uncertain {
        /// Nil when there was no file.
        var old: [UInt8]?
        /// The sync failed, so that no later sync of another file makes up for it.
        var syncFailed: Bool
    }

    unowned(unsafe) private let world: World
    private let host: Int
    private let conditions: DiskConditions
    private let random: SeededRandom
    /// What a process sees.
    private var files: [String: [UInt8]] = [:]
    /// What a power failure may bring back, by name.
    private var uncertain: [String: Uncertain] = [:]
    /// Slots of operations under way, and their order.
    private var operations: [Operation?] = []
    private var freeSlots: [Int] = []
    private var order: [Int] = []
    private var lastCompletion: Int64 = 0

    init(world: World, host: Int, conditions: DiskConditions, random: SeededRandom) {
        self.world = world
        self.host = host
        self.conditions = conditions
        self.random = random
    }

    /// Starts replacing the file; `operation` is the caller's, and comes back in the event.
    public func persist(_ name: String, _ bytes: [UInt8], operation: UInt64) { begin(name, bytes, operation) }

    /// Starts removing the file.
    public func removeDurable(_ name: String, operation: UInt64) { begin(name, nil, operation) }

    /// What a start of the process would find.
    public func load(_ name: String) -> [UInt8]? { files[name] }

    /// All files, by name, read from the medium: what a boot does.
    public func readAll() throws(DiskError) -> [(name: String, bytes: [UInt8])] {
        for _ in 0..<files.count where conditions.strikes(conditions.readErrors) {
            throw DiskConditions.inputOutputError
        }
        return loadAll()
    }

    /// All durable files, by name.
    public func loadAll() -> [(name: String, bytes: [UInt8])] {
        files.keys.sorted().map { ($0, files[$0] ?? []) }
    }

    /// Damages a file, or does nothing when there is none. A version before it that a power failure may bring back lies
    /// elsewhere on the medium, and stays what it was.
    public func damage(_ name: String, _ damage: FileDamage) {
        guard var content = files[name] else { return }
        let before = content.count
        damage.apply(to: &content, random)
        conditions.usedBytes += Int64(content.count - before)
        files[name] = content
        world.trace.record(.disk, host: Int32(host), at: world.nowNanoseconds, 10, text: name)
    }

    private func begin(_ name: String, _ content: [UInt8]?, _ identifier: UInt64) {
        guard world.isRunning(host) else { return }
        world.trace.record(.persist, host: Int32(host), at: world.nowNanoseconds, identifier, text: name)
        if let content {
            content.withUnsafeBytes {
                world.trace.record(.persist, host: Int32(host), at: world.nowNanoseconds, identifier, bytes: $0)
            }
        }
        var operation = Operation(identifier: identifier, name: name, content: content, reserved: 0, failure: nil)
        if order.count >= VirtualStateStore.maximumPending
            || (content?.count ?? 0) > VirtualStateStore.maximumFileBytes
        {
            operation.failure = .full
        } else if conditions.strikes(conditions.writeErrors) {
            operation.failure = DiskConditions.inputOutputError
        } else if let content {
            // Old and new file stand side by side until the rename.
            do {
                try conditions.reserve(Int64(content.count))
                operation.reserved = Int64(content.count)
            } catch {
                operation.failure = error
            }
        }
        let slot: Int
        if let free = freeSlots.popLast() {
            slot = free
            operations[slot] = operation
        } else {
            slot = operations.count
            operations.append(operation)
        }
        order.append(slot)
        let latency = conditions.syncLatency.draw(random)
        lastCompletion = max(lastCompletion, world.nowNanoseconds) + latency
        world.queue.push(
            time: lastCompletion, kind: .diskCompletion, host: Int32(host), boot: world.bootNumber(host),
            payload: UInt64(slot) | UInt64(world.bootNumber(host)) << 32)
    }

    /// An operation's time has come. False when it belonged to an earlier boot.
    func complete(slot payload: Int) -> Bool {
        let slot = payload & 0xFFFF_FFFF
        guard world.isRunning(host), payload >> 32 == Int(world.bootNumber(host)), let operation = operations[slot]
        else { return false }
        operations[slot] = nil
        freeSlots.append(slot)
        order.removeAll { $0 == slot }
        var failure = operation.failure
        if failure == nil, conditions.strikes(conditions.syncErrors) {
            failure = DiskConditions.inputOutputError
            // The file's own sync failed, and it stays as it was; or its directory's did, after the renaming.
            if conditions.random.below(2) == 0 {
                conditions.usedBytes -= operation.reserved
            } else {
                replaceUncertainly(operation, syncFailed: true)
            }
        } else if failure == nil {
            conditions.syncs += 1
            if conditions.strikes(conditions.lostSyncs) {
                replaceUncertainly(operation, syncFailed: false)
            } else {
                settle(operation)
            }
        } else {
            conditions.usedBytes -= operation.reserved
        }
        world.trace.record(
            .persisted, host: Int32(host), at: world.nowNanoseconds, operation.identifier, failure == nil ? 0 : 1)
        world.tell(host, .persisted(operation: operation.identifier, failure: failure))
        return true
    }

    /// The operation is durable, and with it what a lying cache had kept back.
    private func settle(_ operation: Operation) {
        if !uncertain.isEmpty {
            for name in uncertain.keys.sorted() where name == operation.name || uncertain[name]?.syncFailed == false {
                uncertain[name] = nil
            }
        }
        var content = operation.content
        if content != nil, conditions.strikes(conditions.bitRot) {
            FileDamage.flippedBits(1).apply(to: &content!, conditions.random)
        }
        replace(operation.name, content)
    }

    private func replaceUncertainly(_ operation: Operation, syncFailed: Bool) {
        if let known = uncertain[operation.name] {
            uncertain[operation.name]?.syncFailed = known.syncFailed || syncFailed
        } else {
            uncertain[operation.name] = Uncertain(old: files[operation.name], syncFailed: syncFailed)
        }
        replace(operation.name, operation.content)
    }

    /// The power fails: each replacement in doubt took place or did not.
    private func loseUncertain() {
        for name in uncertain.keys.sorted() where conditions.random.below(2) == 0 {
            guard let old = uncertain[name]?.old else {
                replace(name, nil)
                continue
            }
            conditions.usedBytes += Int64(old.count)
            replace(name, old)
        }
        uncertain = [:]
    }

    /// Puts the new content, whose bytes are reserved, in the place of the old.
    private func replace(_ name: String, _ content: [UInt8]?) {
        if let old = files[name] { conditions.usedBytes -= Int64(old.count) }
        files[name] = content
    }

    /// The host has stopped: operations under way took place up to a point drawn from the seed, in their order; the first
    /// that did not may be torn if the disk tears writes and the power failed.
    func crash(_ kind: CrashKind) {
        if kind == .power, !uncertain.isEmpty { loseUncertain() }
        let pending = order.compactMap { operations[$0] }.filter { $0.failure == nil }
        operations.removeAll(keepingCapacity: true)
        freeSlots.removeAll(keepingCapacity: true)
        order.removeAll(keepingCapacity: true)
        lastCompletion = 0
        if pending.isEmpty { return }
        let survivors =
            conditions.syncErrors == .always ? 0 : Int(random.below(UInt64(pending.count) + 1))
        for (index, operation) in pending.enumerated() {
            if index < survivors {
                replace(operation.name, operation.content)
                continue
            }
            conditions.lostWrites += 1
            conditions.usedBytes -= operation.reserved
            if index == survivors, kind == .power, let content = operation.content,
                conditions.strikes(conditions.tornWrites)
            {
                var torn = content
                let whole = Int(conditions.random.below(UInt64(content.count) + 1))
                for position in whole..<content.count { torn[position] = 0 }
                conditions.usedBytes += Int64(content.count)
                replace(operation.name, torn)
            }
        }
        world.trace.record(
            .disk, host: Int32(host), at: world.nowNanoseconds, 11, UInt64(pending.count) << 32 | UInt64(survivors))
    }
}
