import Testing

/// The rules of `docs/ARCHITECTURE.md`, held against the sources themselves. `ScannerTests` plants a violation of each.
@Suite("The architecture")
struct ArchitectureTests {
    static let files: [String: [SourceFile]] = Dictionary(
        uniqueKeysWithValues: Layers.all.map { ($0.name, SourceTree.files(under: $0.path)) })

    static func files(of layer: Layer) -> [SourceFile] { files[layer.name] ?? [] }

    /// The longest file that is not asked to part, and the longest that is let through.
    static let longFile = 500
    static let longestFile = 700
    static let longestProgramFile = 250

    @Test("every folder of sources has a row in the table of layers, and every row has sources")
    func everyTargetIsKnown() {
        let known = Set(Layers.all.map(\.name)).union(Layers.withoutSwift)
        #expect(SourceTree.folders(in: "Sources").filter { !known.contains($0) } == [])
        for layer in Layers.all {
            #expect(!Self.files(of: layer).isEmpty, "\(layer.path) holds no Swift file")
        }
        for name in Layers.withoutSwift.sorted() {
            #expect(SourceTree.files(under: "Sources/\(name)").isEmpty, "\(name) holds Swift")
        }
    }

    @Test("files import what their layer allows and nothing else", arguments: Layers.all.map(\.name))
    func importsFollowTheArrows(name: String) throws {
        let layer = try #require(Layers.named(name))
        let violations = Self.files(of: layer).flatMap { ImportRules.violations(in: $0, of: layer) }
        #expect(violations.isEmpty, "\(list(violations))")
    }

    @Test("the table of layers has no cycle, and keeps the two hosts apart")
    func arrowsPointOneWay() {
        for layer in Layers.all {
            #expect(!ImportRules.isCyclic(Layers.all, from: layer.name), "\(layer.name) reaches itself")
            #expect(layer.targets.allSatisfy { Layers.named($0) != nil || Layers.withoutSwift.contains($0) })
        }
        let simulated = ImportRules.reach(Layers.all, from: "Simulator")
        #expect(simulated.isDisjoint(with: ["FabricRuntime", "FabricLinux", "FabricCapture"]))
        #expect(!ImportRules.reach(Layers.all, from: "FabricRuntime").contains("Simulator"))
        // What a newcomer builds first must not drag in the servers.
        #expect(ImportRules.reach(Layers.all, from: "rap-sim").isDisjoint(with: ["FabricRuntime", "FabricLinux"]))
        for layer in Layers.all where layer.role == .deciding {
            let reached = ImportRules.reach(Layers.all, from: layer.name)
            #expect(
                reached.allSatisfy { Layers.named($0)?.role == .deciding }, "\(layer.name) reaches a host or adapter")
        }
    }

    @Test("Package.swift declares no dependency that the table of layers lacks")
    func manifestFollowsTheTable() throws {
        let manifest = try #require(SourceTree.file("Package.swift"))
        let declared = PackageManifest.targets(in: manifest.text)
        #expect(declared.count >= Layers.all.count)
        for target in declared where !Layers.withoutSwift.contains(target.name) && !isBenchmark(target.name) {
            let layer = try #require(Layers.named(target.name), "\(target.name) has no row in Layers.swift")
            let extra = target.dependencies.subtracting(layer.targets).subtracting(layer.modules)
            #expect(extra.isEmpty, "Package.swift: \(target.name) must not depend on \(extra.sorted())")
        }
        for layer in Layers.all {
            let target = try #require(declared.first { $0.name == layer.name }, "Package.swift lacks \(layer.name)")
            let imported = Self.files(of: layer).flatMap { ImportRules.imports(in: $0.source) }
            let undeclared = Set(imported.map(\.module)).intersection(layer.targets).subtracting(target.dependencies)
            #expect(undeclared.isEmpty, "Package.swift: \(layer.name) imports \(undeclared.sorted()) undeclared")
        }
    }

    @Test(
        "deciding code has no clock, randomness, concurrency, I/O or libm of its own",
        arguments: Layers.all.filter { $0.role == .deciding || $0.role == .simulator }.map(\.name))
    func decidingCodeIsPure(name: String) throws {
        let layer = try #require(Layers.named(name))
        let files = Self.files(of: layer)
        let declared = ForbiddenNames.declaredFunctions(in: files)
        let violations = files.flatMap {
            ForbiddenNames.violations(in: $0, names: ForbiddenNames.deciding, declared: declared)
        }
        #expect(violations.isEmpty, "\(list(violations))")
    }

    @Test(
        "no iteration order that differs between processes reaches an output",
        arguments: Layers.all.filter { [.deciding, .simulator, .adapter].contains($0.role) }.map(\.name))
    func iterationIsOrdered(name: String) throws {
        let layer = try #require(Layers.named(name))
        let families = Dictionary(grouping: Self.files(of: layer), by: \.family)
        let violations = families.keys.sorted().flatMap { UnorderedIteration.violations(in: families[$0] ?? []) }
        #expect(violations.isEmpty, "\(list(violations))")
    }

    @Test("programs hold arguments and wiring: their files are short")
    func programsAreShort() {
        for layer in Layers.all where layer.role == .program {
            for file in Self.files(of: layer) {
                let lines = file.source.lineCount
                #expect(
                    lines <= Self.longestProgramFile, "\(file.path) has \(lines) lines; move decisions to a library")
            }
        }
    }

    @Test("no file grows past 700 lines; those past 500 are named")
    func filesAreShort() {
        let tests = SourceTree.files(under: "Tests").filter { !$0.path.hasPrefix("Tests/Support/") }
        for file in Layers.all.flatMap(Self.files) + tests {
            let lines = file.source.lineCount
            #expect(lines <= Self.longestFile, "\(file.path) has \(lines) lines: it asks for a second concept")
            if lines > Self.longFile, lines <= Self.longestFile {
                print("note: \(file.path) has \(lines) lines: it may ask for a second concept")
            }
        }
    }

    private func isBenchmark(_ name: String) -> Bool { SourceTree.folders(in: "Benchmarks").contains(name) }

    private func list(_ violations: [Violation]) -> String {
        violations.map(\.description).joined(separator: "\n")
    }
}
