public import FabricCore

/// A file in WireGuard's configuration format (wg(8), "CONFIGURATION FILE FORMAT"), as far as it speaks of peers:
///
/// ```
/// [Interface]                                      at most one; may be left out
/// Address = 10.78.0.1/24, fd78::1                  as in wg-quick(8); repeatable
///
/// [Peer]                                           one for each peer
/// PublicKey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=
/// PresharedKey = /UwcSPg38hW/D9Y3tcS1FOV0K1wuURMbS0sesJEP5ak=
/// AllowedIPs = 10.78.0.2, 192.168.7.0/24           repeatable; bits behind the prefix are cleared
/// Endpoint = 192.0.2.7:51820                       an address, not a name
/// PersistentKeepalive = 25                         seconds, 1 to 65535; 0 or off: never
/// ```
///
/// `#` begins a comment, white space is free, and case does not matter in the names of sections and keys. Everything
/// else is refused, with its line: what wg(8) would set here and the fabric decides by itself (keys, ports), and what can
/// only be a slip (a key given twice, two peers with the same key or the same addresses).
public struct WireGuardConfiguration: Hashable, Sendable {
    /// Bytes of a file.
    public static let maximumBytes = 4 << 20
    public static let maximumPeers = 10_000
    /// Addresses of the interface.
    public static let maximumAddresses = 16
    /// Prefixes of one peer.
    public static let maximumAllowedIPs = 256

    public struct Peer: Hashable, Sendable {
        /// X25519, 32 bytes.
        public var publicKey: [UInt8]
        /// 32 bytes. A secret.
        public var presharedKey: [UInt8]?
        /// Sorted; none holds another, and none overlaps those of another peer.
        public var allowedIPs: [IPPrefix]
        public var endpoint: Endpoint?
        public var persistentKeepalive: Duration?
        /// Where its section begins, counted from 1.
        public var line: Int
    }

    /// In the order of the file.
    public var addresses: [InterfaceAddress]
    /// In the order of the file.
    public var peers: [Peer]

    /// The file has a secret in it.
    public var holdsSecrets: Bool { peers.contains { $0.presharedKey != nil } }
}

/// What is wrong in which line, and the mend. Never says a secret.
public struct WireGuardConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Counted from 1.
    public var line: Int
    public var what: String

    public init(line: Int, _ what: String) {
        self.line = line
        self.what = what
    }

    public var description: String { "line \(line): \(what)" }
}

extension WireGuardConfiguration {
    public init(parsing bytes: [UInt8]) throws(WireGuardConfigurationError) {
        var reader = WireGuardConfigurationReader()
        try reader.read(bytes)
        self = try reader.finish()
    }
}

/// Reads a file line by line.
private struct WireGuardConfigurationReader {
    private typealias Failure = WireGuardConfigurationError

    private enum Section { case none, interface, peer }

    private struct PendingPeer {
        var line: Int
        var publicKey: [UInt8]?
        var presharedKey: [UInt8]?
        var allowedIPs: [IPPrefix] = []
        var endpoint: Endpoint?
        var persistentKeepalive: Duration?
        /// Keys that were given, lower case; AllowedIPs may come again.
        var given: [String] = []
    }

    private var section = Section.none
    private var hasInterface = false
    private var pending: PendingPeer?
    private var addresses: [InterfaceAddress] = []
    private var peers: [WireGuardConfiguration.Peer] = []
    /// The line of each key's peer. Looked up, never iterated.
    private var lines: [[UInt8]: Int] = [:]
    private var line = 0

    mutating func read(_ bytes: [UInt8]) throws(WireGuardConfigurationError) {
        guard bytes.count <= WireGuardConfiguration.maximumBytes else {
            throw Failure(
                line: 1, "the file has \(bytes.count) bytes, more than \(WireGuardConfiguration.maximumBytes)")
        }
        var start = 0
        while start < bytes.count {
            let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
            line += 1
            try read(line: bytes[start..<end])
            start = end + 1
        }
    }

    mutating func finish() throws(WireGuardConfigurationError) -> WireGuardConfiguration {
        try endPeer()
        guard !peers.isEmpty else { throw Failure(line: max(line, 1), "there is no [Peer] section") }
        try checkDistinct()
        return WireGuardConfiguration(addresses: addresses, peers: peers)
    }

    private func fail(_ what: String) -> WireGuardConfigurationError { Failure(line: line, what) }

    // MARK: Lines

