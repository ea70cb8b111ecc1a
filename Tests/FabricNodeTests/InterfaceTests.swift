import FabricCore
import Testing

@testable import FabricNode

/// Interfaces that can't be set up when the agent asks for them.
@Suite struct InterfaceTests {
    static let blue = PacketTests.blue

    @Test func `an interface that fails at boot is asked for again by itself, less and less often, until it stands`()
        throws
    {
        let bench = try NodeBench()
        let host = try bench.join("a", domains: [.fabric, Self.blue])
        bench.run(.seconds(20))
        bench.isControlPlaneAway = true
        var asked: [RoutingDomainID] = []
        var broken = true
        host.interfaceError = { interface in
            asked.append(interface.domain)
            return broken && interface.domain == Self.blue ? "no /dev/net/tun" : nil
        }
        bench.reboot(host)
        bench.run(.seconds(60))
        // Only the one that failed.
        let boot = asked.count { $0 == .fabric }
        let retries = asked.count { $0 == Self.blue } - boot
        #expect(boot <= 3 && (4...9).contains(retries), "\(asked)")
        let told = NodeReport.interfaceFailed(Self.blue, "no /dev/net/tun")
        #expect(host.reports.count { $0 == told } == 1)
        func failure(_ domain: RoutingDomainID) -> String? {
            host.agent.status(now: bench.time(of: host)).domains.first { $0.domain == domain }?.interfaceFailure
        }
        #expect(failure(Self.blue) == "no /dev/net/tun" && failure(.fabric) == nil)
        #expect(host.agent.nextDeadline() != nil)
        broken = false
        bench.run(.seconds(25))
        #expect(failure(Self.blue) == nil)
        asked = []
        bench.run(.seconds(120))
        #expect(asked.isEmpty)
    }

    @Test func `a host that says nothing of its interfaces is asked once`() throws {
        let bench = try NodeBench()
        let host = try bench.join("a")
        #expect(host.agent.interfaceCall.due == nil)
        bench.tell(host, .interfaceFailed(Self.blue, "of a domain that it is not in"))
        #expect(host.agent.interfaceCall.due == nil)
    }

    // MARK: Changed from outside

    /// As the host finds it when nobody has changed anything.
    private func found(_ wanted: InterfaceConfiguration) -> InterfaceState {
        InterfaceState(
            isUp: true, mtu: wanted.mtu, addresses: wanted.allAddresses,
            routes: wanted.routes + wanted.allAddresses.compactMap(\.routedNetwork))
    }

    /// A member with a peer, whose host tells of its interfaces.
    private func member() throws -> (NodeBench, NodeHost, InterfaceConfiguration) {
        let bench = try NodeBench()
        let host = try bench.join("a")
        _ = try bench.join("b")
        bench.run(.seconds(10))
        host.interfaceError = { _ in nil }
        let wanted = try #require(host.interfaces.first { $0.domain == .fabric })
        #expect(wanted.routes.count == 1)
        return (bench, host, wanted)
    }

    private func failure(_ bench: NodeBench, _ host: NodeHost) -> String? {
        host.agent.status(now: bench.time(of: host)).domains[0].interfaceFailure
    }

    static let changes: [(String, @Sendable (inout InterfaceState) -> Void)] = [
        ("it is down", { $0.isUp = false }),
        ("it is down", { $0 = InterfaceState(isUp: false, mtu: 68, addresses: [], routes: []) }),
        ("its MTU is 1280, not 1412", { $0.mtu = 1280 }),
        ("without address fd", { $0.addresses = [] }),
        ("without route fd", { $0.routes = [] }),
    ]

