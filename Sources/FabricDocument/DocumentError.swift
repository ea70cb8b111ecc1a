/// Why a document was refused: what is wrong, where, and when it is known the mend.
public struct DocumentError: Error, Hashable, Sendable, CustomStringConvertible {
    /// A sentence for a person, without the place.
    public var message: String
    /// Where in the tree: `timeline[3].token.uses`; empty for the document itself.
    public var path: String
    public var line: Int?
    public var column: Int?

    public init(_ message: String, path: String = "", position: DocumentPosition? = nil) {
        self.message = message
        self.path = path
        line = position?.line
        column = position?.column
    }

    public var position: DocumentPosition? {
        guard let line, let column else { return nil }
        return DocumentPosition(line: line, column: column)
    }

    /// `line 3, column 7: timeline[3].token: unknown key “use”; did you mean “uses”?`
    public var description: String {
        var text = ""
        if let line { text += "line \(line)" + (column.map { ", column \($0)" } ?? "") + ": " }
        if !path.isEmpty { text += path + ": " }
        return text + message
    }
}
