/// JSON, strictly: RFC 8259 within the bounds of I-JSON (RFC 7493).
///
/// Refused beyond what RFC 8259 refuses: duplicate keys, a byte order mark, invalid UTF-8, lone surrogates and
/// noncharacters, numbers that do not fit a double, and what passes `DocumentLimits`. An integer that does not fit 64 bits
/// is read as a double, which a type that asks for an integer refuses.
public enum JSON {
    /// The canonical text: members sorted by the bytes of their keys, no white space, the shortest escapes, numbers as
    /// RFC 8785 writes them (integers keep all their 64 bits). Equal values give equal bytes.
    public static func encode<T: Encodable>(_ value: T) throws -> [UInt8] {
        try canonical(DocumentEncoder().encode(value))
    }

    public static func decode<T: Decodable>(
        _ type: T.Type, from bytes: [UInt8], limits: DocumentLimits = .default
    ) throws(DocumentError) -> T {
        try DocumentDecoder().decode(type, from: parse(bytes, limits: limits))
    }

    public static func parse(_ bytes: [UInt8], limits: DocumentLimits = .default) throws(DocumentError) -> DocumentNode
    {
        guard bytes.count <= limits.maximumBytes else {
            throw DocumentError("the document has \(bytes.count) bytes; the limit is \(limits.maximumBytes)")
        }
        // A closure with typed throws keeps the pointer's scope and the error's type.
        let result: Result<DocumentNode, DocumentError> = bytes.withUnsafeBufferPointer { buffer in
            var parser = JSONParser(buffer, limits: limits)
            do throws(DocumentError) {
                return .success(try parser.parseDocument())
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    /// The canonical text of a tree. Throws for a number that is not finite and for a duplicate key.
    public static func canonical(_ node: DocumentNode) throws(DocumentError) -> [UInt8] {
        var writer = JSONWriter()
        try writer.write(node)
        return writer.bytes
    }

    /// Text for people: two spaces a level, members in the tree's order, a line feed at the end.
    public static func pretty(_ node: DocumentNode) throws(DocumentError) -> [UInt8] {
        var writer = JSONWriter()
        try writer.writePretty(node, level: 0)
        writer.bytes.append(0x0A)
        return writer.bytes
    }

    /// Text for people; members are sorted by key.
    public static func pretty<T: Encodable>(_ value: T) throws -> [UInt8] {
        try pretty(DocumentEncoder().encode(value))
    }
}
