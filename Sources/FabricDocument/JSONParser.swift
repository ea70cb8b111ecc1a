/// A recursive-descent parser over borrowed bytes. Depth is bounded by the limits, so recursion is too.
struct JSONParser {
    private let input: UnsafeBufferPointer<UInt8>
    private let limits: DocumentLimits
    private var index = 0
    private var line = 1
    private var lineStart = 0
    private var depth = 0
    private var nodes = 0

    init(_ input: UnsafeBufferPointer<UInt8>, limits: DocumentLimits) {
        self.input = input
        self.limits = limits
    }

    mutating func parseDocument() throws(DocumentError) -> DocumentNode {
        if input.count >= 3, input[0] == 0xEF, input[1] == 0xBB, input[2] == 0xBF {
            throw failure("the document begins with a byte order mark; leave it out")
        }
        skipSpace()
        if index == input.count { throw failure("the document is empty") }
        let node = try parseValue()
        skipSpace()
        if index < input.count { throw failure("\(described()) after the document's end") }
        return node
    }

    // MARK: Places

    private var position: DocumentPosition { DocumentPosition(line: line, column: index - lineStart + 1) }

    private func failure(_ message: String) -> DocumentError { DocumentError(message, position: position) }

    private func failure(_ message: String, at offset: Int) -> DocumentError {
        DocumentError(message, position: DocumentPosition(line: line, column: offset - lineStart + 1))
    }

    /// What stands at the index, for errors.
    private func described() -> String {
        guard index < input.count else { return "the document ends" }
        let byte = input[index]
        if (0x21...0x7E).contains(byte) { return "unexpected “\(Character(UnicodeScalar(byte)))”" }
        return "unexpected byte 0x\(String(byte, radix: 16))"
    }

    private mutating func skipSpace() {
        while index < input.count {
            switch input[index] {
            case 0x20, 0x09, 0x0D: index += 1
            case 0x0A:
                index += 1
                line += 1
                lineStart = index
            default: return
            }
        }
    }

    // MARK: Values

    private mutating func parseValue() throws(DocumentError) -> DocumentNode {
        nodes += 1
        if nodes > limits.maximumNodes { throw failure("more than \(limits.maximumNodes) values") }
        guard index < input.count else { throw failure("the document ends where a value should stand") }
        let start = position
        switch input[index] {
        case 0x22: return DocumentNode(.string(try parseString()), position: start)
        case 0x7B: return DocumentNode(.object(try parseObject()), position: start)
        case 0x5B: return DocumentNode(.array(try parseArray()), position: start)
        case 0x2D, 0x30...0x39: return DocumentNode(try parseNumber(), position: start)
        case 0x74:
            try parseWord("true")
            return DocumentNode(.bool(true), position: start)
        case 0x66:
            try parseWord("false")
            return DocumentNode(.bool(false), position: start)
        case 0x6E:
            try parseWord("null")
            return DocumentNode(.null, position: start)
        default: throw failure("\(described()) where a value should stand")
        }
    }

    private mutating func parseWord(_ word: StaticString) throws(DocumentError) {
        let count = word.utf8CodeUnitCount
        for offset in 0..<count {
            guard index + offset < input.count, input[index + offset] == word.utf8Start[offset] else {
                throw failure("not “\(word)”")
            }
        }
        index += count
    }

    private mutating func enter() throws(DocumentError) {
        depth += 1
        if depth > limits.maximumDepth { throw failure("deeper than \(limits.maximumDepth) levels") }
        index += 1
        skipSpace()
    }

    private mutating func leave() {
        depth -= 1
        index += 1
    }

    private mutating func parseArray() throws(DocumentError) -> [DocumentNode] {
        try enter()
        var elements: [DocumentNode] = []
        if index < input.count, input[index] == 0x5D {
            leave()
            return elements
        }
        while true {
            elements.append(try parseValue())
            skipSpace()
            guard index < input.count else { throw failure("the document ends within a list") }
            switch input[index] {
            case 0x2C:
                index += 1
                skipSpace()
            case 0x5D:
                leave()
                return elements
            default: throw failure("\(described()) where “,” or “]” should stand")
            }
        }
    }

