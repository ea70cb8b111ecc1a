internal import FabricCore

/// A join token is not used beyond its uses, after its expiry, or after it was revoked. Counted from the replies that left,
/// not from the control plane's own count.
struct TokenLimits {
    private struct Token {
        var uses: Int
        var expiresAt: WallTime
        var isRevoked = false
        /// Identity keys that made a request with it.
        var keys: Set<[UInt8]> = []
    }

    /// By the hash of the secret; looked up by key only.
    private var tokens: [[UInt8]: Token] = [:]

    mutating func created(_ hash: [UInt8], uses: Int, expiresAt: WallTime) {
        if tokens[hash] == nil { tokens[hash] = Token(uses: uses, expiresAt: expiresAt) }
    }

    mutating func revoked(_ hash: [UInt8]) { tokens[hash]?.isRevoked = true }

    /// A reply has told a host that its request stands. `now` is the control plane's clock.
    mutating func used(_ hash: [UInt8], key: [UInt8], now: WallTime) -> String? {
        guard let token = tokens[hash] else { return "a join request stands on a token that nobody created" }
        guard !token.keys.contains(key) else { return nil }
        tokens[hash]!.keys.insert(key)
        if token.isRevoked { return "a revoked token made a join request" }
        if now >= token.expiresAt {
            return "a token made a join request at \(now), after its expiry at \(token.expiresAt)"
        }
        if token.keys.count >= token.uses {
            return "a token of \(token.uses) use(s) made \(token.keys.count + 1) join requests"
        }
        return nil
    }

    /// The database was put back to an earlier state: its count and its revocations are what they were then.
    mutating func forgetUses() {
        tokens = tokens.mapValues { token in
            var token = token
            token.keys.removeAll()
            token.isRevoked = false
            return token
        }
    }
}
