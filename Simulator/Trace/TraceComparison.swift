internal import FabricCore

/// Where two runs that should be equal part.
public struct TraceDifference: Hashable, Sendable {
    /// The index of the first entry that differs.
    public var index: UInt64
    /// The first run's entry there; nil when it had ended, or did not record it.
    public var first: TraceEntry?
    public var second: TraceEntry?

    /// Two lines, one per run. `name` gives hosts their names.
    public func description(name: (Int) -> String) -> String {
        func line(_ entry: TraceEntry?) -> String {
            guard let entry else { return "(nothing)" }
            let host = entry.host < 0 ? "world" : name(Int(entry.host))
            let words = "\(String(entry.first, radix: 16)) \(String(entry.second, radix: 16))"
            return "\(entry.time) \(host) \(entry.kind.name) \(words)" + (entry.text.isEmpty ? "" : " \(entry.text)")
        }
        return "event \(index), first run:  \(line(first))\nevent \(index), second run: \(line(second))"
    }
}

/// Finds the first event in which two runs differ: from the checkpoints the range, from a second pair of runs that
/// records that range the entry.
public enum TraceComparison {
    /// The entries among which the first difference is; nil when the runs are equal. Both lists end with the final hash
    /// (`Trace.allCheckpoints`) and were made with the same interval.
    public static func firstDifferingRange(_ a: [TraceCheckpoint], _ b: [TraceCheckpoint]) -> Range<UInt64>? {
        var lower: UInt64 = 0
        for (left, right) in zip(a, b) {
            if left == right {
                lower = left.index
                continue
            }
            // One run ended between two checkpoints of the other.
            return lower..<max(left.index, right.index, lower + 1)
        }
        if a.count == b.count { return nil }
        return lower..<max(a.last?.index ?? 0, b.last?.index ?? 0, lower + 1)
    }

    /// The first difference of two recordings of the same range; nil when they are equal.
    public static func firstDifference(_ a: [TraceEntry], _ b: [TraceEntry]) -> TraceDifference? {
        for (left, right) in zip(a, b) where left != right {
            return TraceDifference(index: min(left.index, right.index), first: left, second: right)
        }
        if a.count == b.count { return nil }
        let rest = a.count > b.count ? a[b.count] : b[a.count]
        return TraceDifference(
            index: rest.index, first: a.count > b.count ? rest : nil, second: a.count > b.count ? nil : rest)
    }
}

/// A trace's recordings as text, so that two processes can compare theirs.
///
/// ```
/// rap-trace 1
/// C <index> <hash>                                        a checkpoint; the last is the final hash
/// E <index> <time> <host> <kind> <first> <second> <text>  an entry; in the text \n is a line's end, \\ a backslash
/// ```
public struct TraceFile: Hashable, Sendable {
    public static let header = "rap-trace 1"
    /// More lines than this are refused.
    public static let maximumLines = 20_000_000

    public var checkpoints: [TraceCheckpoint]
    public var entries: [TraceEntry]

    public init(checkpoints: [TraceCheckpoint], entries: [TraceEntry]) {
        self.checkpoints = checkpoints
        self.entries = entries
    }

    /// What a trace has recorded, the final hash included.
    public init(_ trace: Trace) { self.init(checkpoints: trace.allCheckpoints, entries: trace.entries) }

    public func encode() -> String {
        var text = TraceFile.header + "\n"
        for checkpoint in checkpoints { text += "C \(checkpoint.index) \(checkpoint.hash)\n" }
        for entry in entries {
            text += "E \(entry.index) \(entry.time.nanoseconds) \(entry.host) \(entry.kind.rawValue) "
            text += "\(entry.first) \(entry.second) \(TraceFile.escape(entry.text))\n"
        }
        return text
    }

    /// Throws `TraceFileError` with the number of the first line that is not of the form.
    public init(decoding text: String) throws(TraceFileError) {
        self.init(checkpoints: [], entries: [])
        var number = 0
        for line in text.utf8.split(separator: UInt8(ascii: "\n")) {
            number += 1
            if number == 1 {
                guard String(Substring(line)) == TraceFile.header else { throw TraceFileError(line: 1) }
                continue
            }
            guard number <= TraceFile.maximumLines, let parsed = TraceFile.parse(Substring(line)) else {
                throw TraceFileError(line: number)
            }
            switch parsed {
            case .checkpoint(let checkpoint): checkpoints.append(checkpoint)
            case .entry(let entry): entries.append(entry)
            }
        }
        if number == 0 { throw TraceFileError(line: 1) }
    }

    private enum Line {
        case checkpoint(TraceCheckpoint)
        case entry(TraceEntry)
    }

    private static func parse(_ line: Substring) -> Line? {
        // By bytes: a text may begin with what joins the space before it to one character.
        let fields = line.utf8.split(separator: UInt8(ascii: " "), maxSplits: 7, omittingEmptySubsequences: false).map {
            Substring($0)
        }
        if fields.count == 3, fields[0] == "C", let index = UInt64(fields[1]), let hash = TraceHash(String(fields[2])) {
            return .checkpoint(TraceCheckpoint(index: index, hash: hash))
        }
        guard fields.count == 8, fields[0] == "E", let index = UInt64(fields[1]), let time = Int64(fields[2]),
            let host = Int32(fields[3]), let kind = UInt16(fields[4]).flatMap(TraceKind.init(rawValue:)),
            let first = UInt64(fields[5]), let second = UInt64(fields[6])
        else { return nil }
        return .entry(
            TraceEntry(
                index: index, time: Instant(nanoseconds: time), host: host, kind: kind, first: first, second: second,
                text: unescape(fields[7])))
    }

    private static func escape(_ text: String) -> String {
        var escaped = ""
        for character in text.unicodeScalars {
            switch character {
            case "\\": escaped += "\\\\"
            case "\n": escaped += "\\n"
            default: escaped.unicodeScalars.append(character)
            }
        }
        return escaped
    }

    private static func unescape(_ text: Substring) -> String {
        var plain = ""
        var escaping = false
        for character in text.unicodeScalars {
            if escaping {
                plain.unicodeScalars.append(character == "n" ? "\n" : character)
                escaping = false
            } else if character == "\\" {
                escaping = true
            } else {
                plain.unicodeScalars.append(character)
            }
        }
        return plain
    }
}

/// A trace file that is not of the form.
public struct TraceFileError: Error, Hashable, Sendable, CustomStringConvertible {
    public var line: Int
    public var description: String { "line \(line) is not part of a trace file" }
}
