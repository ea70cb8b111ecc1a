/// Encodes values to a tree. Members come out sorted by the bytes of their keys, so that equal values give equal trees
/// even when a dictionary is among them.
public struct DocumentEncoder: Sendable {
    public init() {}

    /// Throws for a number that is not finite, an unsigned integer past 63 bits, a key written twice, or nothing written.
    public func encode<T: Encodable>(_ value: T) throws -> DocumentNode {
        try NodeEncoder(parent: nil, key: nil).node(of: value)
    }
}

/// The encoder of one value. A class, because its containers write into it after it has been handed out.
final class NodeEncoder: Encoder {
    enum Slot {
        case done(DocumentNode)
        case open(NodeEncoder)
    }
    private enum Shape { case unset, scalar, array, object }

    private let parent: NodeEncoder?
    private let key: (any CodingKey)?
    private var shape = Shape.unset
    private var keys: [String] = []
    private(set) var slots: [Slot] = []

    init(parent: NodeEncoder?, key: (any CodingKey)?) {
        self.parent = parent
        self.key = key
    }

    /// Made on demand: a path costs more than a scalar.
    var codingPath: [any CodingKey] { (parent?.codingPath ?? []) + (key.map { [$0] } ?? []) }
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func node<T: Encodable>(of value: T) throws -> DocumentNode {
        // Collections of text come through generic code.
        if T.self == String.self { return DocumentNode(.string(value as! String)) }
        if T.self == DocumentNode.self { return value as! DocumentNode }
        try value.encode(to: self)
        return try finished()
    }

    func finished() throws -> DocumentNode {
        let nodes = try slots.map { slot in
            switch slot {
            case .done(let node): node
            case .open(let encoder): try encoder.finished()
            }
        }
        switch shape {
        case .unset: throw failure("nothing was encoded")
        case .scalar: return nodes[nodes.count - 1]
        case .array: return DocumentNode(.array(nodes))
        case .object:
            let members = zip(keys, nodes).map { DocumentMember($0, $1) }.sortedByKey
            for (a, b) in zip(members, members.dropFirst()) where a.key.hasSameBytes(as: b.key) {
                throw failure("the key “\(a.key)” was written twice")
            }
            return DocumentNode(.object(members))
        }
    }

    func failure(_ message: String) -> EncodingError {
        .invalidValue(message, .init(codingPath: codingPath, debugDescription: message))
    }

    private func become(_ wanted: Shape) {
        precondition(shape == .unset || shape == wanted, "one value was encoded in two shapes")
        shape = wanted
    }

    func put(_ value: DocumentNode.Value) { put(.done(DocumentNode(value))) }

    func put(_ slot: Slot) {
        become(.scalar)
        slots.append(slot)
    }

    func append(_ slot: Slot) { slots.append(slot) }

    func set(_ slot: Slot, _ key: String) {
        keys.append(key)
        slots.append(slot)
    }

    func number(_ value: Double) throws -> DocumentNode.Value {
        guard value.isFinite else { throw failure("\(value) has no text in a document") }
        return .number(value)
    }

    func integer(_ value: some FixedWidthInteger) throws -> DocumentNode.Value {
        guard let number = Int64(exactly: value) else { throw failure("\(value) does not fit a document's integer") }
        return .integer(number)
    }

    func child(_ key: some CodingKey) -> NodeEncoder { NodeEncoder(parent: self, key: key) }

    func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
        become(.object)
        return KeyedEncodingContainer(KeyedNodeEncodingContainer(encoder: self))
    }

    func unkeyedContainer() -> any UnkeyedEncodingContainer {
        become(.array)
        return UnkeyedNodeEncodingContainer(encoder: self)
    }

    func singleValueContainer() -> any SingleValueEncodingContainer { SingleNodeEncodingContainer(encoder: self) }
}

private struct KeyedNodeEncodingContainer<Key: CodingKey>: KeyedEncodingContainerProtocol {
    let encoder: NodeEncoder

    var codingPath: [any CodingKey] { encoder.codingPath }

    private func set(_ value: DocumentNode.Value, _ key: Key) {
        encoder.set(.done(DocumentNode(value)), key.stringValue)
    }

    private func open(_ key: some CodingKey) -> NodeEncoder {
        let child = encoder.child(key)
        encoder.set(.open(child), key.stringValue)
        return child
    }

    mutating func encodeNil(forKey key: Key) throws { set(.null, key) }
    mutating func encode(_ value: Bool, forKey key: Key) throws { set(.bool(value), key) }
    mutating func encode(_ value: String, forKey key: Key) throws { set(.string(value), key) }
    mutating func encode(_ value: Double, forKey key: Key) throws { try set(encoder.number(value), key) }
    mutating func encode(_ value: Float, forKey key: Key) throws { try set(encoder.number(Double(value)), key) }
    mutating func encode(_ value: Int, forKey key: Key) throws { try set(encoder.integer(value), key) }
    mutating func encode(_ value: Int8, forKey key: Key) throws { try set(encoder.integer(value), key) }
    mutating func encode(_ value: Int16, forKey key: Key) throws { try set(encoder.integer(value), key) }
    mutating func encode(_ value: Int32, forKey key: Key) throws { try set(encoder.integer(value), key) }
    mutating func encode(_ value: Int64, forKey key: Key) throws { try set(encoder.integer(value), key) }
    mutating func encode(_ value: UInt, forKey key: Key) throws { try set(encoder.integer(value), key) }
    mutating func encode(_ value: UInt8, forKey key: Key) throws { try set(encoder.integer(value), key) }
    mutating func encode(_ value: UInt16, forKey key: Key) throws { try set(encoder.integer(value), key) }
    mutating func encode(_ value: UInt32, forKey key: Key) throws { try set(encoder.integer(value), key) }
    mutating func encode(_ value: UInt64, forKey key: Key) throws { try set(encoder.integer(value), key) }
    mutating func encode<T: Encodable>(_ value: T, forKey key: Key) throws {
        encoder.set(.done(try encoder.child(key).node(of: value)), key.stringValue)
    }

