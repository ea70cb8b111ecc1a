public import FabricCore

/// Datagrams that stand one behind the other in memory, made into runs that one call hands to the kernel (UDP_SEGMENT): to
/// one address, with one mark in their IP headers, all of one size but the last, which may be shorter.
public struct DatagramRuns: ~Copyable {
    public struct Run {
        public internal(set) var start: UnsafeMutableRawPointer
        public internal(set) var length: Int
        /// Of each datagram but the last.
        public internal(set) var segmentSize: Int
        public internal(set) var count: Int
        public internal(set) var endpoint: Endpoint
        public internal(set) var ecn: ECN
        /// A shorter datagram has ended it.
        var isClosed: Bool
    }

    /// What Linux takes in one call since UDP_SEGMENT exists.
    public static let maximumSegments = 64
    /// What fits UDP over IPv4.
    public static let maximumBytes = 65_507

    public let capacity: Int
    public private(set) var count = 0
    private let runs: UnsafeMutablePointer<Run>
    private let joins: Bool

    /// Room for `capacity` runs. Unless `joins`, each datagram is a run of its own.
    public init(capacity: Int, joins: Bool) {
        precondition(capacity > 0)
        self.capacity = capacity
        self.joins = joins
        runs = .allocate(capacity: capacity)
    }

    deinit { runs.deallocate() }

    public var isFull: Bool { count == capacity }

    public subscript(index: Int) -> Run {
        precondition(index >= 0 && index < count)
        return runs[index]
    }

    public mutating func removeAll() { count = 0 }

    /// Adds a datagram; there must be room for another run.
    @inline(__always)
    public mutating func append(
        _ start: UnsafeMutableRawPointer, length: Int, to endpoint: Endpoint, ecn: ECN = .notECT
    ) {
        if joins, count > 0 {
            let last = runs + (count - 1)
            if !last.pointee.isClosed, last.pointee.start + last.pointee.length == start,
                length <= last.pointee.segmentSize, last.pointee.count < DatagramRuns.maximumSegments,
                last.pointee.length + length <= DatagramRuns.maximumBytes, last.pointee.ecn == ecn,
                last.pointee.endpoint == endpoint
            {
                last.pointee.length += length
                last.pointee.count += 1
                last.pointee.isClosed = length < last.pointee.segmentSize
                return
            }
        }
        precondition(count < capacity)
        (runs + count).initialize(
            to: Run(
                start: start, length: length, segmentSize: length, count: 1, endpoint: endpoint, ecn: ecn,
                isClosed: false))
        count += 1
    }
}
