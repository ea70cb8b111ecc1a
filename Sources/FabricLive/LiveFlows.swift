internal import FabricCore
internal import FabricLinux
internal import FabricNode
internal import FabricScenario
internal import Foundation
internal import Synchronization

/// The plan's flows: programs on the nodes' hosts that send each other datagrams through the tunnels, as fast as the file says.
///
/// A thread keeps their time and counts. As in the simulator a flow sends while its sender's agent runs, nothing while that is
/// paused or one of its ends has no overlay address, and it ends with the agent. What a socket refuses has been sent, and does
/// not arrive.
final class LiveFlows: Sendable {
    /// Discard (RFC 863), as in the simulator.
    static let port: UInt16 = 9
    /// A thread that was kept waiting makes up for so much.
    static let patience = Duration.seconds(1)
    /// Of one stream in one turn, so that the others and what arrives have theirs.
    static let sentPerTurn = 64

    struct Counts: Hashable, Sendable {
        var sent: Int64 = 0
        var delivered: Int64 = 0
    }

    /// A node in a domain.
    private struct End: Hashable, Sendable {
        var node: Int
        var domain: RoutingDomainID
    }

    /// A socket on its way to the flows' thread, which alone uses it from then on.
    private struct Opened: @unchecked Sendable {
        let socket: UDPSocket
    }

    /// Touched on the flows' thread alone, once it runs.
    private final class Confined: @unchecked Sendable {
        let loop: EventLoop
        /// All that began: datagrams name them by their places.
        var streams: [FlowStream] = []
        /// The places of those that still send.
        var sending: [Int] = []
        /// When the next of them is due.
        var nextDue: Instant?
        var paused: Set<Int> = []
        var sockets: [End: UDPSocket] = [:]
        var batch = DatagramBatch(capacity: 32, packetCapacity: 2048)
        var foreign = 0

        init() throws { loop = try EventLoop() }
    }

    private struct State {
        var isRunning = false
        var failure: String?
        var counts: [Counts]
    }

    private let plan: Plan
    private let canary: [UInt8]
    private let confined: Confined
    private let state: Mutex<State>
    private let wanted = Wanted()

    /// The ends of flows that have begun; touched on the run's thread alone.
    private final class Wanted: @unchecked Sendable {
        struct Socket {
            /// Of the agent whose address it has.
            var boot: Int
            var isOpen = false
        }

        var ends: [End: Socket] = [:]
        var paused: Set<Int> = []
    }

    init(_ plan: Plan, canary: [UInt8]) throws {
        self.plan = plan
        self.canary = canary
        confined = try Confined()
        state = Mutex(State(counts: plan.flows.map { _ in Counts() }))
    }

    func start() {
        let confined = confined
        confined.loop.onDeadline = { [unowned self] in send() }
        confined.loop.beforeWaiting = { confined.loop.setDeadline(confined.nextDue) }
        state.withLock { $0.isRunning = true }
        Thread.detachNewThread { [self] in
            do { try self.confined.loop.run() } catch { state.withLock { $0.failure = "\(error)" } }
            state.withLock { $0.isRunning = false }
        }
    }

    var counts: [Counts] { state.withLock { $0.counts } }

    // MARK: From the run's thread

    /// The step of a flow. A sender whose agent does not run sends nothing, now or later.
    func begin(_ flow: Int, _ agents: [LiveAgent], now: Instant) {
        let pairs = plan.flows[flow].pairs.filter { agents[$0.from].isRunning }
        let streams = pairs.map { FlowStream(plan, flow: flow, $0, start: now) }
        for stream in streams {
            for node in [stream.from, stream.to] {
                let end = End(node: node, domain: stream.domain)
                if wanted.ends[end] == nil { wanted.ends[end] = Wanted.Socket(boot: agents[node].boots) }
            }
        }
        confined.loop.mailbox.post { [self] in add(streams) }
    }

