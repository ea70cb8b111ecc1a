internal import CFabricLinux
public import FabricCore

/// Preallocated packets with their addresses: what one `recvmmsg` or `sendmmsg` moves.
///
/// A driver makes its batches once. After `UDPSocket.receive` the first `count` entries hold datagrams and their
/// sources; before `UDPSocket.send` the driver fills entries, gives each its destination and sets `count`.
public struct DatagramBatch: ~Copyable {
    /// The most entries of one batch.
    public static let maximumCapacity = Int(FABRIC_UDP_BATCH)

    public let capacity: Int
    /// Entries in use.
    public var count: Int
    private let buffers: UnsafeMutablePointer<PacketBuffer>
    private let endpoints: UnsafeMutablePointer<Endpoint>

    public init(capacity: Int, packetCapacity: Int) {
        precondition((1...DatagramBatch.maximumCapacity).contains(capacity))
        self.capacity = capacity
        count = 0
        buffers = .allocate(capacity: capacity)
        endpoints = .allocate(capacity: capacity)
        for index in 0..<capacity {
            (buffers + index).initialize(to: PacketBuffer(packetCapacity: packetCapacity))
        }
        endpoints.initialize(repeating: Endpoint(address: IPAddress(v4: 0), port: 0), count: capacity)
    }

    deinit {
        buffers.deinitialize(count: capacity)
        buffers.deallocate()
        endpoints.deinitialize(count: capacity)
        endpoints.deallocate()
    }

    public subscript(index: Int) -> PacketBuffer {
        _read {
            precondition(index >= 0 && index < capacity)
            yield buffers[index]
        }
        _modify {
            precondition(index >= 0 && index < capacity)
            yield &buffers[index]
        }
    }

    /// The source of a received entry.
    public func endpoint(_ index: Int) -> Endpoint {
        precondition(index >= 0 && index < capacity)
        return endpoints[index]
    }

    /// The destination of an entry to be sent.
    mutating func setEndpoint(_ index: Int, _ endpoint: Endpoint) {
        precondition(index >= 0 && index < capacity)
        endpoints[index] = endpoint
    }
}

extension fabric_endpoint {
    init(_ endpoint: Endpoint) {
        self.init()
        port = endpoint.port
        family = endpoint.address.family.rawValue
        withUnsafeMutableBytes(of: &address) { bytes in
            if endpoint.address.family == .v4 {
                bytes.storeBytes(of: UInt32(truncatingIfNeeded: endpoint.address.low).bigEndian, as: UInt32.self)
            } else {
                bytes.storeBytes(of: endpoint.address.high.bigEndian, as: UInt64.self)
                bytes.storeBytes(of: endpoint.address.low.bigEndian, toByteOffset: 8, as: UInt64.self)
            }
        }
    }

    var endpoint: Endpoint {
        withUnsafeBytes(of: address) { bytes in
            let address: IPAddress =
                if family == 4 {
                    IPAddress(v4: UInt32(bigEndian: bytes.loadUnaligned(as: UInt32.self)))
                } else {
                    IPAddress(
                        v6High: UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
                        low: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
                }
            return Endpoint(address: address, port: port)
        }
    }
}
