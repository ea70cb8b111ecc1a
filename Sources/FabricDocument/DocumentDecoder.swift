/// Decodes typed values from a tree, strictly: every member must be one that the type asks for.
///
/// Works with synthesised `Decodable`: the keys that a type asks for are noted while it decodes, and when it is done a
/// member that nobody asked for is an error naming the nearest key that is known. A `null` counts as absent where the
/// type has an optional.
public struct DocumentDecoder: Sendable {
    public init() {}

    public func decode<T: Decodable>(_ type: T.Type, from node: DocumentNode) throws(DocumentError) -> T {
        do {
            return try NodeDecoder(node, parent: nil, step: .root).decode(type)
        } catch let error as DocumentError {
            throw error
        } catch {
            // `NodeDecoder.decode` turns everything into a DocumentError.
            throw DocumentError("\(error)", position: node.position)
        }
    }
}

/// What a `Decodable` may ask its decoder for when the document came through this module:
/// `(decoder as? any DocumentSource)?.node`.
public protocol DocumentSource {
    /// The value that is being decoded, with its position.
    var node: DocumentNode { get }
    /// Where it stands: `timeline[3].token`.
    var documentPath: String { get }
}

extension DocumentNode: Codable {
    /// Takes the tree as it is, from this module's decoder only.
    public init(from decoder: any Decoder) throws {
        guard let source = decoder as? any DocumentSource else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: "a tree decodes only from a tree"))
        }
        self = source.node
    }

    public func encode(to encoder: any Encoder) throws {
        switch value {
        case .object(let members):
            var container = encoder.container(keyedBy: DocumentKey.self)
            for member in members { try container.encode(member.value, forKey: DocumentKey(stringValue: member.key)) }
        case .array(let elements):
            var container = encoder.unkeyedContainer()
            for element in elements { try container.encode(element) }
        case .null:
            var container = encoder.singleValueContainer()
            try container.encodeNil()
        case .bool(let flag): try flag.encode(to: encoder)
        case .integer(let number): try number.encode(to: encoder)
        case .number(let number): try number.encode(to: encoder)
        case .string(let text): try text.encode(to: encoder)
        }
    }
}

/// A key made from text, for containers whose keys are data.
struct DocumentKey: CodingKey {
    var stringValue: String
    var intValue: Int?

    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { self.init(index: intValue) }
    init(index: Int) {
        stringValue = "Index \(index)"
        intValue = index
    }
}

/// The decoder of one value. A class, because containers and their decoder share what has been asked for.
final class NodeDecoder: Decoder, DocumentSource {
    enum Step {
        case root
        case key(String)
        case index(Int)
    }

    let node: DocumentNode
    private let parent: NodeDecoder?
    private let step: Step
    /// Set by the first keyed container.
    private(set) var members: MemberTable?
    /// Decoders handed out by nested containers; they end when this one does.
    private var nested: [NodeDecoder] = []

    init(_ node: DocumentNode, parent: NodeDecoder?, step: Step) {
        self.node = node
        self.parent = parent
        self.step = step
    }

    var userInfo: [CodingUserInfoKey: Any] { [:] }

    private var steps: [Step] {
        var reversed: [Step] = []
        var decoder: NodeDecoder? = self
        while let current = decoder {
            reversed.append(current.step)
            decoder = current.parent
        }
        return reversed.reversed()
    }

    var codingPath: [any CodingKey] {
        steps.compactMap { step in
            switch step {
            case .root: nil
            case .key(let key): DocumentKey(stringValue: key)
            case .index(let index): DocumentKey(index: index)
            }
        }
    }

    var documentPath: String { Self.text(steps) }

    private static func text(_ steps: [Step]) -> String {
        var text = ""
        for step in steps {
            switch step {
            case .root: break
            case .key(let key): text += (text.isEmpty ? "" : ".") + key.shortened
            case .index(let index): text += "[\(index)]"
            }
        }
        return text
    }

    func failure(_ message: String) -> DocumentError {
        DocumentError(message, path: documentPath, position: node.position)
    }

    // MARK: Decoding a whole value

    /// Decodes this decoder's value and then refuses members that were not asked for.
    func decode<T: Decodable>(_ type: T.Type) throws -> T {
        let value: T
        do {
            value = try T(from: self)
        } catch let error as DocumentError {
            throw error
        } catch let error as DecodingError {
            throw documentError(error)
        } catch {
            throw failure("\(error)")
        }
        try finish()
        return value
    }