    /// Called at each observation: opens sockets where agents have come up, and ends what an agent's end ends.
    func step(_ agents: [LiveAgent], _ network: LiveNetwork) {
        let paused = Set(agents.filter { $0.pausedAt != nil }.map(\.index))
        if paused != wanted.paused {
            wanted.paused = paused
            confined.loop.mailbox.post { [confined] in confined.paused = paused }
        }
        for end in wanted.ends.keys.sorted(by: { ($0.node, $0.domain.text) < ($1.node, $1.domain.text) }) {
            let agent = agents[end.node]
            if !agent.isRunning || agent.boots != wanted.ends[end]?.boot {
                wanted.ends[end] = Wanted.Socket(boot: agent.boots)
                confined.loop.mailbox.post { [self] in close(end) }
            }
            guard agent.isRunning, wanted.ends[end]?.isOpen == false,
                let address = agent.status?.address(in: end.domain),
                let socket = try? network.nodes[end.node].namespace.withThread({
                    try UDPSocket(bind: Endpoint(address: address, port: Self.port))
                })
            else { continue }
            wanted.ends[end]?.isOpen = true
            let opened = Opened(socket: socket)
            confined.loop.mailbox.post { [self] in open(end, opened.socket) }
        }
    }

    /// Ends the thread and waits for it. Returns what went wrong.
    func stop() -> [String] {
        guard state.withLock({ $0.isRunning }) else { return [] }
        confined.loop.mailbox.post { [confined] in confined.loop.stop() }
        while state.withLock({ $0.isRunning }) { pause(.milliseconds(1)) }
        // Open sockets would keep the nodes' namespaces.
        confined.sockets = [:]
        var troubles: [String] = []
        if let failure = state.withLock({ $0.failure }) { troubles.append("the flows failed: \(failure)") }
        if confined.foreign > 0 {
            troubles.append(
                "\(confined.foreign) datagrams came where flows end that were damaged, repeated or nobody's")
        }
        return troubles
    }

    // MARK: On the flows' thread

    private func open(_ end: End, _ socket: UDPSocket) {
        do throws(SystemError) {
            try confined.loop.register(socket.descriptor) { [unowned self] in receive(end) }
            confined.sockets[end] = socket
        } catch {
            state.withLock { $0.failure = "\(error)" }
            confined.loop.stop()
        }
    }

    private func close(_ end: End) {
        if let socket = confined.sockets.removeValue(forKey: end) { confined.loop.unregister(socket.descriptor) }
        confined.sending.removeAll { confined.streams[$0].from == end.node }
    }

    private func add(_ streams: [FlowStream]) {
        confined.sending += confined.streams.count..<(confined.streams.count + streams.count)
        confined.streams += streams
        schedule()
    }

    private func schedule() {
        confined.sending.removeAll { confined.streams[$0].due == nil }
        confined.nextDue = confined.sending.compactMap { confined.streams[$0].due }.min()
    }

    private func send() {
        let now = LinuxClock.now().monotonic
        defer { schedule() }
        for index in confined.sending {
            let stream = confined.streams[index]
            guard let due = stream.due, due <= now else { continue }
            guard !confined.paused.contains(stream.from),
                let socket = confined.sockets[End(node: stream.from, domain: stream.domain)],
                let destination = confined.sockets[End(node: stream.to, domain: stream.domain)]?.localEndpoint
            else {
                confined.streams[index].skip(through: now)
                continue
            }
            confined.streams[index].skip(until: now, patience: Self.patience)
            var sent = 0
            while sent < Self.sentPerTurn, let due = confined.streams[index].due, due <= now {
                let datagram = FlowDatagram(stream: index, number: confined.streams[index].send())
                _ = try? datagram.bytes(count: stream.bytes, canary: canary).withUnsafeBytes { bytes in
                    try socket.send(bytes, to: destination)
                }
                sent += 1
            }
            state.withLock { $0.counts[stream.flow].sent += Int64(sent) }
        }
    }

    private func receive(_ end: End) {
        guard let socket = confined.sockets[end] else { return }
        // Bounded, so that what is due is not kept waiting.
        for _ in 0..<16 {
            guard let count = try? socket.receive(into: &confined.batch), count > 0 else { return }
            for index in 0..<count { take(UnsafeRawBufferPointer(confined.batch[index].bytes), end) }
        }
    }

    private func take(_ bytes: UnsafeRawBufferPointer, _ end: End) {
        guard let datagram = FlowDatagram(bytes, canary: canary), datagram.stream < confined.streams.count,
            confined.streams[datagram.stream].to == end.node, confined.streams[datagram.stream].bytes == bytes.count,
            confined.streams[datagram.stream].arrive(datagram.number)
        else {
            confined.foreign += 1
            return
        }
        let flow = confined.streams[datagram.stream].flow
        state.withLock { $0.counts[flow].delivered += 1 }
    }
}

extension NodeStatus {
    func address(in domain: RoutingDomainID) -> IPAddress? {
        domain == .fabric ? overlayAddress : domains.first { $0.domain == domain }?.overlayAddress
    }
}
