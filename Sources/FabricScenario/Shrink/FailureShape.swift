/// How an expectation broke, without the names and numbers of one world: a smaller world must break it in the same way.
public struct FailureShape: Hashable, Sendable {
    public var expectation: String
    /// The kinds of reason that the verdict gave, for example `can't reach`; sorted, each once.
    public var reasons: [String]

    public init(expectation: String, why: String?) {
        self.expectation = expectation
        reasons = FailureShape.reasons(why ?? "")
    }

    /// The same expectation, and a reason in common. A node that “has no peers” because its peers were cut out of the file
    /// is another failure than one that can't reach its peers.
    public func matches(_ other: FailureShape) -> Bool {
        expectation == other.expectation
            && (reasons == other.reasons || reasons.contains { other.reasons.contains($0) })
    }

    /// The first words of each reason that are letters only: what has a digit, a dash or a comma in it is a name, a number
    /// or a list.
    private static func reasons(_ why: String) -> [String] {
        var parts: [String] = []
        var rest = Substring(why)
        // Node conditions say what is so with each node in parentheses.
        while let open = rest.firstIndex(of: "("), let close = rest[open...].firstIndex(of: ")") {
            parts.append(String(rest[rest.index(after: open)..<close]))
            rest = rest[rest.index(after: close)...]
        }
        if parts.isEmpty { parts = [why] }
        var shapes: [String] = []
        for part in parts {
            let words = part.split(separator: " ").prefix(3).filter { word in
                word.allSatisfy { $0.isLetter || $0 == "'" }
            }
            let shape = words.prefix(2).joined(separator: " ")
            if !shapes.contains(shape) { shapes.append(shape) }
        }
        return shapes.sorted()
    }
}
