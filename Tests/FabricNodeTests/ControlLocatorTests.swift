import FabricControl
import FabricCore
import FabricWire
import Testing

@testable import FabricNode

struct ControlLocatorTests {
    private let a = Endpoint("192.0.2.1:8443")!
    private let b = Endpoint("192.0.2.2:8443")!
    private let c = Endpoint("192.0.2.3:8443")!
    private let random = SeededRandom(seed: 1, stream: "locator")

    private func locator(known: Endpoint? = nil) -> ControlLocator {
        ControlLocator(name: HostName("control.example")!, port: 8443, known: known)
    }

    private func answer(_ endpoints: Endpoint...) -> ResolvedAddresses {
        ResolvedAddresses(addresses: endpoints.map(\.address), lifetime: nil)
    }

    @Test func `the addresses of an answer are tried in turn, and a round without a reply is over`() {
        var locator = locator()
        #expect(locator.current == nil)
        #expect(locator.answered(answer(a, b), now: .zero, random: random) == a)
        #expect(locator.failed() == .tryNext(b))
        #expect(locator.failed() == .roundOver(a))
        #expect(locator.failed() == .tryNext(b))
        #expect(locator.replied() == true)
        #expect(locator.proven == b)
        #expect(locator.replied() == false)
    }

    @Test func `an answer that names the present address moves nobody while that one answers`() {
        var locator = locator(known: a)
        #expect(locator.current == a)
        #expect(locator.answered(answer(b, a), now: .zero, random: random) == nil)
        #expect(locator.current == a)
    }

    @Test func `an answer with a new address is tried at once when the present one fails`() {
        var locator = locator(known: a)
        #expect(locator.failed() == .roundOver(a))
        #expect(locator.answered(answer(b, a), now: .zero, random: random) == b)
        #expect(locator.failed() == .tryNext(a))
    }

    @Test func `after a lie the proven address comes next, and stays`() {
        var locator = locator(known: a)
        for _ in 0..<3 {
            #expect(locator.answered(answer(c), now: .zero, random: random) == c)
            #expect(locator.failed() == .tryNext(a))
            #expect(locator.replied() == false)
            #expect(locator.proven == a)
        }
    }

    @Test func `of many addresses the first are tried, each once`() {
        var locator = locator()
        let many = (1...20).map { IPAddress(v4: UInt32($0)) }
        _ = locator.answered(.init(addresses: many + many, lifetime: nil), now: .zero, random: random)
        var tried = 1
        while case .tryNext = locator.failed() { tried += 1 }
        #expect(tried == ControlLocator.maximumAddresses)
    }

    @Test(arguments: [
        (Duration?.none, 270...300), (.seconds(1), 54...60), (.hours(24), 3240...3600), (.seconds(120), 108...120),
    ])
    func `answers are relied on for a while within limits`(_ lifetime: Duration?, _ seconds: ClosedRange<Int>) throws {
        var locator = locator()
        _ = locator.answered(.init(addresses: [a.address], lifetime: lifetime), now: .zero, random: random)
        let due = try #require(locator.due)
        #expect(seconds.contains(Int((due - .zero).components.seconds)) && locator.isDue(due))
    }

    @Test func `lookups after failures keep a distance`() throws {
        var locator = locator(known: a)
        locator.lookupBegan(1, .zero)
        #expect(locator.lookupEnded(2) == false)
        #expect(locator.lookupEnded(1) == true)
        #expect(locator.lookupEnded(1) == false)
        _ = locator.answered(answer(a), now: .zero, random: random)
        locator.lookUpSoon(.zero + .seconds(1))
        #expect(try #require(locator.due) == Instant.zero + ControlLocator.shortestPause)
    }
}

/// The agent around it.
struct NamedControlTests {
    private let address = IPAddress("198.51.100.7")!
    private let liar = IPAddress("203.0.113.9")!
    private let server = NamedServer(name: HostName("control.example")!, port: 8443)

    private func addHost(_ bench: NodeBench) throws -> NodeHost {
        let host = bench.addHost("a", token: try bench.makeToken().token, controlName: server)
        // Somebody else answers at every other address, and can't prove who he is.
        let right = Endpoint(address: address, port: 8443)
        host.course = { [unowned host] _ in host.control == right ? .pass : .fail(.untrusted("not the control plane")) }
        return host
    }

    private func reply(_ bench: NodeBench, _ host: NodeHost, _ addresses: IPAddress...) {
        for lookup in host.takeLookups() {
            bench.tell(host, .resolved(lookup, ResolvedAddresses(addresses: addresses, lifetime: .minutes(1))))
        }
    }

    @Test func `requests wait for the first address, and fail when there is none`() throws {
        let bench = try NodeBench()
        let host = try addHost(bench)
        bench.start(host)
        bench.run(.seconds(3))
        #expect(host.requestCount == 0)
        for lookup in host.takeLookups() { bench.tell(host, .resolutionFailed(lookup, .noSuchName)) }
        #expect(host.reports.contains(.lookupFailed(server.name, .noSuchName)))
        #expect(bench.run(until: { !host.lookups.isEmpty }, limit: .seconds(30)))
        reply(bench, host, address)
        #expect(bench.run { host.agent.phase == .active })
        #expect(host.reports.contains(.controlFound(server.name, Endpoint(address: address, port: 8443))))
    }

    @Test func `a lie costs one refused attempt, and the right address in the same answer is next`() throws {
        let bench = try NodeBench()
        let host = try addHost(bench)
        bench.start(host)
        bench.run(.seconds(1))
        reply(bench, host, liar, address)
        #expect(bench.run { host.agent.phase == .active })
        #expect(host.agent.counters.requestsFailed == 1)
    }

    @Test func `a reboot goes where the control plane was, though no resolver answers`() throws {
        let bench = try NodeBench()
        let host = try addHost(bench)
        bench.start(host)
        bench.run(.seconds(1))
        reply(bench, host, address)
        #expect(bench.run { host.agent.phase == .active && host.disk.contains { $0.file == .control } })
        bench.reboot(host)
        let before = host.heartbeatCount
        #expect(bench.run(until: { host.heartbeatCount > before }, limit: .seconds(5)))
        #expect(host.agent.counters.requestsFailed == 0)
        for _ in 0..<5 {
            reply(bench, host, liar)
            bench.run(.seconds(70))
        }
        #expect(host.agent.status(now: bench.time(of: host)).control == Endpoint(address: address, port: 8443))
        #expect(host.control == Endpoint(address: address, port: 8443))
    }

    @Test func `an agent whose control plane moves follows the name`() throws {
        let bench = try NodeBench()
        let host = try addHost(bench)
        bench.start(host)
        bench.run(.seconds(1))
        reply(bench, host, address)
        #expect(bench.run { host.agent.phase == .active })
        let moved = IPAddress("198.51.100.8")!
        host.course = { [unowned host] _ in
            host.control?.address == moved ? .pass : .fail(.unreachable)
        }
        let before = host.heartbeatCount
        for _ in 0..<30 where host.control?.address != moved {
            bench.run(.seconds(2))
            reply(bench, host, moved)
        }
        bench.run(.seconds(30))
        #expect(host.control?.address == moved && host.heartbeatCount > before)
        bench.reboot(host)
        #expect(host.control?.address == moved)
    }
}
