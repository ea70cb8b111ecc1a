import Foundation
import Testing

/// Planted bugs stand in the product, so what switches them on is held against the sources.
@Suite("Planted bugs")
struct MutantTests {
    private static let declaration = SourceTree.file("Sources/FabricCore/Mutants.swift")
    private static let product = Layers.all.filter { [.deciding, .adapter].contains($0.role) }

    /// The names of the enumeration's cases.
    private static var cases: [String] {
        let tokens = declaration?.source.tokens ?? []
        return zip(tokens, tokens.dropFirst()).filter { $0.0.isIdentifier("case") }.map { $0.1.text }
    }

    /// `planted(.name)` in the product.
    private static var calls: [String] {
        product.flatMap { ArchitectureTests.files(of: $0) }.filter { $0.path != declaration?.path }.flatMap { file in
            let tokens = file.source.tokens
            return tokens.indices.dropLast(3).filter {
                tokens[$0].isIdentifier("planted") && tokens[$0 + 1].isPunctuation("(")
                    && tokens[$0 + 2].isPunctuation(".")
            }.map { tokens[$0 + 3].text }
        }
    }

    @Test("every planted bug stands somewhere, and there are at least forty")
    func everyMutantIsPlanted() {
        let planted = Set(Self.calls)
        #expect(Self.cases.count >= 40)
        #expect(Self.cases.filter { !planted.contains($0) } == [])
        #expect(planted.subtracting(Self.cases) == [])
    }

    @Test("without DEBUG or RAP_MUTANTS, `planted` is the literal false, and nothing can switch a bug on")
    func releaseBuildsCarryNone() throws {
        let lines = try #require(Self.declaration).text.split(separator: "\n", omittingEmptySubsequences: false)
            .map { $0.drop(while: { $0 == " " }) }
        let start = try #require(lines.firstIndex(of: "#if DEBUG || RAP_MUTANTS"))
        let other = try #require(lines.firstIndex(of: "#else"))
        let end = try #require(lines.firstIndex(of: "#endif"))
        let released = lines[..<start] + lines[(other + 1)..<end] + lines[(end + 1)...]
        let code = released.filter { !$0.hasPrefix("///") && !$0.isEmpty }
        #expect(
            code.filter { $0.contains("planted") } == ["public func planted(_ mutant: Mutant) -> Bool { false }"])
        #expect(!code.contains { $0.contains("var ") || $0.contains("func plant(") })
    }

    @Test("only the simulator's program switches bugs on")
    func nobodyElsePlants() {
        for layer in Layers.all where layer.name != "rap-sim" {
            for file in ArchitectureTests.files(of: layer) where file.path != Self.declaration?.path {
                let tokens = file.source.tokens
                let plants = tokens.indices.dropLast().filter {
                    tokens[$0].isIdentifier("plant") && tokens[$0 + 1].isPunctuation("(")
                }
                #expect(plants.isEmpty, "\(file.path) switches planted bugs on")
            }
        }
    }

    @Test("the simulator's option and list of planted bugs stand behind the same switch")
    func theOptionIsBehindTheSwitch() throws {
        for path in ["Sources/rap-sim/MutantCommand.swift", "Simulator/Checkers/MutantCatalogue.swift"] {
            let text = try #require(SourceTree.file(path)).text
            let open = text.components(separatedBy: "#if DEBUG || RAP_MUTANTS").dropFirst()
            #expect(!open.isEmpty, "\(path)")
            for part in open { #expect(part.contains("#endif"), "\(path)") }
            let outside = text.components(separatedBy: "#if DEBUG || RAP_MUTANTS").enumerated()
                .map { $0.offset == 0 ? $0.element : $0.element.components(separatedBy: "#endif").dropFirst().joined() }
                .joined()
            #expect(!outside.contains("plant("), "\(path)")
        }
    }
}
