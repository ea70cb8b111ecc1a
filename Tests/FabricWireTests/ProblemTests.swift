import FabricCore
import FabricDocument
import FabricTestSupport
import Testing

@testable import FabricWire

@Suite struct ProblemTests {
    @Test(arguments: Problem.Code.allCases)
    func `every code has a title, a client or server status, and survives its JSON`(_ code: Problem.Code) throws {
        let problem = Problem(code, "what went wrong")
        #expect(!problem.title.isEmpty && !problem.title.hasSuffix("."))
        #expect((400..<600).contains(problem.status))
        #expect(problem.status == code.status)
        #expect(code.isTransient == [429, 500, 503].contains(problem.status))
        #expect(problem.code == code)
        let reply = problem.reply
        #expect(reply.status == code.status && !reply.isSuccess)
        #expect(reply.contentType == "application/problem+json")
        #expect(try JSON.decode(Problem.self, from: reply.body) == problem)
    }

    @Test func `titles and codes are distinct`() {
        #expect(Set(Problem.Code.allCases.map(\.title)).count == Problem.Code.allCases.count)
        #expect(Set(Problem.Code.allCases.map(\.rawValue)).count == Problem.Code.allCases.count)
    }

    @Test func `the JSON has the members of RFC 9457 and no others`() throws {
        let text = String(decoding: Problem(.tokenExpired, "it ended at noon").reply.body, as: UTF8.self)
        for member in [
            #""type":"urn:rap:problem:token-expired""#, #""title":"The join token has expired""#, #""status":403"#,
            #""detail":"it ended at noon""#,
        ] {
            #expect(text.contains(member), "\(member) in \(text)")
        }
        #expect(text.count { $0 == ":" } == 4 + 3)
    }

    @Test(arguments: [
        "about:blank", "", "not-found", "urn:xyz:problem:not-found", "urn:rap:problem:", "urn:rap:problem:x",
    ])
    func `a type that is none of ours has no code`(_ type: String) {
        var problem = Problem(.notFound, "")
        problem.type = type
        #expect(problem.code == nil)
    }

    @Test func `mutated problems don't trap`() throws {
        let corpus = Problem.Code.allCases.map { Problem($0, "detail").reply.body }
        try Fuzz.run(corpus: corpus, seed: 51, iterations: 2_000) { bytes in
            guard let problem = try? JSON.decode(Problem.self, from: bytes), let code = problem.code else { return }
            #expect(problem.type == "urn:rap:problem:" + code.rawValue)
        }
    }
}