    private mutating func parseObject() throws(DocumentError) -> [DocumentMember] {
        try enter()
        var members: [DocumentMember] = []
        if index < input.count, input[index] == 0x7D {
            leave()
            return members
        }
        while true {
            guard index < input.count, input[index] == 0x22 else {
                throw failure("\(described()) where a key in quotes should stand")
            }
            let keyPosition = position
            let key = try parseString()
            // Few members are compared as they come; many are checked once, sorted, at the end.
            if members.count < 16, members.contains(where: { $0.key.hasSameBytes(as: key) }) {
                throw duplicate(key, keyPosition)
            }
            skipSpace()
            guard index < input.count, input[index] == 0x3A else {
                throw failure("\(described()) where “:” should stand")
            }
            index += 1
            skipSpace()
            members.append(DocumentMember(key, try parseValue(), keyPosition: keyPosition))
            skipSpace()
            guard index < input.count else { throw failure("the document ends within an object") }
            switch input[index] {
            case 0x2C:
                index += 1
                skipSpace()
            case 0x7D:
                leave()
                if members.count > 16, let double = members.firstDuplicate {
                    throw duplicate(double.key, double.keyPosition)
                }
                return members
            default: throw failure("\(described()) where “,” or “}” should stand")
            }
        }
    }

    private func duplicate(_ key: String, _ position: DocumentPosition?) -> DocumentError {
        DocumentError("the key “\(key.shortened)” stands twice in one object", position: position)
    }

    // MARK: Numbers

    private mutating func parseNumber() throws(DocumentError) -> DocumentNode.Value {
        let start = index
        if input[index] == 0x2D { index += 1 }
        let firstDigit = index
        skipDigits()
        if index == firstDigit { throw failure("a number needs a digit after “-”") }
        if input[firstDigit] == 0x30, index - firstDigit > 1 {
            throw failure("a number must not begin with 0", at: firstDigit)
        }
        var isInteger = true
        if index < input.count, input[index] == 0x2E {
            isInteger = false
            index += 1
            let fraction = index
            skipDigits()
            if index == fraction { throw failure("a number needs a digit after “.”") }
        }
        if index < input.count, input[index] | 0x20 == 0x65 {
            isInteger = false
            index += 1
            if index < input.count, input[index] == 0x2B || input[index] == 0x2D { index += 1 }
            let exponent = index
            skipDigits()
            if index == exponent { throw failure("a number needs a digit in its exponent") }
        }
        // A longer integer stays a number: what asks for an integer refuses it, what asks for a double gets the nearest.
        if isInteger, let value = integer(start, firstDigit) { return .integer(value) }
        let text = String(decoding: UnsafeBufferPointer(rebasing: input[start..<index]), as: UTF8.self)
        guard let value = Double(text), value.isFinite else {
            throw failure("the number does not fit a double", at: start)
        }
        return .number(value)
    }

    private mutating func skipDigits() {
        while index < input.count, (0x30...0x39).contains(input[index]) { index += 1 }
    }

