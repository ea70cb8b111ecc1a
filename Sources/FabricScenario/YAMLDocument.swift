public import FabricDocument
internal import Yams

/// Reads one YAML document into a tree with positions.
///
/// The subset that a person needs and a program can trust: no anchors, aliases, tags or merge keys; keys are text and
/// stand once; plain scalars are `null`, `true`, `false`, decimal numbers, and text otherwise (`no` is text, `010` too).
public enum YAMLDocument {
    public static func parse(
        _ bytes: [UInt8], limits: DocumentLimits = ScenarioLimits.document
    ) throws(DocumentError) -> DocumentNode {
        guard bytes.count <= limits.maximumBytes else {
            throw DocumentError("the file has \(bytes.count) bytes; the limit is \(limits.maximumBytes)")
        }
        // What some editors put in front of UTF-8.
        let bytes = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? Array(bytes.dropFirst(3)) : bytes
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw DocumentError("the file is not valid UTF-8; save it as UTF-8", position: invalidPlace(bytes))
        }
        if let index = bytes.firstIndex(where: isForbiddenControl) {
            throw DocumentError(
                "a control character (0x\(String(bytes[index], radix: 16))) stands here; remove it",
                position: place(of: index, in: bytes))
        }
        try refuseAliases(bytes)
        do {
            // Anchors are weak references into the parser, which therefore outlives the conversion.
            let parser = try Parser(yaml: text, resolver: .basic, encoding: .utf8)
            var converter = YAMLConverter(limits: limits)
            guard let root = try parser.singleRoot() else {
                throw DocumentError(
                    "the file is empty; a scenario begins with “scenario: NAME”", position: place(of: 0, in: bytes))
            }
            return try withExtendedLifetime(parser) { try converter.convert(root, depth: 0) }
        } catch let error as DocumentError {
            throw error
        } catch let error as YamlError {
            throw documentError(error)
        } catch {
            throw DocumentError("\(error)")
        }
    }

    /// Whether these characters, without quotes, are read as this text and not as a number or a word with a meaning.
    static func isPlainText(_ text: String) -> Bool { YAMLConverter.plain(text) == .string(text) }

    /// Aliases multiply a small file into an endless tree while the parser still reads it, so they are looked for in the
    /// bytes: an alias needs `*name` and an anchor `&name` of one name.
    private static func refuseAliases(_ bytes: [UInt8]) throws(DocumentError) {
        var anchors: Set<ArraySlice<UInt8>> = []
        for index in bytes.indices where bytes[index] == UInt8(ascii: "&") {
            let name = bytes[(index + 1)...].prefix(while: isNameByte)
            if !name.isEmpty { anchors.insert(name) }
        }
        if anchors.isEmpty { return }
        for index in bytes.indices where bytes[index] == UInt8(ascii: "*") {
            let name = bytes[(index + 1)...].prefix(while: isNameByte)
            if anchors.contains(name) {
                throw DocumentError(
                    "anchors and aliases (“&”, “*”) are not supported; write the value out",
                    position: place(of: index, in: bytes))
            }
        }
    }

    /// YAML's printable characters leave these out; the library's refusal would not say where.
    private static func isForbiddenControl(_ byte: UInt8) -> Bool {
        byte < 0x20 && byte != 0x09 && byte != 0x0A && byte != 0x0D || byte == 0x7F
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 48...57, 65...90, 97...122, 45, 95: true
        default: false
        }
    }

    private static func invalidPlace(_ bytes: [UInt8]) -> DocumentPosition {
        let repaired = Array(String(decoding: bytes, as: UTF8.self).utf8)
        let first = zip(bytes, repaired).enumerated().first { $0.element.0 != $0.element.1 }?.offset ?? bytes.count
        return place(of: first, in: bytes)
    }

    private static func place(of index: Int, in bytes: [UInt8]) -> DocumentPosition {
        let before = bytes[..<min(index, bytes.count)]
        let line = before.count { $0 == 0x0A } + 1
        let start = before.lastIndex(of: 0x0A).map { $0 + 1 } ?? 0
        return DocumentPosition(line: line, column: index - start + 1)
    }

    private static func documentError(_ error: YamlError) -> DocumentError {
        func sentence(_ context: YamlError.Context?, _ problem: String) -> String {
            "not valid YAML: \(problem)" + (context.map { " (\($0.text))" } ?? "")
        }
        switch error {
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
            .composer(let context, let problem, let mark, _):
            return DocumentError(sentence(context, problem), position: mark.position)
        case .duplicatedKeysInMapping(let keys, let context):
            return DocumentError(
                "the key “\(keys.first?.prefix(40) ?? "")” stands twice in one object", position: context.mark.position)
        case .reader(let problem, _, _, _):
            return DocumentError("not valid YAML: \(problem)")
        default: return DocumentError("not valid YAML")
        }
    }
}

