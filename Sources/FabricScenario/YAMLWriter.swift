public import FabricDocument

/// Writes a tree as YAML that `YAMLDocument` reads back to the same tree: flow style where it fits a line, block style
/// elsewhere.
public enum YAMLWriter {
    static let lineLength = 116

    /// The document, a line for each small part of it. The root is an object.
    public static func text(_ root: DocumentNode) -> String {
        var lines: [String] = []
        for member in root.object ?? [] { write(member.key, member.value, "", &lines, isTop: true) }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func write(
        _ key: String, _ value: DocumentNode, _ indent: String, _ lines: inout [String], isTop: Bool = false
    ) {
        let head = indent + scalar(key) + ":"
        let isEmpty = value.object?.isEmpty ?? value.array?.isEmpty ?? true
        let line = head + " " + flow(value)
        if isEmpty || !isTop && line.count <= lineLength || isTop && isFlat(value) {
            lines.append(line)
            return
        }
        lines.append(head)
        writeInside(value, indent + "  ", &lines)
    }

    private static func writeInside(_ value: DocumentNode, _ indent: String, _ lines: inout [String]) {
        for member in value.object ?? [] { write(member.key, member.value, indent, &lines) }
        for element in value.array ?? [] {
            let line = indent + "- " + flow(element)
            let isEmpty = element.object?.isEmpty ?? element.array?.isEmpty ?? true
            if isEmpty || line.count <= lineLength {
                lines.append(line)
                continue
            }
            let start = lines.count
            writeInside(element, indent + "  ", &lines)
            // The first line of what is inside goes behind the dash.
            lines[start] = indent + "- " + lines[start].dropFirst(indent.count + 2)
        }
    }

    /// Scalars, and lists of scalars that fit a line.
    private static func isFlat(_ value: DocumentNode) -> Bool {
        if value.object != nil { return false }
        guard let elements = value.array else { return true }
        return elements.allSatisfy { $0.object == nil && $0.array == nil } && flow(value).count < lineLength - 20
    }

    static func flow(_ node: DocumentNode) -> String {
        switch node.value {
        case .null: "null"
        case .bool(let flag): "\(flag)"
        case .integer(let number): "\(number)"
        case .number(let number): "\(number)"
        case .string(let text): scalar(text)
        case .array(let elements): "[" + elements.map { flow($0) }.joined(separator: ", ") + "]"
        case .object(let members):
            members.isEmpty
                ? "{}" : "{ " + members.map { scalar($0.key) + ": " + flow($0.value) }.joined(separator: ", ") + " }"
        }
    }

    /// Plain where that is surely read back as this text, otherwise in double quotes.
    static func scalar(_ text: String) -> String {
        let isPlain =
            !text.isEmpty && text.utf8.count <= 60
            && text.utf8.allSatisfy {
                switch $0 {
                case 48...57, 65...90, 97...122, 37, 43, 45, 46, 47, 95: true
                default: false
                }
            }
        // A dash alone begins a list, three begin a document.
        if isPlain, !text.hasPrefix("-") || Span(text) != nil, !text.hasPrefix("."), !text.hasPrefix("%"),
            YAMLDocument.isPlainText(text)
        {
            return text
        }
        return PlanText.quoted(text)
    }
}
