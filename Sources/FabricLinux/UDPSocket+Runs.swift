internal import CFabricLinux
public import FabricCore
public import FabricPacket
internal import Glibc

/// Where runs of datagrams are received: slots of 64 KiB, allocated once. A page of one is touched only when data comes
/// that far.
public struct ReceiveSlots: ~Copyable {
    /// Datagrams of one size but the last, one behind the other, from one sender and with one mark: the kernel joins no others.
    public struct Run {
        public var start: UnsafeMutableRawPointer
        public var length: Int
        /// Of each datagram but the last.
        public var segmentSize: Int
        public var endpoint: Endpoint
        public var ecn: ECN
    }

    public static let slotBytes = 65_536

    public let capacity: Int
    public internal(set) var count = 0
    let memory: UnsafeMutableRawPointer
    let runs: UnsafeMutablePointer<Run>

    public init(capacity: Int) {
        precondition((1...DatagramBatch.maximumCapacity).contains(capacity))
        self.capacity = capacity
        memory = .allocate(byteCount: capacity * ReceiveSlots.slotBytes, alignment: 4096)
        runs = .allocate(capacity: capacity)
    }

    deinit {
        memory.deallocate()
        runs.deallocate()
    }

    public subscript(index: Int) -> Run {
        precondition(index >= 0 && index < count)
        return runs[index]
    }
}

extension UDPSocket {
    /// From now on `receive(into: &slots)` may give several datagrams as one run (UDP_GRO), and `receive(into: &batch)` must
    /// not be used. False where the kernel can't; then runs are of one datagram.
    public func joinReceived() -> Bool { fabric_udp_join_received(descriptor) == 0 }

    /// Fills `slots` with what has arrived and returns the number of runs; 0 when there is nothing. A datagram without payload
    /// is a run without bytes; those that did not fit are left out (counted). Throws only when the socket itself is unusable.
    @discardableResult
    public func receive(into slots: inout ReceiveSlots) throws(SystemError) -> Int {
        slots.count = 0
        for index in 0..<slots.capacity {
            incoming[index].base = slots.memory + index * ReceiveSlots.slotBytes
            incoming[index].length = ReceiveSlots.slotBytes
        }
        let result = try receiveIncoming(slots.capacity)
        var kept = 0
        for index in 0..<result {
            let one = incoming + index
            guard one.pointee.endpoint.truncated == 0 else {
                receiveCounters.truncated += 1
                continue
            }
            let segment = Int(one.pointee.segment)
            (slots.runs + kept).initialize(
                to: ReceiveSlots.Run(
                    start: one.pointee.base, length: one.pointee.length,
                    segmentSize: segment > 0 ? min(segment, one.pointee.length) : one.pointee.length,
                    endpoint: one.pointee.endpoint.endpoint, ecn: ECN(trafficClass: one.pointee.ecn)))
            receiveCounters.datagrams += UInt64(segment > 0 ? (one.pointee.length + segment - 1) / segment : 1)
            kept += 1
        }
        slots.count = kept
        return result
    }

    /// Sends runs, each in one call to the kernel's stack. Returns how many datagrams were not taken: its queue was full, or
    /// the network refused them (both counted).
    @discardableResult
    public func send(_ runs: borrowing DatagramRuns) throws(SystemError) -> Int {
        var next = 0
        var lost = 0
        while next < runs.count {
            guard canSegment, !isFragmented(runs[next]) else {
                lost += try sendSingly(runs[next])
                next += 1
                continue
            }
            var batch = 0
            while batch < min(runs.count - next, DatagramBatch.maximumCapacity) {
                let index = batch
                let run = runs[next + index]
                if index > 0, isAsLargeAsRefused(run) { break }
                batch += 1
                outgoing[index].base = run.start
                outgoing[index].length = run.length
                outgoing[index].segment = run.count > 1 ? UInt32(run.segmentSize) : 0
                outgoing[index].ecn = run.ecn.rawValue
                outgoing[index].endpoint = fabric_endpoint(run.endpoint)
            }
            let result = fabric_udp_send(descriptor, Int32(family.rawValue), outgoing, UInt32(batch))
            sendCounters.calls += 1
            if result >= 0 {
                for index in 0..<Int(result) { sendCounters.datagrams += UInt64(runs[next + index].count) }
                next += Int(result)
            } else if result == -EAGAIN {
                sendCounters.wouldBlock += 1
                for index in next..<runs.count { lost += runs[index].count }
                return lost
            } else if result != -EINTR {
                // The refusal concerns the first run. EIO: the device can't complete checksums, so no run will do. Others may
                // be too large for the path, where single datagrams are fragmented.
                if result == -EIO { canSegment = false }
                if result == -EMSGSIZE || result == -EINVAL, runs[next].count > 1 { noteRefusal(of: runs[next]) }
                if UDPSocket.isFatal(-result) {
                    throw SystemError("send from UDP \(localEndpoint)", code: -result)
                }
                lost += try sendSingly(runs[next])
                next += 1
            }
        }
        return lost
    }

    /// Runs are tried anew after so many: paths change.
    static let fragmentedRuns = 1024

    private func noteRefusal(of run: DatagramRuns.Run) {
        sizeRefusal = run.endpoint
        fragmented = (run.endpoint, run.segmentSize, UDPSocket.fragmentedRuns)
    }

    /// Whether a run's datagrams are as large as those that the kernel refused in one call.
    private func isAsLargeAsRefused(_ run: DatagramRuns.Run) -> Bool {
        guard let known = fragmented else { return false }
        return known.endpoint == run.endpoint && run.count > 1 && run.segmentSize >= known.segmentSize
    }

    /// The same; counts down to the next attempt.
    private func isFragmented(_ run: DatagramRuns.Run) -> Bool {
        guard let known = fragmented, isAsLargeAsRefused(run) else { return false }
        fragmented = known.runsLeft > 1 ? (known.endpoint, known.segmentSize, known.runsLeft - 1) : nil
        return true
    }

    private func sendSingly(_ run: DatagramRuns.Run) throws(SystemError) -> Int {
        var lost = 0
        var offset = 0
        while offset < run.length {
            let length = min(run.segmentSize, run.length - offset)
            let bytes = UnsafeRawBufferPointer(start: run.start + offset, count: length)
            let isSent = try send(bytes, to: run.endpoint, ecn: run.ecn)
            if !isSent { lost += 1 }
            offset += length
        }
        return lost
    }
}
