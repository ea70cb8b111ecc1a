/// How long things took, in classes that double: class 0 is below a microsecond, class n from 2^(n-1) up to 2^n microseconds. What
/// takes longer than the last class's start is in the last.
public struct LatencyHistogram: Equatable, Sendable {
    /// The last begins at 8.4 s.
    public static let classes = 25

    private var counts = InlineArray<25, UInt64>(repeating: 0)
    /// Of all classes.
    public private(set) var count: UInt64 = 0

    public init() {}

    public subscript(index: Int) -> UInt64 { counts[index] }

    /// What took negative time, as after a clock's slip, took none.
    public mutating func add(_ duration: Duration) {
        let microseconds = UInt64(max(0, duration.nanoseconds)) / 1000
        counts[min(UInt64.bitWidth - microseconds.leadingZeroBitCount, Self.classes - 1)] &+= 1
        count &+= 1
    }

    /// In microseconds, what everything in a class is below; nil for the last, which has no end.
    public static func end(of index: Int) -> Int64? { index < classes - 1 ? 1 << Int64(index) : nil }

    /// What `share` of a thousand took less than, in microseconds, to the class: 500 gives the median. Nil without a count, and
    /// where it falls into the last class.
    public func below(permille share: UInt64) -> Int64? {
        guard count > 0 else { return nil }
        let (whole, rest) = UInt64(1000).dividingFullWidth(count.multipliedFullWidth(by: min(share, 1000)))
        // At least so many: a part of one is one.
        let needed = max(1, rest > 0 ? whole + 1 : whole)
        var sum: UInt64 = 0
        for index in 0..<Self.classes {
            sum += counts[index]
            if sum >= needed { return Self.end(of: index) }
        }
        return nil
    }

    public static func == (a: LatencyHistogram, b: LatencyHistogram) -> Bool {
        (0..<classes).allSatisfy { a.counts[$0] == b.counts[$0] }
    }
}
