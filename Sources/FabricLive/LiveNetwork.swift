internal import FabricCapture
internal import FabricCore
internal import FabricLinux
internal import FabricScenario

/// The plan's underlay: a test bed with a host per node and one for the control plane and its operator, the cuts that
/// are in force, and a capture of every link.
///
/// A host without power is cut off before its program is killed: it says nothing more, not even an ICMP error.
final class LiveNetwork {
    /// Of all captures' kernel buffers together.
    static let bufferBytes = 128 << 20
    static let tunnelPort: UInt16 = 51820
    static let controlPort: UInt16 = 8443

    private let bed: TestBed
    private(set) var nodes: [TestBed.Node] = []
    let control: TestBed.Node
    private var partitions: [PlannedPartition] = []
    private var silentNodes: Set<Int> = []
    private var isControlSilent = false
    private var recorders: [(link: String, recorder: CaptureRecorder)] = []
    /// Present when the file says how links are.
    private var shaper: LinkShaper?
    /// By places, `a * count + b`: what TCP is told of the links' MTUs.
    private var mtus: [Int]
    private let placeCount: Int

    /// Makes the router, the places and the control plane's host.
    init(_ plan: Plan) throws {
        let places = plan.places.indices
        placeCount = places.count
        mtus = places.flatMap { a in places.map { b in plan.link(between: a, and: b).mtu } }
        bed = try TestBed(label: "live")
        do {
            for (index, place) in plan.places.enumerated() {
                try bed.addPlace(place.name, LiveNetwork.prefix(ofPlace: index))
            }
            control = try bed.addNode("control", place: plan.places[plan.controlPlace].name)
        } catch {
            bed.tearDown()
            throw error
        }
    }

    /// Makes the nodes' hosts and starts the captures. When it throws, `tearDown` removes what there is.
    func build(_ plan: Plan, captures: String) throws {
        let names = LiveNetwork.namespaceNames(plan)
        for (index, node) in plan.nodes.enumerated() {
            try Interruption.check()
            nodes.append(try bed.addNode(names[index], place: plan.places[node.place].name))
        }
        if plan.shapesLinks {
            let shaper = try LinkShaper(plan, router: bed.router)
            try shaper.start()
            self.shaper = shaper
            try applyCuts()
        }
        try record(plan, captures)
    }

    static func prefix(ofPlace index: Int) -> IPPrefix {
        IPPrefix(IPAddress(v4: 10 << 24 | UInt32(index + 1) << 16), length: 16)!
    }

