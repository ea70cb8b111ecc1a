import FabricCore
import FabricDocument
import FabricTestSupport
import Foundation
import Testing

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

/// The whole error as a person sees it; empty when the text is accepted.
func refusal(_ source: [UInt8], limits: DocumentLimits = .default) -> String {
    do {
        _ = try JSON.parse(source, limits: limits)
        return ""
    } catch {
        return "\(error)"
    }
}

/// The cases follow the classes of the JSON parsing test suite (y_: accept, n_: refuse, i_: ours to choose).
@Suite struct JSONParserTests {
    @Test(arguments: [
        "[]", "{}", " [] ", "\t\r\n[]\n", "null", "true", "false", "0", "-0", "-1", "\"\"", "\"a\"", "[[]   ]",
        "[\"\"]",
        "[1e1]", "[1E1]", "[1e+1]", "[1e-1]", "[1.5e3]", "[0.1]", "[0e1]", "[0e+1]", "[-0.0]", "[123.456789]",
        "[9223372036854775807]", "[-9223372036854775808]", "[9223372036854775808]", "[1,2 , 3]", "[null,1,\"a\",true]",
        "{\"a\":1}",
        "{\"\":0}", "{\"a\":[],\"b\":{}}", "{ \"a\" : 1 , \"b\" : 2 }", "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]",
        "[\"\\u0060\\u012a\\u12AB\"]", "[\"\\uD801\\udc37\"]", "[\"\\ud83d\\ude39\\ud83d\\udc8d\"]", "[\"\\u0000\"]",
        "[\"é\u{1F600}\"]", "[\"\u{7F}\"]", "[\"\u{2028}\u{2029}\"]", "[\"a/*b*/c\"]", "[\"\\\\u0000\"]", "[\"\\\\n\"]",
        "{\"e\u{301}\":1,\"\u{e9}\":2}", "[\"\\uDBFF\\uDFFD\"]", "[1.7976931348623157e308]", "[5e-324]",
    ])
    func `a valid text is accepted`(_ source: String) throws {
        _ = try JSON.parse(bytes(source))
    }

    @Test(arguments: [
        "", " ", "[", "]", "{", "}", "[1", "[1,", "[1,]", "[,1]", "[1,,2]", "[1 true]", "[\"a\"", "[\"a",
        "[\"a\",\n4\n,1,",
        "[1]x", "[][]", "[1]]", "{\"a\":1}}", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\" 1}", "{a:1}", "{'a':1}", "{1:1}",
        "{\"a\":1,}", "{,}", "{\"a\":1,,\"b\":2}", "{\"a\"::1}", "{\"a\":1 \"b\":2}", "{\"a\",1}", "{null:1}",
        "{\"a\":1,\"a\":1}", "{\"a\":1,\"\\u0061\":1}", "[01]", "[-01]", "[1.]", "[.5]", "[-]", "[+1]", "[--1]", "[1e]",
        "[1e+]", "[1.e1]", "[0x1]", "[1_000]", "[Infinity]", "[NaN]", "[-Infinity]", "[1+2]", "[2.e+3]", "[0.e1]",
        "[1eE2]", "[\u{FF11}]", "[1e400]", "[-1e400]", "nul", "nulL",
        "tru", "fals", "True", "[nan]", "[\"\\x00\"]", "[\"\\u00\"]", "[\"\\u00G0\"]", "[\"\\a\"]", "[\"\\\"]",
        "[\"\t\"]", "[\"\n\"]", "[\"\u{0}\"]", "[\"\u{1F}\"]", "['a']", "[\"\\ud800\"]", "[\"\\ud800\\u0041\"]",
        "[\"\\udc00\"]", "[\"\\ud800\\ud800\"]", "[\"\\ud800\\n\"]", "[\"\\uD834\\uDd\"]", "\u{FEFF}[]", "[\u{A0}1]",
        "[\u{B}1]", "[1]//c", "[1/*c*/]", "[\"\u{FFFF}\"]", "[\"\\uFDD0\"]", "[\u{2060}]", "\\u005b]", "\"", "\"\\",
    ])
    func `an invalid text is refused with its place`(_ source: String) {
        #expect(refusal(bytes(source)).hasPrefix("line "))
    }

