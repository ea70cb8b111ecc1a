/// First in, first out, with a limit that its owner names.
struct BoundedQueue<Element> {
    let limit: Int
    private var storage: [Element?] = []
    private var head = 0
    /// Kept beside the storage: whether one is empty is asked for at every turn, and the storage is elsewhere in memory.
    private(set) var count = 0

    init(limit: Int) { self.limit = limit }

    var isEmpty: Bool { count == 0 }
    var first: Element? { isEmpty ? nil : storage[head] }

    /// False, and nothing changes, when the queue is full.
    mutating func append(_ element: Element) -> Bool {
        guard count < limit else { return false }
        storage.append(element)
        count += 1
        return true
    }

    /// Makes room by dropping the oldest. True when one was dropped.
    mutating func appendDroppingOldest(_ element: Element) -> Bool {
        guard limit > 0 else { return true }
        let isFull = count >= limit
        if isFull { _ = popFirst() }
        storage.append(element)
        count += 1
        return isFull
    }

    mutating func popFirst() -> Element? {
        guard !isEmpty else { return nil }
        let element = storage[head]
        storage[head] = nil
        head += 1
        count -= 1
        if head == storage.count {
            storage.removeAll(keepingCapacity: storage.count <= 16)
            head = 0
        } else if head >= 32, 2 * head >= storage.count {
            storage.removeFirst(head)
            head = 0
        }
        return element
    }

    mutating func removeAll() {
        storage = []
        head = 0
        count = 0
    }
}
