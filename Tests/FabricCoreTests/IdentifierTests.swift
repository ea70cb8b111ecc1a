import FabricCore
import Foundation
import Testing

@Suite struct IdentifierTests {
    @Test(
        "identifiers are 1 to 64 of a-z, 0-9 and -, not - at an end",
        arguments: [
            "a", "0", "fabric", "a-b", "a--b", String(repeating: "x", count: 64), "0123456789abcdef0123456789abcdef",
        ])
    func accepted(text: String) throws {
        let id = try #require(NodeID(text))
        #expect(id.text == text)
        #expect(id.description == text)
    }

    @Test(
        "other text is refused",
        arguments: [
            "", "-", "-a", "a-", "A", "a_b", "a b", "a.b", "a/b", "é", "a\u{301}", " a", "a\n", "a\0", "..",
            String(repeating: "x", count: 65),
        ])
    func refused(text: String) { #expect(NodeID(text) == nil) }

    @Test func `new identifiers are 32 hexadecimal digits from the source given`() {
        let one = ClusterID(random: SeededRandom(seed: 1, stream: "ids"))
        #expect(one == ClusterID(random: SeededRandom(seed: 1, stream: "ids")))
        #expect(one != ClusterID(random: SeededRandom(seed: 2, stream: "ids")))
        #expect(one.text.utf8.count == 32)
        #expect(ClusterID(one.text) == one)
    }

    @Test func `identifiers are ordered by their text`() throws {
        let ids = try ["b", "a", "a-1", "a1", "9"].map { try #require(NodeID($0)) }
        #expect(ids.sorted().map(\.text) == ["9", "a", "a-1", "a1", "b"])
    }

    @Test func `values travel in documents as text, and bad text is refused with what was expected`() throws {
        struct Body: Codable, Equatable {
            var id: NodeID
            var address: IPAddress
            var endpoint: Endpoint
            var prefix: IPPrefix
            var blob: Blob
        }
        let body = Body(
            id: try #require(NodeID("n-1")), address: try #require(IPAddress("::1")),
            endpoint: try #require(Endpoint("192.0.2.1:1")), prefix: try #require(IPPrefix("10.0.0.0/8")),
            blob: Blob([0xFB, 0xFF]))
        let data = try JSONEncoder().encode(body)
        let text = String(decoding: data, as: UTF8.self)
        for part in [#""n-1""#, #""::1""#, #""192.0.2.1:1""#, #""-_8""#] { #expect(text.contains(part)) }
        #expect(try JSONDecoder().decode(Body.self, from: data) == body)

        for (good, bad, expectation) in [
            ("n-1", "N 1", "an identifier"), ("::1", "::g", "an IP address"),
            ("192.0.2.1:1", "192.0.2.1", "an address and port"),
            ("-_8", "-_8=", "base64url"),
        ] {
            let broken = Data(text.replacingOccurrences(of: "\"\(good)\"", with: "\"\(bad)\"").utf8)
            let error = #expect(throws: DecodingError.self) { try JSONDecoder().decode(Body.self, from: broken) }
            #expect("\(String(describing: error))".contains(expectation))
        }
    }

    @Test func `a refusal quotes no more than the beginning of long text`() throws {
        let long = Data("[\"\(String(repeating: "x", count: 100_000))\"]".utf8)
        let error = #expect(throws: DecodingError.self) { try JSONDecoder().decode([NodeID].self, from: long) }
        #expect("\(String(describing: error))".utf8.count < 1000)
    }
}