    private func integer(_ start: Int, _ firstDigit: Int) -> Int64? {
        let negative = start != firstDigit
        var value: Int64 = 0
        for offset in firstDigit..<index {
            let digit = Int64(input[offset] &- 0x30)
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) =
                negative ? product.subtractingReportingOverflow(digit) : product.addingReportingOverflow(digit)
            if overflow || carry { return nil }
            value = sum
        }
        return value
    }

    // MARK: Strings

    private mutating func parseString() throws(DocumentError) -> String {
        index += 1
        let start = index
        var isASCII = true
        while index < input.count {
            let byte = input[index]
            switch byte {
            case 0x22:
                let text = try string(UnsafeBufferPointer(rebasing: input[start..<index]), isASCII, start)
                index += 1
                return text
            case 0x5C: return try parseEscapedString(start)
            case 0..<0x20: throw failure("a control character in a string must be escaped")
            case 0x80...: isASCII = false
            default: break
            }
            index += 1
        }
        throw failure("the document ends within a string")
    }

    private func string(
        _ bytes: UnsafeBufferPointer<UInt8>, _ isASCII: Bool, _ start: Int
    ) throws(DocumentError) -> String {
        if isASCII { return String(decoding: bytes, as: UTF8.self) }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw failure("the string is not valid UTF-8", at: start)
        }
        if text.unicodeScalars.contains(where: { $0.isNoncharacter }) {
            throw failure("the string holds a noncharacter of Unicode", at: start)
        }
        return text
    }

    /// Slow path: the string has at least one escape. `index` stands on the first backslash.
    private mutating func parseEscapedString(_ start: Int) throws(DocumentError) -> String {
        var bytes = Array(input[start..<index])
        while index < input.count {
            let byte = input[index]
            switch byte {
            case 0x22:
                let result: Result<String, DocumentError> = bytes.withUnsafeBufferPointer { buffer in
                    do throws(DocumentError) {
                        return .success(try string(buffer, false, start))
                    } catch {
                        return .failure(error)
                    }
                }
                index += 1
                return try result.get()
            case 0x5C: try parseEscape(into: &bytes)
            case 0..<0x20: throw failure("a control character in a string must be escaped")
            default:
                bytes.append(byte)
                index += 1
            }
        }
        throw failure("the document ends within a string")
    }

    private mutating func parseEscape(into bytes: inout [UInt8]) throws(DocumentError) {
        guard index + 1 < input.count else { throw failure("the document ends within a string") }
        let letter = input[index + 1]
        switch letter {
        case 0x22, 0x5C, 0x2F: bytes.append(letter)
        case 0x62: bytes.append(0x08)
        case 0x66: bytes.append(0x0C)
        case 0x6E: bytes.append(0x0A)
        case 0x72: bytes.append(0x0D)
        case 0x74: bytes.append(0x09)
        case 0x75:
            bytes.append(contentsOf: String(try parseUnicodeEscape()).utf8)
            return
        default: throw failure("unknown escape in a string")
        }
        index += 2
    }

    private mutating func parseUnicodeEscape() throws(DocumentError) -> UnicodeScalar {
        let place = index
        let unit = try parseHexUnit()
        if let scalar = UnicodeScalar(UInt32(unit)) { return scalar }
        guard unit < 0xDC00, index + 1 < input.count, input[index] == 0x5C, input[index + 1] == 0x75 else {
            throw failure("a surrogate without its other half", at: place)
        }
        let low = try parseHexUnit()
        guard (0xDC00...0xDFFF).contains(low),
            let scalar = UnicodeScalar(0x10000 + UInt32(unit - 0xD800) << 10 + UInt32(low - 0xDC00))
        else { throw failure("a surrogate without its other half", at: place) }
        return scalar
    }

    /// `\uXXXX`, with `index` on the backslash.
    private mutating func parseHexUnit() throws(DocumentError) -> UInt16 {
        guard index + 6 <= input.count else { throw failure("the document ends within an escape") }
        var value: UInt16 = 0
        for offset in 2..<6 {
            let digit = input[index + offset]
            let nibble: UInt8
            switch digit {
            case 0x30...0x39: nibble = digit - 0x30
            case 0x41...0x46: nibble = digit - 0x37
            case 0x61...0x66: nibble = digit - 0x57
            default: throw failure("\\u needs four hexadecimal digits")
            }
            value = value << 4 | UInt16(nibble)
        }
        index += 6
        return value
    }
}

extension UnicodeScalar {
    /// U+FDD0…U+FDEF and the last two of each plane (RFC 7493 section 2.1 forbids them).
    var isNoncharacter: Bool { (0xFDD0...0xFDEF).contains(value) || value & 0xFFFE == 0xFFFE }
}

extension [DocumentMember] {
    /// The second of two members with one key, the first such by key.
    var firstDuplicate: DocumentMember? {
        let order = indices.sorted { a, b in
            self[a].key.precedesInBytes(self[b].key) || (a < b && self[a].key.hasSameBytes(as: self[b].key))
        }
        for (earlier, later) in zip(order, order.dropFirst()) where self[earlier].key.hasSameBytes(as: self[later].key)
        {
            return self[later]
        }
        return nil
    }
}
