import FabricCore
import Testing

@Suite struct TimeTests {
    @Test(
        "wall times are written as RFC 3339",
        arguments: [
            (0, "1970-01-01T00:00:00Z"), (-1, "1969-12-31T23:59:59Z"), (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_799, "2000-02-29T23:59:59Z"), (951_868_800, "2000-03-01T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"), (4_102_444_800, "2100-01-01T00:00:00Z"),
            (-2_208_988_800, "1900-01-01T00:00:00Z"), (-6_857_222_400, "1752-09-14T00:00:00Z"),
            (1_795_244_400, "2026-11-21T07:00:00Z"), (-9_223_372_036, "1677-09-21T00:12:44Z"),
            (9_223_372_036, "2262-04-11T23:47:16Z"),
        ] as [(Int64, String)])
    func rfc3339(seconds: Int64, text: String) {
        #expect(WallTime(seconds: seconds).rfc3339 == text)
        #expect(WallTime(seconds: seconds).description == text)
    }

    @Test func `every day follows the one before it for four hundred years`() {
        // 1700 to 2100, by an algorithm of another kind: counting.
        var (year, month, day) = (1700, 1, 1)
        let first: Int64 = -98_615
        for offset in 0..<Int64(146_097) {
            let text = WallTime(seconds: (first + offset) * 86_400 + 86_399).rfc3339
            let expected = "\(year)-\(month < 10 ? "0" : "")\(month)-\(day < 10 ? "0" : "")\(day)T23:59:59Z"
            guard text == expected else {
                Issue.record("\(text) instead of \(expected)")
                return
            }
            let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
            let length = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1]
            day += 1
            if day > length { (month, day) = (month + 1, 1) }
            if month > 12 { (year, month) = (year + 1, 1) }
        }
        #expect((year, month, day) == (2100, 1, 1))
    }

    @Test(
        "seconds are rounded down",
        arguments: [
            (0, 0), (999_999_999, 0), (1_000_000_000, 1), (-1, -1), (-1_000_000_000, -1), (-1_000_000_001, -2),
            (.min, -9_223_372_037), (.max, 9_223_372_036),
        ] as [(Int64, Int64)])
    func secondsAreRoundedDown(nanoseconds: Int64, seconds: Int64) {
        #expect(WallTime(nanoseconds: nanoseconds).seconds == seconds)
    }

    @Test("the earliest wall time can be written") func earliestText() {
        #expect(WallTime(nanoseconds: .min).rfc3339 == "1677-09-21T00:12:43Z")
    }

    @Test func `sums and seconds stop at the ends of the range`() {
        #expect(Instant.distantFuture + .seconds(1) == .distantFuture)
        #expect(Instant(nanoseconds: .min) - .seconds(1) == Instant(nanoseconds: .min))
        #expect(Instant.distantFuture - Instant(nanoseconds: -1) == .nanoseconds(Int64.max))
        #expect(Instant(nanoseconds: .min) - .distantFuture == .nanoseconds(Int64.min))
        #expect(WallTime(nanoseconds: .max) + .hours(1) == WallTime(nanoseconds: .max))
        #expect(WallTime(nanoseconds: .min) - .hours(1) == WallTime(nanoseconds: .min))
        #expect(WallTime(seconds: .max) == WallTime(nanoseconds: .max))
        #expect(WallTime(seconds: .min) == WallTime(nanoseconds: .min))
        #expect(WallTime(seconds: 1 << 62) > WallTime(seconds: 0))
    }

    @Test func `instants and durations add up`() {
        let start = Instant(nanoseconds: 5)
        #expect(start + .seconds(2) - start == .seconds(2))
        #expect((start + .seconds(2)) - .seconds(2) == start)
        #expect(start - (start + .milliseconds(3)) == .milliseconds(-3))
        #expect(start < start + .nanoseconds(1))
        #expect(WallTime(seconds: 7) - WallTime(seconds: 9) == .seconds(-2))
        #expect(WallTime(seconds: 7) + .minutes(1) == WallTime(seconds: 67))
    }

    @Test(
        "durations have whole nanoseconds, truncated towards zero",
        arguments: [
            (Duration.zero, 0), (.seconds(-1), -1_000_000_000), (.milliseconds(-1500), -1_500_000_000),
            (Duration(secondsComponent: 0, attosecondsComponent: 1_999_999_999), 1),
            (Duration(secondsComponent: 0, attosecondsComponent: -1_999_999_999), -1), (.hours(24), 86_400_000_000_000),
            (.nanoseconds(Int64.max), .max), (.nanoseconds(Int64.min), .min),
        ] as [(Duration, Int64)])
    func durationNanoseconds(duration: Duration, nanoseconds: Int64) { #expect(duration.nanoseconds == nanoseconds) }

    @Test func `the earlier of two deadlines is taken, the first of equal ones`() {
        let early = Deadline(Instant(nanoseconds: 1), "early")
        let late = Deadline(Instant(nanoseconds: 2), "late")
        let equal = Deadline(Instant(nanoseconds: 1), "equal")
        #expect(Deadline.earlier(early, late)?.reason == "early")
        #expect(Deadline.earlier(late, early)?.reason == "early")
        #expect(Deadline.earlier(early, equal)?.reason == "early")
        #expect(Deadline.earlier(equal, early)?.reason == "equal")
        #expect(Deadline.earlier(nil, late)?.reason == "late")
        #expect(Deadline.earlier(late, nil)?.reason == "late")
        #expect(Deadline<String>.earlier(nil, nil) == nil)
        #expect(late.description == "2ns late")
    }

    @Test("A duration's nanoseconds are whole, truncated towards zero, near and far")
    func nanoseconds() {
        // Some 9.2 s of attoseconds fit in 64 bits.
        for value in [0, 1, -1, 9_223_372_036, 9_223_372_037, -9_223_372_037, 120_000_000_000, .max, .min] as [Int64] {
            #expect(Duration.nanoseconds(value).nanoseconds == value)
        }
        for seconds in [0, 5, 9, 10, 86_400] as [Int64] {
            let part = Duration(secondsComponent: seconds, attosecondsComponent: 1_999_999_999)
            #expect(part.nanoseconds == seconds * 1_000_000_000 + 1)
            #expect((Duration.zero - part).nanoseconds == -(seconds * 1_000_000_000 + 1))
        }
    }
}
