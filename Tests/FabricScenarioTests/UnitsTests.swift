import FabricCore
import FabricScenario
import Testing

@Suite struct UnitsTests {
    @Test(
        arguments: [
            ("30s", 30_000_000_000, "30s"), ("80ms", 80_000_000, "80ms"), ("2m", 120_000_000_000, "2m"),
            ("1h", 3_600_000_000_000, "1h"), ("1m30s", 90_000_000_000, "1m30s"), ("90s", 90_000_000_000, "1m30s"),
            ("1.5s", 1_500_000_000, "1.5s"), ("0s", 0, "0s"), ("-10m", -600_000_000_000, "-10m"),
            ("+5s", 5_000_000_000, "5s"),
            ("250us", 250_000, "250us"), ("7ns", 7, "7ns"), ("2d", 172_800_000_000_000, "48h"),
            ("1500ms", 1_500_000_000, "1.5s"),
            ("1h1ms", 3_600_001_000_000, "1h0.001s"),
        ] as [(String, Int64, String)])
    func `a duration is read exactly and written canonically`(_ text: String, _ nanoseconds: Int64, _ canonical: String)
    {
        let span = Span(text)
        #expect(span?.duration == .nanoseconds(nanoseconds))
        #expect(span?.description == canonical)
        #expect(Span(canonical) == span)
    }

    @Test(arguments: [
        "", "30", "s", "30 s", "30S", "30sec", "s30", "1e3s", "--1s", "- 1s", "1.s", ".5s", "1.5", "30s1m", "1s1s",
        "0.5ns",
        "99999999999999s", "1001d", "9999999999999h", "٣s", "1,5s", "∞s",
    ])
    func `what is no duration is refused`(_ text: String) { #expect(Span(text) == nil) }

    @Test func `rates, shares and sizes are read exactly`() {
        #expect(BitRate("20Mbit/s")?.bitsPerSecond == 20_000_000)
        #expect(BitRate("1.5Gbit/s")?.bitsPerSecond == 1_500_000_000)
        #expect(BitRate("64kbit/s")?.description == "64kbit/s")
        for text in ["20", "20Mb/s", "20 Mbit/s", "0bit/s", "20MB/s", "20mbit/s"] { #expect(BitRate(text) == nil) }
        #expect(Ratio("1%")?.partsPerMillion == 10_000)
        #expect(Ratio("0.05%")?.partsPerMillion == 500)
        #expect(Ratio("0.05%")?.description == "0.05%")
        #expect(Ratio("100%")?.partsPerMillion == 1_000_000)
        for text in ["1", "0.01", "101%", "-1%", "1 %", "0.00001%"] { #expect(Ratio(text) == nil) }
        #expect(ByteSize("1200B")?.bytes == 1200)
        #expect(ByteSize("64KiB")?.bytes == 65_536)
        #expect(ByteSize("1.5kB")?.bytes == 1500)
        for text in ["1200", "2GB", "2TiB", "1.5B", "-1B", "1kb"] { #expect(ByteSize(text) == nil) }
    }
}
