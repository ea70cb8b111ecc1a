import FabricCore
import Simulator
import Testing

private func write(_ file: any DiskFile, _ bytes: [UInt8], at offset: Int64) throws {
    try bytes.withUnsafeBytes { try file.write($0, at: offset) }
}

private func read(_ file: any DiskFile, _ count: Int, at offset: Int64) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0xEE, count: count)
    let got = try bytes.withUnsafeMutableBytes { try file.read($0, at: offset) }
    return Array(bytes[..<got])
}

private func makeDisk(_ seed: UInt64 = 1) -> VirtualDisk {
    VirtualDisk(conditions: DiskConditions(), random: SeededRandom(seed: seed, stream: "disk"))
}

@Suite struct VirtualDiskTests {
    @Test func `writes are seen at once, durable after sync`() throws {
        let disk = makeDisk()
        let file = try disk.open("a")
        try write(file, [1, 2, 3], at: 2)
        #expect(try read(file, 10, at: 0) == [0, 0, 1, 2, 3])
        #expect(try read(file, 2, at: 3) == [2, 3])
        #expect(try read(file, 2, at: 5) == [])
        #expect(disk.durableContent("a") == nil)
        try file.sync()
        #expect(disk.durableContent("a") == [0, 0, 1, 2, 3])
        #expect(disk.takeElapsed() > .zero)
        #expect(disk.takeElapsed() == .zero)
    }

    @Test func `a second opening sees the same file`() throws {
        let disk = makeDisk()
        let one = try disk.open("a")
        try write(one, [9], at: 0)
        #expect(try read(disk.open("a"), 1, at: 0) == [9])
        #expect(disk.exists("a"))
        #expect(!disk.exists("b"))
    }

    @Test("what was synced survives every crash, whatever the seed", arguments: 0..<200 as Range<UInt64>)
    func synced(seed: UInt64) throws {
        let disk = makeDisk(seed)
        disk.conditions.tornWrites = .always
        let file = try disk.open("a")
        try write(file, [1, 1, 1, 1], at: 0)
        try file.sync()
        try write(file, [2, 2], at: 4)
        disk.crash()
        let content = try #require(disk.content("a"))
        #expect(content.starts(with: [1, 1, 1, 1]))
        #expect([4, 5, 6].contains(content.count))
        #expect(disk.conditions.usedBytes == Int64(content.count))
        #expect(throws: DiskError.self) { try read(file, 1, at: 0) }
        #expect(try read(disk.open("a"), 4, at: 0) == [1, 1, 1, 1])
    }

