import FabricCore
import Simulator
import Testing

private func write(_ file: any DiskFile, _ bytes: [UInt8], at offset: Int64 = 0) throws {
    try bytes.withUnsafeBytes { try file.write($0, at: offset) }
}

private func read(_ file: any DiskFile, _ count: Int) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0xEE, count: count)
    let got = try bytes.withUnsafeMutableBytes { try file.read($0, at: 0) }
    return Array(bytes[..<got])
}

private func makeDisk(_ seed: UInt64) -> VirtualDisk {
    VirtualDisk(
        conditions: DiskConditions(random: SeededRandom(seed: seed, stream: "faults")),
        random: SeededRandom(seed: seed, stream: "disk"))
}

@Suite struct DiskFaultTests {
    @Test func `what a failed sync lost is seen until the power fails, and no later sync brings it back`() throws {
        var lost = 0
        var kept = 0
        for seed in 0..<60 as Range<UInt64> {
            let disk = makeDisk(seed)
            let file = try disk.open("a")
            try write(file, [1])
            try file.sync()
            try write(file, [2])
            disk.conditions.syncErrors = .always
            #expect(throws: DiskConditions.inputOutputError) { try file.sync() }
            disk.conditions.syncErrors = .never
            try file.sync()
            #expect(try read(file, 1) == [2])
            disk.crash()
            if disk.content("a") == [1] { lost += 1 } else { kept += 1 }
        }
        #expect(lost > 10 && kept > 10)
    }

    @Test func `a sync that lies succeeds, and the next honest one makes up for it`() throws {
        var lost = 0
        for seed in 0..<40 as Range<UInt64> {
            let disk = makeDisk(seed)
            let file = try disk.open("a")
            try file.sync()
            disk.conditions.lostSyncs = .always
            try write(file, [1])
            try file.sync()
            #expect(disk.durableContent("a") == [])
            if seed % 2 == 0 {
                disk.conditions.lostSyncs = .never
                try file.sync()
                disk.crash()
                #expect(disk.content("a") == [1])
            } else {
                disk.crash()
                if disk.content("a") == [] { lost += 1 }
            }
        }
        #expect(lost > 4)
    }

    @Test func `a torn write leaves its beginning, or some of its sectors`() throws {
        var prefixes = 0
        var sectors = 0
        for seed in 0..<400 as Range<UInt64> {
            let disk = makeDisk(seed)
            disk.conditions.tornWrites = .always
            let file = try disk.open("a")
            try write(file, [UInt8](repeating: 0, count: 2048))
            try file.sync()
            try write(file, [UInt8](repeating: 1, count: 2048))
            disk.crash()
            let content = try #require(disk.content("a"))
            let whole = stride(from: 0, to: 2048, by: 512).map { Set(content[$0..<$0 + 512]) }
            let count = content.count { $0 == 1 }
            if count == 0 || count == 2048 { continue }
            if content[..<count].allSatisfy({ $0 == 1 }) {
                prefixes += 1
            } else {
                sectors += 1
                #expect(whole.allSatisfy { $0.count == 1 })
            }
        }
        #expect(prefixes > 20 && sectors > 20)
    }

    @Test func `read errors, a share of them and all`() throws {
        let disk = makeDisk(1)
        let file = try disk.open("a")
        try write(file, [1])
        disk.conditions.readErrors = .percent(30)
        var failed = 0
        for _ in 0..<1000 { if (try? read(file, 1)) == nil { failed += 1 } }
        #expect((200...400).contains(failed))
        #expect(disk.conditions.faults == UInt64(failed))
    }

    @Test func `rot flips one bit of what was made durable`() throws {
        let disk = makeDisk(1)
        disk.conditions.bitRot = .always
        let file = try disk.open("a")
        try write(file, [UInt8](repeating: 0, count: 100))
        try file.sync()
        #expect(try read(file, 100).reduce(0) { $0 + $1.nonzeroBitCount } == 1)
    }

    @Test func `rot of a file at rest leaves what was not synced as it was: neither damaged nor durable`() throws {
        var lost = 0
        for seed in 0..<40 as Range<UInt64> {
            let disk = makeDisk(seed)
            let file = try disk.open("a")
            try write(file, [UInt8](repeating: 0, count: 8))
            try file.sync()
            try write(file, [1, 1, 1, 1])
            disk.damage("a", .flippedBits(64))
            #expect(try read(file, 4) == [1, 1, 1, 1])
            let durable = try #require(disk.durableContent("a"))
            #expect(durable.count == 8 && durable[..<4] != [1, 1, 1, 1])
            #expect(try Array(read(file, 8)[4...]) == Array(durable[4...]))
            disk.crash()
            if disk.content("a")?.prefix(4) != [1, 1, 1, 1] { lost += 1 }
        }
        #expect((10...38).contains(lost), "\(lost)")
    }

    @Test func `rot does not make up for a sync that lied, nor for one that failed`() throws {
        let disk = makeDisk(1)
        let file = try disk.open("a")
        try write(file, [0, 0, 0, 0])
        try file.sync()
        disk.conditions.lostSyncs = .always
        try write(file, [9], at: 3)
        try file.sync()
        disk.damage("a", .flippedBits(3))
        #expect(disk.durableContent("a")?[3] != 9 && disk.content("a")?[3] == 9)
        disk.damage("a", .truncated(to: 2))
        #expect(disk.durableContent("a")?.count == 2 && disk.content("a")?.count == 4)
        #expect(disk.conditions.usedBytes == 4)
        let unsynced = makeDisk(2)
        try write(unsynced.open("b"), [1])
        unsynced.damage("b", .flippedBits(1))
        #expect(unsynced.content("b") == [1] && unsynced.durableContent("b") == nil)
    }

