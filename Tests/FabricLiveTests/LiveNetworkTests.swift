import FabricCore
import FabricLinux
import FabricScenario
import Glibc
import Testing

@testable import FabricLive

@Suite(.serialized, .enabled(if: NetworkNamespace.isSupported, "needs root and ip(8)"))
struct LiveNetworkTests {
    private func withNetwork(_ body: (LiveNetwork) throws -> Void) throws {
        let work = try WorkFolder()
        defer { try? work.remove() }
        let plan = try scenario()
        let network = try LiveNetwork(plan)
        defer { _ = network.tearDown() }
        try network.build(plan, captures: work.captures)
        try body(network)
    }

    /// Whether a datagram gets there, one way; where it should, it is sent again until it does.
    private func arrives(_ from: TestBed.Node, _ to: TestBed.Node, attempts: Int = 50) throws -> Bool {
        let receiver = try open(to, port: 7000)
        let sender = try open(from, port: 7001)
        for _ in 0..<attempts {
            _ = try [1].withUnsafeBytes { try sender.send($0, to: receiver.localEndpoint) }
            var descriptor = pollfd(fd: receiver.descriptor, events: Int16(POLLIN), revents: 0)
            if poll(&descriptor, 1, 100) == 1 { return true }
        }
        return false
    }

    private func isCut(_ from: TestBed.Node, _ to: TestBed.Node) throws -> Bool {
        try !arrives(from, to, attempts: 3)
    }

    private func open(_ node: TestBed.Node, port: UInt16) throws -> UDPSocket {
        try node.namespace.withThread { try UDPSocket(bind: Endpoint(address: node.address, port: port)) }
    }

    private func partition(_ id: Int, _ from: [Int], _ to: [Int], isSymmetric: Bool) -> PlannedPartition {
        // The format makes partitions; a plan's own is changed to what the test needs.
        var cut = try! scenario(
            timeline: "  - { at: 1s, partition: { between: [north, south], for: 1s } }"
        ).steps.compactMap { if case .cut(let cut) = $0.action { cut } else { nil } }[0]
        cut.id = id
        cut.from.nodes = from
        cut.to.nodes = to
        cut.isSymmetric = isSymmetric
        return cut
    }

    @Test func `partitions are between hosts, one way or both, and leave the control plane in reach`() throws {
        try withNetwork { network in
            let (a, b, c) = (network.nodes[0], network.nodes[1], network.nodes[2])
            try network.cut(partition(0, [0], [1], isSymmetric: true))
            #expect(try isCut(a, b))
            #expect(try isCut(b, a))
            #expect(try arrives(a, c))
            #expect(try arrives(b, network.control))
            try network.cut(partition(1, [0], [2], isSymmetric: false))
            #expect(try isCut(a, c))
            #expect(try arrives(c, a))
            try network.heal([0])
            #expect(try arrives(a, b))
            #expect(try isCut(a, c))
            try network.heal([0, 1])
            #expect(try arrives(a, c))
        }
    }

    @Test func `a cut of one protocol lets the other pass`() throws {
        try withNetwork { network in
            let (a, b, c) = (network.nodes[0], network.nodes[1], network.nodes[2])
            // A firewall before one host: the sides overlap.
            var cut = partition(0, [0], [0, 1, 2], isSymmetric: true)
            cut.only = .udp
            try network.cut(cut)
            #expect(try isCut(a, b))
            #expect(try isCut(b, a))
            #expect(try arrives(b, c))
            try network.heal([0])
            cut.only = .tcp
            try network.cut(cut)
            #expect(try arrives(a, b))
        }
    }

    @Test func `a host without power neither hears nor speaks until it has power again`() throws {
        try withNetwork { network in
            let (a, b) = (network.nodes[0], network.nodes[1])
            try network.setSilent([1], true)
            #expect(try isCut(a, b))
            #expect(try isCut(b, a))
            try network.setControlSilent(true)
            #expect(try isCut(a, network.control))
            try network.setSilent([1], false)
            #expect(try arrives(a, b))
            try network.setControlSilent(false)
            #expect(try arrives(a, network.control))
        }
    }

    @Test func `captures hold what crossed each link, and nothing remains`() throws {
        let work = try WorkFolder()
        let plan = try scenario()
        let network = try LiveNetwork(plan)
        defer { _ = network.tearDown() }
        try network.build(plan, captures: work.captures)
        #expect(try arrives(network.nodes[0], network.nodes[1]))
        let links = try network.stopCaptures()
        #expect(links.map(\.name) == ["control", "a", "b-1", "b-2"])
        let summary = try CaptureSummary.judge(
            links, control: network.controlEndpoint, canary: [UInt8](repeating: 7, count: 32),
            canary: .init(sent: 0, arrived: 0, pairs: []), tunnelWasUp: false)
        // The datagram of this test is neither WireGuard nor TLS.
        #expect(!summary.held)
        #expect(summary.kinds["other-udp", default: 0] >= 2)
        #expect(network.tearDown().isEmpty)
        #expect(try !ChildProcess.run(["ip", "netns", "list"]).output.contains("\(getpid())-live"))
        try work.remove()
        #expect(access(work.path, F_OK) != 0)
    }
}
