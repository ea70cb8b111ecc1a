internal import FabricDocument

/// Which nodes: `all`, a group, a node, a place, `group[1..5]`, `place:NAME`, a list of these, or an object
/// `{nodes, in, except}`.
struct Selector: Decodable, Sendable {
    indirect enum Form: Sendable {
        case text(String)
        case list([Selector])
        case narrowed(Selector, inside: Located<String>?, except: Selector?)
    }

    var form: Form
    var position: DocumentPosition?
    var path: String

    enum CodingKeys: String, CodingKey, CaseIterable {
        case nodes
        case inside = "in"
        case except
    }

    init(from decoder: any Decoder) throws {
        let source = decoder as? any DocumentSource
        position = source?.node.position
        path = source?.documentPath ?? ""
        switch source?.node.value {
        case .array: form = .list(try [Selector](from: decoder))
        case .object:
            let container = try decoder.container(keyedBy: CodingKeys.self)
            let nodes = try container.decode(Selector.self, forKey: .nodes)
            form = .narrowed(
                nodes, inside: try container.decodeIfPresent(Located<String>.self, forKey: .inside),
                except: try container.decodeIfPresent(Selector.self, forKey: .except))
        default: form = .text(try String(from: decoder))
        }
    }

    func problem(_ message: String) -> DocumentError { DocumentError(message, path: path, position: position) }
}

/// A selector is resolved against the world's names.
struct SelectorScope {
    /// By name; never iterated.
    var groups: [String: Range<Int>] = [:]
    var places: [String: Int] = [:]
    var nodes: [String: Int] = [:]
    /// In the file's order, for suggestions.
    var names: [String] = []
    var placeOfNode: [Int] = []

    /// Sorted indices without repetition. Appends problems and gives what it could resolve.
    func resolve(_ selector: Selector, into problems: inout [DocumentError]) -> [Int] {
        let before = problems.count
        var chosen = [Bool](repeating: false, count: placeOfNode.count)
        mark(selector, &chosen, &problems)
        let result = chosen.indices.filter { chosen[$0] }
        if result.isEmpty, problems.count == before, !isFull(problems) {
            problems.append(selector.problem("this selects no node"))
        }
        return result
    }

    private func mark(_ selector: Selector, _ chosen: inout [Bool], _ problems: inout [DocumentError]) {
        switch selector.form {
        case .text(let text):
            switch named(text) {
            case .success(let nodes): for node in nodes { chosen[node] = true }
            case .failure(let refusal): problems.append(selector.problem(refusal.message))
            }
        case .list(let parts):
            if parts.isEmpty { problems.append(selector.problem("an empty list selects no node")) }
            for part in parts where !isFull(problems) { mark(part, &chosen, &problems) }
        case .narrowed(let nodes, let inside, let except):
            var base = [Bool](repeating: false, count: chosen.count)
            mark(nodes, &base, &problems)
            if let inside {
                if let place = places[inside.value] {
                    for node in base.indices where placeOfNode[node] != place { base[node] = false }
                } else {
                    problems.append(inside.problem(unknownPlace(inside.value)))
                }
            }
            if let except {
                var without = [Bool](repeating: false, count: chosen.count)
                mark(except, &without, &problems)
                for node in base.indices where without[node] { base[node] = false }
            }
            for node in base.indices where base[node] { chosen[node] = true }
        }
    }

    /// A file of unknown names alone is not compared with all names for each of them.
    private func isFull(_ problems: [DocumentError]) -> Bool { problems.count >= ScenarioLimits.maximumProblems }

    private struct Refusal: Error { var message: String }

    private func named(_ text: String) -> Result<[Int], Refusal> {
        if text == "all" { return .success(Array(placeOfNode.indices)) }
        if let range = groups[text] { return .success(Array(range)) }
        if let node = nodes[text] { return .success([node]) }
        if let place = places[text] { return .success(inside(place)) }
        if text.hasPrefix("place:") {
            let name = String(text.dropFirst("place:".count))
            guard let place = places[name] else { return .failure(Refusal(message: unknownPlace(name))) }
            return .success(inside(place))
        }
        if text.hasSuffix("]"), let bracket = text.firstIndex(of: "[") {
            return range(String(text[..<bracket]), text[text.index(after: bracket)...].dropLast())
        }
        if let dash = text.lastIndex(of: "-"), let range = groups[String(text[..<dash])],
            Int(text[text.index(after: dash)...]) != nil
        {
            return .failure(
                Refusal(message: "there is no node “\(text)”; the group “\(text[..<dash])” has \(counted(range))"))
        }
        let mend = NearestName.mend(text, among: names + ["all"], noun: "group, place or node")
        return .failure(Refusal(message: "there is no group, place or node “\(text.prefix(40))”; \(mend)"))
    }

    private func range(_ group: String, _ inner: Substring) -> Result<[Int], Refusal> {
        guard let nodes = groups[group] else {
            let mend = NearestName.mend(group, among: names, noun: "group")
            return .failure(Refusal(message: "there is no group “\(group.prefix(40))”; \(mend)"))
        }
        let bounds = inner.split(separator: "..", omittingEmptySubsequences: false).map { Int($0) }
        guard bounds.count == 2, let low = bounds[0], let high = bounds[1] else {
            return .failure(Refusal(message: "“[\(inner.prefix(40))]” is not a range; write \(group)[1..5]"))
        }
        guard low >= 1, low <= high, high <= nodes.count else {
            return .failure(
                Refusal(message: "\(low)..\(high) is out of range; the group “\(group)” has \(counted(nodes))"))
        }
        return .success(Array((nodes.lowerBound + low - 1)..<(nodes.lowerBound + high)))
    }

    private func counted(_ range: Range<Int>) -> String { range.count == 1 ? "1 node" : "\(range.count) nodes" }

    private func inside(_ place: Int) -> [Int] { placeOfNode.indices.filter { placeOfNode[$0] == place } }

    private var placeNames: [String] { names.filter { places[$0] != nil } }

    func unknownPlace(_ name: String) -> String {
        "there is no place “\(name.prefix(40))”; " + NearestName.mend(name, among: placeNames, noun: "place")
    }
}
