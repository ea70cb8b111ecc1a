struct KeyedNodeContainer<Key: CodingKey>: KeyedDecodingContainerProtocol {
    let decoder: NodeDecoder
    let table: MemberTable

    var codingPath: [any CodingKey] { decoder.codingPath }
    var allKeys: [Key] { table.list.compactMap { Key(stringValue: $0.key) } }

    func contains(_ key: Key) -> Bool { table.ask(key.stringValue) != nil }

    private func value(_ key: Key) throws(DocumentError) -> DocumentNode {
        guard let index = table.ask(key.stringValue) else { throw missing(key.stringValue) }
        return table.list[index].value
    }

    private func missing(_ key: String) -> DocumentError {
        if let stranger = table.misspelling(of: key) {
            return DocumentError(
                "unknown key “\(stranger.key.shortened)”; did you mean “\(key)”?", path: decoder.documentPath,
                position: stranger.keyPosition ?? decoder.node.position)
        }
        return decoder.failure("the key “\(key)” is missing")
    }

    private func reader(_ key: Key) throws(DocumentError) -> ScalarReader {
        let node = try value(key)
        let decoder = decoder
        return ScalarReader(node: node) { decoder.child(node, .key(key.stringValue)).failure($0) }
    }

    func decodeNil(forKey key: Key) throws -> Bool { try value(key).value == .null }
    func decode(_ type: Bool.Type, forKey key: Key) throws -> Bool { try reader(key).bool() }
    func decode(_ type: String.Type, forKey key: Key) throws -> String { try reader(key).string() }
    func decode(_ type: Double.Type, forKey key: Key) throws -> Double { try reader(key).double() }
    func decode(_ type: Float.Type, forKey key: Key) throws -> Float { try reader(key).float() }
    func decode(_ type: Int.Type, forKey key: Key) throws -> Int { try reader(key).integer(type) }
    func decode(_ type: Int8.Type, forKey key: Key) throws -> Int8 { try reader(key).integer(type) }
    func decode(_ type: Int16.Type, forKey key: Key) throws -> Int16 { try reader(key).integer(type) }
    func decode(_ type: Int32.Type, forKey key: Key) throws -> Int32 { try reader(key).integer(type) }
    func decode(_ type: Int64.Type, forKey key: Key) throws -> Int64 { try reader(key).integer(type) }
    func decode(_ type: UInt.Type, forKey key: Key) throws -> UInt { try reader(key).integer(type) }
    func decode(_ type: UInt8.Type, forKey key: Key) throws -> UInt8 { try reader(key).integer(type) }
    func decode(_ type: UInt16.Type, forKey key: Key) throws -> UInt16 { try reader(key).integer(type) }
    func decode(_ type: UInt32.Type, forKey key: Key) throws -> UInt32 { try reader(key).integer(type) }
    func decode(_ type: UInt64.Type, forKey key: Key) throws -> UInt64 { try reader(key).integer(type) }
    func decode<T: Decodable>(_ type: T.Type, forKey key: Key) throws -> T {
        try decoder.child(value(key), .key(key.stringValue)).decode(type)
    }

    func nestedContainer<NestedKey: CodingKey>(
        keyedBy type: NestedKey.Type, forKey key: Key
    ) throws -> KeyedDecodingContainer<NestedKey> {
        try decoder.nestedChild(value(key), .key(key.stringValue)).container(keyedBy: type)
    }

    func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer {
        try decoder.nestedChild(value(key), .key(key.stringValue)).unkeyedContainer()
    }

    func superDecoder() throws -> any Decoder {
        guard let index = table.ask("super") else { throw missing("super") }
        return decoder.nestedChild(table.list[index].value, .key("super"))
    }

    func superDecoder(forKey key: Key) throws -> any Decoder {
        decoder.nestedChild(try value(key), .key(key.stringValue))
    }
}

struct UnkeyedNodeContainer: UnkeyedDecodingContainer {
    let decoder: NodeDecoder
    let elements: [DocumentNode]
    private(set) var currentIndex = 0

    init(decoder: NodeDecoder, elements: [DocumentNode]) {
        self.decoder = decoder
        self.elements = elements
    }

    var codingPath: [any CodingKey] { decoder.codingPath }
    var count: Int? { elements.count }
    var isAtEnd: Bool { currentIndex == elements.count }

