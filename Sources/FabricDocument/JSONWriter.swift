/// Writes JSON text. Escapes and numbers follow RFC 8785; members are sorted by UTF-8 bytes instead of UTF-16 units.
struct JSONWriter {
    var bytes: [UInt8] = []

    mutating func write(_ node: DocumentNode) throws(DocumentError) {
        switch node.value {
        case .array(let elements):
            bytes.append(0x5B)
            for (index, element) in elements.enumerated() {
                if index > 0 { bytes.append(0x2C) }
                try write(element)
            }
            bytes.append(0x5D)
        case .object(let members):
            bytes.append(0x7B)
            let sorted = members.sortedByKey
            for (index, member) in sorted.enumerated() {
                if index > 0 {
                    bytes.append(0x2C)
                    if sorted[index - 1].key.hasSameBytes(as: member.key) {
                        throw DocumentError("the key “\(member.key.shortened)” stands twice in one object")
                    }
                }
                write(member.key)
                bytes.append(0x3A)
                try write(member.value)
            }
            bytes.append(0x7D)
        default: try writeScalar(node)
        }
    }

    mutating func writePretty(_ node: DocumentNode, level: Int) throws(DocumentError) {
        switch node.value {
        case .array(let elements) where !elements.isEmpty:
            bytes.append(0x5B)
            for (index, element) in elements.enumerated() {
                newLine(level + 1, comma: index > 0)
                try writePretty(element, level: level + 1)
            }
            newLine(level, comma: false)
            bytes.append(0x5D)
        case .object(let members) where !members.isEmpty:
            bytes.append(0x7B)
            for (index, member) in members.enumerated() {
                newLine(level + 1, comma: index > 0)
                write(member.key)
                bytes.append(contentsOf: [0x3A, 0x20])
                try writePretty(member.value, level: level + 1)
            }
            newLine(level, comma: false)
            bytes.append(0x7D)
        default: try write(node)
        }
    }

    private mutating func newLine(_ level: Int, comma: Bool) {
        if comma { bytes.append(0x2C) }
        bytes.append(0x0A)
        bytes.append(contentsOf: repeatElement(0x20, count: 2 * level))
    }

    private mutating func writeScalar(_ node: DocumentNode) throws(DocumentError) {
        switch node.value {
        case .null: bytes.append(contentsOf: "null".utf8)
        case .bool(let flag): bytes.append(contentsOf: (flag ? "true" : "false").utf8)
        case .integer(let number): bytes.append(contentsOf: String(number).utf8)
        case .number(let number):
            guard number.isFinite else { throw DocumentError("JSON has no text for \(number)") }
            bytes.append(contentsOf: JSONWriter.text(number).utf8)
        case .string(let text): write(text)
        case .array, .object: preconditionFailure("not a scalar")
        }
    }

    private mutating func write(_ text: String) {
        bytes.append(0x22)
        var text = text
        text.withUTF8 { buffer in
            var plain = 0
            for (index, byte) in buffer.enumerated() where byte < 0x20 || byte == 0x22 || byte == 0x5C {
                bytes.append(contentsOf: buffer[plain..<index])
                plain = index + 1
                writeEscape(byte)
            }
            bytes.append(contentsOf: buffer[plain...])
        }
        bytes.append(0x22)
    }

    private mutating func writeEscape(_ byte: UInt8) {
        bytes.append(0x5C)
        switch byte {
        case 0x08: bytes.append(0x62)
        case 0x09: bytes.append(0x74)
        case 0x0A: bytes.append(0x6E)
        case 0x0C: bytes.append(0x66)
        case 0x0D: bytes.append(0x72)
        case 0x22, 0x5C: bytes.append(byte)
        default:
            bytes.append(contentsOf: "u00".utf8)
            bytes.append(byte < 0x10 ? 0x30 : 0x31)
            let low = byte & 15
            bytes.append(low < 10 ? 0x30 + low : 0x57 + low)
        }
    }

    /// ECMAScript's Number::toString, as RFC 8785 section 3.2.2.3 asks, from Swift's shortest digits.
    static func text(_ number: Double) -> String {
        if number == 0 { return "0" }
        var digits: [UInt8] = []
        // The value is 0.DIGITS × 10^point.
        var point = 0
        var exponent = 0
        var seenPoint = false
        let description = Array(number.magnitude.description.utf8)
        let split = description.firstIndex(of: 0x65) ?? description.count
        if split < description.count {
            exponent = Int(String(decoding: description[(split + 1)...], as: UTF8.self)) ?? 0
        }
        for byte in description[..<split] {
            if byte == 0x2E {
                seenPoint = true
            } else if digits.isEmpty, byte == 0x30 {
                if seenPoint { point -= 1 }
            } else {
                digits.append(byte)
                if !seenPoint { point += 1 }
            }
        }
        point += exponent
        while digits.last == 0x30 { digits.removeLast() }
        let sign = number < 0 ? "-" : ""
        func text(_ part: some Collection<UInt8>) -> String { String(decoding: Array(part), as: UTF8.self) }
        if digits.count <= point, point <= 21 {
            return sign + text(digits) + String(repeating: "0", count: point - digits.count)
        }
        if 0 < point, point <= 21 { return sign + text(digits[..<point]) + "." + text(digits[point...]) }
        if -6 < point, point <= 0 { return sign + "0." + String(repeating: "0", count: -point) + text(digits) }
        let fraction = digits.count > 1 ? "." + text(digits[1...]) : ""
        return sign + text(digits[..<1]) + fraction + "e" + (point > 0 ? "+" : "-") + String(abs(point - 1))
    }
}

extension [DocumentMember] {
    var sortedByKey: [DocumentMember] {
        // Most objects come sorted from the encoder.
        for (a, b) in zip(self, self.dropFirst()) where !a.key.precedesInBytes(b.key) {
            return sorted { $0.key.precedesInBytes($1.key) }
        }
        return self
    }
}
