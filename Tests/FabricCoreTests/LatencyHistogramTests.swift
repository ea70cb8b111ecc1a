import FabricCore
import Testing

@Suite struct LatencyHistogramTests {
    @Test(arguments: [
        (Int64(-5), 0), (0, 0), (999, 0), (1_000, 1), (1_999, 1), (2_000, 2), (3_999, 2), (4_000, 3), (1_000_000, 10),
        (8_388_607_999, 23), (8_388_608_000, 24), (Int64.max, 24),
    ]) func `a duration is counted in the class that holds it`(nanoseconds: Int64, index: Int) {
        var histogram = LatencyHistogram()
        histogram.add(.nanoseconds(nanoseconds))
        #expect(histogram.count == 1 && histogram[index] == 1)
        if let end = LatencyHistogram.end(of: index) { #expect(nanoseconds < end * 1000) }
        if index > 0 { #expect(nanoseconds >= LatencyHistogram.end(of: index - 1)! * 1000) }
    }

    @Test func `a share is below the end of the class in which it is reached`() {
        var histogram = LatencyHistogram()
        #expect(histogram.below(permille: 500) == nil)
        for _ in 0..<98 { histogram.add(.microseconds(3)) }
        histogram.add(.microseconds(100))
        histogram.add(.seconds(1))
        #expect(histogram.below(permille: 500) == 4)
        #expect(histogram.below(permille: 980) == 4)
        #expect(histogram.below(permille: 981) == 128)
        #expect(histogram.below(permille: 990) == 128)
        #expect(histogram.below(permille: 999) == 1 << 20)
        #expect(histogram.below(permille: 0) == 4)
        histogram.add(.seconds(100))
        #expect(histogram.below(permille: 1000) == nil)
    }
}
