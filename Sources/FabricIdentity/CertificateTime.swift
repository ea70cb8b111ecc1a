internal import FabricCore
internal import SwiftASN1

/// Certificate times (RFC 5280 section 4.1.2.5): whole seconds, UTCTime from 1950 to 2049, GeneralizedTime otherwise.
///
/// X.509 names the last second that is still valid; `Range<WallTime>` names the first instant that is not. So a
/// certificate issued for `a ..< b` carries notAfter = b - 1 s, and every verifier agrees to the second.
struct CertificateTime {
    /// Seconds since the Unix epoch.
    var seconds: Int64

    init(seconds: Int64) { self.seconds = seconds }

    init(_ node: ASN1Node) throws {
        if node.identifier == .utcTime {
            let time = try UTCTime(derEncoded: node)
            seconds = CertificateTime.seconds(
                (time.year, time.month, time.day), (time.hours, time.minutes, time.seconds))
        } else {
            let time = try GeneralizedTime(derEncoded: node)
            guard time.rawFractionalSeconds.isEmpty else {
                throw CertificateError.malformed("a time with fractions")
            }
            seconds = CertificateTime.seconds(
                (time.year, time.month, time.day), (time.hours, time.minutes, time.seconds))
        }
    }

    func serialize(into coder: inout DER.Serializer) throws {
        let days = (seconds >= 0 ? seconds : seconds - 86_399) / 86_400
        let rest = Int(seconds - days * 86_400)
        let (year, month, day) = CertificateTime.civil(days: Int(days))
        let (hours, minutes, second) = (rest / 3600, rest / 60 % 60, rest % 60)
        if (1950..<2050).contains(year) {
            try coder.serialize(
                UTCTime(year: year, month: month, day: day, hours: hours, minutes: minutes, seconds: second)
            )
        } else {
            try coder.serialize(
                GeneralizedTime(
                    year: year, month: month, day: day, hours: hours, minutes: minutes, seconds: second,
                    fractionalSeconds: 0))
        }
    }

    /// The instant at which this second begins; times beyond `WallTime` (the year 2262) become its ends.
    var start: WallTime {
        if seconds > Int64.max / 1_000_000_000 { return WallTime(nanoseconds: .max) }
        if seconds < Int64.min / 1_000_000_000 { return WallTime(nanoseconds: .min) }
        return WallTime(seconds: seconds)
    }

    /// The instant at which this second has passed.
    var end: WallTime { CertificateTime(seconds: seconds + 1).start }

    // Days to and from the civil calendar, after Howard Hinnant's "chrono-compatible low-level date algorithms".
    private static func seconds(_ date: (Int, Int, Int), _ time: (Int, Int, Int)) -> Int64 {
        let (month, day) = (date.1, date.2)
        let year = month <= 2 ? date.0 - 1 : date.0
        let era = (year >= 0 ? year : year - 399) / 400
        let yearOfEra = year - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        let days = era * 146_097 + dayOfEra - 719_468
        return Int64(days * 86_400 + time.0 * 3600 + time.1 * 60 + time.2)
    }

    private static func civil(days: Int) -> (Int, Int, Int) {
        let z = days + 719_468
        let era = (z >= 0 ? z : z - 146_096) / 146_097
        let dayOfEra = z - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        let month = shifted < 10 ? shifted + 3 : shifted - 9
        return (
            yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shifted + 2) / 5 + 1
        )
    }
}
