/// When each peer next wants to be looked at: a binary heap with the peers' places in it, so that a peer's entry can
/// move.
///
/// An entry may be earlier than the peer's earliest timer, never later: timers that move away from now, as most do with
/// every packet, leave the heap alone. Ties go to the lower slot, so that the order depends on nothing else.
struct DeadlineHeap {
    struct Entry {
        var nanoseconds: Int64
        var slot: Int32

        static func < (a: Entry, b: Entry) -> Bool {
            a.nanoseconds != b.nanoseconds ? a.nanoseconds < b.nanoseconds : a.slot < b.slot
        }
    }

    private var entries: [Entry] = []
    /// The place of each slot in `entries`, -1 for none.
    private var places: [Int32] = []

    var first: Entry? { entries.isEmpty ? nil : entries[0] }

    /// Sets the slot's deadline, to whatever it was before.
    mutating func set(_ slot: Int, _ nanoseconds: Int64) {
        while places.count <= slot { places.append(-1) }
        if places[slot] < 0 {
            entries.append(Entry(nanoseconds: nanoseconds, slot: Int32(slot)))
            places[slot] = Int32(entries.count - 1)
        } else {
            entries[Int(places[slot])].nanoseconds = nanoseconds
        }
        settle(Int(places[slot]))
    }

    mutating func remove(_ slot: Int) {
        guard slot < places.count, places[slot] >= 0 else { return }
        let place = Int(places[slot])
        places[slot] = -1
        let last = entries.removeLast()
        guard place < entries.count else { return }
        entries[place] = last
        places[Int(last.slot)] = Int32(place)
        settle(place)
    }

    private mutating func settle(_ start: Int) {
        var place = start
        while place > 0, entries[place] < entries[(place - 1) / 2] {
            exchange(place, (place - 1) / 2)
            place = (place - 1) / 2
        }
        while true {
            var least = place
            for child in (2 * place + 1)...(2 * place + 2)
            where child < entries.count && entries[child] < entries[least] { least = child }
            guard least != place else { return }
            exchange(place, least)
            place = least
        }
    }

    private mutating func exchange(_ a: Int, _ b: Int) {
        let entry = entries[a]
        entries[a] = entries[b]
        entries[b] = entry
        places[Int(entries[a].slot)] = Int32(a)
        places[Int(entries[b].slot)] = Int32(b)
    }
}
