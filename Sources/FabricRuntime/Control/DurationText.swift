extension Duration {
    /// A whole number with a unit: `45s`, `15m`, `1h`, `7d`. Nil for anything else and for more than 100 years.
    public init?(text: String) {
        let units: [Character: Int64] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
        guard let unit = text.last.flatMap({ units[$0] }), text.dropLast().allSatisfy({ "0"..."9" ~= $0 }),
            let count = Int64(text.dropLast()), count <= 100 * 366 * 86_400 / unit
        else { return nil }
        self = .seconds(count * unit)
    }
}
