internal import FabricCore
internal import FabricLinux
internal import FabricNode
internal import FabricPacket
internal import Glibc

/// Moves packets between a socket, the interfaces and the agent, in memory allocated once.
///
/// Out: a packet or super-packet is read to the landing place. Its segments are written one behind the other, each with room
/// for its header, and sealed there; datagrams that follow one another leave as runs. In: the datagrams of a run are opened in
/// place, and what belongs together is written to the interface as a super-packet. Offloads that the kernel lacks fall back
/// to one packet per call; the agent sees single packets in either case.
///
/// ```
/// outgoing: | … datagram | datagram | header (16) | packet | padding, tag | …
/// a slot:   | header (16) | packet | tag | header | packet | tag | …
///                   ^ 10 bytes of it take the virtio header of a packet to be written
/// ```
final class PacketDriver {
    /// Room before a packet that its transport header takes.
    static let headerRoom = 16
    /// What padding and tag take at most.
    static let tailRoom = 31
    /// Datagrams that wait are sent when another would not fit.
    static let outgoingBytes = 2 * 65_536
    static let outgoingRuns = 64
    static let receiveSlots = 16
    /// Turns are bounded, so that timers and the other direction get theirs: reads and their bytes, receives.
    static let readsPerTurn = 256
    static let bytesPerTurn = 1 << 20
    static let receivesPerTurn = 16
    /// One in so many batches is timed: a look at the clock costs as much as the rest of a small packet's way here.
    static let batchesPerSample: UInt64 = 64

    private let agent: NodeAgent
    private let socket: UDPSocket
    private(set) var counters = OffloadCounters()
    private(set) var interfaces: [AgentInterface] = []
    /// The interface that the last packet went to: most follow it.
    private var lastInterface: AgentInterface?
    private var slots: ReceiveSlots
    private var runs: DatagramRuns
    private let landing: UnsafeMutableRawPointer
    private let outgoing: UnsafeMutableRawPointer
    private var cursor = 0
    /// Of packets from interfaces: from the read of the first in a batch until the kernel has them all. And of datagrams: from
    /// when they were received until their packets are written.
    private(set) var outwardLatency = LatencyHistogram()
    private(set) var inwardLatency = LatencyHistogram()
    private var batchesOut: UInt64 = 0
    private var batchesIn: UInt64 = 0
    private var firstReadAt = Instant.zero
    private var scratch = PacketBuffer(packetCapacity: NodeConfiguration.interfaceMTUs.upperBound)
    /// Told of what makes the socket unusable.
    private let report: (any Error) -> Void
    /// Told of an interface whose device has failed for good: it was deleted. The driver has let go of it.
    var onLoss: ((AgentInterface, SystemError) -> Void)?

    init(agent: NodeAgent, socket: UDPSocket, offloads: Bool, report: @escaping (any Error) -> Void) {
        self.agent = agent
        self.socket = socket
        self.report = report
        counters.receivesRuns = offloads && socket.joinReceived()
        counters.sendsRuns = offloads && socket.canSegment
        slots = ReceiveSlots(capacity: Self.receiveSlots)
        runs = DatagramRuns(capacity: Self.outgoingRuns, joins: counters.sendsRuns)
        landing = .allocate(byteCount: TUNDevice.longestRead, alignment: 4096)
        outgoing = .allocate(byteCount: Self.outgoingBytes, alignment: 4096)
    }

    deinit {
        landing.deallocate()
        outgoing.deallocate()
    }

    func add(_ interface: AgentInterface) { interfaces.append(interface) }

    /// Lets go of an interface whose device is of no use any more.
    func lose(_ interface: AgentInterface, _ error: SystemError) {
        guard interfaces.contains(where: { $0 === interface }) else { return }
        interface.forgetDeliveries()
        interfaces.removeAll { $0 === interface }
        lastInterface = nil
        onLoss?(interface, error)
    }

    /// What the kernel does, by the names that operators see.
    var offloads: [String] {
        var names: [String] = []
        if counters.sendsRuns, socket.canSegment { names.append("udp-segment") }
        if counters.receivesRuns { names.append("udp-gro") }
        for (offload, name) in [
            (TUNDevice.Offloads.checksum, "tun-checksum"), (.tcp, "tun-tcp"), (.udp, "tun-udp"),
        ] where interfaces.contains(where: { $0.device.offloads.contains(offload) }) {
            names.append(name)
        }
        return names
    }

