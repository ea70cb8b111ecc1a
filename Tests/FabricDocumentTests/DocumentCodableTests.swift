import FabricCore
import FabricDocument
import Testing

private struct Link: Codable, Equatable {
    var from: String
    var to: String
    var delayMilliseconds: Int?
    var loss: Double = 0
    var tags: [String] = []
}

private struct Outer: Codable, Equatable {
    var name: String
    var links: [Link]
    var byName: [String: Link]
    var flag: Bool
    var small: UInt8
    var kind: Kind
    var address: IPAddress?
    enum Kind: String, Codable { case hub, spoke }
}

private enum Action: Codable, Equatable {
    case stop
    case wait(seconds: Int, reason: String?)
    case send(String)
}

private class Base: Codable {
    var a = 1
}
private final class Derived: Base {
    var b = 2
    enum Keys: String, CodingKey { case b }
    override init() { super.init() }
    required init(from decoder: any Decoder) throws {
        b = try decoder.container(keyedBy: Keys.self).decode(Int.self, forKey: .b)
        try super.init(from: decoder.container(keyedBy: Keys.self).superDecoder())
    }
    override func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Keys.self)
        try container.encode(b, forKey: .b)
        try super.encode(to: container.superEncoder())
    }
}

private func error<T: Decodable>(_ type: T.Type, _ source: String) -> String {
    do {
        _ = try JSON.decode(type, from: bytes(source))
        return "accepted"
    } catch {
        return "\(error)"
    }
}

@Suite struct DocumentCodableTests {
    private let outer = Outer(
        name: "a", links: [Link(from: "x", to: "y", delayMilliseconds: 5, loss: 0.25, tags: ["p", "é"])],
        byName: ["l": Link(from: "1", to: "2"), "a": Link(from: "3", to: "4")], flag: true, small: 255, kind: .spoke,
        address: IPAddress("192.0.2.1"))

    @Test func `values come back as they went`() throws {
        let written = try JSON.encode(outer)
        #expect(try JSON.decode(Outer.self, from: written) == outer)
        #expect(try JSON.decode(Outer.self, from: JSON.pretty(outer)) == outer)
        #expect(try JSON.encode(outer) == written)
        #expect(text(written).hasPrefix("{\"address\":\"192.0.2.1\",\"byName\":{\"a\":{\"from\":\"3\""))
    }

    @Test func `enumerations with payloads and subclasses come back`() throws {
        for action in [Action.stop, .wait(seconds: 3, reason: nil), .send("x")] {
            #expect(try JSON.decode(Action.self, from: JSON.encode(action)) == action)
        }
        #expect(text(try JSON.encode(Derived())) == "{\"b\":2,\"super\":{\"a\":1}}")
        #expect(try JSON.decode(Derived.self, from: JSON.encode(Derived())).b == 2)
    }

