internal import FabricCore
internal import FabricDocument

/// Small cuts on a scenario's tree: members that may be absent, values that may be rounder.
enum ShrinkEdits {
    /// Members that stay. They make a scenario what it is: a fault without its `for` would never be over, a token with
    /// fewer uses refuses, a shorter approval leaves nodes out.
    private static let kept = [
        "places", "nodes", "group", "place", "count", "at", "every", "until", "over", "for", "within", "domains",
        "token", "name",
        "uses", "lifetime", "enrol", "approve",
    ]
    private static let keptValues = ["uses", "lifetime", "every", "until", "count"]

    // MARK: Members

    /// How many members of the world and the timeline can be taken away, whether or not the scenario is valid without.
    static func deletableCount(_ document: DocumentNode) -> Int {
        var count = 0
        _ = filtered(document, &count) { _ in true }
        return count
    }

    /// The scenario with these of its deletable members alone; they are numbered in the order of the file.
    static func keeping(_ members: [Int], of document: DocumentNode) -> DocumentNode {
        var isKept = [Bool](repeating: false, count: deletableCount(document))
        for member in members { isKept[member] = true }
        var count = 0
        return filtered(document, &count) { isKept[$0] }
    }

    private static func filtered(
        _ document: DocumentNode, _ count: inout Int, _ keep: (Int) -> Bool
    ) -> DocumentNode {
        var result = document
        for key in ["world", "timeline"] {
            if let part = document[key] { result = result.setting(key, filteredPart(part, &count, keep)) }
        }
        return result
    }

    private static func filteredPart(
        _ node: DocumentNode, _ count: inout Int, _ keep: (Int) -> Bool
    ) -> DocumentNode {
        switch node.value {
        case .array(let elements):
            var left: [DocumentNode] = []
            for element in elements { left.append(filteredPart(element, &count, keep)) }
            return DocumentNode(.array(left))
        case .object(let members):
            var left: [DocumentMember] = []
            for member in members {
                var isKept = true
                if !kept.contains(member.key) {
                    isKept = keep(count)
                    count += 1
                }
                let value = filteredPart(member.value, &count, keep)
                if isKept { left.append(DocumentMember(member.key, value)) }
            }
            return DocumentNode(.object(left))
        default: return node
        }
    }

    // MARK: Values

    /// How many values of the seed, the world and the timeline could be simpler.
    static func valueCount(_ document: DocumentNode) -> Int {
        var count = 0
        _ = replaced(document, &count, at: -1) { $0 }
        return count
    }

    /// The scenario with its value number `index` replaced by simpler ones, the simplest first.
    static func simpler(_ document: DocumentNode, at index: Int) -> [DocumentNode] {
        var old: DocumentNode?
        var count = 0
        _ = replaced(document, &count, at: index) { value in
            old = value
            return value
        }
        return (old.map { choices($0) } ?? []).map { choice in
            var count = 0
            return replaced(document, &count, at: index) { _ in choice }
        }
    }

    private static func replaced(
        _ document: DocumentNode, _ count: inout Int, at index: Int, _ change: (DocumentNode) -> DocumentNode
    ) -> DocumentNode {
        var result = document
        for key in ["seed", "world", "timeline"] {
            if let old = result[key] { result = result.setting(key, replacedPart(old, &count, at: index, change)) }
        }
        return result
    }

    private static func replacedPart(
        _ node: DocumentNode, _ count: inout Int, at index: Int, _ change: (DocumentNode) -> DocumentNode
    ) -> DocumentNode {
        switch node.value {
        case .array(let elements):
            var parts: [DocumentNode] = []
            for element in elements { parts.append(replacedPart(element, &count, at: index, change)) }
            return DocumentNode(.array(parts))
        case .object(let members):
            var parts: [DocumentMember] = []
            for member in members {
                let isKept = keptValues.contains(member.key)
                let value = isKept ? member.value : replacedPart(member.value, &count, at: index, change)
                parts.append(DocumentMember(member.key, value))
            }
            return DocumentNode(.object(parts))
        default:
            guard !choices(node).isEmpty else { return node }
            defer { count += 1 }
            return count == index ? change(node) : node
        }
    }

    /// Simpler values than this one; none for what is simple, or not a quantity.
    private static func choices(_ node: DocumentNode) -> [DocumentNode] {
        if let number = node.integer, number > 2 {
            return [1, 2, number / 2].filter { $0 < number }.map { DocumentNode(.integer($0)) }
        }
        guard let text = node.string else { return [] }
        if let span = Span(text)?.duration { return durations(span).map { .text(Span($0)) } }
        if let share = Ratio(text)?.partsPerMillion, share % 100_000 != 0 {
            return [1_000_000, 500_000, 100_000, 10_000].filter { $0 != share }.map {
                .text(Ratio(partsPerMillion: $0))
            }
        }
        return []
    }

    /// Whole minutes, tens of seconds, seconds and below; none when it is that already.
    private static func durations(_ span: Duration) -> [Duration] {
        let sign: Int64 = span < .zero ? -1 : 1
        let nanoseconds = span.nanoseconds * sign
        var choices: [Duration] = []
        for unit in [60_000_000_000, 10_000_000_000, 1_000_000_000, 100_000_000, 10_000_000, 1_000_000] as [Int64] {
            if nanoseconds % unit == 0 { break }
            if nanoseconds > unit { choices.append(.nanoseconds(sign * (nanoseconds / unit * unit))) }
        }
        return choices
    }
}
