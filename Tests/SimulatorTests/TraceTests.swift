import FabricCore
import FabricTestSupport
import Simulator
import Testing

/// A busy world: datagrams and streams over a bad link, a crash, a cut. `twist` changes one thing in the middle.
private func busy(seed: UInt64, recording: Trace.Recording = Trace.Recording(), twist: Bool = false) -> World {
    var link = LinkProfile(delay: DelayDistribution(.milliseconds(10), jitter: .milliseconds(10)), loss: .percent(5))
    link.duplication = .percent(3)
    let pair = Pair(seed: seed, recording: recording, link)
    let verify: StreamVerifier = { _, _ in nil }
    let identity = StreamIdentity(chain: [[1]])
    pair.world.streams.listen(
        pair.ids[1], port: 443, StreamListener(identity: identity, clientCertificate: .none, verify: verify))
    let stream = pair.world.streams.connect(
        pair.ids[0], to: Endpoint(address: pair.ends[1].address, port: 443),
        StreamOptions(identity: nil, verify: verify))
    for round in 0..<200 {
        pair.send([UInt8(round & 0xFF), 1, 2, 3], back: round % 3 == 0)
        _ = pair.world.streams.send(stream, [UInt8](repeating: UInt8(round), count: 5000))
        if round == 100, twist { pair.world.note(pair.ids[1], "twist") }
        if round == 120 { pair.world.crash(pair.ids[1], .power) }
        if round == 140 { pair.world.start(pair.ids[1], at: pair.world.now) }
        pair.world.store(of: pair.ids[0]).persist("s", [UInt8(round)], operation: UInt64(round))
        pair.run(.milliseconds(20))
    }
    return pair.world
}

@Suite struct TraceTests {
    @Test func `the same seed gives the same hash, another seed another`() {
        let one = busy(seed: 1).trace
        let same = busy(seed: 1).trace
        let other = busy(seed: 2).trace
        #expect(one.hash == same.hash)
        #expect(one.count == same.count)
        #expect(one.count > 1000)
        #expect(one.hash != other.hash)
    }

    @Test func `the hash is fixed across builds and machines`() {
        let world = World(seed: 1, epoch: WallTime(seconds: 0))
        world.note(nil, "hello", 1)
        world.note(nil, 2, bytes: UnsafeRawBufferPointer(start: nil, count: 0))
        Array(0..<37 as Range<UInt8>).withUnsafeBytes { world.note(nil, 3, bytes: $0) }
        #expect(world.trace.hash.description == "6f7e426eeb3cddbecf9c37d7911e2d95")
    }

    @Test func `recording does not change the hash`() {
        let plain = busy(seed: 3).trace
        let recorded = busy(seed: 3, recording: Trace.Recording(checkpointInterval: 64, entries: 100..<200)).trace
        #expect(plain.hash == recorded.hash)
        #expect(recorded.entries.map(\.index) == Array(100..<200))
        #expect(recorded.checkpoints.map(\.index) == (1...recorded.count / 64).map { $0 * 64 })
        #expect(recorded.allCheckpoints.last == TraceCheckpoint(index: plain.count, hash: plain.hash))
    }

    @Test func `the ring keeps the last entries`() {
        let all = busy(seed: 3, recording: Trace.Recording(entries: 0..<1000)).trace.entries
        let last = busy(seed: 3, recording: Trace.Recording(entries: 0..<1000, maximumEntries: 10)).trace.entries
        #expect(last == Array(all.suffix(10)))
    }

    @Test func `the first event that differs is found from checkpoints, then from entries`() throws {
        let recording = Trace.Recording(checkpointInterval: 128)
        let a = TraceFile(busy(seed: 4, recording: recording).trace)
        let b = TraceFile(busy(seed: 4, recording: recording, twist: true).trace)
        #expect(TraceComparison.firstDifferingRange(a.checkpoints, a.checkpoints) == nil)
        let range = try #require(TraceComparison.firstDifferingRange(a.checkpoints, b.checkpoints))
        #expect(range.count <= 128)
        let closer = Trace.Recording(entries: range)
        let first = busy(seed: 4, recording: closer).trace.entries
        let second = busy(seed: 4, recording: closer, twist: true).trace.entries
        let difference = try #require(TraceComparison.firstDifference(first, second))
        #expect(range.contains(difference.index))
        #expect(difference.second?.text == "twist")
        #expect(difference.second?.kind == .note)
        #expect(difference.description { "n\($0)" }.contains("n1 note"))
        #expect(TraceComparison.firstDifference(first, first) == nil)
    }

