internal import FabricCore
internal import FabricDocument

/// Cuts on a scenario's tree that know what nodes, places and steps are. All work on trees alone, so that they hold for
/// every kind of step.
enum ShrinkWorld {
    /// Steps that end what another began; they go when the other goes, and not before: a fault that is never over breaks
    /// expectations of its own.
    static let endings = ["heal", "restart", "start-control", "resume"]
    /// Steps that set the world up; without them everything fails.
    static let foundations = ["enrol", "approve"]

    /// What the entry of the timeline does: its key that says no time.
    static func action(_ entry: DocumentNode) -> String {
        let others = StepEntry.CodingKeys.allCases.map(\.stringValue)
        return entry.object?.first { !others.contains($0.key) }?.key ?? ""
    }

    // MARK: Valid or not

    /// The tree with the plan it makes. Entries of the timeline that no longer make sense (a restart without its crash)
    /// are left out; nil when what remains is still wrong.
    static func repaired(_ document: DocumentNode) -> (document: DocumentNode, plan: Plan)? {
        var document = document
        // One mistake may hide the next; more than this is not a cut but a wreck.
        for _ in 0..<12 {
            // The plan's problems name lines; these are the entries' numbers.
            let entries = document["timeline"]?.array ?? []
            var column = 0
            let numbered = entries.enumerated().map { stamped($0.element, line: $0.offset + 1, &column) }
            let whole = entries.isEmpty ? document : document.setting("timeline", DocumentNode(.array(numbered)))
            do throws(ScenarioError) {
                return (document, try ScenarioFile(document: whole, file: "candidate").plan())
            } catch {
                let kept = entries.indices.filter { entry in !error.problems.contains { $0.line == entry + 1 } }
                if kept.count == entries.count { return nil }
                document = document.setting(
                    "timeline", kept.isEmpty ? nil : DocumentNode(.array(kept.map { entries[$0] })))
            }
        }
        return nil
    }

    /// Every value gets a place of its own: selectors are told apart by theirs.
    private static func stamped(_ node: DocumentNode, line: Int, _ column: inout Int) -> DocumentNode {
        column += 1
        let position = DocumentPosition(line: line, column: column)
        switch node.value {
        case .array(let elements):
            var stampedElements: [DocumentNode] = []
            for element in elements { stampedElements.append(stamped(element, line: line, &column)) }
            return DocumentNode(.array(stampedElements), position: position)
        case .object(let members):
            var stampedMembers: [DocumentMember] = []
            for member in members {
                let value = stamped(member.value, line: line, &column)
                stampedMembers.append(DocumentMember(member.key, value, keyPosition: position))
            }
            return DocumentNode(.object(stampedMembers), position: position)
        default: return DocumentNode(node.value, position: position)
        }
    }

    // MARK: Fewer nodes

    /// The scenario with these nodes alone. A group that keeps its first nodes gets a smaller count, another becomes single
    /// nodes of the same names; so every random stream stays what it was. Nil when the expectation names none of them.
    static func keeping(_ nodes: [Int], of plan: Plan, _ document: DocumentNode) -> DocumentNode? {
        var isKept = [Bool](repeating: false, count: plan.nodes.count)
        for node in nodes { isKept[node] = true }
        var groups: [DocumentNode] = []
        var names = KeptNames(plan, isKept)
        for (entry, group) in zip(document["world"]?["nodes"]?.array ?? [], plan.groups) {
            let kept = group.nodes.filter { isKept[$0] }
            let isFirst = kept.elementsEqual(group.nodes.lowerBound..<(group.nodes.lowerBound + kept.count))
            names.groups.append((group.name, kept.map { plan.nodes[$0].name }, isWhole: isFirst && !kept.isEmpty))
            if isFirst, !kept.isEmpty {
                let isCounted = entry["count"] != nil
                groups.append(isCounted ? entry.setting("count", DocumentNode(.integer(Int64(kept.count)))) : entry)
                continue
            }
            for node in kept {
                let single = entry.setting("count", nil).setting("places", nil)
                let place = DocumentNode.text(plan.places[plan.nodes[node].place].name)
                groups.append(single.setting("group", .text(plan.nodes[node].name)).setting("place", place))
            }
        }
        guard !groups.isEmpty, var world = document["world"] else { return nil }
        if let nats = world["nats"]?.array {
            let kept = nats.compactMap { names.rewritten($0) }
            world = world.setting("nats", kept.isEmpty ? nil : DocumentNode(.array(kept)))
        }
        var result = document.setting("world", world.setting("nodes", DocumentNode(.array(groups))))
        if let timeline = document["timeline"]?.array {
            let kept = timeline.compactMap { names.rewritten($0) }
            result = result.setting("timeline", kept.isEmpty ? nil : DocumentNode(.array(kept)))
        }
        guard let expect = document["expect"].flatMap({ names.rewritten($0) }) else { return nil }
        return result.setting("expect", expect)
    }

