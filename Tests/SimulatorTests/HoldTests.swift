import FabricCore
import FabricScenario
import Simulator
import Testing

@Suite struct HoldTests {
    @Test func `a paused process handles nothing, and everything when it goes on, in order`() {
        let pair = Pair(milliseconds(1))
        let two = pair.ids[1]
        pair.world.setTimer(two, after: .seconds(2), token: 9)
        pair.world.pause(two)
        pair.send([1])
        pair.send([2])
        pair.run(.seconds(5))
        #expect(pair.hosts[1].what == [.boot])
        #expect(pair.world.isPaused(two) && pair.world.heldEvents(of: two) == 3)
        pair.world.resume(two)
        #expect(pair.hosts[1].what == [.boot, .datagram(pair.ends[0], [1]), .datagram(pair.ends[0], [2]), .timer(9)])
        #expect(!pair.world.isPaused(two) && pair.world.heldEvents(of: two) == 0)
        // Late: the clock of the process went on.
        let seen = pair.hosts[1].seen
        #expect(seen[3].now.monotonic - seen[0].now.monotonic == .seconds(5))
        pair.send([3])
        pair.run(.seconds(1))
        #expect(pair.hosts[1].datagrams.last == [3])
    }

    @Test func `a paused process's deadline fires late, once`() {
        let pair = Pair()
        let one = pair.ids[0]
        pair.world.setDeadline(one, pair.world.now(of: one).monotonic + .seconds(1))
        pair.world.pause(one)
        pair.run(.seconds(10))
        #expect(!pair.hosts[0].what.contains(.wake))
        pair.world.resume(one)
        pair.run(.seconds(10))
        #expect(pair.hosts[0].what == [.boot, .wake])
    }

    @Test func `a paused process's socket keeps 208 KiB, and drops what comes then`() {
        let pair = Pair(milliseconds(1))
        pair.world.pause(pair.ids[1])
        for number in 0..<400 { pair.send([UInt8](repeating: UInt8(number % 256), count: 1000)) }
        pair.run(.seconds(1))
        pair.world.resume(pair.ids[1])
        let kept = World.socketBufferBytes / 1768
        #expect(pair.hosts[1].datagrams.count == kept)
        #expect(pair.world.socketBufferDrops == UInt64(400 - kept))
        #expect(pair.hosts[1].datagrams.first?.first == 0)
    }

    @Test func `a sleeping machine receives nothing; its timers fire when it wakes`() {
        let pair = Pair(milliseconds(1))
        let two = pair.ids[1]
        pair.world.setTimer(two, after: .seconds(2), token: 9)
        pair.world.suspend(two)
        pair.send([1])
        pair.run(.seconds(5))
        pair.world.resume(two)
        #expect(pair.hosts[1].what == [.boot, .timer(9)])
        #expect(pair.world.network.counters.hostDown == 1)
    }

    @Test func `each event of a slow host takes its time, and the others queue`() {
        let pair = Pair(milliseconds(1))
        let two = pair.ids[1]
        pair.world.setEventCost(two, .milliseconds(10))
        let start = pair.world.now(of: two).monotonic
        for number in 1...3 as ClosedRange<UInt8> { pair.send([number]) }
        pair.run(.seconds(1))
        #expect(pair.hosts[1].datagrams == [[1], [2], [3]])
        let times = pair.hosts[1].seen.dropFirst().map {
            ($0.now.monotonic - start).components.attoseconds / 1_000_000_000_000_000
        }
        #expect(times == [11, 21, 31])
        pair.world.setEventCost(two, .zero)
        pair.send([4])
        pair.run(.milliseconds(1))
        #expect(pair.hosts[1].datagrams.count == 4)
    }

    @Test func `a busy processor handles what came meanwhile when it is done`() {
        let pair = Pair(milliseconds(1))
        let two = pair.ids[1]
        pair.world.occupy(two, for: .milliseconds(50))
        pair.world.setTimer(two, after: .milliseconds(20), token: 9)
        pair.send([1])
        pair.send([2])
        pair.run(.milliseconds(49))
        #expect(pair.hosts[1].what == [.boot] && pair.world.heldEvents(of: two) == 3 && !pair.world.readsOn(two))
        pair.run(.milliseconds(1))
        #expect(pair.hosts[1].what == [.boot, .datagram(pair.ends[0], [1]), .datagram(pair.ends[0], [2]), .timer(9)])
        #expect(!pair.world.isHeld(two))
        // A crash ends it, and so does a pause.
        pair.world.occupy(two, for: .seconds(50))
        pair.world.crash(two, .process)
        pair.world.start(two, at: pair.world.now)
        pair.send([3])
        pair.run(.seconds(1))
        #expect(pair.hosts[1].datagrams.last == [3])
        pair.world.occupy(two, for: .seconds(50))
        pair.world.pause(two)
        pair.world.resume(two)
        pair.send([4])
        pair.run(.seconds(1))
        #expect(pair.hosts[1].datagrams.last == [4] && !pair.world.isHeld(two))
    }

