public import FabricDocument

/// What a scenario file may be at most.
public enum ScenarioLimits {
    /// Hosts check a file's size against this before they read it.
    public static let maximumFileBytes = 1 << 20
    public static let document = DocumentLimits(maximumBytes: maximumFileBytes, maximumDepth: 32, maximumNodes: 100_000)
    public static let maximumPlaces = 100
    public static let maximumNodes = 10_000
    /// Steps after `every` and `over` are expanded.
    public static let maximumSteps = 100_000
    /// Steps of one entry times the world's nodes.
    public static let maximumStepNodes = 20_000_000
    /// Nodes that all selectors of a file name together, each counted as often as it is named.
    public static let maximumSelectedNodes = 20_000_000
    /// Routing domains of a group or a token.
    public static let maximumDomains = 16
    public static let maximumExpectations = 1_000
    /// Pairs of one flow.
    public static let maximumFlowPairs = 1_000
    public static let maximumNATs = 10_000
    /// NATs behind NATs.
    public static let maximumNATDepth = 8
    /// Partitions in force at once.
    public static let maximumPartitions = 1_000
    /// Problems that are reported at once.
    public static let maximumProblems = 20
}

/// Why a scenario file was refused: every problem found, each with its place and mend.
public struct ScenarioError: Error, Hashable, Sendable, CustomStringConvertible {
    public var file: String
    /// Never empty; in the file's order as far as places are known.
    public var problems: [DocumentError]

    public init(file: String, problems: [DocumentError]) {
        self.file = file
        self.problems = problems
    }

    /// One line a problem: `two-sites.yaml:12:5: unknown key “durration”; did you mean “duration”?`
    public var description: String {
        problems.map { problem in
            let place = [problem.line, problem.column].compactMap { $0 }.map { ":\($0)" }.joined()
            let path = problem.path.isEmpty ? "" : "\(problem.path): "
            return Self.visible("\(file)\(place): \(path)\(problem.message)")
        }.joined(separator: "\n")
    }

    /// A terminal shows what the file says, and does not obey it: control characters, and those that turn the direction of
    /// writing, are replaced.
    private static func visible(_ text: String) -> String {
        var shown = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            switch scalar.value {
            case 0..<0x20, 0x7F..<0xA0, 0x2028...0x202E, 0x2066...0x2069: shown.append("\u{FFFD}")
            default: shown.append(scalar)
            }
        }
        return String(shown)
    }
}

/// A decoded value that remembers where it stands, for what is checked after decoding.
struct Located<Value: Decodable & Sendable>: Decodable, Sendable {
    var value: Value
    var position: DocumentPosition?
    var path: String

    init(from decoder: any Decoder) throws {
        let source = decoder as? any DocumentSource
        position = source?.node.position
        path = source?.documentPath ?? ""
        value = try Value(from: decoder)
    }

    private init(value: Value, position: DocumentPosition?, path: String) {
        self.value = value
        self.position = position
        self.path = path
    }

    func map<Other>(_ transform: (Value) -> Other) -> Located<Other> {
        Located<Other>(value: transform(value), position: position, path: path)
    }

    func problem(_ message: String) -> DocumentError { DocumentError(message, path: path, position: position) }
}

/// An object whose keys are names: order and places are kept.
struct NamedList<Value: Decodable & Sendable>: Decodable, Sendable {
    struct Entry: Sendable {
        var name: String
        var position: DocumentPosition?
        var value: Value
    }
    var entries: [Entry] = []

    private struct Name: CodingKey {
        var stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    init(from decoder: any Decoder) throws {
        let members = (decoder as? any DocumentSource)?.node.object ?? []
        let container = try decoder.container(keyedBy: Name.self)
        for member in members {
            let value = try container.decode(Value.self, forKey: Name(stringValue: member.key))
            entries.append(Entry(name: member.key, position: member.keyPosition, value: value))
        }
    }
}

/// An object that does exactly one of several things, the key saying which.
enum SoleKey {
    /// The one key of `Key` that is present. `others` are the keys that may stand beside it.
    static func find<Key: CodingKey & CaseIterable>(
        _ container: KeyedDecodingContainer<Key>, _ decoder: any Decoder, beside others: [String], noun: String
    ) throws -> Key {
        let present = Key.allCases.filter { container.contains($0) }
        if let first = present.first, present.count == 1 { return first }
        let source = decoder as? any DocumentSource
        let known = Key.allCases.map(\.stringValue)
        func refused(_ message: String, _ position: DocumentPosition?) -> DocumentError {
            DocumentError(message, path: source?.documentPath ?? "", position: position ?? source?.node.position)
        }
        if present.count > 1 {
            let names = present.map { "“\($0.stringValue)”" }.joined(separator: " and ")
            throw refused("one \(noun) has one meaning, but \(names) stand here; split it", nil)
        }
        for member in source?.node.object ?? [] where !others.contains(member.key) {
            let mend = NearestName.mend(member.key, among: known + others, noun: "key")
            throw refused("unknown key “\(member.key.prefix(40))”; \(mend)", member.keyPosition)
        }
        throw refused("this \(noun) says nothing; it needs one of: \(known.joined(separator: ", "))", nil)
    }
}