    // MARK: Fewer places

    /// Everything of one place is moved to another, and the place is gone.
    static func merging(_ place: String, into other: String, _ document: DocumentNode) -> DocumentNode {
        func moved(_ node: DocumentNode) -> DocumentNode {
            switch node.value {
            case .string(place): .text(other)
            case .string("place:\(place)"): .text("place:\(other)")
            case .array(let elements): DocumentNode(.array(elements.map { moved($0) }))
            case .object(let members):
                DocumentNode(.object(members.map { DocumentMember($0.key, moved($0.value)) }))
            default: node
            }
        }
        guard var world = document["world"] else { return document }
        if let places = world["places"]?.array {
            world = world.setting("places", DocumentNode(.array(places.filter { $0.string != place })))
        } else {
            world = world.setting("places", world["places"]?.setting(place, nil))
        }
        let links = (world["links"]?.array ?? []).filter { link in
            !(link["between"]?.array ?? []).contains { $0.string == place }
        }
        world = world.setting("links", links.isEmpty ? nil : DocumentNode(.array(links)))
        let groups = (world["nodes"]?.array ?? []).map { group -> DocumentNode in
            let group = moved(group)
            // A list of one name over and over is one place.
            guard let places = group["places"]?.array, places.allSatisfy({ $0.string == places[0].string }) else {
                return group
            }
            return group.setting("places", nil).setting("place", places.first)
        }
        world = world.setting("nodes", DocumentNode(.array(groups)))
        if let control = world["control"] { world = world.setting("control", moved(control)) }
        var result = document.setting("world", world)
        for key in ["timeline", "expect"] { result = result.setting(key, document[key].map { moved($0) }) }
        return result
    }
}

/// Rewrites selectors for a world with fewer nodes.
private struct KeptNames {
    /// Members that name no node.
    private static let nameless = [
        "link", "name", "token", "label", "step", "after", "event", "place", "in", "reason", "request", "nat", "behind",
        "protocol", "address", "places",
    ]

    /// Whether a node is kept, by name; looked up only.
    private var isKeptByName: [String: Bool] = [:]
    var groups: [(name: String, kept: [String], isWhole: Bool)] = []
    private var emptyPlaces: [String]

    init(_ plan: Plan, _ isKept: [Bool]) {
        for (index, node) in plan.nodes.enumerated() { isKeptByName[node.name] = isKept[index] }
        emptyPlaces = plan.places.indices.filter { place in
            !plan.nodes.indices.contains { isKept[$0] && plan.nodes[$0].place == place }
        }.map { plan.places[$0].name }
    }

    /// Nil when nothing of it is left.
    func rewritten(_ node: DocumentNode) -> DocumentNode? {
        switch node.value {
        case .string(let text):
            guard let names = names(text) else { return node }
            if names.isEmpty { return nil }
            return names.count == 1 ? .text(names[0]) : DocumentNode(.array(names.map { .text($0) }))
        case .array(let elements):
            let kept = elements.compactMap { rewritten($0) }
            return kept.isEmpty && !elements.isEmpty ? nil : DocumentNode(.array(kept))
        case .object(let members):
            var kept: [DocumentMember] = []
            for member in members {
                if KeptNames.nameless.contains(member.key) {
                    kept.append(member)
                } else if let value = rewritten(member.value),
                    member.key != "between" || value.array?.count == member.value.array?.count
                {
                    kept.append(DocumentMember(member.key, value))
                } else if member.key != "except" {
                    return nil
                }
            }
            return DocumentNode(.object(kept))
        default: return node
        }
    }

    /// What a selector's text becomes; nil for a text that names no node, or stays as it is.
    private func names(_ text: String) -> [String]? {
        if let group = groups.first(where: { $0.name == text }) { return group.isWhole ? nil : group.kept }
        if let isKept = isKeptByName[text] { return isKept ? nil : [] }
        if emptyPlaces.contains(text) || emptyPlaces.contains(where: { text == "place:\($0)" }) { return [] }
        guard text.hasSuffix("]"), let bracket = text.firstIndex(of: "["),
            let group = groups.first(where: { $0.name == String(text[..<bracket]) })
        else { return nil }
        let bounds = text[text.index(after: bracket)...].dropLast().split(separator: "..").compactMap { Int($0) }
        guard bounds.count == 2, bounds[0] <= bounds[1] else { return nil }
        if group.isWhole {
            let last = min(bounds[1], group.kept.count)
            return bounds[0] > last ? [] : ["\(group.name)[\(bounds[0])..\(last)]"]
        }
        return group.kept.filter { name in
            Int(name.dropFirst(group.name.count + 1)).map { (bounds[0]...bounds[1]).contains($0) } ?? false
        }
    }
}
