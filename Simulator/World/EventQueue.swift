/// What an event in the queue is for; the world's dispatcher switches over it.
enum EventKind: UInt8 {
    /// A host's deadline has come; `payload` is the wake generation.
    case wake
    /// A datagram arrives; `payload` is its slot in the datagram pool.
    case datagram
    /// A packet of a stream arrives; `payload` is its slot in the stream packet pool.
    case streamPacket
    /// A stream end's timer; `payload` names connection, generation and side.
    case streamTimer
    /// A durable write completes; `payload` is the operation's slot.
    case diskCompletion
    /// A one-off timer that a host asked for; `payload` is the host's token.
    case timer
    /// A slow host is done with an event; `payload` is its hold's generation.
    case service
    /// A host boots; `payload` is the number of its coming up by itself, or 0.
    case boot
    /// A step of the scenario; `payload` is the slot of its closure.
    case action

    private static let names = [
        "wake", "datagram", "stream packet", "stream timer", "disk completion", "timer", "service", "boot", "action",
    ]
    var name: String { EventKind.names[Int(rawValue)] }
}

/// One pending event: 32 bytes, no references.
struct Event {
    var time: Int64
    var sequence: UInt64
    var payload: UInt64
    var host: Int32
    /// The host's boot for which the event is meant, where that matters.
    var boot: UInt16
    var kind: EventKind

    @inline(__always)
    func precedes(_ other: Event) -> Bool {
        time != other.time ? time < other.time : sequence < other.sequence
    }
}

/// A 4-ary heap in (time, sequence) order. Raw storage: the event loop is the simulator's hottest code, and exclusivity
/// and bounds checks on an array in a class cost more than the heap itself.
final class EventQueue {
    private struct Header {
        var items: UnsafeMutablePointer<Event>
        var count: Int
        var capacity: Int
        var nextSequence: UInt64
        var isWatched = false
    }

    private let header: UnsafeMutablePointer<Header>
    /// Told what is queued.
    var journal: Journal? {
        didSet { header.pointee.isWatched = journal != nil }
    }

    init() {
        header = .allocate(capacity: 1)
        header.initialize(to: Header(items: .allocate(capacity: 1024), count: 0, capacity: 1024, nextSequence: 0))
    }

    deinit {
        header.pointee.items.deallocate()
        header.deallocate()
    }

    @inline(__always) var count: Int { header.pointee.count }
    @inline(__always) var nextTime: Int64? { header.pointee.count > 0 ? header.pointee.items[0].time : nil }

    func push(time: Int64, kind: EventKind, host: Int32, boot: UInt16 = 0, payload: UInt64 = 0) {
        if header.pointee.count == header.pointee.capacity { grow() }
        let sequence = header.pointee.nextSequence
        header.pointee.nextSequence = sequence &+ 1
        if header.pointee.isWatched { journal?.pushed(sequence, at: time) }
        let event = Event(time: time, sequence: sequence, payload: payload, host: host, boot: boot, kind: kind)
        let items = header.pointee.items
        var hole = header.pointee.count
        header.pointee.count = hole &+ 1
        // A new event has the largest sequence, so comparing the times suffices on the way up.
        while hole > 0 {
            let parent = (hole &- 1) >> 2
            if items[parent].time <= time { break }
            items[hole] = items[parent]
            hole = parent
        }
        items[hole] = event
    }

    /// Takes the first event; the queue must not be empty.
    func pop() -> Event {
        let items = header.pointee.items
        let count = header.pointee.count &- 1
        precondition(count >= 0)
        header.pointee.count = count
        let result = items[0]
        if count == 0 { return result }
        let last = items[count]
        var hole = 0
        while true {
            let first = hole &* 4 &+ 1
            if first >= count { break }
            var best = first
            let end = min(first &+ 4, count)
            var child = first &+ 1
            while child < end {
                if items[child].precedes(items[best]) { best = child }
                child &+= 1
            }
            if !items[best].precedes(last) { break }
            items[hole] = items[best]
            hole = best
        }
        items[hole] = last
        return result
    }

    private func grow() {
        let capacity = header.pointee.capacity * 2
        let items = UnsafeMutablePointer<Event>.allocate(capacity: capacity)
        items.moveInitialize(from: header.pointee.items, count: header.pointee.count)
        header.pointee.items.deallocate()
        header.pointee.items = items
        header.pointee.capacity = capacity
    }
}
