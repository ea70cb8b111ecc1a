public import FabricCore

/// A small internet made of network namespaces: one router, one subnet per place, and per node a namespace with a
/// veth to the router.
///
/// ```
///   node a1 [eth0 10.1.0.2/32] ──veth── [v0]  router  [v2] ──veth── [eth0 10.2.0.2/32] node b1
///   node a2 [eth0 10.1.0.3/32] ──veth── [v1] (forwards)
/// ```
/// Every packet between two nodes is forwarded by the router, also within a place; cuts are rules in its forward
/// chain. Nothing exists outside the namespaces, and `tearDown` removes them all. The caller tears down when it is
/// interrupted.
public final class TestBed {
    public struct Place: Sendable {
        public let name: String
        public let prefix: IPPrefix
        /// The router's address in the place: the first one.
        public let gateway: IPAddress
    }

    public struct Node {
        public let name: String
        public let place: String
        public let address: IPAddress
        public let namespace: NetworkNamespace
        /// The router's end of the node's veth: where the underlay can be watched.
        public let routerInterface: String
    }

    /// Nodes of one test bed.
    public static let maximumNodes = 512
    /// Places of one test bed.
    public static let maximumPlaces = 64

    public let label: String
    public let router: NetworkNamespace
    public private(set) var places: [Place] = []
    public private(set) var nodes: [Node] = []
    private var processes: [ChildProcess] = []
    /// Directed cuts between places, as indices.
    private var cuts: [(from: Int, to: Int)] = []

    /// `label` (1 to 12 characters from `a-z 0-9 -`) tells several test beds of one process apart.
    public init(label: String) throws {
        precondition((1...12).contains(label.utf8.count))
        self.label = label
        router = try NetworkNamespace.create("\(label)-router")
        do {
            // IPv6 forwarding is missing where IPv6 is.
            try router.command(["sysctl", "-qw", "net.ipv4.ip_forward=1"])
            _ = try router.run(["sysctl", "-qw", "net.ipv6.conf.all.forwarding=1"])
        } catch {
            tearDown()
            throw error
        }
    }

    /// Adds a place with a subnet of its own. Subnets must not overlap and need room for the gateway and the nodes.
    public func addPlace(_ name: String, _ prefix: IPPrefix) throws {
        precondition(places.count < TestBed.maximumPlaces && places.allSatisfy { $0.name != name })
        precondition(prefix.length <= prefix.address.bitWidth - 2)
        precondition(places.allSatisfy { !$0.prefix.contains(prefix.address) && !prefix.contains($0.prefix.address) })
        places.append(Place(name: name, prefix: prefix, gateway: TestBed.address(prefix, 1)))
    }

    /// Adds a node, with the next free address of its place, `mtu` on both ends of its link.
    @discardableResult
    public func addNode(_ name: String, place placeName: String, mtu: Int = 1500) throws -> Node {
        guard let place = places.first(where: { $0.name == placeName }) else {
            preconditionFailure("no place \(placeName)")
        }
        precondition(nodes.count < TestBed.maximumNodes && nodes.allSatisfy { $0.name != name })
        let address = TestBed.address(place.prefix, UInt64(2 + nodes.count { $0.place == placeName }))
        precondition(place.prefix.contains(address))
        let namespace = try NetworkNamespace.create("\(label)-\(name)")
        let interface = "v\(nodes.count)"
        let everything = address.family == .v4 ? "0.0.0.0/0" : "::/0"
        let noDetection = address.family == .v4 ? "" : " nodad"
        // Neighbour solicitations of a forwarding router come from its link-local address: it must have one, at once.
        let linkLocal = { (device: String, end: Int) in
            address.family == .v4 ? [] : ["address add fe80::\(end)/64 dev \(device) nodad"]
        }
        let host = "\(address)/\(address.bitWidth)"
        let gateway = "\(place.gateway)/\(address.bitWidth)"
        nodes.append(
            Node(name: name, place: placeName, address: address, namespace: namespace, routerInterface: interface))
        try batch(
            router,
            [
                "link add \(interface) type veth peer name eth0 netns \(namespace.name)",
                "link set \(interface) mtu \(mtu) addrgenmode none",
                "address add \(gateway) dev \(interface)\(noDetection)",
            ] + linkLocal(interface, 1) + [
                "link set \(interface) up",
                "route add \(host) dev \(interface)",
            ])
        try batch(
            namespace,
            [
                "link set eth0 mtu \(mtu) addrgenmode none",
                "address add \(host) dev eth0\(noDetection)",
            ] + linkLocal("eth0", 2) + [
                "link set eth0 up",
                "route add \(gateway) dev eth0",
                "route add \(everything) via \(place.gateway) dev eth0",
            ])
        return nodes[nodes.count - 1]
    }

