internal import CFabricLinux
public import FabricCore
internal import Glibc

/// Hears from the kernel that interfaces, addresses or routes have changed in the network namespace of the thread that makes
/// it. It says which interfaces; `TUNDevice.state` then tells how one is, so that what was missed or came in another order
/// changes nothing.
public final class InterfaceWatch {
    /// Datagrams that are read in one turn; what is left is reported again.
    public static let datagramsPerTurn = 64
    static let datagramBytes = 65_536

    /// Interfaces of which something has changed.
    public struct Changes: Hashable, Sendable {
        /// Ascending.
        public var indexes: [Int32] = []
        /// Something was lost: it may have been any.
        public var isAny = false

        public func concern(_ index: Int32) -> Bool { isAny || indexes.contains(index) }
    }

    public let descriptor: Int32
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: InterfaceWatch.datagramBytes, alignment: 16)

    public init() throws(SystemError) {
        descriptor = try check(fabric_route_watch(), "listen to changes of network interfaces")
    }

    deinit {
        close(descriptor)
        buffer.deallocate()
    }

    /// What has changed since the last call.
    public func changes() throws(SystemError) -> Changes {
        var changes = Changes()
        for _ in 0..<InterfaceWatch.datagramsPerTurn {
            let count = fabric_route_receive(descriptor, buffer.baseAddress, buffer.count)
            if count == -Int64(EAGAIN) { break }
            if count == -Int64(ENOBUFS) || count == -Int64(EMSGSIZE) {
                changes.isAny = true
                continue
            }
            if count < 0 {
                throw SystemError("listen to changes of network interfaces", code: Int32(clamping: -count))
            }
            InterfaceWatch.take(UnsafeRawBufferPointer(rebasing: buffer[..<Int(count)]), &changes)
        }
        changes.indexes = Set(changes.indexes).sorted()
        return changes
    }

    static func take(_ datagram: UnsafeRawBufferPointer, _ changes: inout Changes) {
        do throws(RouteMessageError) {
            for message in try RouteMessage.parse(datagram) {
                if let index = message.index { changes.indexes.append(index) }
                if message == .overrun { changes.isAny = true }
            }
        } catch {
            changes.isAny = true
        }
    }
}

extension TUNDevice {
    /// Answers of the kernel to one question; more are a fault.
    static let longestDump = 1 << 16

    /// How the device is now; nil when it is not in this namespace any more.
    public func state() throws(SystemError) -> InterfaceState? {
        var state: InterfaceState?
        let link = try ask(Int32(FABRIC_ROUTE_LINK)) { message in
            if case .link(interfaceIndex, let isUp, let mtu) = message {
                state = InterfaceState(isUp: isUp, mtu: mtu ?? 0, addresses: [], routes: [])
            }
        }
        guard link else { return nil }
        var addresses: Set<InterfaceAddress> = []
        var routes: Set<IPPrefix> = []
        for question in [FABRIC_ROUTE_ADDRESSES, FABRIC_ROUTE_ROUTES_V4, FABRIC_ROUTE_ROUTES_V6] {
            let isThere = try ask(Int32(question)) { message in
                switch message {
                case .address(interfaceIndex, let address, isGone: false): addresses.insert(address)
                case .route(interfaceIndex, let route, isGone: false): routes.insert(route)
                default: break
                }
            }
            guard isThere else { return nil }
        }
        state?.addresses = addresses.sorted()
        state?.routes = routes.sorted()
        return state
    }

    /// What to say when there is no `state`.
    public var absence: SystemError { SystemError("look at the state of \(name)", code: ENODEV) }

    /// False when there is no such device. Addresses and routes may be those of other devices too, from older kernels.
    private func ask(_ question: Int32, _ body: (RouteMessage) -> Void) throws(SystemError) -> Bool {
        let operation = "look at the state of \(name)"
        let socket = OwnedDescriptor(try check(fabric_route_ask(question, interfaceIndex), operation))
        let buffer = UnsafeMutableRawBufferPointer.allocate(
            byteCount: InterfaceWatch.datagramBytes, alignment: 16)
        defer { buffer.deallocate() }
        for _ in 0..<TUNDevice.longestDump {
            let count = fabric_route_receive(socket.raw, buffer.baseAddress, buffer.count)
            if count < 0 { throw SystemError(operation, code: Int32(clamping: -count)) }
            let messages: [RouteMessage]
            do throws(RouteMessageError) {
                messages = try RouteMessage.parse(UnsafeRawBufferPointer(rebasing: buffer[..<Int(count)]))
            } catch {
                throw SystemError("\(operation): \(error)", code: EPROTO)
            }
            for message in messages {
                switch message {
                case .done: return true
                case .error(0): return true
                case .error(ENODEV): return false
                case .error(let code): throw SystemError(operation, code: code)
                default: body(message)
                }
            }
            // One link is one message without an end.
            if question == FABRIC_ROUTE_LINK { return true }
        }
        throw SystemError(operation, code: EPROTO)
    }
}
