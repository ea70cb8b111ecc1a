import FabricCore
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

    @Test func `no bytes in target or fields make the parser trap`() {
        let random = SeededRandom(seed: 5, stream: "heads")
        let names = [
            "host", "content-length", "transfer-encoding", "connection", "expect", "authorization", "content-type",
            "content-encoding", "upgrade", "x",
        ]
        func text(_ length: UInt64) -> String {
            let pieces = ["%", "/", "?", "&", "=", ",", ";", " ", "chunked", "1", "é", "\u{0}", "Bearer", ".", "+"]
            return (0..<random.below(length)).map { _ in pieces[Int(random.below(UInt64(pieces.count)))] }.joined()
        }
        var accepted = 0
        for _ in 0..<20_000 {
            let headers =
                [("host", "x")]
                + (0..<random.below(4)).map { _ in
                    (names[Int(random.below(UInt64(names.count)))], text(5))
                }
            let verdict = RequestHead.judge(
                method: ["GET", "POST", "BREW"][Int(random.below(3))], target: "/" + text(8),
                minorVersion: Int(random.below(2)), headers: headers.map { ($0.0, $0.1) }, limits: HTTPServerLimits())
            if case .accepted(let head) = verdict {
                accepted += 1
                #expect(head.request.path.hasPrefix("/"))
            }
        }
        #expect(accepted > 100)
    }
}
