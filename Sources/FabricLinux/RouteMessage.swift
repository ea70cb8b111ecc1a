public import FabricCore

/// A message of the kernel's rtnetlink, as far as it tells of interfaces, their addresses and their routes.
///
/// ```
/// nlmsghdr   length 4 (with this header) | type 2 | flags 2 | sequence 4 | port 4
///   error    errno 4, negative; 0 acknowledges
///   done     errno 4, negative; 0 when the dump is whole. Older kernels may leave it away.
///   link     family 1 | 0 1 | device type 2 | index 4 | flags 4 | change 4      then attributes
///   address  family 1 | prefix length 1 | flags 1 | scope 1 | index 4           then attributes
///   route    family 1 | destination length 1 | source length 1 | tos 1 | table 1 | protocol 1 | scope 1 | type 1 | flags 4
///                                                                               then attributes
/// rtattr     length 2 (with this header) | type 2 | value
/// ```
/// Messages and attributes begin at multiples of four bytes. Numbers are the host's own, addresses in network order. Source:
/// rtnetlink(7), netlink(7), `<linux/rtnetlink.h>`.
public enum RouteMessage: Hashable, Sendable {
    case link(index: Int32, isUp: Bool, mtu: Int?)
    case linkGone(index: Int32)
    case address(index: Int32, InterfaceAddress, isGone: Bool)
    /// A plain route of the main table to one interface.
    case route(index: Int32, IPPrefix, isGone: Bool)
    /// A route of the main table, of any kind, has taken another's place. The end of that one, which may have been any
    /// interface's, is not told.
    case replaced
    /// A dump has ended.
    case done
    /// A part of a dump that does not hold together: something changed meanwhile. It is to be asked for again.
    case interrupted
    /// A request failed with this errno, or, when it is 0, was carried out.
    case error(Int32)
    /// Messages were lost.
    case overrun
    /// Of no interest here.
    case other

    /// Which interface it is about.
    public var index: Int32? {
        switch self {
        case .link(let index, _, _), .linkGone(let index), .address(let index, _, _), .route(let index, _, _): index
        case .replaced, .done, .interrupted, .error, .overrun, .other: nil
        }
    }
}

/// Bytes that are no netlink messages.
public struct RouteMessageError: Error, Hashable, Sendable, CustomStringConvertible {
    public var description: String
}

extension RouteMessage {
    // <linux/netlink.h> and <linux/rtnetlink.h>.
    private enum Kind {
        static let noOperation: UInt16 = 1
        static let error: UInt16 = 2
        static let done: UInt16 = 3
        static let overrun: UInt16 = 4
        static let newLink: UInt16 = 16
        static let deleteLink: UInt16 = 17
        static let newAddress: UInt16 = 20
        static let deleteAddress: UInt16 = 21
        static let newRoute: UInt16 = 24
        static let deleteRoute: UInt16 = 25
    }
    private enum Flag {
        /// NLM_F_DUMP_INTR
        static let interrupted: UInt16 = 0x10
        /// NLM_F_REPLACE, of a new route.
        static let replace: UInt16 = 0x100
    }
    private enum Attribute {
        static let linkMTU: UInt16 = 4
        static let address: UInt16 = 1
        static let localAddress: UInt16 = 2
        static let routeDestination: UInt16 = 1
        static let routeInterface: UInt16 = 4
        static let routeTable: UInt16 = 15
        /// Two flags stand above the type.
        static let typeMask: UInt16 = 0x3FFF
    }
    private static let linkIsUp: UInt32 = 1
    private static let unicastRoute: UInt8 = 1
    private static let mainTable: UInt32 = 254
    private static let clonedRoute: UInt32 = 0x200
    private static let v4: UInt8 = 2
    private static let v6: UInt8 = 10

    /// The messages of one datagram.
    public static func parse(_ bytes: UnsafeRawBufferPointer) throws(RouteMessageError) -> [RouteMessage] {
        var messages: [RouteMessage] = []
        var offset = 0
        while offset < bytes.count {
            guard bytes.count - offset >= 16 else { throw RouteMessageError(description: "a header is cut off") }
            let length = Int(bytes.own32(offset))
            guard length >= 16, length <= bytes.count - offset else {
                throw RouteMessageError(description: "a message of \(length) bytes in \(bytes.count - offset)")
            }
            let body = UnsafeRawBufferPointer(rebasing: bytes[(offset + 16)..<(offset + length)])
            messages.append(try one(bytes.own16(offset + 4), flags: bytes.own16(offset + 6), body))
            offset += (length + 3) & ~3
        }
        return messages
    }

