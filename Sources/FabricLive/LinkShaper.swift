internal import FabricCore
internal import FabricLinux
internal import FabricScenario
internal import FabricWire
internal import Foundation
internal import Synchronization

/// The plan's links, made in user space: the router sends every packet that it forwards through a TUN device of this
/// thread's, which holds it back, drops or repeats it, and hands it back to be forwarded.
///
/// ```
/// node a ──▶ [v0] router: rule “not from the shaper” ──▶ TUN ──▶ this thread ──▶ TUN ──▶ router: its routes ──▶ [v1] node b
/// ```
/// Captures see each packet on both nodes' links. The router's cuts hold on both of its passages: what is under way when a
/// cut comes is lost, as in the simulator.
final class LinkShaper: Sendable {
    static let interface = "shaper"
    /// Of the router's policy routing.
    static let table = 100
    /// The largest MTU of a link; nodes' interfaces have it.
    static let largestMTU = 1500

    /// Touched on the shaper's thread alone, once it runs.
    private final class Confined: @unchecked Sendable {
        let loop: EventLoop
        let device: TUNDevice
        var lines: ShapedLines
        var underWay = PacketsUnderWay()
        var overLimit: UInt64 = 0
        var buffer = PacketBuffer(packetCapacity: 2048)

        init(_ device: TUNDevice, _ lines: ShapedLines) throws {
            loop = try EventLoop()
            self.device = device
            self.lines = lines
        }
    }

    private struct State {
        var isRunning = false
        var failure: String?
    }

    private let confined: Confined
    private let places: Int
    private let state = Mutex(State())

    /// Makes the device in the router and diverts to it what the router forwards.
    init(_ plan: Plan, router: NetworkNamespace) throws {
        let device = try router.withThread {
            let device = try TUNDevice(pattern: LinkShaper.interface)
            try device.setMTU(LinkShaper.largestMTU)
            try device.setUp(true)
            return device
        }
        places = plan.places.count
        confined = try Confined(device, ShapedLines(plan, random: SeededRandom(seed: plan.seed, stream: "links")))
        // Packets come back from another side than the one to which their source is routed.
        try router.command(["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0"])
        try router.command([
            "sh", "-c", "for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done",
        ])
        try router.command(["ip", "route", "add", "default", "dev", device.name, "table", "\(LinkShaper.table)"])
        try router.command(["ip", "rule", "add", "not", "iif", device.name, "lookup", "\(LinkShaper.table)"])
    }

    func start() throws {
        let confined = confined
        try confined.loop.register(confined.device.descriptor) { [unowned self] in readPackets() }
        confined.loop.onDeadline = { [unowned self] in deliver() }
        confined.loop.beforeWaiting = { confined.loop.setDeadline(confined.underWay.nextArrival) }
        state.withLock { $0.isRunning = true }
        Thread.detachNewThread { [self] in
            do { try self.confined.loop.run() } catch { state.withLock { $0.failure = "\(error)" } }
            state.withLock { $0.isRunning = false }
        }
    }

    /// From any thread: the links are from now on like this.
    func set(_ links: [PlannedLink]) {
        confined.loop.mailbox.post { [confined] in confined.lines.set(links, now: LinuxClock.now().monotonic) }
    }

    /// Ends the thread and waits for it. What is under way is lost. Returns what went wrong.
    func stop() -> [String] {
        confined.loop.mailbox.post { [confined] in confined.loop.stop() }
        while state.withLock({ $0.isRunning }) { pause(.milliseconds(1)) }
        var troubles: [String] = []
        if let failure = state.withLock({ $0.failure }) { troubles.append("the links failed: \(failure)") }
        if confined.overLimit > 0 {
            troubles.append(
                "\(confined.overLimit) packets were dropped because \(PacketsUnderWay.limit) were under way already")
        }
        return troubles
    }

    /// What the links have done; once they have stopped.
    var counters: ShapedLines.Counters { confined.lines.counters }

    // MARK: On the shaper's thread

    private func readPackets() {
        // Bounded, so that what is due is not kept waiting.
        for _ in 0..<256 {
            let now = LinuxClock.now().monotonic
            do throws(SystemError) {
                guard try confined.device.read(into: &confined.buffer) else { break }
            } catch {
                state.withLock { $0.failure = "\(error)" }
                return confined.loop.stop()
            }
            take(now)
        }
        deliver()
    }

    private func take(_ now: Instant) {
        let packet = UnsafeRawBufferPointer(confined.buffer.bytes)
        // The kernel's own chatter on the device, such as router solicitations, is nobody's.
        guard packet.count >= 20, packet[0] >> 4 == 4 else { return }
        let source = IPAddress(v4: packet.load32(at: 12))
        guard let from = place(of: source), let to = place(of: IPAddress(v4: packet.load32(at: 16))) else { return }
        let passage = confined.lines.pass(from: from, to: to, sender: source, bytes: packet.count, now: now)
        for arrival in [passage.arrival, passage.duplicate] {
            guard let arrival else { continue }
            if !confined.underWay.insert(Array(packet), at: arrival) { confined.overLimit += 1 }
        }
    }

    private func place(of address: IPAddress) -> Int? {
        let index = Int(address.low >> 16 & 0xFF) - 1
        return address.low >> 24 == 10 && (0..<places).contains(index) ? index : nil
    }

    private func deliver() {
        let now = LinuxClock.now().monotonic
        while let packet = confined.underWay.take(until: now) {
            guard confined.buffer.assign(packet) else { continue }
            // A full queue of the router is a lost packet, as on any line.
            _ = try? confined.device.write(confined.buffer)
        }
    }
}