    /// What went no further between the socket and the interfaces, by reasons that occurred; the agent's are not among them.
    var drops: [(reason: String, count: UInt64)] {
        let socketDrops = [
            ("receive_truncated", socket.receiveCounters.truncated), ("receive_queue_full", socket.kernelDrops),
            ("receive_error", socket.receiveCounters.errors),
            ("interface_queue_full", interfaces.reduce(0) { $0 + $1.device.queueDrops }),
        ]
        return counters.drops + socketDrops.filter { $0.1 > 0 }
    }

    // MARK: From an interface

    /// Takes what the interface has.
    func readable(_ interface: AgentInterface) {
        do throws(SystemError) {
            var bytes = 0
            var reads = 0
            while reads < Self.readsPerTurn, bytes < Self.bytesPerTurn {
                let count = try read(interface)
                guard count > 0 else { break }
                bytes += count
                reads += 1
            }
            try flush()
        } catch {
            cursor = 0
            runs.removeAll()
            report(error)
        }
    }

    /// Reads one packet or super-packet and makes datagrams of it. Returns its length, 0 when there is none.
    private func read(_ interface: AgentInterface) throws(SystemError) -> Int {
        let room = interface.headerLength
        let area = UnsafeMutableRawBufferPointer(start: landing, count: TUNDevice.longestRead)
        let count: Int
        do throws(SystemError) { count = try interface.device.read(into: area) - room } catch {
            lose(interface, error)
            return 0
        }
        guard count > 0 else { return 0 }
        let now = LinuxClock.now()
        let packet = UnsafeMutableRawBufferPointer(start: landing + room, count: count)
        let header = room > 0 ? VirtioHeader(landing) : VirtioHeader()
        guard header.segmentation == VirtioHeader.Segmentation.none else {
            try split(header, packet, interface, now)
            return count
        }
        do throws(SuperPacket.Refusal) { try SuperPacket.complete(header, packet) } catch {
            counters.refused(error)
            return count
        }
        try makeRoom(count)
        (outgoing + cursor + Self.headerRoom).copyMemory(from: packet.baseAddress!, byteCount: count)
        seal(count, interface, now)
        return count
    }

    private func split(
        _ header: VirtioHeader, _ packet: UnsafeMutableRawBufferPointer, _ interface: AgentInterface, _ now: Now
    ) throws(SystemError) {
        let parts: SuperPacket
        do throws(SuperPacket.Refusal) { parts = try SuperPacket(header, UnsafeRawBufferPointer(packet)) } catch {
            return counters.refused(error)
        }
        counters.superPacketsRead += 1
        for index in 0..<parts.segmentCount {
            try makeRoom(parts.length(of: index))
            seal(parts.write(index, to: outgoing + cursor + Self.headerRoom), interface, now)
        }
    }

    /// Sends what waits when a packet of `count` bytes would not fit behind it.
    @inline(__always)
    private func makeRoom(_ count: Int) throws(SystemError) {
        if cursor + Self.headerRoom + count + Self.tailRoom > Self.outgoingBytes || runs.isFull { try flush() }
    }

    /// Makes the packet of `count` bytes at the cursor a datagram, if the agent has somewhere to send it.
    @inline(__always)
    private func seal(_ count: Int, _ interface: AgentInterface, _ now: Now) {
        var packet = PacketBuffer(
            viewing: outgoing + cursor, capacity: Self.headerRoom + count + Self.tailRoom, start: Self.headerRoom,
            count: count)
        switch agent.send(&packet, domain: interface.domain, now: now) {
        case .transmit(let endpoint):
            if runs.count == 0 { firstReadAt = now.monotonic }
            runs.append(packet.bytes.baseAddress!, length: packet.count, to: endpoint, ecn: packet.ecn)
            cursor += packet.start + packet.count
        case .deliver: giveBack(packet, to: interface)
        case .done: break
        }
    }

    /// What the agent has to say about a packet goes to the interface that it came from. Its memory is free again then.
    private func giveBack(_ packet: borrowing PacketBuffer, to interface: AgentInterface) {
        do throws(SystemError) {
            try interface.deliver(packet, &counters)
            try interface.writeOut(&counters)
        } catch {
            lose(interface, error)
        }
    }

