/// First in, first out, with a limit that its owner names.
struct BoundedQueue<Element> {
    let limit: Int
    private var storage: [Element?] = []
    private var head = 0

    init(limit: Int) { self.limit = limit }

    var count: Int { storage.count - head }
    var isEmpty: Bool { head == storage.count }
    var first: Element? { isEmpty ? nil : storage[head] }

    /// False, and nothing changes, when the queue is full.
    mutating func append(_ element: Element) -> Bool {
        guard count < limit else { return false }
        storage.append(element)
        return true
    }

    /// Makes room by dropping the oldest. True when one was dropped.
    mutating func appendDroppingOldest(_ element: Element) -> Bool {
        guard limit > 0 else { return true }
        let isFull = count >= limit
        if isFull { _ = popFirst() }
        storage.append(element)
        return isFull
    }

    mutating func popFirst() -> Element? {
        guard !isEmpty else { return nil }
        let element = storage[head]
        storage[head] = nil
        head += 1
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
    }
}
