/// Finds a small part of a list that still does what the whole does (Zeller and Hildebrandt, “Simplifying and isolating
/// failure-inducing input”, IEEE TSE 28/2, 2002).
///
/// Pure: what is tried goes to `first`, which gets candidates in order of preference and gives the index of the first that
/// still fails, or nil. Whoever runs them may run several at once.
public enum DeltaDebugging {
    /// From the result no single item can be taken away, as far as `first` was truthful. An empty result means that the
    /// failure needs none of the items.
    public static func minimize<Item>(_ items: [Item], first: ([[Item]]) -> Int?) -> [Item] {
        if items.isEmpty || first([[]]) != nil { return [] }
        var current = items
        var parts = 2
        while current.count > 1 {
            parts = min(parts, current.count)
            let bounds = (0...parts).map { current.count * $0 / parts }
            let chunks = (0..<parts).map { Array(current[bounds[$0]..<bounds[$0 + 1]]) }
            // With two chunks each is what the other leaves.
            let rests = parts == 2 ? [] : (0..<parts).map { Array(current[..<bounds[$0]] + current[bounds[$0 + 1]...]) }
            switch first(chunks + rests) {
            case let found? where found < parts:
                current = chunks[found]
                parts = 2
            case let found?:
                current = rests[found - parts]
                parts = max(2, parts - 1)
            case nil:
                if parts == current.count { return current }
                parts *= 2
            }
        }
        return current
    }
}
