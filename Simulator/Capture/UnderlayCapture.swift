internal import FabricCore
internal import FabricNode
internal import FabricScenario

/// The datagrams of a run as a capture file: an interface for each line between two places and for each place's own network,
/// hosts by name, what became of a packet as its comment, and the keys that open the tunnels.
///
/// A packet stands at the moment at which it left its sender, before any fault. Streams are not captured: their bytes are
/// a model's, not TLS's.
public final class UnderlayCapture {
    public struct Filter: Sendable {
        /// Only datagrams between these two places; twice the same for a place's own network.
        public var places: (Int, Int)?
        /// Only datagrams from or to these nodes (indices of the plan).
        public var nodes: [Int] = []

        public init() {}
    }

    private let run: ScenarioRun
    private let filter: Filter
    private let write: ([UInt8]) -> Void
    /// Interface numbers by the pair of places, looked up by key only.
    private var interfaces: [Int: Int] = [:]
    private var namedOverlays: Set<Int> = []
    public private(set) var packetCount = 0

    /// Writes the file's head, and from then on what the run sends. `keys`, when given, gets the key log's lines; with them
    /// the file carries them itself. The run must keep a journal; call this before it begins.
    public init(
        _ run: ScenarioRun, filter: Filter, keys: ((String) -> Void)?, write: @escaping ([UInt8]) -> Void
    ) {
        precondition(run.world.journal != nil, "a capture needs a journal")
        self.run = run
        self.filter = filter
        self.write = write
        write(PcapngEncoder.sectionHeader(application: "rap-sim, \(run.plan.name), seed \(run.plan.seed)"))
        let hosts = (0..<run.world.hostCount).map { HostID(index: $0) }
        write(PcapngEncoder.names(hosts.map { (run.world.network.address(of: $0), run.world.name(of: $0)) }))
        run.world.onDatagram = { [weak self] datagram, bytes in self?.take(datagram, bytes) }
        if let keys {
            for agent in run.agents {
                agent.onKeys = { [weak self] actor, text in
                    keys(text)
                    self?.takeKeys(of: actor, text)
                }
            }
        }
    }

    /// The keys of one end open a session in both directions, so that those of the nodes asked for suffice.
    private func takeKeys(of actor: AgentActor, _ text: String) {
        guard filter.nodes.isEmpty || filter.nodes.contains(where: { run.agents[$0] === actor }) else { return }
        if let places = filter.places {
            let place = run.world.network.place(of: actor.host).index
            guard place == places.0 || place == places.1 else { return }
        }
        write(PcapngEncoder.secrets(text))
    }

    private func take(_ datagram: SentDatagram, _ bytes: UnsafeRawBufferPointer) {
        guard let to = datagram.to else { return }
        let from = run.world.network.place(of: datagram.from).index
        let other = run.world.network.place(of: to).index
        if let places = filter.places {
            guard (from, other) == places || (other, from) == places else { return }
        }
        if !filter.nodes.isEmpty {
            let ends = [datagram.from, to]
            guard filter.nodes.contains(where: { ends.contains(run.agents[$0].host) }) else { return }
        }
        let packet = UnderlayPacket.packet(source: datagram.source, destination: datagram.destination, payload: bytes)
        guard let packet else { return }
        nameOverlay(datagram.from)
        nameOverlay(to)
        let comment = datagram.fate.isEmpty ? "" : datagram.arrives ? datagram.fate : "never arrives: \(datagram.fate)"
        let interface = interface(from, other)
        packetCount += 1
        write(
            PcapngEncoder.packet(
                packet, interface: interface, at: run.world.epoch + (datagram.time - .zero), comment: comment))
    }

    private func interface(_ a: Int, _ b: Int) -> Int {
        let (low, high) = (min(a, b), max(a, b))
        let key = low * run.plan.places.count + high
        if let known = interfaces[key] { return known }
        let names = run.plan.places.map(\.name)
        interfaces[key] = interfaces.count
        write(
            PcapngEncoder.interface(
                name: low == high ? names[low] : "\(names[low])-\(names[high])",
                description: PlanText(run.plan).properties(run.plan.link(between: low, and: high))))
        return interfaces.count - 1
    }

    /// A node's overlay addresses get its name once it has them: the agent's is the host's with the last bit set.
    private func nameOverlay(_ host: HostID) {
        guard !namedOverlays.contains(host.index), let agent = run.agents.first(where: { $0.host == host }),
            let address = agent.agent?.overlayAddress(in: .fabric)
        else { return }
        namedOverlays.insert(host.index)
        let own = IPAddress(v6High: address.high, low: address.low | 1)
        write(PcapngEncoder.names([(address, "\(agent.name).fabric"), (own, "agent.\(agent.name).fabric")]))
    }
}
