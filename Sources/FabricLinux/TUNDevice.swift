internal import CFabricLinux
public import FabricCore
public import Glibc

/// A TUN device: IP packets to and from this host, without any header unless offloads are wanted. It exists as long as this object, and its
/// addresses and routes go with it, so that the host is left as it was found.
///
/// It lives in the network namespace of the thread that makes it; call the configuring functions from a thread there.
public final class TUNDevice {
    public enum WriteResult: Sendable { case written, queueFull, linkDown, refused }

    public struct Counters: Hashable, Sendable {
        public var packetsRead: UInt64 = 0
        public var packetsWritten: UInt64 = 0
        /// Packets that could not be written: the queue was full, the link down, or the kernel refused them (not IP).
        public var writesDropped: UInt64 = 0
    }

    /// What the device leaves to its driver, and takes from it.
    public struct Offloads: OptionSet, Hashable, Sendable {
        public let rawValue: Int32
        public init(rawValue: Int32) { self.rawValue = rawValue }

        /// A virtio header stands before each packet, both ways. The others need it.
        public static let header = Offloads(rawValue: FABRIC_TUN_HEADER)
        /// Packets come with checksums that are to be completed.
        public static let checksum = Offloads(rawValue: FABRIC_TUN_CHECKSUM)
        /// Super-packets of TCP. They need `checksum`.
        public static let tcp = Offloads(rawValue: FABRIC_TUN_TCP)
        /// Super-packets of UDP, since Linux 6.2. They need `tcp`.
        public static let udp = Offloads(rawValue: FABRIC_TUN_UDP)
        public static let all: Offloads = [.header, .checksum, .tcp, .udp]
    }

    /// What a packet with its virtio header, or a super-packet, takes.
    public static let longestRead = 65_535 + 10

    public let name: String
    public let interfaceIndex: Int32
    public let descriptor: Int32
    /// Those that the kernel has of what was wanted.
    public let offloads: Offloads
    public private(set) var counters = Counters()

    /// `pattern` is a name of at most 15 bytes; `%d` in it becomes the first free number.
    public init(pattern: String, offloads wanted: Offloads = []) throws(SystemError) {
        var name = [CChar](repeating: 0, count: Int(FABRIC_INTERFACE_NAME))
        var index: Int32 = 0
        var offloads = wanted.rawValue
        descriptor = try check(fabric_tun_open(pattern, &name, &index, &offloads), "create the TUN device \(pattern)")
        self.offloads = Offloads(rawValue: offloads)
        self.name = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        interfaceIndex = index
        disableAutoconfiguration()
    }

    deinit { close(descriptor) }

    /// The kernel gives the device no IPv6 address by itself. To be said again when IPv6 was off the device, as below an MTU of
    /// `leastIPv6MTU`.
    public func disableAutoconfiguration() {
        // A kernel without IPv6 refuses this, and needs it not.
        _ = fabric_link_disable_autoconfiguration(interfaceIndex)
    }

    /// RFC 8200, section 5. Below it the kernel takes IPv6 off a device, with its addresses.
    public static let leastIPv6MTU = 1280

    /// Packets for this device that the kernel threw away since nobody had read those before them. 0 where it does not tell.
    public var queueDrops: UInt64 { UInt64(max(0, fabric_link_transmit_drops(name))) }

    public func setMTU(_ bytes: Int) throws(SystemError) {
        try check(fabric_link_set_mtu(interfaceIndex, UInt32(clamping: bytes)), "set the MTU of \(name) to \(bytes)")
    }

    /// Packets can be written once the link is up.
    public func setUp(_ up: Bool) throws(SystemError) {
        try check(fabric_link_set_up(interfaceIndex, up ? 1 : 0), "set \(name) \(up ? "up" : "down")")
    }

    /// Adds an address. The kernel adds a route to its network when `prefixLength` is shorter than the address.
    public func addAddress(_ address: IPAddress, prefixLength: Int) throws(SystemError) {
        try changeAddress(1, address, prefixLength, "add \(address)/\(prefixLength) to \(name)")
    }

    public func removeAddress(_ address: IPAddress, prefixLength: Int) throws(SystemError) {
        try changeAddress(0, address, prefixLength, "remove \(address)/\(prefixLength) from \(name)")
    }

    /// Routes `prefix` into the device. The link must be up.
    public func addRoute(_ prefix: IPPrefix) throws(SystemError) {
        try changeRoute(1, prefix, "route \(prefix) to \(name)")
    }

    public func removeRoute(_ prefix: IPPrefix) throws(SystemError) {
        try changeRoute(0, prefix, "remove the route \(prefix) from \(name)")
    }

    /// Reads one packet. False when there is none.
    public func read(into packet: inout PacketBuffer) throws(SystemError) -> Bool {
        packet.reset()
        packet.count = try read(into: packet.writableArea())
        return packet.count > 0
    }

    /// Reads one packet, behind its virtio header when the device has them, and returns the bytes read; 0 when there is
    /// none.
    public func read(into area: UnsafeMutableRawBufferPointer) throws(SystemError) -> Int {
        let count = Glibc.read(descriptor, area.baseAddress, area.count)
        guard count >= 0 else {
            // A link that is down or going up has nothing to say.
            if errno == EAGAIN || errno == EINTR || errno == EIO { return 0 }
            throw SystemError("read from \(name)", code: errno)
        }
        if count > 0 { counters.packetsRead += 1 }
        return count
    }

    /// Gives the host one packet or super-packet, gathered from `pieces` (its virtio header among them when the device has
    /// them). What the device does not take is counted and lost.
    @discardableResult
    public func write(_ pieces: UnsafeBufferPointer<iovec>) throws(SystemError) -> WriteResult {
        let count =
            pieces.count == 1
            ? Glibc.write(descriptor, pieces[0].iov_base, pieces[0].iov_len)
            : writev(descriptor, pieces.baseAddress, Int32(pieces.count))
        return try judge(count)
    }

    /// Gives one packet to the host. What the device does not take is counted and lost.
    @discardableResult
    public func write(_ packet: borrowing PacketBuffer) throws(SystemError) -> WriteResult {
        let bytes = packet.bytes
        return try judge(Glibc.write(descriptor, bytes.baseAddress, bytes.count))
    }

    private func judge(_ count: Int) throws(SystemError) -> WriteResult {
        guard count < 0 else {
            counters.packetsWritten += 1
            return .written
        }
        let code = errno
        counters.writesDropped += 1
        switch code {
        case EAGAIN, ENOBUFS, ENOMEM: return .queueFull
        case EIO: return .linkDown
        case EINVAL: return .refused
        default: throw SystemError("write to \(name)", code: code)
        }
    }

    private func changeAddress(
        _ add: Int32, _ address: IPAddress, _ prefixLength: Int, _ operation: String
    ) throws(SystemError) {
        precondition((0...address.bitWidth).contains(prefixLength))
        try check(
            fabric_address_change(
                add, interfaceIndex, Int32(address.family.rawValue), address.bytes, Int32(prefixLength)), operation)
    }

    private func changeRoute(_ add: Int32, _ prefix: IPPrefix, _ operation: String) throws(SystemError) {
        try check(
            fabric_route_change(
                add, interfaceIndex, Int32(prefix.address.family.rawValue), prefix.address.bytes, Int32(prefix.length)),
            operation)
    }
}
