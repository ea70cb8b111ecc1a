internal import FabricCore

/// A datagram under way.
struct DatagramRecord {
    var source: Endpoint
    var destination: Endpoint
    var from: Int32
    var to: Int32
    var length: Int
    var ecn = ECN.notECT
    var buffer: UnsafeMutableRawPointer
    var sizeClass: UInt8
}

/// Datagrams under way, with their bytes. Slots and buffers are reused, so that in steady state a datagram costs no
/// allocation; a buffer belongs to its slot for good, and each of three sizes has its own free slots.
final class DatagramPool {
    /// The most datagrams under way at once in one world.
    static let maximumCount = 4 << 20
    private static let sizes = [256, 2048, 65_536]

    private(set) var records: UnsafeMutablePointer<DatagramRecord>
    private var capacity = 1024
    private var used = 0
    private var free: [[Int32]] = [[], [], []]

    init() { records = .allocate(capacity: 1024) }

    deinit {
        for index in 0..<used { records[index].buffer.deallocate() }
        records.deallocate()
    }

    /// A slot with room for `length` bytes (at most 65,536); nil at the limit.
    func take(length: Int) -> Int? {
        let sizeClass = length <= 256 ? 0 : length <= 2048 ? 1 : 2
        if let slot = free[sizeClass].popLast() {
            records[Int(slot)].length = length
            return Int(slot)
        }
        guard used < DatagramPool.maximumCount else { return nil }
        if used == capacity {
            let larger = UnsafeMutablePointer<DatagramRecord>.allocate(capacity: capacity * 2)
            larger.moveInitialize(from: records, count: used)
            records.deallocate()
            records = larger
            capacity *= 2
        }
        let nowhere = Endpoint(address: IPAddress(v4: 0), port: 0)
        (records + used).initialize(
            to: DatagramRecord(
                source: nowhere, destination: nowhere, from: 0, to: 0, length: length,
                buffer: .allocate(byteCount: DatagramPool.sizes[sizeClass], alignment: 16),
                sizeClass: UInt8(sizeClass)))
        used += 1
        return used - 1
    }

    func release(_ slot: Int) { free[Int(records[slot].sizeClass)].append(Int32(slot)) }
}
