internal import FabricCore

/// Two nodes never have one identity, tunnel key or overlay address. A host that enrols anew under new keys is another node.
struct UniqueIdentity {
    /// Whose each thing is. Looked up by key only.
    private var owners: [[UInt8]: Int] = [:]

    /// A host has this (an id, a key, an address in a domain), under a kind that keeps them apart. Names the other owner.
    mutating func claim(_ kind: String, _ bytes: [UInt8], by host: Int) -> Int? {
        let key = Array(kind.utf8) + bytes
        guard let owner = owners[key] else {
            owners[key] = host
            return nil
        }
        return owner == host ? nil : owner
    }
}