    @Test func `a slow sync takes its time`() throws {
        let disk = makeDisk(1)
        disk.conditions.syncLatency = DelayDistribution(.milliseconds(250))
        try disk.open("a").sync()
        #expect(disk.takeElapsed() == .milliseconds(250))
    }

    @Test func `a restored image is what was durable, and handles from before are dead`() throws {
        let disk = makeDisk(1)
        let file = try disk.open("a")
        try write(file, [1, 1])
        try file.sync()
        try write(file, [2, 2])
        let image = disk.image()
        try write(disk.open("b"), [3])
        try file.sync()
        disk.restore(image)
        #expect(disk.names == ["a"] && disk.content("a") == [1, 1])
        #expect(disk.conditions.usedBytes == 2)
        #expect(throws: DiskConditions.inputOutputError) { try read(file, 1) }
        #expect(try read(disk.open("a"), 2) == [1, 1])
    }

    @Test func `faults that are off draw nothing`() throws {
        let random = SeededRandom(seed: 1, stream: "faults")
        let disk = VirtualDisk(
            conditions: DiskConditions(random: random), random: SeededRandom(seed: 1, stream: "disk"))
        let file = try disk.open("a")
        try write(file, [1])
        try file.sync()
        _ = try read(file, 1)
        disk.crash()
        #expect(random.uint64() == SeededRandom(seed: 1, stream: "faults").uint64())
    }
}

@Suite struct StateFaultTests {
    @Test func `a lying cache loses a state file with the power, not with the process`() {
        for (kind, losesSome) in [(CrashKind.process, false), (.power, true)] {
            var lost = 0
            for seed in 0..<40 as Range<UInt64> {
                let pair = Pair(seed: seed)
                let store = pair.world.store(of: pair.ids[0])
                store.persist("a", [1], operation: 1)
                pair.run(.seconds(1))
                pair.world.diskConditions(of: pair.ids[0]).lostSyncs = .always
                store.persist("a", [2, 2], operation: 2)
                pair.run(.seconds(1))
                #expect(pair.hosts[0].what.last == .persisted(2, nil))
                pair.world.crash(pair.ids[0], kind)
                if store.load("a") == [1] { lost += 1 } else { #expect(store.load("a") == [2, 2]) }
                #expect(
                    pair.world.diskConditions(of: pair.ids[0]).usedBytes == Int64(store.load("a")?.count ?? 0))
            }
            #expect(losesSome ? (5...35).contains(lost) : lost == 0)
        }
    }

    @Test func `after a failed sync the file is old or new, and the power decides again`() {
        var seen: Set<[UInt8]> = []
        var changedByPower = 0
        for seed in 0..<80 as Range<UInt64> {
            let pair = Pair(seed: seed)
            let store = pair.world.store(of: pair.ids[0])
            store.persist("a", [1], operation: 1)
            pair.run(.seconds(1))
            pair.world.diskConditions(of: pair.ids[0]).syncErrors = .always
            store.persist("a", [2], operation: 2)
            pair.run(.seconds(1))
            #expect(pair.hosts[0].what.last == .persisted(2, DiskConditions.inputOutputError))
            pair.world.diskConditions(of: pair.ids[0]).syncErrors = .never
            // Another file's sync does not say what became of this one.
            store.persist("b", [3], operation: 3)
            pair.run(.seconds(1))
            let before = store.load("a")!
            seen.insert(before)
            pair.world.crash(pair.ids[0], .power)
            if store.load("a") != before { changedByPower += 1 }
        }
        #expect(seen == [[1], [2]])
        #expect(changedByPower > 5)
    }

    @Test func `rot of a state file does not make it durable`() {
        var lost = 0
        for seed in 0..<40 as Range<UInt64> {
            let pair = Pair(seed: seed)
            let store = pair.world.store(of: pair.ids[0])
            store.persist("a", [1], operation: 1)
            pair.run(.seconds(1))
            pair.world.diskConditions(of: pair.ids[0]).lostSyncs = .always
            store.persist("a", [2, 2], operation: 2)
            pair.run(.seconds(1))
            store.damage("a", .flippedBits(1))
            #expect(store.load("a")?.count == 2 && store.load("a") != [2, 2])
            pair.world.crash(pair.ids[0], .power)
            if store.load("a") == [1] { lost += 1 }
            #expect(pair.world.diskConditions(of: pair.ids[0]).usedBytes == Int64(store.load("a")?.count ?? 0))
        }
        #expect((5...35).contains(lost), "\(lost)")
    }

    @Test func `a medium that can't be read refuses the boot's reading`() {
        let pair = Pair()
        let store = pair.world.store(of: pair.ids[0])
        store.persist("a", [1], operation: 1)
        pair.run(.seconds(1))
        pair.world.diskConditions(of: pair.ids[0]).readErrors = .always
        #expect(throws: DiskConditions.inputOutputError) { try store.readAll() }
        pair.world.diskConditions(of: pair.ids[0]).readErrors = .never
        #expect((try? store.readAll().map(\.bytes)) == [[1]])
    }
}
