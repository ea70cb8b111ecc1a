/// Finds iteration over dictionaries and sets, whose order differs between processes.
///
/// The scan is by name, within the files of one type: an identifier declared as `[K: V]`, `Dictionary` or `Set` is
/// unordered, and so is what a function of such a result type returns. Iterating one is refused, unless the chain of calls
/// ends in something that order can't reach (`sorted`, `count`, `contains`, `min()` …) or a set or dictionary is made of
/// it. A comment `// unordered: why order can't reach an output` on the line, or alone on the line before, permits it.
struct UnorderedIteration {
    /// Members whose result, or whose effect, has the collection's order.
    private static let ordered: Set<String> = [
        "map", "flatMap", "compactMap", "forEach", "reduce", "first", "last", "prefix", "dropFirst", "dropLast",
        "suffix",
        "enumerated", "joined", "makeIterator", "popFirst", "removeFirst", "randomElement", "lazy", "elementsEqual",
        "startIndex",
    ]
    /// Members that leave order where it was: still without one if there was none, still hidden if nothing came of it.
    private static let neutral: Set<String> = [
        "keys", "values", "filter", "mapValues", "compactMapValues", "union", "intersection", "subtracting",
        "symmetricDifference", "merging",
    ]
    /// Members after which order no longer matters.
    private static let final: Set<String> = [
        "sorted", "count", "isEmpty", "contains", "allSatisfy", "isSubset", "isSuperset", "isDisjoint", "hash",
    ]

    /// Violations in the files of one family; names are shared among them.
    static func violations(in family: [SourceFile]) -> [Violation] {
        var names: Set<String> = []
        for file in family { names.formUnion(UnorderedDeclarations.names(in: file.source.tokens)) }
        return family.flatMap { UnorderedIteration(path: $0.path, source: $0.source, names: names).violations() }
    }

    private let path: String
    private let source: TokenizedSource
    private let names: Set<String>
    private var tokens: [Token] { source.tokens }

    private init(path: String, source: TokenizedSource, names: Set<String>) {
        self.path = path
        self.source = source
        self.names = names
    }

    private func violations() -> [Violation] {
        var found: [Violation] = []
        var iterated: Set<Int> = []
        for index in tokens.indices where tokens[index].isIdentifier("in") && belongsToFor(index) {
            guard let base = loopBase(after: index), !isShadowed(base) else { continue }
            iterated.insert(base)
            if endsUnordered(after: base, iterates: true) { found.append(violation(at: base, tokens[base].text)) }
        }
        for index in tokens.indices where names.contains(tokens[index].text) && tokens[index].kind == .identifier {
            guard !iterated.contains(index), !isDeclaration(index), !isLabel(index), !isShadowed(index) else {
                continue
            }
            let copied = isSoleArgument(index, of: ["Array", "zip", "ContiguousArray", "append"]) || isAdded(index)
            let isCollected = isSoleArgument(index, of: ["Set", "Dictionary"])
            if !isCollected, endsUnordered(after: index, iterates: copied) {
                found.append(violation(at: index, tokens[index].text))
            }
        }
        return found.filter { !isPermitted($0.line) }
    }

    private func violation(at index: Int, _ name: String) -> Violation {
        Violation(
            path: path, line: tokens[index].line,
            what: "iterates `\(name)`, which has no order; sort it, or say `// unordered:` and why order can't matter")
    }

    /// `// unordered:` with a reason of at least three words.
    private func isPermitted(_ line: Int) -> Bool {
        func permits(_ comment: String?) -> Bool {
            guard let comment, let marker = comment.firstRange(of: "unordered:") else { return false }
            return comment[marker.upperBound...].split(separator: " ").count >= 3
        }
        let isAlone = !tokens.contains { $0.line == line - 1 }
        return permits(source.comments[line]) || (isAlone && permits(source.comments[line - 1]))
    }

    /// True for the `in` of `for pattern in`, false for that of a closure.
    private func belongsToFor(_ index: Int) -> Bool {
        var position = index - 1
        while position >= 0, index - position < 40 {
            if tokens[position].isIdentifier("for") { return true }
            if tokens[position].isPunctuation("{") || tokens[position].isPunctuation("}") { return false }
            position -= 1
        }
        return false
    }

    /// The last unordered name of the chain `a.b.c` that a loop iterates, before any call.
    private func loopBase(after index: Int) -> Int? {
        var position = index + 1
        var base: Int?
        while position < tokens.count {
            let token = tokens[position]
            if token.kind == .identifier {
                if names.contains(token.text) { base = position }
                position += 1
            } else if token.isPunctuation(".") || token.isPunctuation("?") || token.isPunctuation("!") {
                position += 1
            } else {
                break
            }
        }
        return base
    }