    mutating func nestedContainer<NestedKey: CodingKey>(
        keyedBy keyType: NestedKey.Type, forKey key: Key
    ) -> KeyedEncodingContainer<NestedKey> { open(key).container(keyedBy: keyType) }

    mutating func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer {
        open(key).unkeyedContainer()
    }

    mutating func superEncoder() -> any Encoder { open(DocumentKey(stringValue: "super")) }
    mutating func superEncoder(forKey key: Key) -> any Encoder { open(key) }
}

private struct UnkeyedNodeEncodingContainer: UnkeyedEncodingContainer {
    let encoder: NodeEncoder

    var codingPath: [any CodingKey] { encoder.codingPath }
    var count: Int { encoder.slots.count }

    private func append(_ value: DocumentNode.Value) { encoder.append(.done(DocumentNode(value))) }

    private func open() -> NodeEncoder {
        let child = encoder.child(DocumentKey(index: count))
        encoder.append(.open(child))
        return child
    }

    mutating func encodeNil() throws { append(.null) }
    mutating func encode(_ value: Bool) throws { append(.bool(value)) }
    mutating func encode(_ value: String) throws { append(.string(value)) }
    mutating func encode(_ value: Double) throws { try append(encoder.number(value)) }
    mutating func encode(_ value: Float) throws { try append(encoder.number(Double(value))) }
    mutating func encode(_ value: Int) throws { try append(encoder.integer(value)) }
    mutating func encode(_ value: Int8) throws { try append(encoder.integer(value)) }
    mutating func encode(_ value: Int16) throws { try append(encoder.integer(value)) }
    mutating func encode(_ value: Int32) throws { try append(encoder.integer(value)) }
    mutating func encode(_ value: Int64) throws { try append(encoder.integer(value)) }
    mutating func encode(_ value: UInt) throws { try append(encoder.integer(value)) }
    mutating func encode(_ value: UInt8) throws { try append(encoder.integer(value)) }
    mutating func encode(_ value: UInt16) throws { try append(encoder.integer(value)) }
    mutating func encode(_ value: UInt32) throws { try append(encoder.integer(value)) }
    mutating func encode(_ value: UInt64) throws { try append(encoder.integer(value)) }
    mutating func encode<T: Encodable>(_ value: T) throws {
        encoder.append(.done(try encoder.child(DocumentKey(index: count)).node(of: value)))
    }

    mutating func nestedContainer<NestedKey: CodingKey>(
        keyedBy keyType: NestedKey.Type
    ) -> KeyedEncodingContainer<NestedKey> { open().container(keyedBy: keyType) }

    mutating func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer { open().unkeyedContainer() }
    mutating func superEncoder() -> any Encoder { open() }
}

private struct SingleNodeEncodingContainer: SingleValueEncodingContainer {
    let encoder: NodeEncoder

    var codingPath: [any CodingKey] { encoder.codingPath }

    mutating func encodeNil() throws { encoder.put(.null) }
    mutating func encode(_ value: Bool) throws { encoder.put(.bool(value)) }
    mutating func encode(_ value: String) throws { encoder.put(.string(value)) }
    mutating func encode(_ value: Double) throws { try encoder.put(encoder.number(value)) }
    mutating func encode(_ value: Float) throws { try encoder.put(encoder.number(Double(value))) }
    mutating func encode(_ value: Int) throws { try encoder.put(encoder.integer(value)) }
    mutating func encode(_ value: Int8) throws { try encoder.put(encoder.integer(value)) }
    mutating func encode(_ value: Int16) throws { try encoder.put(encoder.integer(value)) }
    mutating func encode(_ value: Int32) throws { try encoder.put(encoder.integer(value)) }
    mutating func encode(_ value: Int64) throws { try encoder.put(encoder.integer(value)) }
    mutating func encode(_ value: UInt) throws { try encoder.put(encoder.integer(value)) }
    mutating func encode(_ value: UInt8) throws { try encoder.put(encoder.integer(value)) }
    mutating func encode(_ value: UInt16) throws { try encoder.put(encoder.integer(value)) }
    mutating func encode(_ value: UInt32) throws { try encoder.put(encoder.integer(value)) }
    mutating func encode(_ value: UInt64) throws { try encoder.put(encoder.integer(value)) }
    mutating func encode<T: Encodable>(_ value: T) throws { try value.encode(to: encoder) }
}
