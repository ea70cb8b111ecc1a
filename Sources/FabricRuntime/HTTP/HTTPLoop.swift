internal import FabricCore
internal import NIOCore
internal import NIOPosix

/// The one thread on which servers and clients do their network work. One suffices for thousands of connections;
/// nothing that blocks may run on it.
public final class HTTPLoop: Sendable {
    let group: MultiThreadedEventLoopGroup
    let eventLoop: any EventLoop

    public init() {
        group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        eventLoop = group.next()
    }

    /// Ends the thread and waits for it. Close servers and clients first. Not to be called on the loop itself.
    public func shutdown() {
        // The only failure is a second shutdown, which is as good as the first.
        try? group.syncShutdownGracefully()
    }
}

extension Duration {
    var timeAmount: TimeAmount { .nanoseconds(nanoseconds) }
}

extension SocketAddress {
    var endpoint: Endpoint? {
        guard let ipAddress, let port, let address = IPAddress(ipAddress), let port = UInt16(exactly: port) else {
            return nil
        }
        return Endpoint(address: address, port: port)
    }

    init(_ endpoint: Endpoint) throws {
        try self.init(ipAddress: endpoint.address.description, port: Int(endpoint.port))
    }
}