extension Mark {
    fileprivate var position: DocumentPosition { DocumentPosition(line: line, column: column) }
}

/// Turns the YAML library's nodes into a tree, counting as it goes.
private struct YAMLConverter {
    let limits: DocumentLimits
    private var nodes = 0

    init(limits: DocumentLimits) { self.limits = limits }

    mutating func convert(_ node: Node, depth: Int) throws(DocumentError) -> DocumentNode {
        let position = node.mark?.position
        func refused(_ message: String) -> DocumentError { DocumentError(message, position: position) }
        nodes += 1
        if nodes > limits.maximumNodes { throw refused("more than \(limits.maximumNodes) values") }
        if depth > limits.maximumDepth { throw refused("deeper than \(limits.maximumDepth) levels") }
        if node.anchor != nil {
            throw refused("anchors and aliases (“&”, “*”) are not supported; write the value out")
        }
        switch node {
        case .scalar(let scalar):
            try refuseTag(scalar.tag, position)
            let value = scalar.style == .plain ? YAMLConverter.plain(scalar.string) : .string(scalar.string)
            return DocumentNode(value, position: position)
        case .sequence(let sequence):
            try refuseTag(sequence.tag, position)
            var elements: [DocumentNode] = []
            for element in sequence { elements.append(try convert(element, depth: depth + 1)) }
            return DocumentNode(.array(elements), position: position)
        case .mapping(let mapping):
            try refuseTag(mapping.tag, position)
            var members: [DocumentMember] = []
            for (key, value) in mapping {
                guard case .scalar(let scalar) = key else { throw refused("a key must be text") }
                try refuseTag(scalar.tag, scalar.mark?.position)
                if scalar.anchor != nil { throw refused("anchors are not supported; write the value out") }
                if scalar.string == "<<" { throw refused("merge keys (“<<”) are not supported; write the values out") }
                members.append(
                    DocumentMember(
                        scalar.string, try convert(value, depth: depth + 1), keyPosition: scalar.mark?.position))
            }
            return DocumentNode(.object(members), position: position)
        case .alias: throw refused("anchors and aliases (“&”, “*”) are not supported; write the value out")
        }
    }

    private func refuseTag(_ tag: Tag, _ position: DocumentPosition?) throws(DocumentError) {
        let name = tag.description
        let known: [Tag.Name] = [.implicit, .str, .seq, .map]
        if !known.contains(where: { $0.rawValue == name }) {
            throw DocumentError("the tag “\(name.prefix(40))” is not supported; leave it out", position: position)
        }
    }

    /// JSON's view of a plain scalar; YAML 1.1's `yes`, `0x10`, `1:30` and `1_000` are text.
    static func plain(_ text: String) -> DocumentNode.Value {
        switch text {
        case "", "null", "~": return .null
        case "true": return .bool(true)
        case "false": return .bool(false)
        default: break
        }
        guard let first = text.utf8.first, first == 0x2D || (0x30...0x39).contains(first) else { return .string(text) }
        guard let node = try? JSON.parse(Array(text.utf8)) else { return .string(text) }
        switch node.value {
        case .integer, .number: return node.value
        default: return .string(text)
        }
    }
}
