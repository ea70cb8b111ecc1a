internal import FabricCore
internal import FabricLinux
internal import FabricNode
internal import FabricScenario

/// Sends 32 random bytes from one node's namespace to another's overlay address, again and again while the run lasts:
/// with a good line, over a cut, after it healed. They must come out of the tunnel, and nowhere on the underlay.
final class CanaryProbe {
    static let port: UInt16 = 4097
    static let sendEvery = Duration.milliseconds(500)

    let canary: [UInt8]
    private(set) var summary = CaptureSummary.Canary(sent: 0, arrived: 0, pairs: [])
    /// A tunnel was seen up, so a canary should have arrived.
    private(set) var tunnelWasUp = false
    private var link: Link?
    private var nextSend = Instant.zero
    private var batch = DatagramBatch(capacity: 16, packetCapacity: 2048)

    private final class Link {
        let from: LiveAgent
        let to: LiveAgent
        let boots: [Int]
        let sender: UDPSocket
        let receiver: UDPSocket
        let isFar: Bool

        init(_ from: LiveAgent, _ to: LiveAgent, _ sender: UDPSocket, _ receiver: UDPSocket, isFar: Bool) {
            self.from = from
            self.to = to
            boots = [from.boots, to.boots]
            self.sender = sender
            self.receiver = receiver
            self.isFar = isFar
        }

        /// A restarted agent has a new interface.
        var isCurrent: Bool { from.isRunning && to.isRunning && boots == [from.boots, to.boots] }
    }

    init() {
        var random = SystemRandomNumberGenerator()
        canary = (0..<32).map { _ in UInt8.random(in: 0...255, using: &random) }
    }

    /// Called at each observation.
    func step(_ plan: Plan, _ agents: [LiveAgent], _ view: LiveView, _ network: LiveNetwork, now: Instant) {
        if let link, !link.isCurrent { self.link = nil }
        if link?.isFar != true { open(plan, agents, view, network) }
        guard let link else { return }
        receive(link)
        guard now >= nextSend else { return }
        nextSend = now + Self.sendEvery
        do throws(SystemError) {
            let destination = link.receiver.localEndpoint
            let bytes = canary
            let sent = bytes.withUnsafeBytes { buffer in
                Result { () throws(SystemError) in try link.sender.send(buffer, to: destination) }
            }
            if try sent.get() { summary.sent += 1 }
        } catch {
            self.link = nil
        }
    }

    /// What is still on its way.
    func finish() { if let link { receive(link) } }

    private func receive(_ link: Link) {
        while let count = try? link.receiver.receive(into: &batch), count > 0 {
            for index in 0..<count where batch[index].bytes.elementsEqual(canary) { summary.arrived += 1 }
        }
    }

    /// Over the underlay's longest way: between places, if it can be.
    private func open(_ plan: Plan, _ agents: [LiveAgent], _ view: LiveView, _ network: LiveNetwork) {
        func isFar(_ pair: (LiveAgent, LiveAgent)) -> Bool {
            plan.nodes[pair.0.index].place != plan.nodes[pair.1.index].place
        }
        let up = agents.flatMap { from in
            agents.filter { $0.index != from.index && view.isUp(from.index, $0.index) }.map { (from, $0) }
        }
        if !up.isEmpty { tunnelWasUp = true }
        let far = up.first(where: isFar)
        guard let (from, to) = far ?? (link == nil ? up.first : nil) else { return }
        guard let source = from.status?.overlayAddress, let destination = to.status?.overlayAddress else { return }
        // An address that is not usable yet is tried again at the next observation.
        link = nil
        guard
            let sender = try? network.nodes[from.index].namespace.withThread({
                try UDPSocket(bind: Endpoint(address: source, port: Self.port))
            }),
            let receiver = try? network.nodes[to.index].namespace.withThread({
                try UDPSocket(bind: Endpoint(address: destination, port: Self.port))
            })
        else { return }
        link = Link(from, to, sender, receiver, isFar: far != nil)
        let pair = "\(from.name) to \(to.name)"
        if !summary.pairs.contains(pair) { summary.pairs.append(pair) }
    }
}
