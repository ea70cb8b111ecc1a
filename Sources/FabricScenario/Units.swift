internal import FabricCore
internal import FabricDocument

/// A quantity that people write with its unit. A bare number is refused: `30` is neither seconds nor anything else.
public protocol Quantity: Hashable, Sendable, Decodable, CustomStringConvertible {
    /// What is expected, with an example, for errors.
    static var expectation: String { get }
    /// A unit to suggest when there is only a number.
    static var usualUnit: String { get }
    /// Nil when the text is not such a quantity.
    init?(_ text: String)
}

extension Quantity {
    public init(from decoder: any Decoder) throws {
        func refused(_ what: String) -> DecodingError {
            .dataCorrupted(.init(codingPath: decoder.codingPath, debugDescription: what))
        }
        guard let node = (decoder as? any DocumentSource)?.node else { throw refused("not part of a scenario file") }
        if let number = node.integer {
            throw refused("\(number) has no unit; write \(Self.expectation), perhaps \(number)\(Self.usualUnit)")
        }
        guard case .string(let text) = node.value else {
            throw refused("expected \(Self.expectation), found \(node.summary)")
        }
        guard let value = Self(text) else {
            throw refused("“\(text.prefix(40))” is not \(Self.expectation)")
        }
        self = value
    }
}

/// A length of time: `80ms`, `30s`, `1.5s`, `1m30s`, `24h`, `2d`; a sign where the use allows one. At most 1,000 days.
public struct Span: Quantity {
    public static let expectation = "a duration such as 80ms, 30s, 1m30s or 2h"
    public static let usualUnit = "s"
    static let maximumNanoseconds: Int64 = 1_000 * 86_400_000_000_000

    public var duration: Duration

    public init(_ duration: Duration) { self.duration = duration }

    public init?(_ text: String) {
        var rest = Substring(text)
        let sign: Int64 = rest.first == "-" ? -1 : 1
        if rest.first == "-" || rest.first == "+" { rest.removeFirst() }
        var total: Int64 = 0
        var previous = Int64.max
        while !rest.isEmpty {
            guard let (decimal, unit) = Decimal.take(&rest), let scale = Span.scale(unit), scale < previous,
                let part = decimal.times(scale), part <= Span.maximumNanoseconds
            else { return nil }
            previous = scale
            total += part
        }
        guard previous != .max, total <= Span.maximumNanoseconds else { return nil }
        duration = .nanoseconds(sign * total)
    }

    private static func scale(_ unit: Substring) -> Int64? {
        switch unit {
        case "ns": 1
        case "us": 1_000
        case "ms": 1_000_000
        case "s": 1_000_000_000
        case "m": 60_000_000_000
        case "h": 3_600_000_000_000
        case "d": 86_400_000_000_000
        default: nil
        }
    }

    /// The canonical text, which reads back to the same: `0s`, `80ms`, `1.5s`, `1m30s`, `24h`, `2s1ns`.
    public var description: String {
        let nanoseconds = duration.nanoseconds
        let magnitude = nanoseconds.magnitude
        let sign = nanoseconds < 0 ? "-" : ""
        if magnitude == 0 { return "0s" }
        if magnitude < 1_000_000_000 {
            for (scale, unit) in [(1_000_000 as UInt64, "ms"), (1_000, "us")] where magnitude % scale == 0 {
                return sign + "\(magnitude / scale)\(unit)"
            }
            return sign + "\(magnitude)ns"
        }
        let seconds = magnitude / 1_000_000_000
        var text = sign
        if seconds >= 3600 { text += "\(seconds / 3600)h" }
        if seconds / 60 % 60 > 0 { text += "\(seconds / 60 % 60)m" }
        let fraction = magnitude % 1_000_000_000
        // Six digits after the point are all that can be read back; finer times say their nanoseconds apart.
        let isFine = fraction % 1_000 > 0
        if seconds % 60 > 0 || fraction > 0 && !isFine {
            text += "\(seconds % 60)"
            if fraction > 0, !isFine {
                var digits = String(fraction + 1_000_000_000).dropFirst()
                while digits.last == "0" { digits.removeLast() }
                text += "." + digits
            }
            text += "s"
        }
        return isFine ? text + "\(fraction)ns" : text
    }
}

/// A rate of bits: `64kbit/s`, `20Mbit/s`, `1Gbit/s`.
public struct BitRate: Quantity {
    public static let expectation = "a rate such as 64kbit/s, 20Mbit/s or 1Gbit/s"
    public static let usualUnit = "Mbit/s"
    static let maximum: Int64 = 1_000_000_000_000

