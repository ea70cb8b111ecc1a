import FabricCore
import FabricLinux
import Glibc
import Synchronization
import Testing

@Suite struct EventLoopTests {
    @Test func `both clocks are read and never go back`() {
        let first = LinuxClock.now()
        let second = LinuxClock.now()
        #expect(first.monotonic <= second.monotonic)
        #expect(first.wall.seconds > 1_700_000_000)
    }

    @Test func `a deadline that has passed fires once`() throws {
        let loop = try EventLoop()
        var fired = 0
        loop.onDeadline = {
            fired += 1
            loop.mailbox.post {}
        }
        loop.setDeadline(LinuxClock.now().monotonic)
        while fired == 0 { try loop.runOnce(timeout: nil) }
        try loop.runOnce(timeout: .zero)
        try loop.runOnce(timeout: .zero)
        #expect(fired == 1)
    }

    @Test func `a deadline that is taken back does not fire`() throws {
        let loop = try EventLoop()
        loop.onDeadline = { Issue.record("the deadline was unset") }
        loop.setDeadline(LinuxClock.now().monotonic)
        loop.setDeadline(nil)
        try loop.runOnce(timeout: .zero)
    }

    @Test func `closures that other threads post run in their order`() throws {
        let loop = try EventLoop()
        let seen = Mutex<[Int]>([])
        let mailbox = loop.mailbox
        let poster = Thread {
            for number in 0..<1_000 {
                while !mailbox.post({ seen.withLock { $0.append(number) } }) {}
            }
        }
        while seen.withLock({ $0.count }) < 1_000 { try loop.runOnce(timeout: nil) }
        poster.join()
        #expect(seen.withLock { $0 } == Array(0..<1_000))
    }

    @Test func `a full mailbox and one without a loop refuse`() throws {
        var loop: EventLoop? = try EventLoop()
        let mailbox = loop!.mailbox
        for _ in 0..<Mailbox.limit { #expect(mailbox.post {}) }
        #expect(!mailbox.post {})
        try loop?.runOnce(timeout: nil)
        #expect(mailbox.post {})
        loop = nil
        #expect(!mailbox.post {})
    }

    @Test func `a readable descriptor is reported until it is drained or unregistered`() throws {
        let loop = try EventLoop()
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        defer { for end in ends { close(end) } }
        var calls = 0
        try loop.register(ends[0]) { calls += 1 }
        try loop.runOnce(timeout: .zero)
        #expect(calls == 0)
        #expect(write(ends[1], "x", 1) == 1)
        try loop.runOnce(timeout: .zero)
        try loop.runOnce(timeout: .zero)
        #expect(calls == 2)
        loop.unregister(ends[0])
        try loop.runOnce(timeout: .zero)
        #expect(calls == 2)
    }

    @Test func `a handler may unregister a descriptor whose event is already at hand`() throws {
        let loop = try EventLoop()
        var ends: [Int32] = [0, 0]
        var others: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0 && pipe(&others) == 0)
        defer { for end in ends + others { close(end) } }
        var calls = 0
        for (mine, other) in [(ends[0], others[0]), (others[0], ends[0])] {
            try loop.register(mine) {
                calls += 1
                loop.unregister(other)
            }
        }
        #expect(write(ends[1], "x", 1) == 1 && write(others[1], "x", 1) == 1)
        try loop.runOnce(timeout: .zero)
        #expect(calls == 1)
    }

    @Test func `a signal reaches its handler on the loop's thread`() throws {
        let loop = try EventLoop()
        var received = 0
        try loop.onSignal(SIGUSR2) {
            received += 1
            loop.stop()
        }
        #expect(kill(getpid(), SIGUSR2) == 0)
        try loop.run()
        #expect(received == 1)
    }
}

/// A thread that runs a closure; the package's tests need no more of one.
struct Thread {
    private let handle: pthread_t

    init(_ body: @escaping @Sendable () -> Void) {
        final class Work {
            let body: @Sendable () -> Void
            init(_ body: @escaping @Sendable () -> Void) { self.body = body }
        }
        var handle = pthread_t()
        pthread_create(
            &handle, nil,
            { context in
                Unmanaged<Work>.fromOpaque(context!).takeRetainedValue().body()
                return nil
            }, Unmanaged.passRetained(Work(body)).toOpaque())
        self.handle = handle
    }

    func join() { pthread_join(handle, nil) }
}