    @Test(
        arguments: [
            [0xFF], [0x22, 0xFF, 0x22], [0x22, 0xC0, 0xAF, 0x22], [0x22, 0xE0, 0x80, 0xAF, 0x22],
            [0x22, 0xED, 0xA0, 0x80, 0x22],
            [0x22, 0xF4, 0x90, 0x80, 0x80, 0x22], [0x22, 0xE9, 0x22], [0x22, 0x80, 0x22], [0x22, 0xC3],
            [0x5B, 0x22, 0xE5, 0x22, 0x5D],
            [0x22, 0x5C, 0x6E, 0xE5, 0x22], [0xFE, 0xFF, 0x00, 0x5B, 0x00, 0x5D],
        ] as [[UInt8]])
    func `invalid UTF-8 is refused`(_ source: [UInt8]) {
        #expect(throws: DocumentError.self) { _ = try JSON.parse(source) }
    }

    @Test func `values carry their line and column`() throws {
        let tree = try JSON.parse(bytes("{\n  \"a\": [1,\n    {\"b\": true}]\n}"))
        #expect(tree.position == DocumentPosition(line: 1, column: 1))
        #expect(tree.object?[0].keyPosition == DocumentPosition(line: 2, column: 3))
        #expect(tree["a"]?.array?[1].position == DocumentPosition(line: 3, column: 5))
        #expect(tree["a"]?.array?[1]["b"]?.position == DocumentPosition(line: 3, column: 11))
    }

    @Test func `an error names what stands there and where`() {
        #expect(refusal(bytes("{\"a\": 1,\n \"a\": 2}")) == "line 2, column 2: the key “a” stands twice in one object")
        #expect(refusal(bytes("[1;2]")) == "line 1, column 3: unexpected “;” where “,” or “]” should stand")
    }

    @Test func `many members are checked for duplicates too`() {
        let members = (0..<1000).map { "\"k\($0)\":0" } + ["\"k7\":1"]
        #expect(refusal(bytes("{" + members.joined(separator: ",") + "}")).contains("“k7” stands twice"))
    }

    @Test func `each limit is refused by name and accepted at its edge`() throws {
        func nested(_ depth: Int) -> [UInt8] {
            Array(repeating: 0x5B, count: depth) + Array(repeating: 0x5D, count: depth)
        }
        _ = try JSON.parse(nested(64))
        #expect(refusal(nested(65)).contains("deeper than 64 levels"))
        #expect(refusal(nested(500_000)).contains("deeper than 64 levels"))
        let limits = DocumentLimits(maximumBytes: 8, maximumDepth: 4, maximumNodes: 3)
        _ = try JSON.parse(bytes("[1,   2]"), limits: limits)
        #expect(refusal(bytes("[1,    2]"), limits: limits).contains("the limit is 8"))
        #expect(refusal(bytes("[1,2,3]"), limits: limits).contains("more than 3 values"))
    }

    @Test func `what it accepts, Foundation reads the same`() throws {
        for seed in 0..<400 as Range<UInt64> {
            let random = SeededRandom(seed: seed, stream: "differential")
            let tree = randomNode(random, depth: 4)
            let written = try JSON.canonical(tree)
            #expect(try JSON.parse(written) == canonicalised(tree), "seed \(seed)")
            #expect(try JSON.canonical(JSON.parse(JSON.pretty(tree))) == written, "seed \(seed)")
            let theirs = try JSONSerialization.jsonObject(with: Data(written), options: [.fragmentsAllowed])
            #expect(matches(theirs, tree), "seed \(seed): \(text(written))")
        }
    }