    public var bitsPerSecond: Int64

    public init(bitsPerSecond: Int64) { self.bitsPerSecond = bitsPerSecond }

    public init?(_ text: String) {
        var rest = Substring(text)
        guard let (decimal, unit) = Decimal.take(&rest), rest.isEmpty else { return nil }
        let scale: Int64
        switch unit {
        case "bit/s": scale = 1
        case "kbit/s": scale = 1_000
        case "Mbit/s": scale = 1_000_000
        case "Gbit/s": scale = 1_000_000_000
        default: return nil
        }
        guard let value = decimal.times(scale), value > 0, value <= BitRate.maximum else { return nil }
        bitsPerSecond = value
    }

    public var description: String {
        for (scale, unit) in [(1_000_000_000 as Int64, "Gbit/s"), (1_000_000, "Mbit/s"), (1_000, "kbit/s")]
        where bitsPerSecond % scale == 0 { return "\(bitsPerSecond / scale)\(unit)" }
        return "\(bitsPerSecond)bit/s"
    }
}

/// A share from `0%` to `100%`, exact to a millionth: `1%`, `0.05%`.
public struct Ratio: Quantity {
    public static let expectation = "a share such as 1% or 0.05%"
    public static let usualUnit = "%"

    public var partsPerMillion: Int64

    public init(partsPerMillion: Int64) { self.partsPerMillion = partsPerMillion }

    public init?(_ text: String) {
        var rest = Substring(text)
        guard let (decimal, unit) = Decimal.take(&rest), rest.isEmpty, unit == "%",
            let value = decimal.times(10_000), value <= 1_000_000
        else { return nil }
        partsPerMillion = value
    }

    public var description: String {
        let fraction = partsPerMillion % 10_000
        if fraction == 0 { return "\(partsPerMillion / 10_000)%" }
        var digits = String(fraction + 10_000).dropFirst()
        while digits.last == "0" { digits.removeLast() }
        return "\(partsPerMillion / 10_000).\(digits)%"
    }
}

/// A number of bytes: `1200B`, `64KiB`, `1MiB`, `10kB`, `1MB`. At most 1 GiB.
public struct ByteSize: Quantity {
    public static let expectation = "a size such as 1200B, 64KiB or 1MiB"
    public static let usualUnit = "B"
    static let maximum: Int64 = 1 << 30

    public var bytes: Int

    public init(bytes: Int) { self.bytes = bytes }

    public init?(_ text: String) {
        var rest = Substring(text)
        guard let (decimal, unit) = Decimal.take(&rest), rest.isEmpty else { return nil }
        let scale: Int64
        switch unit {
        case "B": scale = 1
        case "kB": scale = 1_000
        case "MB": scale = 1_000_000
        case "KiB": scale = 1 << 10
        case "MiB": scale = 1 << 20
        case "GiB": scale = 1 << 30
        default: return nil
        }
        guard let value = decimal.times(scale), value <= ByteSize.maximum else { return nil }
        bytes = Int(value)
    }

    public var description: String {
        for (scale, unit) in [(1 << 20, "MiB"), (1 << 10, "KiB")] where bytes > 0 && bytes % scale == 0 {
            return "\(bytes / scale)\(unit)"
        }
        return "\(bytes)B"
    }
}

/// An unsigned decimal as people write it, exact: `digits / 10^places`.
struct Decimal {
    var digits: Int64
    var places: Int

    /// Takes a number and the letters after it. At most 12 digits before the point and 6 after it.
    static func take(_ text: inout Substring) -> (Decimal, unit: Substring)? {
        func digits() -> Substring {
            let taken = text.prefix { $0.isASCII && $0.isNumber }
            text.removeFirst(taken.count)
            return taken
        }
        let whole = digits()
        guard (1...12).contains(whole.count), var value = Int64(whole) else { return nil }
        var places = 0
        if text.first == "." {
            text.removeFirst()
            let fraction = digits()
            guard (1...6).contains(fraction.count), let part = Int64(fraction) else { return nil }
            places = fraction.count
            for _ in 0..<places { value *= 10 }
            value += part
        }
        let unit = text.prefix { !($0.isASCII && $0.isNumber) }
        text.removeFirst(unit.count)
        return (Decimal(digits: value, places: places), unit)
    }

    /// Nil when the product overflows or is not whole.
    func times(_ scale: Int64) -> Int64? {
        let (product, overflow) = digits.multipliedReportingOverflow(by: scale)
        if overflow { return nil }
        var divisor: Int64 = 1
        for _ in 0..<places { divisor *= 10 }
        return product % divisor == 0 ? product / divisor : nil
    }
}
