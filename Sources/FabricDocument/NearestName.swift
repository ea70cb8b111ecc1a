/// Finds the name that a person probably meant.
public enum NearestName {
    /// Longer names get no suggestion: the work is quadratic in the length, and the input is foreign.
    public static let maximumLength = 48

    /// The candidate with the fewest changed letters, if they are few enough for its length; of equals the first by bytes.
    /// Case, `-` and `_` do not count, so that `packet_size` finds `packetSize`.
    public static func of(_ name: String, among candidates: [String]) -> String? {
        let wanted = letters(name)
        guard (1...maximumLength).contains(wanted.count) else { return nil }
        var best: (distance: Int, candidate: String)?
        for candidate in candidates {
            let known = letters(candidate)
            guard (1...maximumLength).contains(known.count) else { continue }
            let distance = distance(wanted, known)
            guard distance <= max(1, min(wanted.count, known.count) / 3) else { continue }
            if let current = best,
                current.distance < distance
                    || (current.distance == distance && !candidate.precedesInBytes(current.candidate))
            {
                continue
            }
            best = (distance, candidate)
        }
        // A single letter is near to everything.
        return (best?.candidate.utf8.count ?? 0) > 1 ? best?.candidate : nil
    }

    /// The end of a sentence about an unknown name: the nearest, or what is known (at most 16).
    public static func mend(_ name: String, among candidates: [String], noun: String) -> String {
        if let nearest = of(name, among: candidates) { return "did you mean “\(nearest)”?" }
        if candidates.isEmpty { return "there is no \(noun) here" }
        let sorted = candidates.sorted { $0.precedesInBytes($1) }
        let shown = sorted.prefix(16).joined(separator: ", ") + (sorted.count > 16 ? ", …" : "")
        return "known here: \(shown)"
    }

    private static func letters(_ text: String) -> [UInt8] {
        text.utf8.filter { $0 != 0x2D && $0 != 0x5F }.map { (65...90).contains($0) ? $0 + 32 : $0 }
    }

    /// Levenshtein's distance, with a swap of neighbours counted once.
    private static func distance(_ a: [UInt8], _ b: [UInt8]) -> Int {
        var beforeLast = [Int](repeating: 0, count: b.count + 1)
        var last = Array(0...b.count)
        for i in 0..<a.count {
            var row = [i + 1]
            for j in 0..<b.count {
                var cost = min(last[j] + (a[i] == b[j] ? 0 : 1), last[j + 1] + 1, row[j] + 1)
                if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { cost = min(cost, beforeLast[j - 1] + 1) }
                row.append(cost)
            }
            beforeLast = last
            last = row
        }
        return last[b.count]
    }
}
