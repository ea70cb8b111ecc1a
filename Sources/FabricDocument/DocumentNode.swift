/// Where a value begins in its source. Lines and columns count from 1; columns count bytes.
public struct DocumentPosition: Hashable, Sendable, CustomStringConvertible {
    // 32 bits each keep a node small; inputs are bounded well below 4 GiB by `DocumentLimits`.
    private let storedLine: UInt32
    private let storedColumn: UInt32

    public init(line: Int, column: Int) {
        storedLine = UInt32(clamping: line)
        storedColumn = UInt32(clamping: column)
    }

    public var line: Int { Int(storedLine) }
    public var column: Int { Int(storedColumn) }
    public var description: String { "line \(line), column \(column)" }
}

/// One value of a document: the form between text (JSON, YAML) and typed values. Members keep the source's order.
///
/// Two nodes are equal when their values are; positions do not count, the order of members does.
public struct DocumentNode: Sendable, Hashable {
    public enum Value: Sendable, Hashable {
        case null
        case bool(Bool)
        /// A number without fraction or exponent that fits 64 bits.
        case integer(Int64)
        /// Any other finite number.
        case number(Double)
        case string(String)
        case array([DocumentNode])
        case object([DocumentMember])
    }

    public var value: Value
    public var position: DocumentPosition?

    public init(_ value: Value, position: DocumentPosition? = nil) {
        self.value = value
        self.position = position
    }

    public static func == (a: DocumentNode, b: DocumentNode) -> Bool { a.value == b.value }
    public func hash(into hasher: inout Hasher) { hasher.combine(value) }

    /// The first member with this key; nil for anything but an object.
    public subscript(key: String) -> DocumentNode? {
        guard case .object(let members) = value else { return nil }
        return members.first { $0.key.hasSameBytes(as: key) }?.value
    }

    public var string: String? { if case .string(let text) = value { text } else { nil } }
    public var integer: Int64? { if case .integer(let number) = value { number } else { nil } }
    public var bool: Bool? { if case .bool(let flag) = value { flag } else { nil } }
    public var array: [DocumentNode]? { if case .array(let elements) = value { elements } else { nil } }
    public var object: [DocumentMember]? { if case .object(let members) = value { members } else { nil } }

    /// The value in a few words for an error: `the integer 5`, `an object`.
    public var summary: String {
        switch value {
        case .null: "nothing (null)"
        case .bool(let flag): "\(flag)"
        case .integer(let number): "the integer \(number)"
        case .number(let number): "the number \(number)"
        case .string(let text): "the text “\(text.shortened)”"
        case .array: "a list"
        case .object: "an object"
        }
    }
}

/// One key and value of an object.
public struct DocumentMember: Sendable, Hashable {
    public var key: String
    public var keyPosition: DocumentPosition?
    public var value: DocumentNode

    public init(_ key: String, _ value: DocumentNode, keyPosition: DocumentPosition? = nil) {
        self.key = key
        self.keyPosition = keyPosition
        self.value = value
    }

    public static func == (a: DocumentMember, b: DocumentMember) -> Bool {
        a.key.hasSameBytes(as: b.key) && a.value == b.value
    }
    public func hash(into hasher: inout Hasher) {
        hasher.combine(key)
        hasher.combine(value)
    }
}

/// What a parser accepts at most. Past a limit it refuses the document, naming the limit.
public struct DocumentLimits: Hashable, Sendable {
    /// The whole input, in bytes; checked before anything is read.
    public var maximumBytes: Int
    /// Arrays and objects within one another. `[[1]]` has depth 2.
    public var maximumDepth: Int
    /// Values in all, containers included.
    public var maximumNodes: Int

    public init(maximumBytes: Int = 1 << 20, maximumDepth: Int = 64, maximumNodes: Int = 200_000) {
        self.maximumBytes = maximumBytes
        self.maximumDepth = maximumDepth
        self.maximumNodes = maximumNodes
    }

    /// 1 MiB, 64 levels, 200,000 values.
    public static let `default` = DocumentLimits()
}

extension String {
    /// Equality of the bytes. Swift's `==` also takes different spellings of an accented letter as equal; keys must not.
    func hasSameBytes(as other: String) -> Bool {
        // `==` is the fast way to say no, and for ASCII to say yes.
        guard self == other else { return false }
        return utf8.count == other.utf8.count && (utf8.count < 2 || utf8.elementsEqual(other.utf8))
    }

    func precedesInBytes(_ other: String) -> Bool { utf8.lexicographicallyPrecedes(other.utf8) }

    /// At most 40 characters, for errors: what came from outside is never echoed whole.
    var shortened: String { unicodeScalars.count <= 40 ? self : String(self.prefix(40)) + "…" }
}