    private static func one(
        _ kind: UInt16, flags: UInt16, _ body: UnsafeRawBufferPointer
    ) throws(RouteMessageError) -> RouteMessage {
        if flags & Flag.interrupted != 0 { return .interrupted }
        switch kind {
        case Kind.error:
            try need(4, body)
            return .error(Int32(clamping: -Int64(Int32(bitPattern: body.own32(0)))))
        case Kind.done:
            let code = body.count >= 4 ? Int32(bitPattern: body.own32(0)) : 0
            return code == 0 ? .done : .error(Int32(clamping: -Int64(code)))
        case Kind.overrun: return .overrun
        case Kind.newLink, Kind.deleteLink:
            try need(16, body)
            let index = Int32(bitPattern: body.own32(4))
            // Of a bridge's port, a link is deleted for the bridge alone.
            if kind == Kind.deleteLink { return body[0] == 0 ? .linkGone(index: index) : .other }
            let mtu = try attribute(Attribute.linkMTU, body, from: 16).flatMap {
                $0.count == 4 ? Int($0.own32(0)) : nil
            }
            return .link(index: index, isUp: body.own32(8) & linkIsUp != 0, mtu: mtu)
        case Kind.newAddress, Kind.deleteAddress:
            try need(8, body)
            // On a point-to-point link the first is the other end's.
            let local = try attribute(Attribute.localAddress, body, from: 8)
            let other = try attribute(Attribute.address, body, from: 8)
            guard let value = local ?? other, let address = address(value, family: body[0]),
                let whole = InterfaceAddress(address, length: Int(body[1]))
            else { return .other }
            return .address(
                index: Int32(bitPattern: body.own32(4)), whole, isGone: kind == Kind.deleteAddress)
        case Kind.newRoute: return try route(body, replaces: flags & Flag.replace != 0, isGone: false)
        case Kind.deleteRoute: return try route(body, replaces: false, isGone: true)
        default: return .other
        }
    }

    private static func route(
        _ body: UnsafeRawBufferPointer, replaces: Bool, isGone: Bool
    ) throws(RouteMessageError) -> RouteMessage {
        try need(12, body)
        let table = try attribute(Attribute.routeTable, body, from: 12)
        let tableNumber = table.flatMap { $0.count == 4 ? $0.own32(0) : nil } ?? UInt32(body[4])
        if replaces, tableNumber == mainTable { return .replaced }
        guard body[7] == unicastRoute, tableNumber == mainTable, body.own32(8) & clonedRoute == 0,
            let interface = try attribute(Attribute.routeInterface, body, from: 12), interface.count == 4
        else { return .other }
        let zeros = [UInt8](repeating: 0, count: body[0] == v4 ? 4 : 16)
        let destination = try attribute(Attribute.routeDestination, body, from: 12)
        let start = destination.map { address($0, family: body[0]) } ?? IPAddress(bytes: zeros)
        guard body[0] == v4 || body[0] == v6, let start, let prefix = IPPrefix(start, length: Int(body[1])) else {
            return .other
        }
        return .route(index: Int32(bitPattern: interface.own32(0)), prefix, isGone: isGone)
    }

    private static func address(_ value: UnsafeRawBufferPointer, family: UInt8) -> IPAddress? {
        guard family == v4 && value.count == 4 || family == v6 && value.count == 16 else { return nil }
        return IPAddress(bytes: Array(value))
    }

    /// The value of the first attribute of a type; nil when there is none.
    private static func attribute(
        _ type: UInt16, _ body: UnsafeRawBufferPointer, from start: Int
    ) throws(RouteMessageError) -> UnsafeRawBufferPointer? {
        var offset = start
        while offset < body.count {
            guard body.count - offset >= 4 else { throw RouteMessageError(description: "an attribute is cut off") }
            let length = Int(body.own16(offset))
            guard length >= 4, length <= body.count - offset else {
                throw RouteMessageError(description: "an attribute of \(length) bytes in \(body.count - offset)")
            }
            if body.own16(offset + 2) & Attribute.typeMask == type {
                return UnsafeRawBufferPointer(rebasing: body[(offset + 4)..<(offset + length)])
            }
            offset += (length + 3) & ~3
        }
        return nil
    }

    private static func need(_ count: Int, _ body: UnsafeRawBufferPointer) throws(RouteMessageError) {
        guard body.count >= count else {
            throw RouteMessageError(
                description: "a message's body of \(body.count) bytes, where \(count) are the least")
        }
    }
}

extension UnsafeRawBufferPointer {
    /// In the host's own order.
    fileprivate func own16(_ offset: Int) -> UInt16 { loadUnaligned(fromByteOffset: offset, as: UInt16.self) }
    fileprivate func own32(_ offset: Int) -> UInt32 { loadUnaligned(fromByteOffset: offset, as: UInt32.self) }
}
