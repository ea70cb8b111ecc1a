import FabricWire
import Foundation
import Testing

/// `docs/openapi.yaml` against the program. YAML is read by its layout: the file keeps paths at two spaces, methods at four.
@Suite("The API's description")
struct DescriptionTests {
    private static func lines() throws -> [Substring] {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let text = try String(contentsOf: root.appending(path: "docs/openapi.yaml"), encoding: .utf8)
        return text.split(separator: "\n")
    }

    @Test func `every described call exists, and asks for the credentials that it names`() throws {
        let bench = try Bench()
        var path = ""
        var calls = 0
        var lines = try Self.lines()[...]
        while let line = lines.popFirst() {
            if line.hasPrefix("  /"), line.hasSuffix(":") { path = String(line.dropFirst(2).dropLast()) }
            guard line.hasPrefix("    "), !line.hasPrefix("     "), line.hasSuffix(":"),
                let method = HTTPMethod(rawValue: line.dropFirst(4).dropLast().uppercased())
            else { continue }
            calls += 1
            let concrete = path.replacing(/\{\w+\}/, with: "x")
            let refusal = try bench.refusal(HTTPRequest(method, concrete))
            #expect(refusal == (path.hasPrefix("/v1/health") ? nil : .unauthenticated), "\(method.rawValue) \(path)")
        }
        #expect(calls == 26)
    }

    @Test func `every problem code is described, and no other`() throws {
        let marker = "- urn:rap:problem:"
        let described = try Self.lines().compactMap { line in
            line.firstRange(of: marker).map { String(line[$0.upperBound...]) }
        }
        #expect(described.sorted() == Problem.Code.allCases.map(\.rawValue).sorted())
    }
}
