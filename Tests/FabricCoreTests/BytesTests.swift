import FabricCore
import FabricTestSupport
import Testing

@Suite struct BytesTests {
    @Test(
        "base64url has RFC 4648's vectors, without padding",
        arguments: [
            ("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("fooba", "Zm9vYmE"),
            ("foobar", "Zm9vYmFy"),
        ])
    func base64URLVectors(plain: String, encoded: String) {
        #expect(Base64URL.encode(Array(plain.utf8)) == encoded)
        #expect(Base64URL.decode(encoded) == Array(plain.utf8))
    }

    @Test func `base64url uses the alphabet of section 5`() {
        #expect(Base64URL.encode([0xFB, 0xFF, 0xBF]) == "-_-_")
        #expect(Base64URL.encode([0x14, 0xFB, 0x9C, 0x03, 0xD9, 0x7E]) == "FPucA9l-")
        #expect(Base64URL.decode("-_-_") == [0xFB, 0xFF, 0xBF])
    }

    @Test(
        "base64url refuses padding, foreign characters, stray bits and impossible lengths",
        arguments: ["A", "AAAAA", "Zg==", "Zm8=", "+/+/", "Z g", "Zg\n", "Zh", "Zm9", "Zm8é", "=", "Zg.", "\0\0"])
    func base64URLRefusals(text: String) { #expect(Base64URL.decode(text) == nil) }

    /// RFC 4648, section 10.
    @Test(
        arguments: [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ])
    func `base64 has padding`(plain: String, encoded: String) {
        #expect(Base64.encode(Array(plain.utf8)) == encoded)
        #expect(Base64.decode(encoded) == Array(plain.utf8))
    }

    @Test(arguments: ["Zg", "Zg=", "Zg===", "Zh==", "Z===", "====", "Zg==Zg==", "-_-_", "Zm9v ", "Zm9v\n"])
    func `base64 with missing or stray characters is refused`(text: String) { #expect(Base64.decode(text) == nil) }

    @Test func `base64 uses the alphabet of section 4`() {
        #expect(Base64.encode([0xFB, 0xFF, 0xBF]) == "+/+/")
        #expect(Base64.decode("+/+/") == [0xFB, 0xFF, 0xBF])
    }

    @Test func `every byte survives base64url and hex`() {
        for count in 0..<70 {
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ count &* 11) }
            #expect(Base64URL.decode(Base64URL.encode(bytes)) == bytes)
            #expect(Hex.decode(Hex.encode(bytes)) == bytes)
        }
    }

    @Test func `hex is written in lower case and read in both`() {
        #expect(Hex.encode([0x00, 0x0F, 0xA5, 0xFF]) == "000fa5ff")
        #expect(Hex.decode("000FA5fF") == [0x00, 0x0F, 0xA5, 0xFF])
        #expect(Hex.decode("") == [])
    }

    @Test(
        "hex refuses what it is not", arguments: ["0", "000", "0g", "g0", " 00", "0x00", "é", "/0", ":0", "@0", "`0"])
    func hexRefusals(text: String) { #expect(Hex.decode(text) == nil) }

    @Test func `equality in constant time is equality`() {
        #expect(constantTimeEqual([], []))
        #expect(constantTimeEqual([1, 2, 3], [1, 2, 3]))
        for position in 0..<3 {
            var other: [UInt8] = [1, 2, 3]
            other[position] ^= 0x80
            #expect(!constantTimeEqual([1, 2, 3], other))
        }
        #expect(!constantTimeEqual([1, 2, 3], [1, 2]))
        #expect(!constantTimeEqual([], [0]))
    }

    @Test func `what base64url reads is the only spelling of its bytes`() throws {
        let corpus = ["Zm9vYmFy", "-_-_", "AAAA", "Zg"].map { Array($0.utf8) }
        try Fuzz.run(corpus: corpus, seed: 2, iterations: 3_000) { input in
            let text = String(decoding: input, as: UTF8.self)
            if let bytes = Base64URL.decode(text) { #expect(Base64URL.encode(bytes) == text) }
            if let bytes = Hex.decode(text) { #expect(Hex.encode(bytes) == text.lowercased()) }
        }
    }
}
