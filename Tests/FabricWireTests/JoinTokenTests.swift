import FabricCore
import FabricTestSupport
import FabricWire
import Testing

@Suite struct JoinTokenTests {
    let token = JoinToken(
        secret: [UInt8](0..<32), controlPin: [UInt8](100..<132), clusterPin: [UInt8](200..<232),
        cluster: ClusterID("alpha-1")!)

    @Test func `a token survives its text`() {
        #expect(JoinToken(token.description) == token)
        #expect(token.description.hasPrefix("rap1."))
        #expect(!token.description.contains("="))
        #expect(token.bearer == "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8")
        for length in [1, 2, 3, 4, 63, 64] {
            let cluster = ClusterID(String(repeating: "c", count: length))!
            let other = JoinToken(
                secret: token.secret, controlPin: token.controlPin, clusterPin: token.clusterPin, cluster: cluster)
            #expect(JoinToken(other.description) == other)
        }
    }

    @Test func `a token that was cut anywhere is refused`() {
        let text = token.description
        for count in 0..<text.count {
            #expect(JoinToken(String(text.prefix(count))) == nil)
            #expect(JoinToken(String(text.suffix(count))) == nil)
        }
    }

    @Test func `text that goes on after a token is refused`() {
        for more in [" ", "\n", "=", "A", "AA", "AAAA", "YQ", token.description] {
            #expect(JoinToken(token.description + more) == nil, "\(more)")
            #expect(JoinToken(more + token.description) == nil)
        }
    }

    @Test(arguments: [
        "", "rap1", "rap1.", "rap2.AAAA", "RAP1.AAAA", "rap1.????", "rap1.AAAA====", "rap1.\u{0}", "rap1.é",
    ]) func `other text is refused`(_ text: String) {
        #expect(JoinToken(text) == nil)
    }

    @Test func `another version, a bad cluster name and a wrong length are refused`() {
        let body = [1] + token.secret + token.controlPin + token.clusterPin
        func text(_ bytes: [UInt8]) -> String { "rap1." + Base64URL.encode(bytes) }
        #expect(JoinToken(text(body + [1] + Array("a".utf8))) != nil)
        #expect(JoinToken(text([2] + body.dropFirst() + [1] + Array("a".utf8))) == nil)
        #expect(JoinToken(text(body)) == nil)
        #expect(JoinToken(text(body + [0])) == nil)
        #expect(JoinToken(text(body + [2] + Array("a".utf8))) == nil)
        #expect(JoinToken(text(body + [1] + Array("ab".utf8))) == nil)
        #expect(JoinToken(text(body + [1] + Array("/".utf8))) == nil)
        #expect(JoinToken(text(body + [1, 0xFF])) == nil)
        #expect(JoinToken(text(body + [65] + [UInt8](repeating: 97, count: 65))) == nil)
    }

    @Test func `mutated tokens are refused, or are other tokens with a text of their own`() throws {
        try Fuzz.run(corpus: [Array(token.description.utf8)], seed: 21, iterations: 3_000) { bytes in
            let text = String(decoding: bytes, as: UTF8.self)
            guard let parsed = JoinToken(text) else { return }
            #expect(parsed.description == text)
        }
    }
}
