/// One token of a Swift source file. Comments are kept apart, string literals keep their contents but are never code;
/// what stands in an interpolation is code.
struct Token: Equatable, Sendable {
    enum Kind: Sendable { case identifier, number, string, punctuation }

    var kind: Kind
    var text: String
    var line: Int

    func isPunctuation(_ wanted: String) -> Bool { kind == .punctuation && text == wanted }
    func isIdentifier(_ wanted: String) -> Bool { kind == .identifier && text == wanted }
}

/// A file taken apart: its tokens in order, and the text of the comments on each line.
struct TokenizedSource: Sendable {
    var tokens: [Token] = []
    /// By line number, from 1.
    var comments: [Int: String] = [:]
    var lineCount = 0

    init(_ text: String) {
        var lexer = Lexer(bytes: Array(text.utf8))
        lexer.scanCode(insideInterpolation: false)
        tokens = lexer.tokens
        comments = lexer.comments
        lineCount = text.isEmpty ? 0 : lexer.line - (text.utf8.last == UInt8(ascii: "\n") ? 1 : 0)
    }
}

/// Just enough of Swift's lexical structure: nested comments, raw and multi-line strings, interpolations, raw identifiers.
/// Regular expression literals between slashes are not known to it; the project has none.
private struct Lexer {
    let bytes: [UInt8]
    var index = 0
    var line = 1
    var tokens: [Token] = []
    var comments: [Int: String] = [:]

    init(bytes: [UInt8]) { self.bytes = bytes }

    private func peek(_ offset: Int = 0) -> UInt8 { index + offset < bytes.count ? bytes[index + offset] : 0 }

    private func matches(_ first: Unicode.Scalar, _ second: Unicode.Scalar) -> Bool {
        peek() == UInt8(ascii: first) && peek(1) == UInt8(ascii: second)
    }

    /// Moves on by one byte, counting lines.
    private mutating func advance() {
        if peek() == UInt8(ascii: "\n") { line += 1 }
        index += 1
    }

    private static func startsIdentifier(_ byte: UInt8) -> Bool {
        (65...90).contains(byte) || (97...122).contains(byte) || byte == UInt8(ascii: "_") || byte >= 0x80
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (48...57).contains(byte) }

    private mutating func add(_ kind: Token.Kind, from start: Int, line: Int) {
        tokens.append(Token(kind: kind, text: String(decoding: bytes[start..<index], as: UTF8.self), line: line))
    }

    mutating func scanCode(insideInterpolation: Bool) {
        var depth = 0
        while index < bytes.count {
            let byte = peek()
            let start = index
            if matches("/", "/") {
                scanLineComment()
            } else if matches("/", "*") {
                scanBlockComment()
            } else if let hashes = stringStart() {
                scanString(hashes: hashes)
            } else if byte == UInt8(ascii: "`") {
                repeat { advance() } while index < bytes.count && peek() != UInt8(ascii: "`")
                index = min(index + 1, bytes.count)
                add(.identifier, from: start, line: line)
            } else if Lexer.startsIdentifier(byte) {
                while Lexer.startsIdentifier(peek()) || Lexer.isDigit(peek()) { index += 1 }
                add(.identifier, from: start, line: line)
            } else if Lexer.isDigit(byte) {
                while Lexer.startsIdentifier(peek()) || Lexer.isDigit(peek()) { index += 1 }
                add(.number, from: start, line: line)
            } else if byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\n") || byte == 9 || byte == 13 {
                advance()
            } else {
                if insideInterpolation {
                    if byte == UInt8(ascii: "(") { depth += 1 }
                    if byte == UInt8(ascii: ")") {
                        if depth == 0 { return }
                        depth -= 1
                    }
                }
                index += matches("-", ">") ? 2 : 1
                add(.punctuation, from: start, line: line)
            }
        }
    }

    private mutating func note(_ byte: UInt8) {
        comments[line, default: ""].unicodeScalars.append(Unicode.Scalar(byte))
    }

    private mutating func scanLineComment() {
        while index < bytes.count, peek() != UInt8(ascii: "\n") {
            note(peek())
            index += 1
        }
    }

    private mutating func scanBlockComment() {
        var depth = 0
        repeat {
            if matches("/", "*") {
                depth += 1
                index += 2
            } else if matches("*", "/") {
                depth -= 1
                index += 2
            } else {
                if peek() != UInt8(ascii: "\n") { note(peek()) }
                advance()
            }
        } while depth > 0 && index < bytes.count
    }

    /// The number of `#` before a string literal that begins here; nil when none does.
    private func stringStart() -> Int? {
        var hashes = 0
        while peek(hashes) == UInt8(ascii: "#") { hashes += 1 }
        return peek(hashes) == UInt8(ascii: "\"") ? hashes : nil
    }

    private func endsString(quotes: Int, hashes: Int) -> Bool {
        (0..<quotes).allSatisfy { peek($0) == UInt8(ascii: "\"") }
            && (0..<hashes).allSatisfy { peek(quotes + $0) == UInt8(ascii: "#") }
    }

    private mutating func scanString(hashes: Int) {
        let first = line
        index += hashes
        let quotes = matches("\"", "\"") && peek(2) == UInt8(ascii: "\"") ? 3 : 1
        index += quotes
        var contents: [UInt8] = []
        var interpolations: [Token] = []
        while index < bytes.count, !endsString(quotes: quotes, hashes: hashes) {
            if quotes == 1, peek() == UInt8(ascii: "\n") { break }
            let escapes =
                peek() == UInt8(ascii: "\\") && (0..<hashes).allSatisfy { peek(1 + $0) == UInt8(ascii: "#") }
            guard escapes else {
                contents.append(peek())
                advance()
                continue
            }
            index += 1 + hashes
            if peek() == UInt8(ascii: "(") {
                index += 1
                let before = tokens
                tokens = []
                scanCode(insideInterpolation: true)
                interpolations += tokens
                tokens = before
            } else {
                contents.append(peek())
            }
            advance()
        }
        index = min(index + quotes + hashes, bytes.count)
        tokens.append(Token(kind: .string, text: String(decoding: contents, as: UTF8.self), line: first))
        tokens += interpolations
    }
}
