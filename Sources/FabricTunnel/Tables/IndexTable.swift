/// Receiver indexes of one socket: which peer, and which of its sessions (none while its handshake runs).
///
/// Indexes are random, so they are their own hash; the other side can't choose ours. Open addressing with linear
/// probing, at most half full, in memory of its own so that the packet path pays for no reference counts.
struct IndexTable: ~Copyable {
    struct Entry {
        var index: UInt32
        /// -1 marks a free cell.
        var peerSlot: Int32
        var keyPair: KeyPairPointer?

        static var free: Entry { Entry(index: 0, peerSlot: -1, keyPair: nil) }
    }

    private var cells: UnsafeMutablePointer<Entry>
    private var capacity: Int
    private(set) var count = 0

    init() {
        capacity = 16
        cells = .allocate(capacity: capacity)
        cells.initialize(repeating: .free, count: capacity)
    }

    deinit { cells.deallocate() }

    @inline(__always)
    func find(_ index: UInt32) -> Entry? {
        var cell = home(index)
        while cells[cell].peerSlot >= 0 {
            if cells[cell].index == index { return cells[cell] }
            cell = (cell + 1) & (capacity - 1)
        }
        return nil
    }

    /// Adds an index, or gives one that is there a session.
    mutating func set(_ index: UInt32, peerSlot: Int, keyPair: KeyPairPointer?) {
        if 2 * (count + 1) > capacity { grow() }
        var cell = home(index)
        while cells[cell].peerSlot >= 0, cells[cell].index != index { cell = (cell + 1) & (capacity - 1) }
        if cells[cell].peerSlot < 0 { count += 1 }
        cells[cell] = Entry(index: index, peerSlot: Int32(peerSlot), keyPair: keyPair)
    }

    mutating func remove(_ index: UInt32) {
        var hole = home(index)
        while cells[hole].peerSlot >= 0, cells[hole].index != index { hole = (hole + 1) & (capacity - 1) }
        guard cells[hole].peerSlot >= 0 else { return }
        count -= 1
        // Entries behind the hole move into it unless that would put them before their home.
        var cell = hole
        while true {
            cells[hole] = .free
            repeat {
                cell = (cell + 1) & (capacity - 1)
                if cells[cell].peerSlot < 0 { return }
            } while (cell - home(cells[cell].index)) & (capacity - 1) < (cell - hole) & (capacity - 1)
            cells[hole] = cells[cell]
            hole = cell
        }
    }

    private mutating func grow() {
        let (old, oldCapacity) = (cells, capacity)
        capacity *= 2
        cells = .allocate(capacity: capacity)
        cells.initialize(repeating: .free, count: capacity)
        count = 0
        for cell in 0..<oldCapacity where old[cell].peerSlot >= 0 {
            set(old[cell].index, peerSlot: Int(old[cell].peerSlot), keyPair: old[cell].keyPair)
        }
        old.deallocate()
    }

    @inline(__always)
    private func home(_ index: UInt32) -> Int { Int(index) & (capacity - 1) }
}
