internal import FabricCore
internal import FabricTunnel

/// A session takes nothing after `rejectAfter`, and keys don't stay in memory: they go 540 s after the last handshake, and
/// the key before the last one came with a handshake that was at most `rejectAfter` older.
struct KeysEnd {
    static let longestLife = TunnelTimes.zeroKeysAfter + TunnelTimes.rejectAfter + .seconds(30)

    static func refusesPacket(atAge age: Duration) -> Bool { age >= TunnelTimes.rejectAfter }

    private struct Key {
        /// -1 in a slot that is free.
        var host: Int
        /// The host's own clock.
        var since: Instant
    }

    private var keys: [Key] = []
    private var free: [Int] = []

    /// A key was made; gives its slot.
    mutating func made(host: Int, at now: Instant) -> Int {
        let key = Key(host: host, since: now)
        if let slot = free.popLast() {
            keys[slot] = key
            return slot
        }
        keys.append(key)
        return keys.count - 1
    }

    mutating func gone(_ slot: Int) {
        keys[slot].host = -1
        free.append(slot)
    }

    /// A key that should be gone by now; `now` is the host's own clock, nil for one that is down.
    func overdue(now: (Int) -> Instant?) -> (host: Int, age: Duration)? {
        for key in keys where key.host >= 0 {
            guard let now = now(key.host), now - key.since > Self.longestLife else { continue }
            return (key.host, now - key.since)
        }
        return nil
    }
}
