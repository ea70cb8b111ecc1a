internal import FabricCore

/// Aligned columns for people. Cells may hold what hosts said of themselves: whatever could steer a terminal is shown
/// as “?”.
struct Table {
    private var rows: [[String]]

    init(_ header: [String]) { rows = [header] }

    mutating func add(_ cells: [String]) {
        precondition(cells.count == rows[0].count)
        rows.append(cells.map(plain))
    }

    var text: String {
        guard rows.count > 1 else { return "none" }
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            let cells = zip(row, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }
            return trimmed(cells.joined(separator: "  "))
        }.joined(separator: "\n")
    }

    private func trimmed(_ line: String) -> String {
        var line = line[...]
        while line.last == " " { line.removeLast() }
        return String(line)
    }
}

/// “Name: value” lines, aligned.
func fields(_ pairs: [(String, String)]) -> String {
    let width = (pairs.map(\.0.count).max() ?? 0) + 2
    return pairs.map { name, value in
        "\(name):" + String(repeating: " ", count: width - name.count - 1) + plain(value)
    }.joined(separator: "\n")
}

/// One line without control and formatting characters.
func plain(_ text: String) -> String {
    String(
        String.UnicodeScalarView(
            text.unicodeScalars.map { scalar -> Unicode.Scalar in
                switch scalar.properties.generalCategory {
                case .control, .format, .lineSeparator, .paragraphSeparator: "?"
                default: scalar
                }
            }))
}

/// A time of the control API, in seconds since the Unix epoch.
func time(_ seconds: Int64?) -> String { seconds.map { WallTime(seconds: $0).rfc3339 } ?? "-" }
