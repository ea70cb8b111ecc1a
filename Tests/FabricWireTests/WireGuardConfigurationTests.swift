import FabricCore
import FabricTestSupport
import FabricWire
import Testing

@Suite struct WireGuardConfigurationTests {
    static let key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
    static let otherKey = "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0="

    /// The peers of wg(8)'s example, "CONFIGURATION FILE FORMAT EXAMPLE", without its [Interface] section, and with an
    /// address for the name of the third.
    static let example = """
        [Peer]
        PublicKey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=
        Endpoint = 192.95.5.67:1234
        AllowedIPs = 10.192.122.3/32, 10.192.124.1/24

        [Peer]
        PublicKey = TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=
        Endpoint = [2607:5300:60:6b0::c05f:543]:2468
        AllowedIPs = 10.192.122.4/32, 192.168.0.0/16

        [Peer]
        PublicKey = gN65BkIKy1eCE9pP1wdc8ROUtkHLF2PfAqYdyBz6EA0=
        Endpoint = 203.0.113.18:18981
        AllowedIPs = 10.10.10.230/32

        """

    func parse(_ text: String) throws(WireGuardConfigurationError) -> WireGuardConfiguration {
        try WireGuardConfiguration(parsing: Array(text.utf8))
    }

    @Test func `the example of the manual is read as the manual means it`() throws {
        let configuration = try parse(Self.example)
        #expect(configuration.addresses.isEmpty && !configuration.holdsSecrets)
        #expect(configuration.peers.map { Base64.encode($0.publicKey) }.prefix(2) == [Self.key, Self.otherKey])
        #expect(configuration.peers.map(\.line) == [1, 6, 11])
        #expect(
            configuration.peers.map { $0.allowedIPs.map(\.description) } == [
                ["10.192.122.3/32", "10.192.124.0/24"], ["10.192.122.4/32", "192.168.0.0/16"], ["10.10.10.230/32"],
            ])
        #expect(configuration.peers[1].endpoint == Endpoint("[2607:5300:60:6b0::c05f:543]:2468"))
        #expect(configuration.peers.allSatisfy { $0.presharedKey == nil && $0.persistentKeepalive == nil })
    }

    @Test func `every key is read, whatever the case, the spaces, the line ends and the comments`() throws {
        let configuration = try parse(
            "# a comment of ours\r\n[interface] # ours\r\n\tADDRESS=10.78.0.1/24 ,fd78::1\r\naddress = 10.79.0.1/16\r\n"
                + "[ PEER ]\r\npublic key=\(Self.key)#x\r\nPresharedKey =\(Self.otherKey)\r\nallowedips = 10.78.0.2\r\n"
                + "AllowedIPs=10.78.0.0/28, 2001:db8::/32\r\nPersistentKeepalive = 25\r\nEndpoint=192.0.2.7:51820")
        #expect(configuration.addresses.map(\.description) == ["10.78.0.1/24", "fd78::1/128", "10.79.0.1/16"])
        let peer = try #require(configuration.peers.first)
        #expect(peer.allowedIPs.map(\.description) == ["10.78.0.0/28", "2001:db8::/32"])
        #expect(peer.presharedKey == Base64.decode(Self.otherKey))
        #expect(peer.persistentKeepalive == .seconds(25))
        #expect(peer.endpoint == Endpoint("192.0.2.7:51820"))
        #expect(peer.line == 5 && configuration.holdsSecrets)
    }

    @Test(arguments: ["off", "OFF", "0"]) func `a keepalive may be off`(_ text: String) throws {
        let configuration = try parse(
            "[Peer]\nPublicKey=\(Self.key)\nAllowedIPs=10.0.0.1\nPersistentKeepalive=\(text)")
        #expect(configuration.peers[0].persistentKeepalive == nil)
    }

    struct Refused: CustomTestStringConvertible {
        var text: String
        var line: Int
        var says: String
        init(_ text: String, _ line: Int, _ says: String) { (self.text, self.line, self.says) = (text, line, says) }
        var testDescription: String { says }
    }

    static let peer = "[Peer]\nPublicKey=\(key)\n"
    static let refusals = [
        Refused("", 1, "no [Peer]"),
        Refused("# nothing\n\n", 2, "no [Peer]"),
        Refused("PublicKey = \(key)", 1, "before any section"),
        Refused("[Peer]\nwhat is this", 2, "neither"),
        Refused("[Peers]\n", 1, "no section"),
        Refused("[Peer\n", 1, "no section"),
        Refused("[Interface]\n[Interface]\n", 2, "second [Interface]"),
        Refused("[Interface]\nPrivateKey = \(key)\n", 2, "a key of its own"),
        Refused("[Interface]\nListenPort = 51820\n", 2, "--listen"),
        Refused("[Interface]\nDNS = 10.0.0.1\n", 2, "by itself"),
        Refused("[Interface]\nPublicKey = \(key)\n", 2, "below [Peer]"),
        Refused("[Interface]\nColour = red\n", 2, "Address alone"),
        Refused("[Interface]\nAddress = 10.78.0.1/33\n", 2, "10.78.0.1/24"),
        Refused("[Interface]\nAddress = 10.78.0.1/0\n", 2, "10.78.0.1/24"),
        Refused(
            "[Interface]\nAddress=192.0.2.1/24\n" + peer + "AllowedIPs = 10.0.0.1\nEndpoint = 192.0.2.7:51820\n", 3,
            "behind the tunnel"),
        Refused("[Interface]\nAddress = 10.78.0.1, 10.78.0.1/24\n", 2, "twice"),
        Refused(
            "[Interface]\nAddress=" + (0...16).map { "10.0.0.\($0)" }.joined(separator: ","), 2, "more than 16"),
        Refused(peer + "Address = 10.78.0.1\n", 3, "no key of [Peer]"),
        Refused(peer + "PublicKey = \(otherKey)\n", 3, "twice"),
        Refused(peer, 1, "no AllowedIPs"),
        Refused("[Peer]\nAllowedIPs = 10.0.0.1\n", 1, "no PublicKey"),
        Refused("[Peer]\nPublicKey = \(key.dropLast())\n", 2, "44 characters"),
        Refused("[Peer]\nPublicKey = \(key.dropLast(2))h=\n", 2, "44 characters"),
        Refused("[Peer]\nPublicKey = \(String(repeating: "A", count: 43))=\n", 2, "zeros"),
        Refused(peer + "AllowedIPs =\n", 3, "not a prefix"),
        Refused(peer + "AllowedIPs = 10.0.0.1,\n", 3, "not a prefix"),
        Refused(peer + "AllowedIPs = 10.0.0.256/32\n", 3, "not a prefix"),
        Refused(peer + "AllowedIPs = 0.0.0.0/0\n", 3, "every packet"),
        Refused(peer + "AllowedIPs = ::/0\n", 3, "every packet"),
        Refused(peer + "Endpoint = vpn.example.com:51820\n", 3, "not looked up"),
        Refused(peer + "Endpoint = 192.0.2.7\n", 3, "not looked up"),
        Refused(peer + "Endpoint = 192.0.2.7:0\n", 3, "not looked up"),
        Refused(peer + "PersistentKeepalive = 65536\n", 3, "1 to 65535"),
        Refused(peer + "PersistentKeepalive = +5\n", 3, "1 to 65535"),
        Refused(peer + "AllowedIPs = 10.0.0.1\n" + peer + "AllowedIPs = 10.0.0.2\n", 4, "same PublicKey"),
        Refused(
            peer + "AllowedIPs = 10.0.0.0/8\n[Peer]\nPublicKey=\(otherKey)\nAllowedIPs = 9.0.0.1, 10.9.9.9\n", 4,
            "overlaps 10.0.0.0/8"),
        Refused(peer + "AllowedIPs = 192.0.2.0/24\nEndpoint = 192.0.2.7:51820\n", 1, "own packets"),
        Refused("[Interface]\nAddress=10.0.0.1/24\n" + peer + "AllowedIPs = 10.0.0.1\n", 3, "this side"),
        Refused("[Peer]\nPublicKey = é\n", 2, "printable ASCII"),
    ]

    @Test(arguments: refusals) func `what is not right is refused with its line and the mend`(_ wrong: Refused) {
        let error = #expect(throws: WireGuardConfigurationError.self) { try parse(wrong.text) }
        #expect(error?.line == wrong.line)
        #expect(error?.what.contains(wrong.says) == true, "\(error?.what ?? "")")
    }

    @Test func `a refusal never says a secret`() {
        let secret = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"
        for text in [
            "[Peer]\nPresharedKey = \(secret)\n", "[Interface]\nPrivateKey = \(secret)\n",
            "[Peer]\nPresharedKey \(secret)\n", "[Peer]\nPresharedKey\(secret)=\n", "[Peer]\n\(secret)=\n",
            "[Interface]\n\(secret)=\n", "\(secret)=\n", secret,
        ] {
            let error = #expect(throws: WireGuardConfigurationError.self) { try parse(text) }
            #expect(error?.description.contains(secret.prefix(8)) == false)
        }
    }

    @Test func `the limits are kept, and reached`() throws {
        func peers(_ count: Int) -> String {
            (0..<count).map { index in
                let key = [UInt8(index >> 8), UInt8(index & 255)] + [UInt8](repeating: 1, count: 30)
                return "[Peer]\nPublicKey=\(Base64.encode(key))\nAllowedIPs=10.\(index / 256).\(index % 256).0/24\n"
                    + "Endpoint=192.0.2.1:\(index + 1)\n"
            }.joined()
        }
        #expect(try parse(peers(WireGuardConfiguration.maximumPeers)).peers.count == 10_000)
        #expect(throws: WireGuardConfigurationError.self) { try parse(peers(WireGuardConfiguration.maximumPeers + 1)) }
        let prefixes = (0...WireGuardConfiguration.maximumAllowedIPs).map { "10.\($0 / 256).\($0 % 256).0/24" }
        #expect(throws: WireGuardConfigurationError.self) {
            try parse(Self.peer + "AllowedIPs=" + prefixes.joined(separator: ","))
        }
        #expect(try parse(Self.peer + "AllowedIPs=" + prefixes.dropLast().joined(separator: ",")).peers.count == 1)
        let long = Self.example + String(repeating: "#", count: WireGuardConfiguration.maximumBytes)
        #expect(throws: WireGuardConfigurationError.self) { try parse(long) }
    }

    @Test func `mutated files never trap, and what is taken keeps its promises`() throws {
        let full =
            "[Interface]\nAddress = 10.78.0.1/24, fd78::1\n[Peer]\nPublicKey = \(Self.key)\nPresharedKey = "
            + "\(Self.otherKey)\nAllowedIPs = 10.78.0.2/32,192.168.7.0/24\nEndpoint = [2001:db8::7]:51820\n"
            + "PersistentKeepalive = 25 # often\n"
        try Fuzz.run(corpus: [full, Self.example].map { Array($0.utf8) }, seed: 81, iterations: 4_000) { bytes in
            guard let configuration = try? WireGuardConfiguration(parsing: bytes) else { return }
            #expect((1...WireGuardConfiguration.maximumPeers).contains(configuration.peers.count))
            var seen: [IPPrefix] = []
            for peer in configuration.peers {
                #expect(peer.publicKey.count == 32 && (peer.presharedKey ?? peer.publicKey).count == 32)
                #expect(!peer.allowedIPs.isEmpty && peer.allowedIPs.allSatisfy { $0.length > 0 })
                for prefix in peer.allowedIPs {
                    #expect(!seen.contains { $0.overlaps(prefix) })
                    seen.append(prefix)
                }
            }
        }
    }
}
