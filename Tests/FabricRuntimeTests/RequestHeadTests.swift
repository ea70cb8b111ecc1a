import FabricCore
import FabricTestSupport
import FabricWire
import Testing

@testable import FabricRuntime

@Suite struct RequestHeadTests {
    private func judge(_ target: String, _ headers: [(name: String, value: String)] = []) -> RequestHead? {
        let verdict = RequestHead.judge(
            method: "GET", target: target, minorVersion: 1, headers: [("Host", "x")] + headers,
            limits: HTTPServerLimits())
        if case .accepted(let head) = verdict { return head }
        return nil
    }

    @Test(arguments: [
        ("/", "/", []), ("/a/b", "/a/b", []), ("/%C3%A9", "/é", []), ("/a%20b", "/a b", []), ("/a+b", "/a+b", []),
        ("/x?", "/x", []), ("/x?a", "/x", ["a="]), ("/x?a=b=c&d=e+f%2B", "/x", ["a=b=c", "d=e f+"]),
        ("/x?&&a=1&", "/x", ["a=1"]), ("https://host:1/x?y=z", "/x", ["y=z"]), ("/...", "/...", []),
        ("//x", "//x", []), ("/x?u=https://h/../y", "/x", ["u=https://h/../y"]),
    ])
    func `a target is read as RFC 3986 has it`(target: String, path: String, query: [String]) throws {
        let head = try #require(judge(target))
        #expect(head.request.path == path)
        #expect(head.request.query.map { "\($0.name)=\($0.value)" } == query)
    }

    @Test(arguments: [
        "", "x", "*", "https://host", "http://host/x", "/x#y", "/%", "/%1", "/%g0", "/x?%", "/x?a=%1", "/%C3",
        "/%ED%A0%80",
        "/\u{7F}", "/é", "/a b", "/.", "/..", "/x/./y", "/x/%2e%2e", "/%2F", "/%0a", "/x?a=%0d",
    ])
    func `a target that can be read in two ways is refused`(target: String) { #expect(judge(target) == nil) }

    @Test(arguments: [
        ("Bearer abc", "abc"), ("bearer  a-b._~+/== ", "a-b._~+/=="), ("Basic abc", nil), ("abc", nil), ("", nil),
    ])
    func `the bearer token is taken from its field`(field: String, token: String?) throws {
        #expect(try #require(judge("/", [("Authorization", field)])).request.bearer == token)
    }

    @Test(arguments: ["Bearer =", "Bearer a,b", "Bearer a b", "Bearer \u{e9}"])
    func `a bearer token of foreign characters is refused`(field: String) {
        #expect(judge("/", [("authorization", field)]) == nil)
    }

    @Test func `what a client writes a server reads`() throws {
        let random = SeededRandom(seed: 3, stream: "targets")
        let alphabet = Array("aZ09-._~/:@!$&'()*+,;=?#[]% \"<>\\^`{|}é漢😀")
        func text(_ length: UInt64) -> String {
            String((0..<random.below(length)).map { _ in alphabet[Int(random.below(UInt64(alphabet.count)))] })
        }
        for _ in 0..<2000 {
            let path = "/a" + text(12).replacing("/.", with: "/a") + "a"
            let query = (0..<random.below(4)).map { _ in HTTPRequest.QueryItem(text(6), text(9)) }
            let request = HTTPRequest(.get, path, query: query)
            let (target, headers) = try RequestEncoding.head(request, host: "x")
            let verdict = RequestHead.judge(
                method: "GET", target: target, minorVersion: 1, headers: headers.map { ($0.0, $0.1) },
                limits: HTTPServerLimits())
            guard case .accepted(let head) = verdict else {
                Issue.record("\(target) was refused")
                return
            }
            #expect(head.request == request)
        }
    }

    @Test func `mutated heads never make the parser trap, and what it accepts it reads the same way again`() throws {
        func judge(_ target: String, _ headers: [(name: String, value: String)]) -> RequestHead? {
            let verdict = RequestHead.judge(
                method: "POST", target: target, minorVersion: 1, headers: headers, limits: HTTPServerLimits())
            if case .accepted(let head) = verdict { return head }
            return nil
        }
        let corpus = [
            "/v1/nodes/a?after=b%20c&limit=10\nhost: x\nauthorization: Bearer abc\ncontent-length: 12",
            "https://h/x?y\nhost: x\ntransfer-encoding: chunked\nexpect: 100-continue\nconnection: close, te",
            "/%C3%A9?a=+&&b\nhost: x\ncontent-type: application/json; charset=utf-8\ncontent-encoding: identity",
        ]
        var accepted = 0
        try Fuzz.run(corpus: corpus.map { Array($0.utf8) }, seed: 5, iterations: 2000) { bytes in
            // As the HTTP parser hands on what is not UTF-8: repaired.
            let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
            let headers = lines.dropFirst().map { line in
                let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
                return (name: String(parts[0]), value: parts.count == 2 ? String(parts[1].drop { $0 == " " }) : "")
            }
            guard let head = judge(String(lines[0]), headers) else { return }
            accepted += 1
            let written = try RequestEncoding.head(head.request, host: "x")
            let again = judge(written.target, [("host", "x")] + written.headers.filter { $0.0 == "authorization" })
            #expect(again?.request == head.request)
        }
        #expect(accepted > 100)
    }
}
