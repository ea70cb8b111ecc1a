import Testing

/// The scanners find what they are for: planted violations, and code that only looks like one.
@Suite("The scanners of the architecture tests")
struct ScannerTests {
    private func file(_ text: String, _ path: String = "Sources/FabricCore/Planted.swift") -> SourceFile {
        SourceFile(path: path, text: text)
    }

    private func names(_ text: String) -> [String] {
        let planted = file(text)
        let declared = ForbiddenNames.declaredFunctions(in: [planted])
        return ForbiddenNames.violations(in: planted, names: ForbiddenNames.deciding, declared: declared).map {
            String($0.what.dropFirst().prefix { $0 != "`" })
        }
    }

    private func unordered(_ text: String) -> [Int] { UnorderedIteration.violations(in: [file(text)]).map(\.line) }

    // MARK: Tokens

    @Test("comments and strings are not code, interpolations are")
    func tokensLeaveOutCommentsAndStrings() {
        let text = ###"""
            let a = "await \(Date()) // no" /* Task /* nested */ print() */ + b // sleep
            let c = """
                UUID() \(d ? "\(e)" : "f")
                """
            let g = ##"raw \(no) \##(yes) "# still"## + h
            """###
        let source = TokenizedSource(text)
        let identifiers = source.tokens.filter { $0.kind == .identifier }.map(\.text)
        #expect(identifiers == ["let", "a", "Date", "b", "let", "c", "d", "e", "let", "g", "yes", "h"])
        #expect(source.tokens.last { $0.kind == .identifier }?.line == 5)
        #expect(source.comments[1]?.contains("sleep") == true)
        #expect(source.comments[1]?.contains("nested") == true)
    }

    @Test(
        "lines are counted as an editor counts them",
        arguments: [("", 0), ("a", 1), ("a\n", 1), ("a\nb", 2), ("\n\n", 2)])
    func linesAreCounted(text: String, lines: Int) {
        #expect(TokenizedSource(text).lineCount == lines)
    }

    @Test(
        "an unfinished file ends the scan",
        arguments: ["\"", "\"\"\"", "/*", "`", "#\"", "\"\\(", "\"\\(a", "//", "\\"])
    func unfinishedFilesEnd(text: String) {
        #expect(TokenizedSource(text).lineCount <= 1)
    }

    // MARK: Imports

    @Test(
        "imports are found in each of their forms",
        arguments: [
            ("import Foundation", "Foundation"), ("internal import Foundation", "Foundation"),
            ("@preconcurrency public import Dispatch", "Dispatch"), ("import struct Foundation.Date", "Foundation"),
            ("@_exported import NIOCore", "NIOCore"), ("  package import Glibc // why", "Glibc"),
        ])
    func importsAreFound(text: String, module: String) throws {
        let layer = try #require(Layers.named("FabricCore"))
        #expect(ImportRules.imports(in: TokenizedSource(text)).map(\.module) == [module])
        #expect(ImportRules.violations(in: file(text), of: layer).count == 1)
    }

    @Test("imports in comments and strings are none, and allowed ones pass")
    func importsThatAreNone() throws {
        let layer = try #require(Layers.named("FabricWire"))
        let text = "public import FabricCore\n// import Foundation\nlet a = \"import Foundation\"\n"
        #expect(ImportRules.violations(in: file(text), of: layer) == [])
        #expect(ImportRules.violations(in: file("@testable import FabricCore"), of: layer).count == 1)
        #expect(ImportRules.violations(in: file("import FabricTunnel"), of: layer).map(\.line) == [1])
    }

    @Test("a turned arrow makes a cycle")
    func cyclesAreFound() {
        let turned = [
            Layer("A", .deciding, ["B"]), Layer("B", .deciding, ["C"]), Layer("C", .deciding, ["A"]),
            Layer("D", .deciding, ["A"]),
        ]
        #expect(ImportRules.isCyclic(turned, from: "A"))
        #expect(!ImportRules.isCyclic(turned, from: "D"))
        #expect(ImportRules.reach(turned, from: "D") == ["A", "B", "C"])
    }

    @Test("a manifest's targets are read with their dependencies")
    func manifestsAreRead() {
        let text = """
            func library(_ name: String) -> Target { .target(name: name, path: "x") }
            let package = Package(name: "p", targets: [
                library("One"),
                library("Two", ["One", .product(name: "Yams", package: "Yams")], path: "Elsewhere"),
                .target(name: "Three", linkerSettings: [.linkedLibrary("sqlite3")]),
                .systemLibrary(name: "Four", path: "Sources/Four", providers: [.apt(["libfour-dev"])]),
                // library("Five", ["Two"]),
            ])
            """
        #expect(
            PackageManifest.targets(in: text) == [
                DeclaredTarget(name: "One", dependencies: []),
                DeclaredTarget(name: "Two", dependencies: ["One", "Yams"]),
                DeclaredTarget(name: "Three", dependencies: []),
                DeclaredTarget(name: "Four", dependencies: []),
            ])
    }

    // MARK: Forbidden names

    @Test(
        "forbidden names are found",
        arguments: [
            ("func a() async {}", ["async"]), ("let b = await c", ["await"]), ("actor Counter {}", ["actor"]),
            ("Task { }", ["Task"]), ("Task.detached { }", ["Task"]), ("let d = Date()", ["Date"]),
            ("let d = Date.now", ["Date"]), ("UUID().uuidString", ["UUID"]),
            ("ContinuousClock().now", ["ContinuousClock"]),
            ("var g = SystemRandomNumberGenerator()", ["SystemRandomNumberGenerator"]),
            ("Bool.random()", ["random"]), ("Int.random(in: 0..<f(using: g))", ["random"]),
            ("list.shuffled()", ["shuffled"]),
            ("list.randomElement()", ["randomElement"]), ("var h = Hasher()", ["Hasher"]),
            ("let k = key .hashValue", []), ("let i = hashValue", ["hashValue"]), ("time(nil)", ["time"]),
            ("Glibc.time(nil)", ["time"]), ("getenv(\"A\")", ["getenv"]), ("print(1)", ["print"]),
            ("Swift.print(1)", ["print"]), ("pow(2, 3) + sin(x)", ["pow", "sin"]), ("\"\\(Date())\"", ["Date"]),
            ("DispatchQueue.main", ["DispatchQueue"]), ("let m = Mutex(0)", ["Mutex"]),
            ("clock_gettime(CLOCK_REALTIME, &t)", ["clock_gettime"]),
        ])
    func forbiddenNamesAreFound(text: String, expected: [String]) {
        #expect(names(text) == expected)
    }

    @Test(
        "what only looks forbidden passes",
        arguments: [
            "let time = now", "func time(_ a: Int) {}; let b = time(3)", "world.random(of: host, \"agent\")",
            "func time(_ a: Int) {}", "entry.time(1)", "audit(actor: name, async: true)", "var actor: String",
            "case actor", "Int.random(in: 0..<4, using: &g)", "list.shuffled(using: &g)", "// print(1)", "\"Task\"",
            "func hash(into hasher: inout Hasher) {}", "struct Dated {}", "event.log(1)", "let date: Date? = nil",
            "let a: [actor]", "`print`(1)",
        ])
    func innocentNamesPass(text: String) {
        #expect(names(text) == [])
    }

    // MARK: Unordered iteration

    @Test(
        "iteration over a dictionary or a set is found",
        arguments: [
            "for (k, v) in table { use(k, v) }", "for k in table.keys { use(k) }",
            "for v in self.table.values where v > 0 {}",
            "return table.map { $0.key }", "table.forEach { send($0) }", "let x = table.values.compactMap { $0 }",
            "let x = members.first", "send(Array(members))", "list.append(contentsOf: table.values)",
            "list += table.keys",
            "let x = table.values.filter { $0 > 1 }.map { $0 }", "let x = table.min { $0.value < $1.value }",
            "for x in lookup(1) { send(x) }", "let x = table.values\n    .map { $0 }",
            "for x in table.filter { $0.value > 1 } {}",
            "let x = table.reduce(0) { $0 * 31 + $1.value }", "for x in members.union(others) { send(x) }",
            "if let table { for x in table {} }", "let members = self.members\nfor x in members {}",
        ])
    func unorderedIterationIsFound(text: String) {
        let declarations = """
            var table: [String: Int] = [:]
            let members = Set<Int>()
            func lookup(_ a: Int) -> Set<String> { make(a) }

            """
        #expect(unordered(declarations + text).count == 1)
    }

    @Test(
        "order that can't get out passes",
        arguments: [
            "for k in table.keys.sorted() { use(k) }", "for (k, v) in table.sorted(by: { $0.key < $1.key }) {}",
            "let n = table.values.filter { $0 > 1 }.count", "if members.contains(3) {}", "table[3]?.map { $0 }",
            "for x in table[key] { send(x) }", "let x = members.map { $0 }.sorted()", "let x = Set(table.keys)",
            "let x = table.values.map { $0.deadline }.min()", "let x = table.mapValues { $0 + 1 }",
            "let x = Array(members).sorted()", "for x in list { send(x) }",
            "let x = table.values.allSatisfy { $0 > 1 }",
            "let x = table.values.reduce(0, +) // unordered: a sum does not depend on order",
            "// unordered: each entry is changed by itself\nfor k in table.keys { bump(k) }",
            "for k in members.intersection(others).sorted() {}", "f(table: 3).map { $0 }",
            "for x in table.removeValue(forKey: 3) ?? [] {}", "case .list(let table): for x in table {}",
            "func f(table: [Int]) { for x in table {} }", "let table = table.keys.sorted()\nfor x in table {}",
        ])
    func orderedUsePasses(text: String) {
        let declarations = "var table: [String: Int] = [:]\nlet members = Set<Int>()\n"
        #expect(unordered(declarations + text) == [])
    }

    @Test("a marker without a reason permits nothing")
    func markersNeedReasons() {
        #expect(unordered("var t: [Int: Int]\nfor x in t {} // unordered: fine") == [2])
        #expect(unordered("var t: [Int: Int]\nfor x in t {} // unordered: each entry stands alone") == [])
    }

    @Test("properties are known in the type's other files")
    func familiesShareNames() {
        let first = file("struct Host { var peers: [Int: Int] }", "Sources/A/Host.swift")
        let second = file("extension Host { func f() { for p in peers {} } }", "Sources/A/Host+Peers.swift")
        #expect(first.family == second.family)
        #expect(UnorderedIteration.violations(in: [first, second]).map(\.path) == ["Sources/A/Host+Peers.swift"])
        #expect(UnorderedIteration.violations(in: [second]) == [])
    }

    @Test("violations name the place")
    func violationsNameThePlace() {
        let found = ForbiddenNames.violations(
            in: file("let a = 1\n\nprint(a)"), names: ForbiddenNames.deciding, declared: [])
        #expect(found.map(\.line) == [3])
        #expect(found.first?.description.hasPrefix("Sources/FabricCore/Planted.swift:3: `print`") == true)
    }
}
