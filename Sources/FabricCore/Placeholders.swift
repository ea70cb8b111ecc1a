/// The placeholders of a statement: `$1`, `$2` … in first-use order, outside of quotes and of comments to the end of a line. What a `Transaction`
/// takes.
public enum Placeholders {
    /// How many there are; nil when they are not in that order.
    public static func count(in sql: String) -> Int? {
        let text = Array(sql.utf8)
        var highest = 0
        var index = 0
        while index < text.count {
            switch text[index] {
            case UInt8(ascii: "'"), UInt8(ascii: "\""):
                let quote = text[index]
                index += 1
                while index < text.count, text[index] != quote { index += 1 }
                index += 1
            case UInt8(ascii: "-") where index + 1 < text.count && text[index + 1] == UInt8(ascii: "-"):
                while index < text.count, text[index] != 10 { index += 1 }
            case UInt8(ascii: "$"):
                var number = 0
                index += 1
                // To SQLite `$01` is another name.
                if index < text.count, text[index] == UInt8(ascii: "0") { return nil }
                while index < text.count, (48...57).contains(text[index]), number < 100_000 {
                    number = number * 10 + Int(text[index] - 48)
                    index += 1
                }
                // To SQLite `$1a` is another name.
                if index < text.count, isPartOfName(text[index]) { return nil }
                if number < 1 || number > highest + 1 { return nil }
                highest = max(highest, number)
            default: index += 1
            }
        }
        return highest
    }

    private static func isPartOfName(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"),
            UInt8(ascii: "$"), 128...:
            true
        default: false
        }
    }
}
