import FabricDocument
import FabricScenario
import Testing

private func yamlRefusal(_ source: String) -> String {
    do {
        _ = try YAMLDocument.parse(bytes(source))
        return ""
    } catch {
        return "\(error)"
    }
}

@Suite struct YAMLDocumentTests {
    @Test func `plain scalars have JSON's types and everything else is text`() throws {
        let source =
            "[null, ~, true, 1, -5, 1.5, 1e3, no, yes, 0x10, 010, 1:30, 1_000, .5, +1, 2026-01-01, '1', \"true\", <<]"
        let tree = try YAMLDocument.parse(bytes(source))
        let values = tree.array?.map(\.value)
        let expected: [DocumentNode.Value] = [
            .null, .null, .bool(true), .integer(1), .integer(-5), .number(1.5), .number(1000), .string("no"),
            .string("yes"), .string("0x10"), .string("010"), .string("1:30"), .string("1_000"), .string(".5"),
            .string("+1"), .string("2026-01-01"), .string("1"), .string("true"), .string("<<"),
        ]
        #expect(values == expected)
    }

    @Test func `values carry their places`() throws {
        let tree = try YAMLDocument.parse(bytes("a:\n  b: [1,\n   2]\n"))
        #expect(tree["a"]?["b"]?.array?[1].position == DocumentPosition(line: 3, column: 4))
        #expect(tree["a"]?.object?[0].keyPosition == DocumentPosition(line: 2, column: 3))
    }

    @Test(arguments: [
        ("", "the file is empty"), ("# only a comment\n", "the file is empty"),
        ("a: 1\na: 2\n", "line 1, column 1: the key “a” stands twice"),
        ("a: &x 1\nb: *x\n", "line 2, column 4: anchors and aliases"), ("a: &x 1\n", "anchors and aliases"),
        ("a: &x [1]\n", "anchors and aliases"), ("&x a: 1\n", "anchors are not supported"),
        ("a: !!binary aGk=\n", "the tag “tag:yaml.org,2002:binary” is not supported"),
        ("a: !custom 1\n", "the tag “!custom”"),
        ("<<: {a: 1}\n", "merge keys"), ("[a]: 1\n", "a key must be text"),
        ("a: 1\n---\nb: 2\n", "expected a single document"),
        ("a: [1\n", "not valid YAML"), ("a: \"x\n", "not valid YAML"), ("\ta: 1\n", "not valid YAML"),
        ("a: *nothing\n", "not valid YAML"),
        ("a: \u{1}\n", "line 1, column 4: a control character (0x1)"),
    ])
    func `what is not in the subset is refused`(_ source: String, _ expected: String) {
        let refusal = yamlRefusal(source)
        #expect(refusal.contains(expected), "\(refusal)")
    }

    @Test func `a bomb of aliases is refused before it is expanded`() {
        var bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        for level in 1..<30 {
            bomb +=
                "a\(level): &a\(level) [" + Array(repeating: "*a\(level - 1)", count: 10).joined(separator: ", ")
                + "]\n"
        }
        #expect(yamlRefusal(bomb).contains("anchors and aliases"))
        // As keys, which the parser hashes while it reads.
        #expect(yamlRefusal(bomb + "? *a29\n: 1\n").contains("anchors and aliases"))
    }

    @Test func `deep nesting, many values and large files are refused`() {
        for opening in ["[", "{a: ", "- ", "? "] {
            let deep = String(repeating: opening, count: 200_000)
            #expect(!yamlRefusal(deep).isEmpty)
        }
        #expect(
            yamlRefusal(String(repeating: "[", count: 40) + String(repeating: "]", count: 40)).contains(
                "deeper than 32 levels"))
        #expect(yamlRefusal("[" + String(repeating: "1,", count: 100_001) + "1]").contains("more than 100000 values"))
        #expect(yamlRefusal("a: " + String(repeating: "x", count: 1 << 20)).contains("the limit is 1048576"))
    }

    @Test(arguments: [
        "\u{FFFE}", "\u{FFFF}", "a\u{FFFE}b", "\u{85}", "\u{2028}", "a\u{FEFF}", "\u{0}", "\u{7F}", "\u{9F}", "\t",
        "\r\n",
        "\u{1FFFE}", "\u{E000}", "\u{FFFD}", "\"\\", "é", "\u{10FFFF}",
    ])
    // A mark of byte order at the very beginning of a text is lost to the YAML library.
    func `any text reads back from what explains and from what a tree is written as`(_ text: String) throws {
        let tree = DocumentNode(
            .object([DocumentMember("about", DocumentNode(.string(text))), DocumentMember(text, DocumentNode(.null))]))
        let read = try YAMLDocument.parse(bytes(YAMLWriter.text(tree)))
        #expect(read["about"]?.string == text && read[text]?.value == .null)
        var plan = try plan(base)
        plan.about = text
        plan.expectations[0].name = "x" + text
        let again = try FabricScenarioTests.plan(plan.explanation)
        #expect(again.about == text && again.expectations[0].name == "x" + text)
        let comment = "# " + PlanText.comment(text) + "\nabout: x\n"
        #expect(try YAMLDocument.parse(bytes(comment))["about"]?.string == "x")
    }

    @Test func `invalid UTF-8 is refused with its place`() {
        #expect {
            _ = try YAMLDocument.parse(bytes("a: 1\nb: ") + [0xFF, 0x0A])
        } throws: { error in
            "\(error)" == "line 2, column 4: the file is not valid UTF-8; save it as UTF-8"
        }
    }

    @Test func `a file's size is judged before it is read`() {
        #expect(ScenarioFile.refusal(ofFile: "f.yaml", bytes: 1 << 20) == nil)
        let refusal = ScenarioFile.refusal(ofFile: "f.yaml", bytes: 100 << 20)
        #expect("\(refusal!)" == "f.yaml: the file has 104857600 bytes; a scenario has at most 1048576")
    }

    @Test func `an empty file and a control character are refused with their places`() {
        #expect(refusal("").hasPrefix("f.yaml:1:1: the file is empty"))
        let marred = base.replacing("60s", with: "60\0s")
        #expect(refusal(marred) == "f.yaml:2:13: a control character (0x0) stands here; remove it")
    }

    @Test func `a byte order mark before the text is not part of it`() {
        #expect(refusal("\u{FEFF}" + base) == "")
        #expect(refusal("\u{FEFF}" + base.replacing("duration", with: "durration")).hasPrefix("f.yaml:2:1: "))
    }
}