    @Test func `a run that ends earlier differs where it ends`() throws {
        let short = [TraceCheckpoint(index: 10, hash: TraceHash()), TraceCheckpoint(index: 13, hash: TraceHash())]
        let long = [TraceCheckpoint(index: 10, hash: TraceHash()), TraceCheckpoint(index: 20, hash: TraceHash())]
        #expect(TraceComparison.firstDifferingRange(short, long) == 10..<20)
        #expect(TraceComparison.firstDifferingRange(short, Array(short[..<1])) == 10..<13)
        let entries = busy(seed: 5, recording: Trace.Recording(entries: 0..<5)).trace.entries
        let difference = try #require(TraceComparison.firstDifference(Array(entries[..<3]), entries))
        #expect(difference.index == 3)
        #expect(difference.first == nil)
        #expect(difference.second == entries[3])
    }

    @Test func `a trace file reads back as it was written, and refuses what is not one`() throws {
        let world = busy(seed: 6, recording: Trace.Recording(checkpointInterval: 50, entries: 0..<300))
        var file = TraceFile(world.trace)
        file.entries[1].text = "\u{301}\r\n joins the space before it"
        file.entries[0].text = "two\nlines \\ and n\\n é"
        #expect(try TraceFile(decoding: file.encode()) == file)
        for text in ["", "rap-trace 2", "rap-trace 1\nC 1", "rap-trace 1\nE 1 2 3 99 5 6 ", "rap-trace 1\nC 1 xyz"] {
            #expect(throws: TraceFileError.self) { try TraceFile(decoding: text) }
        }
    }

    @Test func `no trace file makes its reader trap, and what is accepted reads back`() throws {
        let world = busy(seed: 6, recording: Trace.Recording(checkpointInterval: 50, entries: 0..<40))
        let whole = Array(TraceFile(world.trace).encode().utf8)
        let lines = whole.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map { Array($0) }
        let few = Array(lines[..<6].joined(separator: [UInt8(ascii: "\n")]))
        let words = ["\n", " ", "C ", "E ", "-1", "18446744073709551616", "9223372036854775807", "\\", "\\n"]
        var accepted = 0
        try Fuzz.run(corpus: [whole, few], words: words.map { Array($0.utf8) }, seed: 1, iterations: 3_000) {
            (bytes) throws in
            guard let file = try? TraceFile(decoding: String(decoding: bytes, as: UTF8.self)) else { return }
            accepted += 1
            #expect(try TraceFile(decoding: file.encode()) == file)
        }
        #expect(accepted > 20)
    }

    @Test("every bit of every input changes the hash", arguments: [0, 1, 7, 8, 9, 15, 16, 17, 31, 64])
    func avalanche(length: Int) {
        func hash(_ bytes: [UInt8]) -> TraceHash {
            let world = World(seed: 1, epoch: WallTime(seconds: 0))
            bytes.withUnsafeBytes { world.note(nil, 1, bytes: $0) }
            return world.trace.hash
        }
        let base = [UInt8](repeating: 0, count: length)
        var seen: Set<TraceHash> = [hash(base), hash(base + [0])]
        for bit in 0..<length * 8 {
            var changed = base
            changed[bit / 8] ^= 1 << UInt8(bit % 8)
            seen.insert(hash(changed))
        }
        #expect(seen.count == length * 8 + 2)
    }

    @Test func `a datagram becomes an IP packet with right checksums`() throws {
        func sum(_ bytes: [UInt8]) -> Int {
            var total = stride(from: 0, to: bytes.count, by: 2).reduce(0) {
                $0 + Int(bytes[$1]) << 8 + ($1 + 1 < bytes.count ? Int(bytes[$1 + 1]) : 0)
            }
            while total > 0xFFFF { total = total & 0xFFFF + total >> 16 }
            return total
        }
        func packet(_ source: String, _ destination: String, _ payload: [UInt8]) throws -> [UInt8] {
            let ends = (try #require(Endpoint(source)), try #require(Endpoint(destination)))
            let packet = payload.withUnsafeBytes {
                UnderlayPacket.packet(source: ends.0, destination: ends.1, payload: $0)
            }
            return try #require(packet)
        }
        let ip = try packet("10.0.0.1:7000", "10.1.0.1:7000", [1, 2, 3])
        #expect(ip[..<4] == [0x45, 0, 0, 31])
        #expect(ip[12..<20] == [10, 0, 0, 1, 10, 1, 0, 1])
        #expect(ip[20..<28] == [0x1B, 0x58, 0x1B, 0x58, 0, 11, 0, 0])
        #expect(ip[28...] == [1, 2, 3])
        #expect(sum(Array(ip[..<20])) == 0xFFFF)
        let ip6 = try packet("[2001:db8::1]:1", "[2001:db8::1]:1", [0xFF])
        // Pseudo header: addresses, length 9, next header 17 (RFC 8200 section 8.1).
        #expect(sum([0, 9, 0, 17] + ip6[8...]) == 0xFFFF)
    }
}
