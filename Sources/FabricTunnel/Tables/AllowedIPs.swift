package import FabricCore

/// Cryptokey routing of one domain: which peer a destination belongs to, and from which peer a source may come.
///
/// A prefix has one peer; given to a second, it moves there, as in WireGuard. The longest prefix decides.
package struct AllowedIPs {
    private var v4 = PrefixTrie()
    private var v6 = PrefixTrie()

    package init() {}

    package mutating func insert(_ prefix: IPPrefix, peer: Int) {
        let key = PrefixTrie.Key(prefix.address)
        switch prefix.address.family {
        case .v4: v4.insert(key, length: prefix.length, owner: Int32(peer))
        case .v6: v6.insert(key, length: prefix.length, owner: Int32(peer))
        }
    }

    /// Does nothing when the prefix belongs to another peer by now.
    package mutating func remove(_ prefix: IPPrefix, peer: Int) {
        let key = PrefixTrie.Key(prefix.address)
        switch prefix.address.family {
        case .v4: v4.remove(key, length: prefix.length, owner: Int32(peer))
        case .v6: v6.remove(key, length: prefix.length, owner: Int32(peer))
        }
    }

    /// The peer, or nil.
    @inline(__always)
    package func lookup(_ address: IPAddress) -> Int? {
        let owner =
            switch address.family {
            case .v4: v4.lookup(PrefixTrie.Key(address), width: 32)
            case .v6: v6.lookup(PrefixTrie.Key(address), width: 128)
            }
        return owner < 0 ? nil : Int(owner)
    }
}

/// A path-compressed binary trie: a node tests all the bits of its prefix at once, so a lookup visits as many nodes as
/// there are nested prefixes and forks above the answer.
struct PrefixTrie {
    /// An address, its first bit the highest of `high`.
    struct Key: Equatable {
        var high: UInt64
        var low: UInt64

        @inline(__always)
        init(_ address: IPAddress) {
            switch address.family {
            case .v4: (high, low) = (address.low << 32, 0)
            case .v6: (high, low) = (address.high, address.low)
            }
        }

        @inline(__always)
        func commonBits(_ other: Key) -> Int {
            high != other.high
                ? (high ^ other.high).leadingZeroBitCount : 64 + (low ^ other.low).leadingZeroBitCount
        }

        @inline(__always)
        func bit(_ index: Int) -> Bool {
            index < 64 ? high >> UInt64(63 - index) & 1 == 1 : low >> UInt64(127 - index) & 1 == 1
        }
    }

    private struct Node {
        var key: Key
        var length: Int
        /// -1 for a fork that is no prefix itself, or one that was removed.
        var owner: Int32
        var zero: Int32 = -1
        var one: Int32 = -1
    }

    private var nodes: [Node] = []
    private var root: Int32 = -1
    private var removed = 0

    @inline(__always)
    func lookup(_ key: Key, width: Int) -> Int32 {
        var best: Int32 = -1
        var place = root
        while place >= 0 {
            let length = nodes[Int(place)].length
            guard nodes[Int(place)].key.commonBits(key) >= length else { break }
            if nodes[Int(place)].owner >= 0 { best = nodes[Int(place)].owner }
            guard length < width else { break }
            place = key.bit(length) ? nodes[Int(place)].one : nodes[Int(place)].zero
        }
        return best
    }

    mutating func insert(_ key: Key, length: Int, owner: Int32) {
        var parent: (place: Int, bit: Bool)?
        var place = root
        while place >= 0 {
            let node = nodes[Int(place)]
            let common = min(node.key.commonBits(key), min(node.length, length))
            if common < node.length {
                let above = insertAbove(place, node, key, length: length, common: common, owner: owner)
                return link(above, under: parent)
            }
            if node.length == length {
                nodes[Int(place)].owner = owner
                return
            }
            parent = (Int(place), key.bit(node.length))
            place = key.bit(node.length) ? node.one : node.zero
        }
        link(make(key, length: length, owner: owner), under: parent)
    }

    private mutating func insertAbove(
        _ place: Int32, _ node: Node, _ key: Key, length: Int, common: Int, owner: Int32
    ) -> Int32 {
        if common == length {
            let above = make(key, length: length, owner: owner)
            attach(place, to: above, bit: node.key.bit(common))
            return above
        }
        let fork = make(key, length: common, owner: -1)
        attach(place, to: fork, bit: node.key.bit(common))
        attach(make(key, length: length, owner: owner), to: fork, bit: key.bit(common))
        return fork
    }

    mutating func remove(_ key: Key, length: Int, owner: Int32) {
        var place = root
        while place >= 0 {
            let node = nodes[Int(place)]
            guard node.length <= length, node.key.commonBits(key) >= node.length else { return }
            if node.length == length {
                guard node.owner == owner else { return }
                nodes[Int(place)].owner = -1
                removed += 1
                if removed > 16, 4 * removed > nodes.count { rebuild() }
                return
            }
            place = key.bit(node.length) ? node.one : node.zero
        }
    }

    /// Drops the nodes that removals left behind.
    private mutating func rebuild() {
        let old = nodes
        nodes = []
        root = -1
        removed = 0
        for node in old where node.owner >= 0 { insert(node.key, length: node.length, owner: node.owner) }
    }

    private mutating func make(_ key: Key, length: Int, owner: Int32) -> Int32 {
        nodes.append(Node(key: key, length: length, owner: owner))
        return Int32(nodes.count - 1)
    }

    private mutating func link(_ place: Int32, under parent: (place: Int, bit: Bool)?) {
        guard let parent else {
            root = place
            return
        }
        attach(place, to: Int32(parent.place), bit: parent.bit)
    }

    private mutating func attach(_ child: Int32, to place: Int32, bit: Bool) {
        if bit { nodes[Int(place)].one = child } else { nodes[Int(place)].zero = child }
    }
}