    private mutating func next() throws(DocumentError) -> (DocumentNode, Int) {
        guard currentIndex < elements.count else {
            throw decoder.failure("the list has \(elements.count) elements; one more was expected")
        }
        currentIndex += 1
        return (elements[currentIndex - 1], currentIndex - 1)
    }

    private mutating func reader() throws(DocumentError) -> ScalarReader {
        let (node, index) = try next()
        let decoder = decoder
        return ScalarReader(node: node) { decoder.child(node, .index(index)).failure($0) }
    }

    mutating func decodeNil() throws -> Bool {
        guard currentIndex < elements.count, elements[currentIndex].value == .null else { return false }
        currentIndex += 1
        return true
    }

    mutating func decode(_ type: Bool.Type) throws -> Bool { try reader().bool() }
    mutating func decode(_ type: String.Type) throws -> String { try reader().string() }
    mutating func decode(_ type: Double.Type) throws -> Double { try reader().double() }
    mutating func decode(_ type: Float.Type) throws -> Float { try reader().float() }
    mutating func decode(_ type: Int.Type) throws -> Int { try reader().integer(type) }
    mutating func decode(_ type: Int8.Type) throws -> Int8 { try reader().integer(type) }
    mutating func decode(_ type: Int16.Type) throws -> Int16 { try reader().integer(type) }
    mutating func decode(_ type: Int32.Type) throws -> Int32 { try reader().integer(type) }
    mutating func decode(_ type: Int64.Type) throws -> Int64 { try reader().integer(type) }
    mutating func decode(_ type: UInt.Type) throws -> UInt { try reader().integer(type) }
    mutating func decode(_ type: UInt8.Type) throws -> UInt8 { try reader().integer(type) }
    mutating func decode(_ type: UInt16.Type) throws -> UInt16 { try reader().integer(type) }
    mutating func decode(_ type: UInt32.Type) throws -> UInt32 { try reader().integer(type) }
    mutating func decode(_ type: UInt64.Type) throws -> UInt64 { try reader().integer(type) }
    mutating func decode<T: Decodable>(_ type: T.Type) throws -> T {
        // Arrays of text come through here, not through the overload.
        if T.self == String.self { return try reader().string() as! T }
        let (node, index) = try next()
        return try decoder.child(node, .index(index)).decode(type)
    }

    mutating func nestedContainer<NestedKey: CodingKey>(
        keyedBy type: NestedKey.Type
    ) throws -> KeyedDecodingContainer<NestedKey> {
        let (node, index) = try next()
        return try decoder.nestedChild(node, .index(index)).container(keyedBy: type)
    }

    mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer {
        let (node, index) = try next()
        return try decoder.nestedChild(node, .index(index)).unkeyedContainer()
    }

    mutating func superDecoder() throws -> any Decoder {
        let (node, index) = try next()
        return decoder.nestedChild(node, .index(index))
    }
}

struct SingleNodeContainer: SingleValueDecodingContainer {
    let decoder: NodeDecoder

    var codingPath: [any CodingKey] { decoder.codingPath }

    private func reader() -> ScalarReader { ScalarReader(node: decoder.node) { decoder.failure($0) } }

    func decodeNil() -> Bool { decoder.node.value == .null }
    func decode(_ type: Bool.Type) throws -> Bool { try reader().bool() }
    func decode(_ type: String.Type) throws -> String { try reader().string() }
    func decode(_ type: Double.Type) throws -> Double { try reader().double() }
    func decode(_ type: Float.Type) throws -> Float { try reader().float() }
    func decode(_ type: Int.Type) throws -> Int { try reader().integer(type) }
    func decode(_ type: Int8.Type) throws -> Int8 { try reader().integer(type) }
    func decode(_ type: Int16.Type) throws -> Int16 { try reader().integer(type) }
    func decode(_ type: Int32.Type) throws -> Int32 { try reader().integer(type) }
    func decode(_ type: Int64.Type) throws -> Int64 { try reader().integer(type) }
    func decode(_ type: UInt.Type) throws -> UInt { try reader().integer(type) }
    func decode(_ type: UInt8.Type) throws -> UInt8 { try reader().integer(type) }
    func decode(_ type: UInt16.Type) throws -> UInt16 { try reader().integer(type) }
    func decode(_ type: UInt32.Type) throws -> UInt32 { try reader().integer(type) }
    func decode(_ type: UInt64.Type) throws -> UInt64 { try reader().integer(type) }
    func decode<T: Decodable>(_ type: T.Type) throws -> T {
        // The same value by another type: its keys count for both.
        try T(from: decoder)
    }
}