    private mutating func read(line bytes: ArraySlice<UInt8>) throws(WireGuardConfigurationError) {
        let content = bytes.prefix { $0 != UInt8(ascii: "#") }
        // wg(8) drops all white space, in the middle too.
        let text = content.filter { !Self.isSpace($0) }
        guard !text.isEmpty else { return }
        guard text.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw fail("there are bytes that are not printable ASCII; only comments may have them")
        }
        let words = String(decoding: text, as: UTF8.self)
        if words.hasPrefix("[") { return try begin(words) }
        guard let equals = words.firstIndex(of: "=") else {
            throw fail("\(Self.name(words)) is neither “[Peer]” nor “Key = value”")
        }
        let key = String(words[..<equals])
        let value = String(words[words.index(after: equals)...])
        switch section {
        case .none: throw fail("\(Self.name(key)) stands before any section: begin with [Peer]")
        case .interface: try setInterface(key, value)
        case .peer: try setPeer(key, value)
        }
    }

    private mutating func begin(_ header: String) throws(WireGuardConfigurationError) {
        try endPeer()
        switch header.lowercased() {
        case "[interface]":
            guard !hasInterface else { throw fail("there is a second [Interface] section; only one may be") }
            hasInterface = true
            section = .interface
        case "[peer]":
            guard peers.count < WireGuardConfiguration.maximumPeers else {
                throw fail("there are more than \(WireGuardConfiguration.maximumPeers) peers")
            }
            section = .peer
            pending = PendingPeer(line: line)
        default: throw fail("“\(Self.excerpt(header))” is no section: there are [Interface] and [Peer]")
        }
    }

    private mutating func setInterface(_ key: String, _ value: String) throws(WireGuardConfigurationError) {
        switch key.lowercased() {
        case "address":
            for item in items(value) {
                guard let address = InterfaceAddress(item), address.length > 0 else {
                    throw fail("Address: “\(Self.excerpt(item))” is not an address such as 10.78.0.1/24")
                }
                guard !addresses.contains(where: { $0.address == address.address }) else {
                    throw fail("Address: \(address.address) is given twice")
                }
                guard addresses.count < WireGuardConfiguration.maximumAddresses else {
                    throw fail("Address: there are more than \(WireGuardConfiguration.maximumAddresses)")
                }
                addresses.append(address)
            }
        case "privatekey":
            throw fail("PrivateKey: the agent has a key of its own for each routing domain; take the line out")
        case "listenport": throw fail("ListenPort: the agent's --listen says it; take the line out")
        case "fwmark", "table", "mtu", "dns", "preup", "postup", "predown", "postdown", "saveconfig":
            throw fail("\(key): the agent sets its interface up by itself; take the line out")
        default:
            let mend = Self.peerKeys.contains(key.lowercased()) ? "; it belongs below [Peer]" : ""
            throw fail("\(Self.name(key)) is no key of [Interface] here, which has Address alone\(mend)")
        }
    }

    private static let peerKeys = ["publickey", "presharedkey", "allowedips", "endpoint", "persistentkeepalive"]

    private mutating func setPeer(_ key: String, _ value: String) throws(WireGuardConfigurationError) {
        guard var peer = pending else { preconditionFailure("a peer's section has a peer") }
        let name = key.lowercased()
        guard Self.peerKeys.contains(name) else {
            throw fail(
                "\(Self.name(key)) is no key of [Peer]: there are PublicKey, PresharedKey, AllowedIPs, Endpoint and "
                    + "PersistentKeepalive")
        }
        guard name == "allowedips" || !peer.given.contains(name) else {
            throw fail("\(key) is given twice for this peer")
        }
        peer.given.append(name)
        switch name {
        case "publickey": peer.publicKey = try keyBytes(value, "PublicKey")
        case "presharedkey": peer.presharedKey = try keyBytes(value, "PresharedKey")
        case "allowedips": try addAllowedIPs(value, &peer.allowedIPs)
        case "endpoint":
            guard let endpoint = Endpoint(value), endpoint.port > 0 else {
                throw fail(
                    "Endpoint: “\(Self.excerpt(value))” is not an address and port such as 192.0.2.7:51820 or "
                        + "[2001:db8::7]:51820; names are not looked up")
            }
            peer.endpoint = endpoint
        default: peer.persistentKeepalive = try keepalive(value)
        }
        pending = peer
    }

    private func keyBytes(_ text: String, _ key: String) throws(WireGuardConfigurationError) -> [UInt8] {
        guard let bytes = Base64.decode(text), bytes.count == 32 else {
            throw fail("\(key): not 32 bytes in base64, 44 characters with the “=” at the end")
        }
        guard bytes.contains(where: { $0 != 0 }) else { throw fail("\(key): 32 zeros are no key") }
        return bytes
    }

    private func addAllowedIPs(_ value: String, _ prefixes: inout [IPPrefix]) throws(WireGuardConfigurationError) {
        for item in items(value) {
            guard let network = InterfaceAddress(item)?.network else {
                throw fail("AllowedIPs: “\(Self.excerpt(item))” is not a prefix such as 10.78.0.0/24")
            }
            guard network.length > 0 else {
                throw fail(
                    "AllowedIPs: \(network) would take every packet of this host, the tunnels' own too; name the networks "
                        + "behind the peer")
            }
            guard prefixes.count < WireGuardConfiguration.maximumAllowedIPs else {
                throw fail("AllowedIPs: there are more than \(WireGuardConfiguration.maximumAllowedIPs) for this peer")
            }
            prefixes.append(network)
        }
    }

    private func keepalive(_ text: String) throws(WireGuardConfigurationError) -> Duration? {
        if text.lowercased() == "off" || text == "0" { return nil }
        guard text.utf8.allSatisfy({ (48...57).contains($0) }), let seconds = UInt16(text), seconds > 0 else {
            throw fail("PersistentKeepalive: “\(Self.excerpt(text))” is not from 1 to 65535 seconds, nor off")
        }
        return .seconds(Int64(seconds))
    }

    private func items(_ value: String) -> [String] {
        value.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    }

    // MARK: Peers

    private mutating func endPeer() throws(WireGuardConfigurationError) {
        guard let peer = pending else { return }
        pending = nil
        guard let publicKey = peer.publicKey else {
            throw Failure(line: peer.line, "this peer has no PublicKey")
        }
        guard !peer.allowedIPs.isEmpty else {
            throw Failure(line: peer.line, "this peer has no AllowedIPs: nothing could pass")
        }
        if let other = lines[publicKey] {
            throw Failure(line: peer.line, "this peer has the same PublicKey as the one in line \(other)")
        }
        lines[publicKey] = peer.line
        var allowedIPs: [IPPrefix] = []
        // Sorted, a prefix follows those that hold it.
        for prefix in peer.allowedIPs.sorted() where !(allowedIPs.last?.contains(prefix) ?? false) {
            allowedIPs.append(prefix)
        }
        peers.append(
            WireGuardConfiguration.Peer(
                publicKey: publicKey, presharedKey: peer.presharedKey, allowedIPs: allowedIPs,
                endpoint: peer.endpoint, persistentKeepalive: peer.persistentKeepalive, line: peer.line))
    }

    private func checkDistinct() throws(WireGuardConfigurationError) {
        var all = peers.flatMap { peer in peer.allowedIPs.map { (prefix: $0, peer: peer) } }
        all.sort { $0.prefix != $1.prefix ? $0.prefix < $1.prefix : $0.peer.line < $1.peer.line }
        // Within a peer none holds another, so where two overlap, two neighbours do.
        for (one, other) in zip(all, all.dropFirst()) where one.prefix.overlaps(other.prefix) {
            let (first, second) = one.peer.line < other.peer.line ? (one, other) : (other, one)
            throw Failure(
                line: second.peer.line,
                "AllowedIPs: \(second.prefix) overlaps \(first.prefix) of the peer in line \(first.peer.line); each "
                    + "address belongs to one peer")
        }
        let prefixes = all.map(\.prefix)
        for peer in peers {
            if let endpoint = peer.endpoint,
                let own = addresses.first(where: { $0.network.contains(endpoint.address) })
            {
                throw Failure(
                    line: peer.line,
                    "Endpoint: \(endpoint) is in the network of the Address \(own), which lies behind the tunnel")
            }
            if let endpoint = peer.endpoint, let place = Self.holder(of: endpoint.address, among: prefixes) {
                throw Failure(
                    line: all[place].peer.line,
                    "AllowedIPs: \(all[place].prefix) holds the Endpoint \(endpoint): the tunnel's own packets would go into it"
                )
            }
            if let own = addresses.first(where: { peer.allowedIPs.contains(IPPrefix(host: $0.address)) }) {
                throw Failure(line: peer.line, "AllowedIPs: \(own.address) is the Address of this side")
            }
        }
    }

    /// Where the prefix stands that holds the address. They are sorted, and none overlaps another.
    private static func holder(of address: IPAddress, among prefixes: [IPPrefix]) -> Int? {
        var (low, high) = (0, prefixes.count)
        while low < high {
            let middle = (low + high) / 2
            if prefixes[middle].address <= address { low = middle + 1 } else { high = middle }
        }
        return low > 0 && prefixes[low - 1].contains(address) ? low - 1 : nil
    }

    // MARK: Text

    /// What isspace(3) takes in the C locale.
    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }

    private static func excerpt(_ text: String) -> String { text.count > 48 ? text.prefix(48) + "…" : text }

    /// What stands where a name should. A long one may be a secret that has lost its name, or its “=”.
    private static func name(_ text: String) -> String {
        text.count > longestName ? "something of \(text.count) characters" : "“\(text)”"
    }

    private static let longestName = "PersistentKeepalive".count
}
