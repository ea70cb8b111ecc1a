/// What becomes of a list when another is wanted: who stays, who goes, who comes. Each key is hashed a fixed number of times, so
/// the work grows with the lists' lengths alone.
public struct Reconciliation<Key: Hashable> {
    /// The keys that are wanted, each once, in their order, and where each stood in the former list; nil for those that come.
    public private(set) var wanted: [(key: Key, place: Int?)] = []
    /// Places in the former list of those that go, in order.
    public private(set) var gone: [Int] = []

    /// The keys of `former` differ from each other.
    public init(former: [Key], wanted keys: some Sequence<Key>) {
        var places: [Key: Int] = [:]
        places.reserveCapacity(former.count)
        for (place, key) in former.enumerated() { places[key] = place }
        var stays = [Bool](repeating: false, count: former.count)
        var seen: Set<Key> = []
        for key in keys where seen.insert(key).inserted {
            let place = places[key]
            if let place { stays[place] = true }
            wanted.append((key, place))
        }
        for place in stays.indices where !stays[place] { gone.append(place) }
    }
}