    private func flush() throws(SystemError) {
        guard runs.count > 0 else { return }
        // Whatever comes of it, the memory is free again.
        defer {
            runs.removeAll()
            cursor = 0
        }
        counters.sendsLost += UInt64(try socket.send(runs))
        batchesOut &+= 1
        if batchesOut % Self.batchesPerSample == 1 { outwardLatency.add(LinuxClock.now().monotonic - firstReadAt) }
        if let endpoint = socket.takeSizeRefusal() { agent.datagramsTooLarge(for: endpoint, now: LinuxClock.now()) }
    }

    // MARK: From the socket

    func receive() {
        do throws(SystemError) {
            for _ in 0..<Self.receivesPerTurn {
                let received = try socket.receive(into: &slots)
                guard received > 0 else { break }
                let now = LinuxClock.now()
                for index in 0..<slots.count { take(slots[index], now) }
                // By index, and counted anew: one that is lost is taken out.
                var place = 0
                while place < interfaces.count {
                    let interface = interfaces[place]
                    do throws(SystemError) {
                        try interface.writeOut(&counters)
                        place += 1
                    } catch {
                        lose(interface, error)
                    }
                }
                batchesIn &+= 1
                if batchesIn % Self.batchesPerSample == 1 {
                    inwardLatency.add(LinuxClock.now().monotonic - now.monotonic)
                }
                if received < slots.capacity { break }
            }
        } catch {
            for interface in interfaces { interface.forgetDeliveries() }
            report(error)
        }
    }

    private func take(_ run: ReceiveSlots.Run, _ now: Now) {
        var offset = 0
        // Once for an empty datagram too: the agent counts it.
        repeat {
            let length = min(run.segmentSize, run.length - offset)
            var datagram = PacketBuffer(viewing: run.start + offset, capacity: length, start: 0, count: length)
            datagram.ecn = run.ecn
            switch agent.receive(&datagram, from: run.endpoint, now: now) {
            case .deliver(let domain): deliver(datagram, domain)
            case .transmit(let endpoint): transmit(datagram, to: endpoint)
            case .done: break
            }
            offset += length
        } while offset < run.length
    }

    @inline(__always)
    private func deliver(_ packet: borrowing PacketBuffer, _ domain: RoutingDomainID) {
        if lastInterface?.domain != domain { lastInterface = interfaces.first { $0.domain == domain } }
        guard let interface = lastInterface else {
            counters.withoutInterface += 1
            return
        }
        do throws(SystemError) { try interface.deliver(packet, &counters) } catch { lose(interface, error) }
    }

    // MARK: The agent's own

    /// Sends what the agent wants sent on its own account.
    func drainTransmits(_ now: Now) {
        while let endpoint = agent.nextTransmit(into: &scratch, now: now) { transmit(scratch, to: endpoint) }
    }

    private func transmit(_ packet: borrowing PacketBuffer, to endpoint: Endpoint) {
        do throws(SystemError) {
            let isSent = try socket.send(packet, to: endpoint)
            if !isSent { counters.sendsLost += 1 }
        } catch {
            report(error)
        }
    }
}

/// What the offloads did, and what they lost.
struct OffloadCounters {
    /// The kernel splits runs that are sent (UDP_SEGMENT), and joins those that are received (UDP_GRO).
    var sendsRuns = false
    var receivesRuns = false
    var superPacketsRead: UInt64 = 0
    var superPacketsWritten: UInt64 = 0
    /// Datagrams that the kernel's queue or the network refused.
    var sendsLost: UInt64 = 0
    /// Packets for a domain that has no interface at the moment.
    var withoutInterface: UInt64 = 0
    /// Writes that the interface refused: it is down, or its queue full.
    var writesLost: UInt64 = 0
    private var refusals = InlineArray<5, UInt64>(repeating: 0)

    mutating func refused(_ reason: SuperPacket.Refusal) { refusals[Int(reason.rawValue)] += 1 }

    /// The reasons that occurred, by name. Those of the socket and of the agent are not among them.
    var drops: [(reason: String, count: UInt64)] {
        let all =
            SuperPacket.Refusal.allCases.map { ($0.description, refusals[Int($0.rawValue)]) }
            + [("send_lost", sendsLost), ("write_lost", writesLost), ("no_interface", withoutInterface)]
        return all.filter { $0.1 > 0 }
    }
}