    @Test func `scalars, lists, optionals and trees decode at the top`() throws {
        #expect(try JSON.decode(Int.self, from: bytes("5")) == 5)
        #expect(try JSON.decode([String].self, from: bytes("[\"a\",\"b\"]")) == ["a", "b"])
        #expect(try JSON.decode([Int?].self, from: bytes("[1,null]")) == [1, nil])
        #expect(try JSON.decode(Double.self, from: bytes("1")) == 1)
        #expect(
            try JSON.decode([String: DocumentNode].self, from: bytes("{\"a\":{\"b\":[1]}}"))["a"]?["b"]?.array?.count
                == 1)
        let tree = try JSON.parse(bytes("{\"a\":{\"b\":[1,null,1.5,true]}}"))
        #expect(try JSON.encode(tree) == bytes("{\"a\":{\"b\":[1,null,1.5,true]}}"))
        #expect(try JSON.encode([nil, Optional(tree)]) == bytes("[null,{\"a\":{\"b\":[1,null,1.5,true]}}]"))
    }

    private static let valid = "\"from\":\"a\",\"to\":\"b\",\"loss\":0,\"tags\":[]"

    @Test(arguments: [
        (
            "{\(valid),\n\"delayMilliSecond\":5}",
            "line 2, column 1: unknown key “delayMilliSecond”; did you mean “delayMilliseconds”?"
        ),
        (
            "{\(valid),\"colour\":1}",
            "line 1, column 41: unknown key “colour”; known here: delayMilliseconds, from, loss, tags, to"
        ),
        ("{\"form\":\"a\",\"to\":\"b\"}", "line 1, column 2: unknown key “form”; did you mean “from”?"),
        ("{\"from\":\"a\"}", "line 1, column 1: the key “to” is missing"),
        ("{\"from\":1}", "line 1, column 9: from: expected text, found the integer 1"),
        ("[]", "line 1, column 1: expected an object, found a list"),
        (
            "{\"from\":\"a\",\"to\":\"b\",\"loss\":\"no\"}",
            "line 1, column 29: loss: expected a number, found the text “no”"
        ),
        (
            "{\"from\":\"a\",\"to\":\"b\",\"loss\":0,\"tags\":[\"a\",{}]}",
            "line 1, column 43: tags[1]: expected text, found an object"
        ),
        (
            "{\"from\":\"a\",\"to\":\"b\",\"delayMilliseconds\":1.5}",
            "line 1, column 42: delayMilliseconds: expected an integer, found the number 1.5"
        ),
        ("{\"from\":null,\"to\":\"b\"}", "line 1, column 9: from: expected text, found nothing (null)"),
    ])
    func `a wrong document is refused with place, finding and mend`(_ source: String, _ expected: String) {
        #expect(error(Link.self, source) == expected)
    }

    @Test func `strictness reaches every level`() throws {
        let tree = try DocumentEncoder().encode(outer)
        func with(_ path: [String], _ node: DocumentNode) -> DocumentNode {
            guard case .object(var members) = node.value else {
                guard case .array(var elements) = node.value else { return node }
                elements[0] = with(path, elements[0])
                return DocumentNode(.array(elements))
            }
            if path.isEmpty {
                members.append(DocumentMember("stray", DocumentNode(.null)))
            } else {
                let index = members.firstIndex { $0.key == path[0] }!
                members[index].value = with(Array(path.dropFirst()), members[index].value)
            }
            return DocumentNode(.object(members))
        }
        for (path, place) in [([], ""), (["links"], "links[0]"), (["byName", "l"], "byName.l")] as [([String], String)]
        {
            #expect(throws: DocumentError.self) { try DocumentDecoder().decode(Outer.self, from: with(path, tree)) }
            do {
                _ = try DocumentDecoder().decode(Outer.self, from: with(path, tree))
            } catch {
                #expect(error.path == place)
                #expect(error.message.hasPrefix("unknown key “stray”"))
            }
        }
        #expect(error(Action.self, "{\"wait\":{\"seconds\":1,\"other\":2}}").contains("unknown key “other”"))
    }

    @Test func `a type's own refusal gets its place`() {
        let source =
            "{\"name\":\"a\",\"links\":[],\"byName\":{},\"flag\":true,\"small\":1,\"kind\":\"hub\",\n \"address\":\"1.2.3\"}"
        #expect(
            error(Outer.self, source) == "line 2, column 12: address: “1.2.3” is not an IP address such as 192.0.2.1")
        let kind = source.replacing("hub", with: "hubb").replacing("1.2.3", with: "1.2.3.4")
        #expect(error(Outer.self, kind).contains("kind: "))
        let small = source.replacing("\"small\":1", with: "\"small\":256")
        #expect(error(Outer.self, small).contains("small: 256 is out of range; expected 0 to 255"))
    }

    @Test func `a large dictionary decodes without quadratic work`() throws {
        let large = Dictionary(uniqueKeysWithValues: (0..<20_000).map { ("key-\($0)", $0) })
        #expect(try JSON.decode([String: Int].self, from: JSON.encode(large)) == large)
    }

    @Test func `what a document cannot hold is refused when encoding`() {
        #expect(throws: EncodingError.self) { try JSON.encode(UInt64.max) }
        #expect(throws: EncodingError.self) { try JSON.encode(Double.nan) }
        #expect(throws: EncodingError.self) { try JSON.encode([1.0, .infinity]) }
    }

    @Test func `a foreign document of a known type never traps`() throws {
        let written = try JSON.encode(outer)
        let random = SeededRandom(seed: 3, stream: "types")
        var refused = 0
        for _ in 0..<5_000 {
            var input = written
            input[Int(random.below(UInt64(input.count)))] = UInt8(random.below(96) + 32)
            if (try? JSON.decode(Outer.self, from: input)) == nil { refused += 1 }
        }
        #expect(refused > 1_000)
    }

    @Test(
        arguments: [
            ("durration", "duration"), ("packet_size", "packetSize"), ("TOKEN", "token"), ("tokne", "token"),
            ("xyzzy", nil),
            ("a", nil), ("", nil),
        ] as [(String, String?)])
    func `the nearest name is found or none`(_ name: String, _ expected: String?) {
        #expect(NearestName.of(name, among: ["duration", "packetSize", "token", "b"]) == expected)
    }
}
