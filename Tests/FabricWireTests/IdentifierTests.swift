import FabricCore
import FabricCrypto
import FabricTestSupport
import FabricWire
import Testing

@Suite struct FabricIdentifierTests {
    let cryptography: any Cryptography = SystemCryptography()
    let cluster = ClusterID("alpha")!
    let node = NodeID("00112233445566778899aabbccddeeff")!

    @Test func `a node's SPIFFE id says its cluster and its name`() throws {
        let text = FabricIdentifier.node(node, in: cluster)
        #expect(text == "spiffe://alpha.rap/node/00112233445566778899aabbccddeeff")
        let parsed = try #require(FabricIdentifier.parseNode(text))
        #expect(parsed.cluster == cluster && parsed.node == node)
        #expect(FabricIdentifier.authority(cluster) == "spiffe://alpha.rap")
        #expect(FabricIdentifier.trustDomain(cluster) == "alpha.rap")
    }

    @Test(arguments: [
        "", "spiffe://", "spiffe://alpha.rap", "spiffe://alpha.rap/", "spiffe://alpha.rap/node",
        "spiffe://alpha.rap/node/",
        "spiffe://alpha.rap/node/n/", "spiffe://alpha.rap/node/n/m", "spiffe://alpha.rap/nodes/n",
        "spiffe://alpha/node/n",
        "spiffe://.rap/node/n", "spiffe:/alpha.rap/node/n", "SPIFFE://alpha.rap/node/n", "https://alpha.rap/node/n",
        " spiffe://alpha.rap/node/n", "spiffe://alpha.rap/node/a b", "spiffe://a/b.rap/node/n",
        FabricIdentifier.control,
    ]) func `what names no node is not parsed`(_ text: String) {
        #expect(FabricIdentifier.parseNode(text) == nil)
    }

    @Test func `mutated SPIFFE ids parse to what they say, or not at all`() throws {
        let corpus = [FabricIdentifier.node(node, in: cluster), FabricIdentifier.control].map { Array($0.utf8) }
        try Fuzz.run(corpus: corpus, seed: 31, iterations: 3_000) { bytes in
            let text = String(decoding: bytes, as: UTF8.self)
            guard let parsed = FabricIdentifier.parseNode(text) else { return }
            #expect(FabricIdentifier.node(parsed.node, in: parsed.cluster) == text)
        }
    }

    @Test func `a node's id is half of its key's SHA-256`() {
        // SHA-256 of 32 zero bytes: 66687aadf862bd776c8fc18b8e9f8e20…
        let id = FabricIdentifier.nodeID(identityKey: [UInt8](repeating: 0, count: 32), cryptography)
        #expect(id.text == "66687aadf862bd776c8fc18b8e9f8e20")
    }

    @Test func `overlay prefixes are unique local, 127 bits long, and the host's address is even`() {
        for number in 0..<200 {
            let prefix = FabricIdentifier.overlayPrefix(
                cluster: cluster, domain: .fabric, node: NodeID("n\(number)")!, cryptography)
            #expect(prefix.length == 127)
            #expect(prefix.address.bytes[0] == 0xFD)
            #expect(prefix.overlayHost.low & 1 == 0)
            #expect(prefix.overlayAgent.low == prefix.overlayHost.low + 1)
            #expect(prefix.overlayAgent.high == prefix.overlayHost.high)
            #expect(prefix.contains(prefix.overlayHost) && prefix.contains(prefix.overlayAgent))
        }
    }

    @Test func `overlay prefixes differ by cluster, by domain and by node, and stay the same`() {
        func prefix(_ cluster: String, _ domain: String, _ node: String) -> IPPrefix {
            FabricIdentifier.overlayPrefix(
                cluster: ClusterID(cluster)!, domain: RoutingDomainID(domain)!, node: NodeID(node)!, cryptography)
        }
        var all: Set<IPPrefix> = []
        for cluster in ["a", "b", "ab"] {
            for domain in ["fabric", "blue", "b"] {
                for node in ["n", "m", "nm"] { all.insert(prefix(cluster, domain, node)) }
            }
        }
        #expect(all.count == 27)
        #expect(prefix("a", "fabric", "n") == prefix("a", "fabric", "n"))
        // One domain of one cluster is one /64.
        #expect(prefix("a", "fabric", "n").address.high == prefix("a", "fabric", "m").address.high)
        #expect(prefix("a", "fabric", "n").address.high != prefix("a", "blue", "n").address.high)
        #expect(prefix("a", "fabric", "n").address.high != prefix("b", "fabric", "n").address.high)
    }
}
