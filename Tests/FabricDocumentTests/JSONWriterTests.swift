import FabricDocument
import Testing

@Suite struct JSONWriterTests {
    /// RFC 8785 appendix B, and the switch-over points of ECMAScript's number text.
    @Test(
        arguments: [
            (0x0000_0000_0000_0000, "0"), (0x8000_0000_0000_0000, "0"), (0x0000_0000_0000_0001, "5e-324"),
            (0x8000_0000_0000_0001, "-5e-324"), (0x7FEF_FFFF_FFFF_FFFF, "1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"), (0xC340_0000_0000_0000, "-9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"), (0x44B5_2D02_C7E1_4AF5, "9.999999999999997e+22"),
            (0x44B5_2D02_C7E1_4AF6, "1e+23"), (0x44B5_2D02_C7E1_4AF7, "1.0000000000000001e+23"),
            (0x444B_1AE4_D6E2_EF4E, "999999999999999700000"), (0x444B_1AE4_D6E2_EF4F, "999999999999999900000"),
            (0x444B_1AE4_D6E2_EF50, "1e+21"), (0x3EB0_C6F7_A0B5_ED8C, "9.999999999999997e-7"),
            (0x3EB0_C6F7_A0B5_ED8D, "0.000001"), (0x41B3_DE43_5555_5553, "333333333.3333332"),
            (0x41B3_DE43_5555_5554, "333333333.33333325"), (0x41B3_DE43_5555_5555, "333333333.3333333"),
            (0x41B3_DE43_5555_5556, "333333333.3333334"), (0x41B3_DE43_5555_5557, "333333333.33333343"),
            (0xBECB_F647_612F_3696, "-0.0000033333333333333333"), (0x4314_3FF3_C1CB_0959, "1424953923781206.2"),
        ] as [(UInt64, String)])
    func `numbers are written as RFC 8785 lists them`(_ bits: UInt64, _ expected: String) throws {
        #expect(text(try JSON.canonical(DocumentNode(.number(Double(bitPattern: bits))))) == expected)
    }

    @Test func `the canonical form sorts by bytes, at every level, without space`() throws {
        let tree = try JSON.parse(
            bytes("{ \"b\": {\"z\":1, \"a\":2}, \"B\": [ 1.0, 2 ],\n \"\u{20AC}\": null, \"a\": \"x\" }"))
        #expect(text(try JSON.canonical(tree)) == "{\"B\":[1,2],\"a\":\"x\",\"b\":{\"a\":2,\"z\":1},\"\u{20AC}\":null}")
    }

    @Test func `escapes are the shortest`() throws {
        let node = DocumentNode(.string("\u{20AC}$\u{F}\nA'B\"\\\"/\u{8}\u{c}\r\t\u{7f}"))
        #expect(text(try JSON.canonical(node)) == "\"\u{20AC}$\\u000f\\nA'B\\\"\\\\\\\"/\\b\\f\\r\\t\u{7f}\"")
    }

    @Test func `a number that is not finite and a key written twice are refused`() {
        #expect(throws: DocumentError.self) { try JSON.canonical(DocumentNode(.number(.infinity))) }
        let one = DocumentNode(.integer(1))
        #expect(throws: DocumentError.self) {
            try JSON.canonical(DocumentNode(.object([DocumentMember("a", one), DocumentMember("a", one)])))
        }
    }

    @Test func `the text for people keeps the order and indents`() throws {
        let tree = try JSON.parse(bytes("{\"b\":[1,{\"c\":[]}],\"a\":{}}"))
        #expect(
            text(try JSON.pretty(tree)) == """
                {
                  "b": [
                    1,
                    {
                      "c": []
                    }
                  ],
                  "a": {}
                }

                """)
    }
}
