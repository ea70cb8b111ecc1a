internal import FabricCore
internal import FabricDocument

/// Cuts on the times of a scenario's tree.
enum ShrinkTimes {
    /// Members of steps and expectations that are times counted from the start.
    private static let members = [("timeline", ["at", "until"]), ("expect", ["at", "by", "from", "until", "after"])]

    private static func span(_ node: DocumentNode?) -> Duration? { node?.string.flatMap { Span($0) }?.duration }

    /// When the entry of the timeline begins, and how long it lasts `for`.
    private static func lasting(_ entry: DocumentNode) -> (start: Duration, length: Duration)? {
        guard let start = span(entry["at"]), let length = span(entry[ShrinkWorld.action(entry)]?["for"]) else {
            return nil
        }
        return (start, length)
    }

    private static func lasting(_ entry: DocumentNode, for length: Duration?) -> DocumentNode {
        let action = ShrinkWorld.action(entry)
        return entry.setting(action, entry[action]?.setting("for", length.map { .text(Span($0)) }))
    }

    private static func mapped(
        _ document: DocumentNode, _ transform: (_ key: String, _ entry: DocumentNode) -> DocumentNode
    ) -> DocumentNode {
        var result = document
        for (key, _) in members {
            guard let entries = result[key]?.array else { continue }
            result = result.setting(key, DocumentNode(.array(entries.map { transform(key, $0) })))
        }
        return result
    }

    /// The steps in the order of their times; one that says none stays behind the one before it.
    static func ordered(_ document: DocumentNode) -> DocumentNode {
        guard let entries = document["timeline"]?.array else { return document }
        var keyed: [(time: Duration, place: Int, entry: DocumentNode)] = []
        for (place, entry) in entries.enumerated() {
            keyed.append((span(entry["at"]) ?? keyed.last?.time ?? .zero, place, entry))
        }
        keyed.sort { ($0.time, $0.place) < ($1.time, $1.place) }
        return document.setting("timeline", DocumentNode(.array(keyed.map { $0.entry })))
    }

    /// The run ends at `end`: repetitions and windows end there too; what would last longer lasts to the end.
    static func ending(_ document: DocumentNode, at end: Duration) -> DocumentNode {
        mapped(document.setting("duration", .text(Span(end)))) { key, entry in
            var entry = entry
            if let until = span(entry["until"]), until > end { entry = entry.setting("until", .text(Span(end))) }
            if key == "timeline", let (start, length) = lasting(entry), start + length > end {
                entry = lasting(entry, for: nil)
            }
            return entry
        }
    }

    /// Every time that stands in the file, ascending, each once, with the start and the end.
    static func times(of document: DocumentNode) -> [Duration] {
        var times: Set<Duration> = [.zero]
        for (key, members) in members {
            for entry in document[key]?.array ?? [] {
                for member in members { if let time = span(entry[member]) { times.insert(time) } }
                if key == "timeline", let (start, length) = lasting(entry) { times.insert(start + length) }
            }
        }
        if let end = span(document["duration"]) { times.insert(end) }
        return times.sorted()
    }

    /// All times from `time` on come so much earlier; what lasts over that stretch lasts so much shorter.
    static func moved(_ document: DocumentNode, from time: Duration, by shift: Duration) -> DocumentNode {
        func earlier(_ entry: DocumentNode, _ members: [String]) -> DocumentNode {
            var entry = entry
            for member in members {
                guard let old = span(entry[member]), old >= time else { continue }
                entry = entry.setting(member, .text(Span(old - shift)))
            }
            return entry
        }
        return mapped(earlier(document, ["duration"])) { key, entry in
            let moved = earlier(entry, members.first { $0.0 == key }?.1 ?? [])
            guard key == "timeline", let (start, length) = lasting(entry), start < time, start + length >= time,
                length > shift
            else { return moved }
            return lasting(moved, for: length - shift)
        }
    }
}
