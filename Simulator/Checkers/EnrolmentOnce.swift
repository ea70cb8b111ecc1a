/// A token and an identity key make one join request, however often it is asked for.
struct EnrolmentOnce {
    private struct Pair: Hashable {
        var token: [UInt8]
        var key: [UInt8]
    }

    /// Looked up by key only.
    private var requests: [Pair: String] = [:]

    mutating func answered(token: [UInt8], key: [UInt8], request: String) -> String? {
        let pair = Pair(token: token, key: key)
        guard let before = requests[pair], before != request else {
            requests[pair] = request
            return nil
        }
        return "one token and key made join requests \(before) and \(request)"
    }

    mutating func forget() { requests.removeAll() }
}
