/// A document whose members are mostly whole numbers and plain texts, and that travels so often that `Codable` would cost more than all else
/// about it. It is written and read directly; what it can't do so goes the long way, so that texts and refusals are the
/// same (`PlainDocumentTests` compares).
public protocol PlainDocument: Codable {
    /// Adds the members, sorted by key. Returns false, and what was added does not count, when one of them is not plain.
    func write(to members: inout PlainWriter) -> Bool
    /// Nil when the members are not just the plain ones.
    init?(plain members: PlainMembers)
}

/// Canonical text of an object of whole numbers and plain texts.
public struct PlainWriter {
    private(set) var bytes: [UInt8] = [0x7B]

    init() { bytes.reserveCapacity(160) }

    /// The key is plain ASCII that needs no escape, and comes after those before it.
    public mutating func integer(_ key: StaticString, _ value: Int64) {
        begin(key)
        append(value)
    }

    /// The text, too, needs no escape: an identifier, base64url.
    public mutating func text(_ key: StaticString, _ value: String) {
        begin(key)
        bytes.append(0x22)
        bytes.append(contentsOf: value.utf8)
        bytes.append(0x22)
    }

    private mutating func begin(_ key: StaticString) {
        if bytes.count > 1 { bytes.append(0x2C) }
        bytes.append(0x22)
        key.withUTF8Buffer { bytes.append(contentsOf: $0) }
        bytes.append(0x22)
        bytes.append(0x3A)
    }

    private mutating func append(_ value: Int64) {
        if value < 0 { bytes.append(0x2D) }
        var rest = value.magnitude
        let start = bytes.count
        repeat {
            bytes.append(0x30 + UInt8(truncatingIfNeeded: rest % 10))
            rest /= 10
        } while rest > 0
        bytes[start...].reverse()
    }

    consuming func finish() -> [UInt8] {
        bytes.append(0x7D)
        return bytes
    }
}

/// The members of an object that was read.
public struct PlainMembers {
    private let members: [DocumentMember]

    init(_ members: [DocumentMember]) { self.members = members }

    public var count: Int { members.count }

    /// Nil when there is no such member, or it is no whole number.
    public func integer(_ key: String) -> Int64? {
        for member in members where member.key == key { return member.value.integer }
        return nil
    }

    /// Nil when there is no such member, or it is no text.
    public func text(_ key: String) -> String? {
        for member in members where member.key == key { return member.value.string }
        return nil
    }
}

extension JSON {
    public static func encode<T: PlainDocument>(_ value: T) throws -> [UInt8] {
        var writer = PlainWriter()
        return value.write(to: &writer) ? writer.finish() : try canonical(DocumentEncoder().encode(value))
    }

    public static func decode<T: PlainDocument>(
        _ type: T.Type, from bytes: [UInt8], limits: DocumentLimits = .default
    ) throws(DocumentError) -> T {
        let node = try parse(bytes, limits: limits)
        if case .object(let members) = node.value, let value = T(plain: PlainMembers(members)) { return value }
        return try DocumentDecoder().decode(type, from: node)
    }
}
