internal import CFabricLinux
public import FabricCore
internal import Glibc

/// A non-blocking UDP socket that moves datagrams in batches.
///
/// Bound to an IPv4 address it carries IPv4; bound to `::` both families (IPv4 addresses appear as such, never mapped);
/// bound to any other IPv6 address IPv6 alone. What the network refuses is counted and lost, as datagrams may be.
public final class UDPSocket {
    /// What the kernel is asked to queue per direction, in bytes; unprivileged sockets get less.
    public static let kernelBufferBytes: Int32 = 4 << 20

    public struct ReceiveCounters: Hashable, Sendable {
        public var datagrams: UInt64 = 0
        public var calls: UInt64 = 0
        /// Calls that found nothing.
        public var wouldBlock: UInt64 = 0
        /// Datagrams larger than the buffer; their entries are left empty.
        public var truncated: UInt64 = 0
        /// Calls that failed for a passing reason (memory, an ICMP error).
        public var errors: UInt64 = 0
    }

    public struct SendCounters: Hashable, Sendable {
        public var datagrams: UInt64 = 0
        public var calls: UInt64 = 0
        /// Calls that found the kernel's queue full.
        public var wouldBlock: UInt64 = 0
        /// Datagrams that the kernel refused: no route, filtered, too large, wrong family.
        public var errors: UInt64 = 0
        /// The errno of the latest refusal.
        public var lastError: Int32 = 0
    }

    public internal(set) var receiveCounters = ReceiveCounters()
    public internal(set) var sendCounters = SendCounters()
    /// The bound address, with the port that the kernel picked.
    public let localEndpoint: Endpoint
    public let descriptor: Int32
    /// Whether the kernel splits runs of datagrams (UDP_SEGMENT). False also once a device has refused one.
    public internal(set) var canSegment: Bool
    /// Where a run was last refused because the path does not take its datagrams whole; taken by who looks.
    public internal(set) var sizeRefusal: Endpoint?
    /// Runs like it are not tried for a while: each of their datagrams leaves by itself, and is fragmented on its way.
    var fragmented: (endpoint: Endpoint, segmentSize: Int, runsLeft: Int)?
    let family: IPAddress.Family
    // One array per direction, so that a receiving and a sending thread do not meet.
    let incoming: UnsafeMutablePointer<fabric_datagram>
    let outgoing: UnsafeMutablePointer<fabric_datagram>

    public init(bind endpoint: Endpoint) throws(SystemError) {
        var local = fabric_endpoint(endpoint)
        let isWildcard = endpoint.address == IPAddress(v6High: 0, low: 0)
        descriptor = try check(
            fabric_udp_open(&local, isWildcard ? 1 : 0, UDPSocket.kernelBufferBytes), "bind UDP \(endpoint)")
        family = endpoint.address.family
        fabric_udp_local(descriptor, &local)
        localEndpoint = local.endpoint
        canSegment = fabric_udp_can_segment(descriptor) == 0
        incoming = .allocate(capacity: DatagramBatch.maximumCapacity)
        outgoing = .allocate(capacity: DatagramBatch.maximumCapacity)
    }

    deinit {
        close(descriptor)
        incoming.deallocate()
        outgoing.deallocate()
    }

    /// Datagrams that the kernel threw away since the socket was made: its queue was full, or a checksum wrong. 0 where the
    /// kernel does not tell.
    public var kernelDrops: UInt64 { UInt64(max(0, fabric_udp_drops(descriptor))) }

    /// The largest IP packet that the kernel knows to pass on the way to an endpoint: from its routes, and from what routers have
    /// told of datagrams that were too large. Nil when there is no way. Asked in the socket's own network namespace.
    public func pathMTU(to endpoint: Endpoint) -> Int? {
        var (local, remote) = (fabric_endpoint(localEndpoint), fabric_endpoint(endpoint))
        let mtu = fabric_udp_path_mtu(&local, &remote)
        return mtu > 0 ? Int(mtu) : nil
    }

    /// Gives where a run was refused since the last call.
    public func takeSizeRefusal() -> Endpoint? {
        defer { sizeRefusal = nil }
        return sizeRefusal
    }

    /// Fills `batch` with what has arrived and returns the number of entries in use; 0 when there is nothing.
    ///
    /// An entry may be empty (a datagram without payload, or one that did not fit): skip it. Throws only when the
    /// socket itself is unusable.
    @discardableResult
    public func receive(into batch: inout DatagramBatch) throws(SystemError) -> Int {
        batch.count = 0
        for index in 0..<batch.capacity {
            let area = batch[index].writableArea()
            incoming[index].base = area.baseAddress
            incoming[index].length = area.count
        }
        let result = try receiveIncoming(batch.capacity)
        for index in 0..<result {
            let isWhole = incoming[index].endpoint.truncated == 0
            if !isWhole { receiveCounters.truncated += 1 }
            batch[index].count = isWhole ? incoming[index].length : 0
            batch[index].ecn = ECN(trafficClass: incoming[index].ecn)
            batch.setEndpoint(index, incoming[index].endpoint.endpoint)
        }
        receiveCounters.datagrams += UInt64(result)
        batch.count = result
        return result
    }

    /// Fills the first `capacity` places of `incoming`, which name their memory, and returns how many; 0 when there is
    /// nothing, or for an error of one datagram (counted).
    func receiveIncoming(_ capacity: Int) throws(SystemError) -> Int {
        let result = fabric_udp_receive(descriptor, incoming, UInt32(capacity))
        receiveCounters.calls += 1
        if result >= 0 { return Int(result) }
        if result == -EAGAIN {
            receiveCounters.wouldBlock += 1
        } else if UDPSocket.isFatal(-result) {
            throw SystemError("receive from UDP \(localEndpoint)", code: -result)
        } else {
            receiveCounters.errors += 1
        }
        return 0
    }

    /// Sends one datagram, its IP header marked with `ecn`. False when the kernel's queue is full or the datagram was refused (counted).
    @discardableResult
    public func send(
        _ bytes: UnsafeRawBufferPointer, to destination: Endpoint, ecn: ECN = .notECT
    ) throws(SystemError) -> Bool {
        outgoing[0].base = UnsafeMutableRawPointer(mutating: bytes.baseAddress)
        outgoing[0].length = bytes.count
        outgoing[0].segment = 0
        outgoing[0].ecn = ecn.rawValue
        outgoing[0].endpoint = fabric_endpoint(destination)
        while true {
            let result = fabric_udp_send(descriptor, Int32(family.rawValue), outgoing, 1)
            sendCounters.calls += 1
            if result >= 0 {
                sendCounters.datagrams += UInt64(result)
                return result > 0
            } else if result == -EAGAIN {
                sendCounters.wouldBlock += 1
                return false
            } else if UDPSocket.isFatal(-result) {
                throw SystemError("send to \(destination) from UDP \(localEndpoint)", code: -result)
            } else if result != -EINTR {
                sendCounters.errors += 1
                sendCounters.lastError = -result
                return false
            }
        }
    }

    /// Sends the datagram in the buffer, with its mark.
    @discardableResult
    public func send(_ packet: borrowing PacketBuffer, to destination: Endpoint) throws(SystemError) -> Bool {
        try send(UnsafeRawBufferPointer(packet.bytes), to: destination, ecn: packet.ecn)
    }

    /// Not EINVAL: that is what a destination with port 0 gives.
    static func isFatal(_ code: Int32) -> Bool {
        code == EBADF || code == ENOTSOCK || code == EFAULT
    }
}
