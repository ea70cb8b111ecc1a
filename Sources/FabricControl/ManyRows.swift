internal import FabricCore

/// The texts of a statement that takes many rows of arguments: one for each power of two of rows, since each is prepared
/// for itself and kept. The last row fills such a statement up, and says the same again.
final class ManyRows {
    /// SQLite takes 32,766 arguments, PostgreSQL 65,535.
    static let mostArguments = 32_766

    private let columns: Int
    private let text: (_ values: String) -> String
    private var texts: [Int: String] = [:]

    /// - Parameter text: makes the statement; `values` is `($1, $2), ($3, $4), …`.
    init(columns: Int, _ text: @escaping (_ values: String) -> String) {
        self.columns = columns
        self.text = text
    }

    /// The statement for these rows, of which there is one at least, and its arguments.
    func statement(_ rows: [[SQLValue]]) -> (sql: String, arguments: [SQLValue]) {
        let count = Self.powerOfTwo(atLeast: rows.count)
        precondition(count * columns <= Self.mostArguments)
        var arguments = rows.flatMap { $0 }
        if let last = rows.last { for _ in rows.count..<count { arguments += last } }
        if let known = texts[count] { return (known, arguments) }
        let made = text(
            (0..<count).map { "(\(placeholders(columns, from: $0 * columns + 1)))" }.joined(separator: ", "))
        texts[count] = made
        return (made, arguments)
    }

    private static func powerOfTwo(atLeast count: Int) -> Int {
        count <= 1 ? 1 : 1 << (Int.bitWidth - (count - 1).leadingZeroBitCount)
    }
}