    @Test func `mutated bytes never trap, and what is accepted Foundation accepts too`() throws {
        let random = SeededRandom(seed: 7, stream: "mutations")
        let corpus = try (0..<400).map { _ in try JSON.canonical(randomNode(random, depth: 3)) }
        let words = bytes("{}[]\",:\\u0d8eE+-.tfn1 \n\u{0}\u{FF}").map { [$0] }
        var accepted = 0
        try Fuzz.run(corpus: corpus, words: words, seed: 7, iterations: 20_000) { (input) throws in
            guard let tree = try? JSON.parse(input) else { return }
            accepted += 1
            #expect(try JSON.parse(JSON.canonical(tree)) == canonicalised(tree))
            #expect(
                (try? JSONSerialization.jsonObject(with: Data(input), options: [.fragmentsAllowed])) != nil,
                "\(text(input))")
        }
        // More than the corpus itself.
        #expect(accepted > corpus.count + 100)
    }
}

// MARK: Random trees

func randomNode(_ random: SeededRandom, depth: Int) -> DocumentNode {
    switch random.below(depth > 0 ? 8 : 6) {
    case 0: return DocumentNode(.null)
    case 1: return DocumentNode(.bool(random.below(2) == 0))
    case 2: return DocumentNode(.integer(Int64(bitPattern: random.uint64() >> random.below(64))))
    case 3:
        let number = Double(bitPattern: random.uint64())
        return DocumentNode(number.isFinite ? .number(number) : .number(0.5))
    case 4: return DocumentNode(.number(Double(random.below(1_000_000)) / 1000 + 0.0001))
    case 5: return DocumentNode(.string(randomText(random)))
    case 6: return DocumentNode(.array((0..<random.below(6)).map { _ in randomNode(random, depth: depth - 1) }))
    default:
        let members = (0..<random.below(22)).map { index in
            DocumentMember("\(randomText(random))-\(index)", randomNode(random, depth: depth - 1))
        }
        return DocumentNode(.object(members))
    }
}

func randomText(_ random: SeededRandom) -> String {
    let alphabet = Array("abcxyz019 \"\\/\n\t\u{1}\u{1f}\u{7f}éß漢\u{1F600}e\u{301}".unicodeScalars)
    var text = String.UnicodeScalarView()
    for _ in 0..<random.below(10) { text.append(alphabet[Int(random.below(UInt64(alphabet.count)))]) }
    return String(text)
}

/// The tree that a canonical text has: members sorted, whole numbers within 64 bits as integers.
func canonicalised(_ node: DocumentNode) -> DocumentNode {
    switch node.value {
    case .array(let elements): DocumentNode(.array(elements.map(canonicalised)))
    case .object(let members):
        DocumentNode(
            .object(
                members.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
                    .map { DocumentMember($0.key, canonicalised($0.value)) }))
    case .number(let number):
        // 2^60 is written with the shortest digits that give it back, which are another integer.
        if let integer = Int64(text((try? JSON.canonical(DocumentNode(.number(number)))) ?? [])) {
            DocumentNode(.integer(integer))
        } else {
            node
        }
    default: node
    }
}

func matches(_ theirs: Any, _ ours: DocumentNode) -> Bool {
    switch ours.value {
    case .null: return theirs is NSNull
    case .bool(let flag): return (theirs as? Bool) == flag
    case .integer(let number): return (theirs as? NSNumber)?.int64Value == number
    case .number(let number):
        // JSONSerialization is off by an ulp or more for some exponents; ours is strtod's.
        guard let other = (theirs as? NSNumber)?.doubleValue else { return false }
        return abs(other - number) <= abs(number) * 1e-10
    case .string(let text): return (theirs as? String).map { Array($0.utf8) == Array(text.utf8) } ?? false
    case .array(let elements):
        guard let list = theirs as? [Any], list.count == elements.count else { return false }
        return zip(list, elements).allSatisfy(matches)
    case .object(let members):
        guard let object = theirs as? [String: Any] else { return false }
        return members.count == object.count
            && members.allSatisfy { member in
                object[member.key].map { matches($0, member.value) } ?? false
            }
    }
}
