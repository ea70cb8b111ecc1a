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
}
