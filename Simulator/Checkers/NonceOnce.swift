/// A tunnel key seals each counter once: two plaintexts under one (key, nonce) would give both away.
///
/// Keys are told apart by their first 8 bytes, which are uniform. What was used is kept past the session and the boot: a
/// key that comes again after a reboot must not count from zero.
struct NonceOnce {
    /// Beyond it everything is forgotten and the count starts anew.
    static let maximumKeys = 1 << 20

    /// What is known of one key.
    final class KeyUse {
        /// One more than the greatest counter sealed.
        fileprivate(set) var next: UInt64 = 0
        /// The host that seals with it; -1 before the first packet.
        fileprivate(set) var sealer = -1

        /// False when the counter was used.
        @inline(__always)
        func seal(_ counter: UInt64, by host: Int) -> Bool {
            sealer = host
            guard counter >= next else { return false }
            next = counter &+ 1
            return true
        }
    }

    /// Looked up by key only.
    private var uses: [UInt64: KeyUse] = [:]

    mutating func use(of key: [UInt8]) -> KeyUse {
        let name = key.prefix(8).reduce(0 as UInt64) { $0 << 8 | UInt64($1) }
        if let known = uses[name] { return known }
        if uses.count >= Self.maximumKeys { uses.removeAll() }
        let use = KeyUse()
        uses[name] = use
        return use
    }
}