    public func node(_ name: String) -> Node? { nodes.first { $0.name == name } }

    /// Starts a program in a node's namespace. `tearDown` ends it if it still runs.
    @discardableResult
    public func spawn(
        on node: Node, _ arguments: [String], output: ChildProcess.Output = .inherit
    ) throws -> ChildProcess {
        let process = try node.namespace.spawn(arguments, output: output)
        processes.append(process)
        return process
    }

    /// Drops everything between two places, in both directions.
    public func partition(_ a: String, _ b: String) throws {
        addCut(a, b)
        addCut(b, a)
        try applyCuts()
    }

    /// Drops everything from one place to another; the way back stays open.
    public func partition(from: String, to: String) throws {
        addCut(from, to)
        try applyCuts()
    }

    /// Cuts a place off from all others.
    public func isolate(_ name: String) throws {
        for other in places where other.name != name {
            addCut(name, other.name)
            addCut(other.name, name)
        }
        try applyCuts()
    }

    /// Ends all cuts between two places, in both directions.
    public func heal(_ a: String, _ b: String) throws {
        let (first, second) = (index(a), index(b))
        cuts.removeAll { ($0.from, $0.to) == (first, second) || ($0.from, $0.to) == (second, first) }
        try applyCuts()
    }

    /// Ends all cuts.
    public func healAll() throws {
        cuts.removeAll()
        try applyCuts()
    }

    /// Ends every program that was started here and removes every namespace. It goes on where a step fails, may be
    /// called again, and returns what could not be removed.
    @discardableResult
    public func tearDown() -> [any Error] {
        var failures: [any Error] = []
        // All are asked at once; each is then given its grace.
        for process in processes {
            process.signal(15)
            // One that is stopped takes nothing until it goes on.
            process.signal(18)
        }
        for process in processes { process.terminate(grace: .seconds(3)) }
        processes = []
        for namespace in nodes.map(\.namespace) + [router] {
            do { try namespace.delete() } catch { failures.append(error) }
        }
        return failures
    }

    private func index(_ name: String) -> Int {
        guard let index = places.firstIndex(where: { $0.name == name }) else { preconditionFailure("no place \(name)") }
        return index
    }

    private func addCut(_ from: String, _ to: String) {
        let cut = (from: index(from), to: index(to))
        if !cuts.contains(where: { $0 == cut }) { cuts.append(cut) }
    }

    /// Replaces the router's rules in one transaction.
    private func applyCuts() throws {
        var rules = ["table inet rap", "delete table inet rap", "table inet rap {", "chain forward {"]
        rules.append("type filter hook forward priority 0; policy accept;")
        for cut in cuts {
            let (source, destination) = (places[cut.from].prefix, places[cut.to].prefix)
            // Places of different families can't talk, cut or not.
            guard source.address.family == destination.address.family else { continue }
            let family = source.address.family == .v4 ? "ip" : "ip6"
            rules.append("\(family) saddr \(source) \(family) daddr \(destination) counter drop")
        }
        rules += ["}", "}"]
        try router.command(["nft", "-f", "-"], input: rules.joined(separator: "\n") + "\n")
    }

    private func batch(_ namespace: NetworkNamespace, _ lines: [String]) throws {
        try NetworkNamespace.command(
            ["ip", "-n", namespace.name, "-batch", "-"], input: lines.joined(separator: "\n") + "\n")
    }

    private static func address(_ prefix: IPPrefix, _ offset: UInt64) -> IPAddress {
        switch prefix.address.family {
        case .v4: IPAddress(v4: UInt32(truncatingIfNeeded: prefix.address.low + offset))
        case .v6: IPAddress(v6High: prefix.address.high, low: prefix.address.low + offset)
        }
    }
}
