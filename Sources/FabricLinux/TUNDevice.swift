internal import CFabricLinux
public import FabricCore
internal import Glibc

/// A TUN device: IP packets to and from this host, without any header. It exists as long as this object, and its
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

    public let name: String
    public let interfaceIndex: Int32
    public let descriptor: Int32
    public private(set) var counters = Counters()

    /// `pattern` is a name of at most 15 bytes; `%d` in it becomes the first free number.
    public init(pattern: String) throws(SystemError) {
        var name = [CChar](repeating: 0, count: Int(FABRIC_INTERFACE_NAME))
        var index: Int32 = 0
        descriptor = try check(fabric_tun_open(pattern, &name, &index), "create the TUN device \(pattern)")
        self.name = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        interfaceIndex = index
        // A kernel without IPv6 refuses this, and needs it not.
        _ = fabric_link_disable_autoconfiguration(index)
    }

    deinit { close(descriptor) }

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
        let area = packet.writableArea()
        let count = Glibc.read(descriptor, area.baseAddress, area.count)
        guard count >= 0 else {
            // A link that is down or going up has nothing to say.
            if errno == EAGAIN || errno == EINTR || errno == EIO { return false }
            throw SystemError("read from \(name)", code: errno)
        }
        packet.count = count
        counters.packetsRead += 1
        return count > 0
    }

    /// Gives one packet to the host. What the device does not take is counted and lost.
    @discardableResult
    public func write(_ packet: borrowing PacketBuffer) throws(SystemError) -> WriteResult {
        let bytes = packet.bytes
        let count = Glibc.write(descriptor, bytes.baseAddress, bytes.count)
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
