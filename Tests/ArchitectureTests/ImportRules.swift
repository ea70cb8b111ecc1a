/// One `import` declaration.
struct ImportDeclaration: Equatable {
    var module: String
    var line: Int
    var isTestable: Bool
}

enum ImportRules {
    private static let kinds: Set<String> = ["struct", "class", "enum", "protocol", "func", "var", "let", "typealias"]

    /// The modules that a file imports, with submodules and single declarations counted for their module.
    static func imports(in source: TokenizedSource) -> [ImportDeclaration] {
        let tokens = source.tokens
        return tokens.indices.compactMap { index in
            guard tokens[index].isIdentifier("import"), index + 1 < tokens.count,
                index == 0 || !tokens[index - 1].isPunctuation(".")
            else { return nil }
            let takesKind = kinds.contains(tokens[index + 1].text) && index + 2 < tokens.count
            let module = tokens[index + (takesKind ? 2 : 1)]
            guard module.kind == .identifier, module.line == tokens[index].line else { return nil }
            let before = tokens[max(0, index - 3)..<index]
            return ImportDeclaration(
                module: module.text, line: tokens[index].line,
                isTestable: before.contains { $0.isIdentifier("testable") && $0.line == tokens[index].line })
        }
    }

    /// Imports of a layer's file that its row does not allow, and `@testable` ones, which only tests may use.
    static func violations(in file: SourceFile, of layer: Layer) -> [Violation] {
        imports(in: file.source).compactMap { declaration in
            if declaration.isTestable {
                return Violation(path: file.path, line: declaration.line, what: "@testable import outside of tests")
            }
            guard !layer.targets.contains(declaration.module), !layer.modules.contains(declaration.module),
                declaration.module != layer.name, declaration.module != "Swift"
            else { return nil }
            return Violation(
                path: file.path, line: declaration.line,
                what: "\(layer.name) must not import \(declaration.module); see Tests/ArchitectureTests/Layers.swift")
        }
    }

    /// True when following the rows' arrows from `start` leads back to it.
    static func isCyclic(_ layers: [Layer], from start: String) -> Bool {
        var seen: Set<String> = []
        var waiting = [start]
        while let name = waiting.popLast() {
            for next in layers.first(where: { $0.name == name })?.targets.sorted() ?? [] {
                if next == start { return true }
                if seen.insert(next).inserted { waiting.append(next) }
            }
        }
        return false
    }

    /// All that a layer reaches, itself not counted.
    static func reach(_ layers: [Layer], from start: String) -> Set<String> {
        var seen: Set<String> = []
        var waiting = [start]
        while let name = waiting.popLast() {
            for next in layers.first(where: { $0.name == name })?.targets.sorted() ?? []
            where seen.insert(next).inserted {
                waiting.append(next)
            }
        }
        return seen
    }
}

/// A target as Package.swift declares it.
struct DeclaredTarget: Equatable {
    var name: String
    /// Targets, and products of other packages.
    var dependencies: Set<String>
}

enum PackageManifest {
    private static let calls: Set<String> = [
        "library", "program", "target", "executableTarget", "systemLibrary", "benchmark",
    ]

    /// The targets of the manifest's `targets:` list, test targets left out.
    static func targets(in manifest: String) -> [DeclaredTarget] {
        let tokens = TokenizedSource(manifest).tokens
        return tokens.indices.compactMap { index in
            guard calls.contains(tokens[index].text), tokens[index].kind == .identifier, index + 2 < tokens.count,
                tokens[index + 1].isPunctuation("("), index == 0 || !tokens[index - 1].isIdentifier("func")
            else { return nil }
            let end = closing(tokens, opening: index + 1)
            var name: String?
            var dependencies: Set<String> = []
            var depth = 0
            for position in index + 1..<end {
                let token = tokens[position]
                if token.kind == .punctuation, "([".contains(token.text) { depth += 1 }
                if token.kind == .punctuation, ")]".contains(token.text) { depth -= 1 }
                guard token.kind == .string else { continue }
                let label = tokens[position - 1].isPunctuation(":") ? tokens[position - 2].text : ""
                if name == nil, depth == 1, label == "" || label == "name" {
                    name = token.text
                } else if depth == 2, label == "" {
                    dependencies.insert(token.text)
                } else if depth == 3, label == "name" {
                    dependencies.insert(token.text)
                }
            }
            return name.map { DeclaredTarget(name: $0, dependencies: dependencies) }
        }
    }

    private static func closing(_ tokens: [Token], opening: Int) -> Int {
        var depth = 0
        for index in opening..<tokens.count where tokens[index].kind == .punctuation {
            if "([{".contains(tokens[index].text) { depth += 1 }
            if ")]}".contains(tokens[index].text) {
                depth -= 1
                if depth == 0 { return index }
            }
        }
        return tokens.count
    }
}