    @Test func `over the seeds, a crash keeps none, all, a prefix and a subset of the pending writes`() throws {
        var outcomes: Set<[UInt8]> = []
        for seed in 0..<400 as Range<UInt64> {
            let disk = makeDisk(seed)
            let file = try disk.open("a")
            try write(file, [0, 0, 0], at: 0)
            try file.sync()
            for index in 0..<3 { try write(file, [1], at: Int64(index)) }
            disk.crash()
            outcomes.insert(try #require(disk.content("a")))
        }
        #expect(outcomes.count == 8)
        #expect(outcomes.isSuperset(of: [[0, 0, 0], [1, 1, 1], [1, 0, 0], [1, 1, 0], [0, 1, 0]]))
    }

    @Test func `a torn write leaves a part of itself, only where the disk tears`() throws {
        for tears in [false, true] {
            var torn = 0
            for seed in 0..<200 as Range<UInt64> {
                let disk = makeDisk(seed)
                disk.conditions.tornWrites = tears ? .always : .never
                let file = try disk.open("a")
                try file.sync()
                try write(file, [1, 1, 1, 1, 1, 1, 1, 1], at: 0)
                disk.crash()
                let count = try #require(disk.content("a")).count
                if count != 0, count != 8 { torn += 1 }
            }
            #expect(tears ? torn > 10 : torn == 0)
        }
    }

    @Test func `a file that was never synced may be gone after a crash`() throws {
        var exists = 0
        for seed in 0..<100 as Range<UInt64> {
            let disk = makeDisk(seed)
            try write(disk.open("a"), [1], at: 0)
            disk.crash()
            if disk.exists("a") { exists += 1 }
            #expect(disk.conditions.usedBytes == Int64(disk.content("a")?.count ?? 0))
        }
        #expect((20...80).contains(exists))
    }

    @Test func `truncation shortens, lengthens with zeros, and is pending like a write`() throws {
        let disk = makeDisk()
        let file = try disk.open("a")
        try write(file, [1, 2, 3, 4], at: 0)
        try file.sync()
        try file.truncate(to: 2)
        try file.truncate(to: 3)
        #expect(try read(file, 9, at: 0) == [1, 2, 0])
        #expect(try file.size() == 3)
        #expect(disk.durableContent("a") == [1, 2, 3, 4])
        #expect(disk.conditions.usedBytes == 3)
    }

    @Test func `a full disk refuses growth, keeps what it has, and takes more after a deletion`() throws {
        let disk = makeDisk()
        disk.conditions.capacity = 10
        let file = try disk.open("a")
        try write(file, [1, 2, 3, 4, 5, 6, 7, 8], at: 0)
        #expect(throws: DiskError.full) { try write(file, [0, 0, 0], at: 8) }
        try write(file, [9, 9, 9], at: 5)
        #expect(try read(file, 10, at: 0) == [1, 2, 3, 4, 5, 9, 9, 9])
        try disk.delete("a")
        try write(disk.open("b"), [UInt8](repeating: 7, count: 10), at: 0)
        #expect(disk.conditions.usedBytes == 10)
    }

    @Test func `failing writes change nothing, and a failing sync nothing that readers see`() throws {
        let disk = makeDisk()
        let file = try disk.open("a")
        try write(file, [1], at: 0)
        disk.conditions.writeErrors = .always
        #expect(throws: DiskConditions.inputOutputError) { try write(file, [2], at: 0) }
        #expect(throws: DiskConditions.inputOutputError) { try disk.delete("a") }
        #expect(throws: DiskConditions.inputOutputError) { try disk.open("new") }
        disk.conditions.writeErrors = .never
        disk.conditions.syncErrors = .always
        #expect(throws: DiskConditions.inputOutputError) { try file.sync() }
        #expect(disk.content("a") == [1])
        #expect(throws: DiskError.notFound) { try disk.delete("nothing") }
        #expect(throws: DiskError.full) { try write(file, [2], at: .max) }
        #expect(throws: DiskError.full) { try file.truncate(to: -1) }
    }

    @Test func `damage changes a file at rest`() throws {
        let disk = makeDisk()
        let file = try disk.open("a")
        try write(file, [UInt8](repeating: 0xFF, count: 100), at: 0)
        try file.sync()
        disk.damage("a", .zeroed(10..<20))
        disk.damage("a", .truncated(to: 50))
        let content = try #require(disk.content("a"))
        #expect(content.count == 50)
        #expect(content[10..<20].allSatisfy { $0 == 0 })
        disk.damage("a", .flippedBits(1))
        let flipped = zip(content, try #require(disk.content("a"))).reduce(0) { $0 + ($1.0 ^ $1.1).nonzeroBitCount }
        #expect(flipped == 1)
        disk.damage("none", .flippedBits(1))
    }

    @Test func `beyond the limit the oldest pending writes become durable by themselves`() throws {
        let disk = makeDisk()
        let file = try disk.open("a")
        for _ in 0...VirtualDisk.maximumPendingWrites { try write(file, [1], at: 0) }
        #expect(disk.durableContent("a") == [1])
    }
}

@Suite struct VirtualStateStoreTests {
    @Test func `a persisted file is there once the event has come`() {
        let pair = Pair()
        let store = pair.world.store(of: pair.ids[0])
        store.persist("state", [1, 2], operation: 7)
        #expect(store.load("state") == nil)
        pair.run(.seconds(1))
        #expect(pair.hosts[0].what.last == .persisted(7, nil))
        #expect(store.load("state") == [1, 2])
        store.persist("other", [3], operation: 8)
        store.removeDurable("state", operation: 9)
        pair.run(.seconds(1))
        #expect(pair.hosts[0].what.suffix(2) == [.persisted(8, nil), .persisted(9, nil)])
        #expect(store.loadAll().map(\.name) == ["other"])
        #expect(pair.world.diskConditions(of: pair.ids[0]).usedBytes == 1)
    }

    @Test func `a crash before completion leaves old or new, and later operations never without earlier ones`() {
        var outcomes: Set<[UInt8]> = []
        for seed in 0..<100 as Range<UInt64> {
            let pair = Pair(seed: seed)
            let store = pair.world.store(of: pair.ids[0])
            store.persist("a", [0], operation: 1)
            store.persist("b", [0], operation: 2)
            pair.run(.seconds(1))
            store.persist("a", [1], operation: 3)
            store.persist("b", [1], operation: 4)
            pair.world.crash(pair.ids[0], .power)
            pair.world.start(pair.ids[0], at: pair.world.now)
            pair.run(.seconds(1))
            #expect(pair.hosts[0].what.last == .boot)
            outcomes.insert(store.loadAll().flatMap(\.bytes))
            #expect(pair.world.diskConditions(of: pair.ids[0]).usedBytes == 2)
        }
        #expect(outcomes == [[0, 0], [1, 0], [1, 1]])
    }

    @Test func `only a disk that tears leaves mixtures`() {
        for tears in [false, true] {
            var torn = 0
            for seed in 0..<60 as Range<UInt64> {
                let pair = Pair(seed: seed)
                pair.world.diskConditions(of: pair.ids[0]).tornWrites = tears ? .always : .never
                let store = pair.world.store(of: pair.ids[0])
                store.persist("a", [UInt8](repeating: 1, count: 64), operation: 1)
                pair.world.crash(pair.ids[0], .power)
                if let content = store.load("a"), content.contains(0) { torn += 1 }
            }
            #expect(tears ? torn > 10 : torn == 0)
        }
    }

    @Test func `a full or failing disk refuses and keeps the old file`() {
        let pair = Pair()
        let store = pair.world.store(of: pair.ids[0])
        let conditions = pair.world.diskConditions(of: pair.ids[0])
        store.persist("a", [1, 1], operation: 1)
        pair.run(.seconds(1))
        conditions.capacity = 3
        store.persist("a", [2, 2], operation: 2)
        pair.run(.seconds(1))
        #expect(pair.hosts[0].what.last == .persisted(2, .full))
        conditions.capacity = 100
        conditions.syncErrors = .always
        store.persist("a", [3, 3], operation: 3)
        pair.run(.seconds(1))
        #expect(pair.hosts[0].what.last == .persisted(3, DiskConditions.inputOutputError))
        conditions.syncErrors = .never
        conditions.writeErrors = .always
        store.persist("a", [4, 4], operation: 4)
        pair.run(.seconds(1))
        #expect(pair.hosts[0].what.last == .persisted(4, DiskConditions.inputOutputError))
        // Of the failed sync nobody knows: the file may have been put in place before it.
        #expect([[1, 1], [3, 3]].contains(store.load("a")))
        #expect(conditions.usedBytes == 2)
    }

    @Test func `slow syncs complete late, and in order`() {
        let pair = Pair()
        pair.world.diskConditions(of: pair.ids[0]).syncLatency = DelayDistribution(.seconds(2))
        let store = pair.world.store(of: pair.ids[0])
        store.persist("a", [1], operation: 1)
        store.persist("a", [2], operation: 2)
        pair.run(.milliseconds(1999))
        #expect(pair.hosts[0].what == [.boot])
        pair.run(.milliseconds(1))
        #expect(store.load("a") == [1])
        pair.run(.seconds(2))
        #expect(store.load("a") == [2])
    }

    @Test func `too many operations at once are refused`() {
        let pair = Pair()
        let store = pair.world.store(of: pair.ids[0])
        for number in 0...VirtualStateStore.maximumPending { store.persist("a", [1], operation: UInt64(number)) }
        pair.run(.hours(1))
        #expect(pair.hosts[0].what.last == .persisted(UInt64(VirtualStateStore.maximumPending), .full))
    }
}
