internal import FabricCore

/// Loss in bursts, after Gilbert and Elliott: the line is good or bad by turns, and while it is bad it loses `lossInside` of
/// all packets, besides what the link loses anyhow.
///
/// The turns are of the line and in time, not in packets: how long each lasts is drawn from the exponential distribution. So
/// one more packet changes no other packet's luck, and a burst hits all who use the line then.
public struct LossBursts: Hashable, Sendable {
    /// The part of the time in which the line is bad; more than never and less than always.
    public var share: Probability
    /// How long a burst lasts on average.
    public var mean: Duration
    public var lossInside: Probability

    public init(share: Probability, mean: Duration, lossInside: Probability = .always) {
        precondition(share > .never && share < .always && mean > .zero)
        self.share = share
        self.mean = mean
        self.lossInside = lossInside
    }
}

/// The turns of one line, advanced as far as somebody looks. The draws depend on the turns alone, never on who looks.
final class BurstChain {
    private(set) var settings: LossBursts
    private let random: SeededRandom
    private var isBad: Bool
    private var until: Int64

    /// Begins in the long run's proportion of good and bad.
    init(_ settings: LossBursts, _ random: SeededRandom, at now: Int64) {
        self.settings = settings
        self.random = random
        isBad = settings.share.draw(random)
        until = now
        until += duration()
    }

    func change(to settings: LossBursts, at now: Int64) {
        self.settings = settings
        isBad = settings.share.draw(random)
        until = now + duration()
    }

    /// Whether a packet that goes on the line now is lost. `sender` is drawn from when a burst loses a part only.
    func loses(_ sender: SeededRandom, at now: Int64) -> Bool {
        while now >= until {
            isBad.toggle()
            until += duration()
        }
        return isBad && settings.lossInside.draw(sender)
    }

    private func duration() -> Int64 {
        let bad = max(1, settings.mean.nanoseconds)
        if isBad { return max(1, BurstChain.exponential(mean: bad, random)) }
        // share = bad / (bad + good); in parts per million the product could pass 2^63.
        let share = UInt64(settings.share.partsPerMillion)
        let (high, low) = UInt64(bad).multipliedFullWidth(by: 1_000_000 - share)
        let good = share > high ? share.dividingFullWidth((high, low)).quotient : UInt64.max
        return max(1, BurstChain.exponential(mean: Int64(min(good, 1 << 60)), random))
    }

    /// Exponentially distributed, by von Neumann's comparison method: exact, from integers alone.
    static func exponential(mean: Int64, _ random: SeededRandom) -> Int64 {
        var whole: Int64 = 0
        // The limit is passed once in 10^17 draws; it keeps the product in range.
        while whole < 40 {
            let first = random.uint64()
            var last = first
            var isAccepted = true
            while true {
                let next = random.uint64()
                if next >= last { break }
                last = next
                isAccepted.toggle()
            }
            if isAccepted {
                let part = Int64(first.multipliedFullWidth(by: UInt64(mean)).high)
                let (product, overflow) = mean.multipliedReportingOverflow(by: whole)
                return overflow ? 1 << 61 : min(product + part, 1 << 61)
            }
            whole += 1
        }
        return min(mean, 1 << 55) * 40
    }
}
