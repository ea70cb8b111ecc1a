/// Scalars are read without a decoder of their own: they are most of a document.
extension DocumentNode {
    /// Nil when the value has another type; the caller knows the place.
    func decodeInteger<T: FixedWidthInteger>(_ type: T.Type) -> T? {
        guard case .integer(let number) = value else { return nil }
        return T(exactly: number)
    }

    func decodeDouble() -> Double? {
        switch value {
        case .integer(let number): Double(number)
        case .number(let number): number
        default: nil
        }
    }
}

/// Reads one scalar or throws what was found and expected. `failure` makes the error with the place.
struct ScalarReader {
    let node: DocumentNode
    /// Called only on failure: a path costs more than a scalar.
    let failure: (String) -> DocumentError

    private func mismatch(_ expected: String) -> DocumentError {
        failure("expected \(expected), found \(node.summary)")
    }

    func bool() throws -> Bool {
        guard case .bool(let flag) = node.value else { throw mismatch("true or false") }
        return flag
    }

    func string() throws -> String {
        guard case .string(let text) = node.value else { throw mismatch("text") }
        return text
    }

    func double() throws -> Double {
        guard let number = node.decodeDouble() else { throw mismatch("a number") }
        return number
    }

    func float() throws -> Float {
        let number = Float(try double())
        guard number.isFinite else { throw failure("the number does not fit single precision") }
        return number
    }

    func integer<T: FixedWidthInteger>(_ type: T.Type) throws -> T {
        guard case .integer(let number) = node.value else { throw mismatch("an integer") }
        guard let result = T(exactly: number) else {
            throw failure("\(number) is out of range; expected \(T.min) to \(T.max)")
        }
        return result
    }
}