    @Test(arguments: changes.indices)
    func `what somebody changes about an interface is told once, and the interface asked for again`(index: Int) throws {
        let (words, change) = Self.changes[index]
        let (bench, host, wanted) = try member()
        var asked = 0
        host.interfaceError = { _ in
            asked += 1
            return nil
        }
        host.reports = []
        var state = found(wanted)
        change(&state)
        for _ in 0..<3 { bench.tell(host, .interfaceObserved(.fabric, state)) }
        #expect(try #require(failure(bench, host)).hasPrefix("changed from outside: \(words)"))
        #expect(asked == 0)
        bench.run(.seconds(2))
        #expect(asked == 1 && failure(bench, host) == nil)
        let told = host.reports.filter { if case .interfaceFailed = $0 { true } else { false } }
        #expect(told.count == 1 && host.reports.contains(.interfaceMended(.fabric)))
    }

    @Test func `an interface that has all it should, and more, is left alone`() throws {
        let (bench, host, wanted) = try member()
        var state = found(wanted)
        state.addresses.append(InterfaceAddress("192.0.2.77/24")!)
        state.routes.append(IPPrefix("198.51.100.0/24")!)
        host.reports = []
        bench.tell(host, .interfaceObserved(.fabric, state))
        bench.tell(host, .interfaceObserved(Self.blue, InterfaceState(isUp: false, mtu: 0, addresses: [], routes: [])))
        #expect(failure(bench, host) == nil && host.reports.isEmpty && host.agent.interfaceCall.due == nil)
    }

    @Test func `the route to an address' network counts, and of many that are missing three are named`() {
        let wanted = InterfaceConfiguration(
            domain: .fabric, address: IPPrefix("fd00::/128")!, addresses: [InterfaceAddress("10.78.0.1/24")!],
            routes: (1...9).map { IPPrefix("fd00::\($0)/128")! }, mtu: 1412)
        var state = found(wanted)
        #expect(wanted.shortcomings(of: state) == nil)
        state.routes.removeAll { $0 == IPPrefix("10.78.0.0/24")! }
        #expect(wanted.shortcomings(of: state) == "without route 10.78.0.0/24")
        state.routes = []
        #expect(
            wanted.shortcomings(of: state) == "without route 10.78.0.0/24, fd00::1/128, fd00::2/128 and 7 more")
    }

    @Test func `domains that break together and stand again with the first repetition count as one failure`() throws {
        let bench = try NodeBench()
        let host = try bench.join("a", domains: [.fabric, Self.blue])
        bench.run(.seconds(10))
        host.interfaceError = { _ in nil }
        let down = InterfaceState(isUp: false, mtu: 1412, addresses: [], routes: [])
        func breakBoth() {
            for domain in [.fabric, Self.blue] { bench.tell(host, .interfaceObserved(domain, down)) }
        }
        breakBoth()
        bench.run(.milliseconds(1_001))
        #expect(host.agent.status(now: bench.time(of: host)).domains.allSatisfy { $0.interfaceFailure == nil })
        #expect(host.agent.interfaceCall.due == nil)
        breakBoth()
        // The second step of the back-off is between one second and two, the third between two and four.
        let pause = try #require(host.agent.interfaceCall.due) - bench.time(of: host).monotonic
        #expect(pause >= .seconds(1) && pause <= .seconds(2))
    }

    @Test func `who undoes it each time is answered less and less often`() throws {
        let (bench, host, wanted) = try member()
        var state = found(wanted)
        state.isUp = false
        var asked = 0
        host.interfaceError = { _ in
            asked += 1
            // At once, and after each time that the interface was put right.
            bench.schedule(after: .milliseconds(1)) { bench.tell(host, .interfaceObserved(.fabric, state)) }
            return nil
        }
        bench.tell(host, .interfaceObserved(.fabric, state))
        bench.run(.seconds(300))
        #expect((15...45).contains(asked))
        // Left in peace for a minute, the next time counts as a first one.
        host.interfaceError = { _ in nil }
        bench.run(.seconds(90))
        #expect(failure(bench, host) == nil)
        bench.tell(host, .interfaceObserved(.fabric, state))
        bench.run(.milliseconds(1_001))
        #expect(failure(bench, host) == nil)
    }
}