    @Test func `a pause ends with the process, and a restarted one handles what comes`() {
        let pair = Pair(milliseconds(1))
        let two = pair.ids[1]
        pair.world.pause(two)
        pair.send([1])
        pair.run(.seconds(1))
        pair.world.crash(two, .process)
        pair.world.start(two, at: pair.world.now)
        pair.run(.seconds(1))
        pair.world.resume(two)
        pair.send([2])
        pair.run(.seconds(1))
        #expect(pair.hosts[1].datagrams == [[2]])
    }

    @Test func `a durable write of a paused process waits for it`() {
        let pair = Pair()
        let store = pair.world.store(of: pair.ids[0])
        store.persist("a", [1], operation: 1)
        pair.world.pause(pair.ids[0])
        pair.run(.seconds(1))
        #expect(store.load("a") == nil)
        pair.world.resume(pair.ids[0])
        #expect(store.load("a") == [1])
        #expect(pair.hosts[0].what == [.boot, .persisted(1, nil)])
    }

    // MARK: Streams

    private func listen(_ pair: Pair) {
        pair.world.streams.listen(
            pair.ids[1], port: 443,
            StreamListener(identity: StreamIdentity(chain: [[1]]), clientCertificate: .none, verify: { _, _ in nil }))
    }

    private func connect(_ pair: Pair, timeout: Duration = .seconds(10)) -> StreamID {
        var options = StreamOptions(identity: nil, verify: { _, _ in nil })
        options.connectTimeout = timeout
        return pair.world.streams.connect(
            pair.ids[0], to: Endpoint(address: pair.ends[1].address, port: 443), options)
    }

    @Test func `a paused server's kernel takes what fits its window, and the process reads it later`() throws {
        let pair = Pair(milliseconds(1))
        listen(pair)
        let stream = connect(pair)
        pair.run(.seconds(1))
        #expect(pair.world.streams.isOpen(stream))
        pair.world.pause(pair.ids[1])
        let message = [UInt8](repeating: 7, count: 100_000)
        for _ in 0..<20 { #expect(pair.world.streams.send(stream, message)) }
        pair.run(.seconds(5))
        #expect(pair.hosts[1].messages.isEmpty)
        let waiting = try #require(pair.world.streams.bufferedBytes(stream))
        // About a megabyte of the two has been taken.
        #expect((800_000...1_100_000).contains(waiting), "\(waiting)")
        pair.world.resume(pair.ids[1])
        pair.run(.seconds(5))
        #expect(pair.hosts[1].messages.count == 20 && pair.hosts[1].messages.allSatisfy { $0 == message })
        #expect(pair.hosts[0].closures.isEmpty)
    }

    @Test func `a handshake with a paused server waits, and is given up in time`() {
        for (pause, opens) in [(Duration.seconds(5), true), (.seconds(20), false)] {
            let pair = Pair(milliseconds(1))
            listen(pair)
            pair.world.pause(pair.ids[1])
            let stream = connect(pair)
            pair.run(pause)
            pair.world.resume(pair.ids[1])
            pair.run(.seconds(5))
            #expect(pair.world.streams.isOpen(stream) == opens)
            #expect(pair.hosts[0].closures == (opens ? [] : [.timedOut]))
        }
    }

    @Test func `a sleeping client's peer times out; awake, the client learns it`() {
        let pair = Pair(milliseconds(1))
        listen(pair)
        _ = connect(pair)
        pair.run(.seconds(1))
        guard case .accepted(let server, _)? = pair.hosts[1].what.last else {
            Issue.record("not accepted")
            return
        }
        pair.world.suspend(pair.ids[0])
        #expect(pair.world.streams.send(server, [1]))
        pair.run(.minutes(30))
        #expect(pair.hosts[1].closures == [.timedOut])
        pair.world.resume(pair.ids[0])
        pair.run(.seconds(1))
        #expect(pair.hosts[0].messages.isEmpty)
    }

    @Test func `a slow server reads one message at a time`() {
        let pair = Pair(milliseconds(1))
        listen(pair)
        let stream = connect(pair)
        pair.run(.seconds(1))
        pair.world.setEventCost(pair.ids[1], .milliseconds(100))
        for number in 1...3 as ClosedRange<UInt8> { _ = pair.world.streams.send(stream, [number]) }
        pair.run(.milliseconds(250))
        #expect(pair.hosts[1].messages == [[1], [2]])
        pair.run(.milliseconds(100))
        #expect(pair.hosts[1].messages == [[1], [2], [3]])
    }
}

@Suite struct CrashPointTests {
    @Test func `two runs with the same holds and faults have the same trace`() {
        func hash() -> String {
            let pair = Pair(seed: 5, milliseconds(1))
            pair.world.diskConditions(of: pair.ids[0]).syncErrors = .percent(50)
            pair.world.setEventCost(pair.ids[1], .milliseconds(3))
            for number in 0..<20 as Range<UInt8> {
                pair.world.store(of: pair.ids[0]).persist("a", [number], operation: UInt64(number))
                pair.send([number])
                if number == 5 { pair.world.pause(pair.ids[1]) }
                if number == 12 { pair.world.resume(pair.ids[1]) }
                pair.run(.milliseconds(2))
            }
            pair.run(.seconds(1))
            return pair.world.trace.hash.description
        }
        #expect(hash() == hash())
    }
}