    private func finish() throws(DocumentError) {
        if let members, let stranger = members.firstUnasked {
            let mend = NearestName.mend(stranger.key, among: members.knownKeys, noun: "key")
            throw DocumentError(
                "unknown key “\(stranger.key.shortened)”; \(mend)", path: documentPath,
                position: stranger.keyPosition ?? stranger.value.position ?? node.position)
        }
        for decoder in nested { try decoder.finish() }
    }

    /// Gives an error of a type's own `init(from:)` its place: the path may lead below this value.
    private func documentError(_ error: DecodingError) -> DocumentError {
        let context: DecodingError.Context
        switch error {
        case .dataCorrupted(let c), .keyNotFound(_, let c), .typeMismatch(_, let c), .valueNotFound(_, let c):
            context = c
        @unknown default: return failure("\(error)")
        }
        var steps = steps
        var place = node
        for key in context.codingPath.dropFirst(steps.count - 1) {
            if let index = key.intValue, case .array(let elements) = place.value {
                steps.append(.index(index))
                if elements.indices.contains(index) { place = elements[index] }
            } else {
                steps.append(.key(key.stringValue))
                if let member = place[key.stringValue] { place = member }
            }
        }
        return DocumentError(
            context.debugDescription, path: Self.text(steps), position: place.position ?? node.position)
    }

    // MARK: Children

    func child(_ node: DocumentNode, _ step: Step) -> NodeDecoder { NodeDecoder(node, parent: self, step: step) }

    func nestedChild(_ node: DocumentNode, _ step: Step) -> NodeDecoder {
        let decoder = child(node, step)
        nested.append(decoder)
        return decoder
    }

    // MARK: Containers

    func memberTable() throws(DocumentError) -> MemberTable {
        if let members { return members }
        guard case .object(let list) = node.value else { throw mismatch("an object") }
        let table = MemberTable(list)
        members = table
        return table
    }

    func mismatch(_ expected: String) -> DocumentError { failure("expected \(expected), found \(node.summary)") }

    func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        KeyedDecodingContainer(KeyedNodeContainer<Key>(decoder: self, table: try memberTable()))
    }

    func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
        guard case .array(let elements) = node.value else { throw mismatch("a list") }
        return UnkeyedNodeContainer(decoder: self, elements: elements)
    }

    func singleValueContainer() throws -> any SingleValueDecodingContainer { SingleNodeContainer(decoder: self) }
}

/// The members of one object and which of them have been asked for.
final class MemberTable {
    let list: [DocumentMember]
    private var asked: [Bool]
    private var absent: [String] = []
    /// Synthesised code asks in the order of declaration, and documents are mostly written in it.
    private var hint = 0
    /// Indices sorted by key; made for large objects on the first miss of the hint.
    private var sorted: [Int] = []

    init(_ list: [DocumentMember]) {
        self.list = list
        asked = [Bool](repeating: false, count: list.count)
    }

    /// The member's index; notes that the key is known.
    func ask(_ key: String) -> Int? {
        if hint < list.count, list[hint].key.hasSameBytes(as: key) {
            asked[hint] = true
            hint += 1
            return hint - 1
        }
        guard let index = find(key) else {
            if absent.last != key { absent.append(key) }
            return nil
        }
        asked[index] = true
        hint = index
        return index
    }

    private func find(_ key: String) -> Int? {
        if list.count <= 16 { return list.firstIndex { $0.key.hasSameBytes(as: key) } }
        if sorted.isEmpty { sorted = list.indices.sorted { list[$0].key.precedesInBytes(list[$1].key) } }
        var low = 0
        var high = sorted.count
        while low < high {
            let middle = (low + high) / 2
            if list[sorted[middle]].key.precedesInBytes(key) { low = middle + 1 } else { high = middle }
        }
        return low < sorted.count && list[sorted[low]].key.hasSameBytes(as: key) ? sorted[low] : nil
    }

    var firstUnasked: DocumentMember? { asked.firstIndex(of: false).map { list[$0] } }

    /// A member that nobody asked for yet and that looks like `key` misspelt.
    func misspelling(of key: String) -> DocumentMember? {
        let strangers = list.indices.filter { !asked[$0] }.map { list[$0] }
        guard let nearest = NearestName.of(key, among: strangers.map(\.key)) else { return nil }
        return strangers.first { $0.key.hasSameBytes(as: nearest) }
    }

    var knownKeys: [String] {
        var known: [String] = []
        for key in list.indices.filter({ asked[$0] }).map({ list[$0].key }) + absent where !known.contains(key) {
            known.append(key)
            if known.count == 64 { break }
        }
        return known
    }
}