    /// Names as the plan's where namespaces can have them, else numbers.
    private static func namespaceNames(_ plan: Plan) -> [String] {
        let isUsable = plan.nodes.allSatisfy { node in
            node.name.utf8.count <= 24 && node.name != "router" && node.name != "control"
                && node.name.utf8.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || $0 == 45 }
        }
        return plan.nodes.enumerated().map { isUsable ? $0.element.name : "n\($0.offset)" }
    }

    private func record(_ plan: Plan, _ folder: String) throws {
        var options = LiveCapture.Options()
        options.bufferBytes = Int32(max(1 << 20, min(16 << 20, LiveNetwork.bufferBytes / (nodes.count + 1))))
        let links =
            [("control", "control", control.routerInterface)]
            + zip(plan.nodes, nodes).map { ($0.name, "node-\($0.name)", $1.routerInterface) }
        try bed.router.withThread {
            for (name, file, interface) in links {
                let path = "\(folder)/\(file).pcap"
                recorders.append((name, try CaptureRecorder(interface: interface, path: path, options: options)))
            }
        }
    }

    // MARK: Hosts

    var controlNamespace: String { control.namespace.name }
    var controlEndpoint: Endpoint { Endpoint(address: control.address, port: LiveNetwork.controlPort) }

    func tunnelEndpoint(_ node: Int) -> Endpoint {
        Endpoint(address: nodes[node].address, port: LiveNetwork.tunnelPort)
    }

    func startControl(_ arguments: [String], log: String) throws -> ChildProcess {
        try bed.spawn(on: control, arguments, output: .file(log))
    }

    func start(_ node: Int, _ arguments: [String], log: String) throws -> ChildProcess {
        try bed.spawn(on: nodes[node], arguments, output: .file(log))
    }

    // MARK: Links

    func setLinks(_ links: [PlannedLink]) throws {
        guard let shaper else { preconditionFailure("a plan that changes links shapes them") }
        shaper.set(links)
        for link in links {
            mtus[link.a * placeCount + link.b] = link.link.mtu
            mtus[link.b * placeCount + link.a] = link.link.mtu
        }
        try applyCuts()
    }

    /// Ends the user-space links: nothing passes from then on. Returns what went wrong with them.
    func stopLinks() -> [String] {
        defer { shaper = nil }
        return shaper?.stop() ?? []
    }

    /// Routers tell TCP what passes by its maximum segment size; datagrams that are too large vanish.
    private var segmentSizeRules: [String] {
        mtus.indices.filter { mtus[$0] < LinkShaper.largestMTU }.map { index in
            let (from, to) = (index / placeCount, index % placeCount)
            return "ip saddr \(LiveNetwork.prefix(ofPlace: from)) ip daddr \(LiveNetwork.prefix(ofPlace: to)) "
                + "tcp flags syn tcp option maxseg size set \(mtus[index] - 40)"
        }
    }

    // MARK: Cuts

    func cut(_ partition: PlannedPartition) throws {
        partitions.append(partition)
        try applyCuts()
    }

    func heal(_ identifiers: [Int]) throws {
        partitions.removeAll { identifiers.contains($0.id) }
        try applyCuts()
    }

    func setSilent(_ nodes: [Int], _ isSilent: Bool) throws {
        if isSilent { silentNodes.formUnion(nodes) } else { silentNodes.subtract(nodes) }
        try applyCuts()
    }

    func setControlSilent(_ isSilent: Bool) throws {
        isControlSilent = isSilent
        try applyCuts()
    }

    /// Replaces the router's rules in one transaction. Packets are dropped, not refused.
    private func applyCuts() throws {
        var rules = ["table ip rap_live", "delete table ip rap_live", "table ip rap_live {", "chain forward {"]
        rules.append("type filter hook forward priority 0; policy accept;")
        rules += segmentSizeRules
        let silent = addresses(silentNodes.sorted(), control: isControlSilent)
        if !silent.isEmpty {
            rules.append("ip saddr \(set(silent)) counter drop")
            rules.append("ip daddr \(set(silent)) counter drop")
        }
        for partition in partitions {
            let (from, to) = (addresses(of: partition.from), addresses(of: partition.to))
            if from.isEmpty || to.isEmpty { continue }
            let only = partition.only.map { " ip protocol \($0.rawValue)" } ?? ""
            rules.append("ip saddr \(set(from)) ip daddr \(set(to))\(only) counter drop")
            if partition.isSymmetric {
                rules.append("ip saddr \(set(to)) ip daddr \(set(from))\(only) counter drop")
            }
        }
        rules += ["}", "}"]
        try bed.router.command(["nft", "-f", "-"], input: rules.joined(separator: "\n") + "\n")
    }

    private func addresses(of endpoints: EndpointSet) -> [IPAddress] {
        addresses(endpoints.nodes, control: endpoints.control)
    }

    private func addresses(_ indices: [Int], control hasControl: Bool) -> [IPAddress] {
        indices.map { nodes[$0].address } + (hasControl ? [control.address] : [])
    }

    private func set(_ addresses: [IPAddress]) -> String {
        "{ " + addresses.map(\.description).joined(separator: ", ") + " }"
    }

    // MARK: The end

    /// Ends the captures; what they hold is judged later. Programs may run on: they are not watched any more.
    func stopCaptures() throws -> [RecordedLink] {
        defer { recorders = [] }
        return try recorders.map { link, recorder in
            let outcome = try recorder.stop()
            return RecordedLink(name: link, path: outcome.path, dropped: outcome.statistics.dropped)
        }
    }

    /// Ends every program and removes every namespace; returns what could not be removed.
    func tearDown() -> [any Error] {
        recorders = []
        _ = stopLinks()
        return bed.tearDown()
    }
}

/// A link of the underlay as it was recorded.
struct RecordedLink: Sendable {
    var name: String
    var path: String
    /// Frames that the capture itself lost.
    var dropped: UInt64
}