    /// True when the nearest declaration that encloses a use gives the name another meaning.
    private func isShadowed(_ index: Int) -> Bool {
        guard index > 0, !tokens[index - 1].isPunctuation(".") else { return false }
        var depth = 0
        for position in stride(from: index - 1, to: 0, by: -1) {
            if tokens[position].isPunctuation("}") { depth += 1 }
            if tokens[position].isPunctuation("{"), depth > 0 { depth -= 1 }
            guard depth == 0, tokens[position].text == tokens[index].text, tokens[position].kind == .identifier,
                isDeclaration(position)
            else { continue }
            return !UnorderedDeclarations.declares(tokens, at: position, known: names)
        }
        return false
    }

    private func isDeclaration(_ index: Int) -> Bool {
        index > 0 && (["let", "var", "func", "case"].contains(tokens[index - 1].text) || isParameter(index))
    }

    /// True for `name: Type` between the parentheses of a `func` or `init`.
    private func isParameter(_ index: Int) -> Bool {
        guard isLabel(index) else { return false }
        var depth = 0
        for position in stride(from: index - 1, to: 1, by: -1) where tokens[position].kind == .punctuation {
            if ")]}".contains(tokens[position].text) { depth += 1 }
            guard "([{".contains(tokens[position].text) else { continue }
            if depth == 0 {
                return tokens[position].isPunctuation("(")
                    && (tokens[position - 1].isIdentifier("init") || tokens[position - 2].isIdentifier("func"))
            }
            depth -= 1
        }
        return false
    }

    private func isLabel(_ index: Int) -> Bool { index + 1 < tokens.count && tokens[index + 1].isPunctuation(":") }

    /// The token before the path that ends in a name: before `self` in `self.name`.
    private func beforePath(_ index: Int) -> Int {
        var position = index - 1
        while position > 0, tokens[position].isPunctuation("."), tokens[position - 1].kind == .identifier {
            position -= 2
        }
        return position
    }

    /// True for `list += name…` and `list + name…`.
    private func isAdded(_ index: Int) -> Bool {
        let position = beforePath(index)
        guard position > 0 else { return false }
        return tokens[position].isPunctuation("+")
            || (tokens[position].isPunctuation("=") && tokens[position - 1].isPunctuation("+"))
    }

    /// True for `Type(name…` and `call(label: name…` with one of the names before the parenthesis.
    private func isSoleArgument(_ index: Int, of types: Set<String>) -> Bool {
        var position = beforePath(index)
        if position > 1, tokens[position].isPunctuation(":"), tokens[position - 1].kind == .identifier { position -= 2 }
        return position > 0 && tokens[position].isPunctuation("(") && types.contains(tokens[position - 1].text)
    }

    /// Follows the chain of members behind a name. True when order gets out of it.
    private func endsUnordered(after base: Int, iterates: Bool) -> Bool {
        var position = base + 1
        var suspicious = iterates
        // A function's result, or an element that a key selects: only the former goes on being unordered.
        if position < tokens.count, tokens[position].isPunctuation("(") { position = closing(position) + 1 }
        if position < tokens.count, tokens[position].isPunctuation("[") { return false }
        while position < tokens.count {
            let token = tokens[position]
            if token.isPunctuation("?") || token.isPunctuation("!") {
                position += 1
                continue
            }
            if token.isPunctuation(")"), iterates, position + 1 < tokens.count, tokens[position + 1].isPunctuation(".")
            {
                position += 1  // In `Array(name).sorted()` the parenthesis is not the chain's end.
                continue
            }
            guard token.isPunctuation("."), position + 1 < tokens.count else { break }
            let member = tokens[position + 1].text
            position += 2
            let arguments = skipArguments(&position)
            if UnorderedIteration.final.contains(member) { return false }
            if member == "min" || member == "max" {
                if arguments == 0 { return false }
                suspicious = true
            } else if UnorderedIteration.ordered.contains(member) {
                suspicious = true
            } else if !UnorderedIteration.neutral.contains(member) {
                return suspicious && !iterates
            }
        }
        return suspicious
    }

    /// Moves over `(…)`, `{…}` and labelled trailing closures; returns how many of them were not empty.
    private func skipArguments(_ position: inout Int) -> Int {
        var full = 0
        if position < tokens.count, tokens[position].isPunctuation("(") {
            let end = closing(position)
            if end > position + 1 { full += 1 }
            position = end + 1
        }
        // A brace on the member's line that is not a loop's body is a trailing closure.
        while position < tokens.count, tokens[position].isPunctuation("{"), !opensBody(position) {
            full += 1
            position = closing(position) + 1
        }
        return full
    }

    /// True when the brace opens the body of a `for`, `if`, `guard`, `while` or `switch` on its line.
    private func opensBody(_ position: Int) -> Bool {
        var index = position - 1
        var depth = 0
        while index >= 0 {
            let token = tokens[index]
            if token.kind == .punctuation, ")]}".contains(token.text) { depth += 1 }
            if token.kind == .punctuation, "([{".contains(token.text) {
                if depth == 0 { return false }
                depth -= 1
            }
            if depth == 0, ["for", "if", "while", "switch", "else"].contains(token.text), token.kind == .identifier {
                return true
            }
            if depth == 0, tokens[position].line - token.line > 6 { return false }
            index -= 1
        }
        return false
    }

    private func closing(_ opening: Int) -> Int {
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
