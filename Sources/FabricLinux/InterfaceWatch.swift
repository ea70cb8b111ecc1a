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
        /// Something was lost, or a route took the place of one that is not told: it may have been any.
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
                switch message {
                case .overrun, .replaced, .interrupted: changes.isAny = true
                default: if let index = message.index { changes.indexes.append(index) }
                }
            }
        } catch {
            changes.isAny = true
        }
    }
}

/// The kernel's answer to one question about an interface, as its datagrams come.
struct RouteAnswer {
    enum Step: Hashable { case more, whole, noDevice, interrupted }

    let index: Int32
    /// Many messages and an end; otherwise one message without.
    let isDump: Bool
    /// Those about the interface: older kernels tell of others too.
    private(set) var messages: [RouteMessage] = []

    init(index: Int32, isDump: Bool) {
        self.index = index
        self.isDump = isDump
    }

    /// Throws what the kernel refuses, and what is no answer, as a failure of `operation`.
    mutating func take(_ datagram: UnsafeRawBufferPointer, _ operation: String) throws(SystemError) -> Step {
        let parsed: [RouteMessage]
        do throws(RouteMessageError) { parsed = try RouteMessage.parse(datagram) } catch {
            throw SystemError("\(operation): \(error)", code: EPROTO)
        }
        for message in parsed {
            switch message {
            case .interrupted: return .interrupted
            case .done, .error(0): return .whole
            case .error(ENODEV): return .noDevice
            case .error(let code): throw SystemError(operation, code: code)
            default: if message.index == index { messages.append(message) }
            }
        }
        return isDump ? .more : .whole
    }
}

extension TUNDevice {
    /// Answers of the kernel to one question; more are a fault.
    static let longestDump = 1 << 16
    /// How often a question is asked whose answer was interrupted by changes.
    static let dumpsPerQuestion = 8

    /// How the device is now; nil when it is not in this namespace any more.
    public func state() throws(SystemError) -> InterfaceState? {
        var state: InterfaceState?
        guard let link = try ask(Int32(FABRIC_ROUTE_LINK)) else { return nil }
        for case .link(_, let isUp, let mtu) in link {
            state = InterfaceState(isUp: isUp, mtu: mtu ?? 0, addresses: [], routes: [])
        }
        var addresses: Set<InterfaceAddress> = []
        var routes: Set<IPPrefix> = []
        for question in [FABRIC_ROUTE_ADDRESSES, FABRIC_ROUTE_ROUTES_V4, FABRIC_ROUTE_ROUTES_V6] {
            guard let answer = try ask(Int32(question)) else { return nil }
            for message in answer {
                switch message {
                case .address(_, let address, isGone: false): addresses.insert(address)
                case .route(_, let route, isGone: false): routes.insert(route)
                default: break
                }
            }
        }
        state?.addresses = addresses.sorted()
        state?.routes = routes.sorted()
        return state
    }

    /// What to say when there is no `state`.
    public var absence: SystemError { SystemError("look at the state of \(name)", code: ENODEV) }

    /// What the kernel tells of the device; nil when there is no such device.
    private func ask(_ question: Int32) throws(SystemError) -> [RouteMessage]? {
        let operation = "look at the state of \(name)"
        for _ in 0..<TUNDevice.dumpsPerQuestion {
            var answer = RouteAnswer(index: interfaceIndex, isDump: question != FABRIC_ROUTE_LINK)
            switch try receive(&answer, to: question, operation) {
            case .whole, .more: return answer.messages
            case .noDevice: return nil
            case .interrupted: continue
            }
        }
        throw SystemError("\(operation): addresses or routes change faster than they are told", code: EAGAIN)
    }

    private func receive(
        _ answer: inout RouteAnswer, to question: Int32, _ operation: String
    ) throws(SystemError) -> RouteAnswer.Step {
        let socket = OwnedDescriptor(try check(fabric_route_ask(question, interfaceIndex), operation))
        let buffer = UnsafeMutableRawBufferPointer.allocate(
            byteCount: InterfaceWatch.datagramBytes, alignment: 16)
        defer { buffer.deallocate() }
        for _ in 0..<TUNDevice.longestDump {
            let count = fabric_route_receive(socket.raw, buffer.baseAddress, buffer.count)
            if count < 0 { throw SystemError(operation, code: Int32(clamping: -count)) }
            let datagram = UnsafeRawBufferPointer(rebasing: buffer[..<Int(count)])
            let step = try answer.take(datagram, operation)
            if step != .more { return step }
        }
        throw SystemError(operation, code: EPROTO)
    }
}
