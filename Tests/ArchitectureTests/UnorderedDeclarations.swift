/// The names that a file declares as dictionaries or sets.
enum UnorderedDeclarations {
    static func names(in tokens: [Token]) -> Set<String> {
        var names: Set<String> = []
        for index in tokens.indices where tokens[index].kind == .identifier && index + 2 < tokens.count {
            let name = tokens[index]
            if name.isIdentifier("func") {
                if let returned = resultOfFunction(tokens, at: index) { names.insert(returned) }
            } else if tokens[index + 1].isPunctuation(":"), isUnorderedType(tokens, at: index + 2) {
                names.insert(name.text)
            } else if tokens[index + 1].isPunctuation("="), index > 0, ["let", "var"].contains(tokens[index - 1].text),
                isUnorderedValue(tokens, at: index + 2)
            {
                names.insert(name.text)
            }
        }
        return names
    }

    /// Whether the binding of a name, as in `let name = …`, `var name: …` or `if let name`, makes it unordered.
    static func declares(_ tokens: [Token], at index: Int, known: Set<String>) -> Bool {
        guard index + 1 < tokens.count else { return false }
        if index > 0, tokens[index - 1].isIdentifier("func") { return resultOfFunction(tokens, at: index - 1) != nil }
        if tokens[index + 1].isPunctuation(":") { return isUnorderedType(tokens, at: index + 2) }
        guard tokens[index + 1].isPunctuation("=") else {
            // `if let name` passes the name on; `case .list(let name)` and `for (name, …)` do not.
            return index > 1 && ["if", "guard", "while", ","].contains(tokens[index - 2].text)
        }
        if isUnorderedValue(tokens, at: index + 2) { return true }
        // `let name = self.table`: a path and no more, on one line.
        var position = index + 2
        while position + 1 < tokens.count, tokens[position].kind == .identifier, tokens[position + 1].isPunctuation(".")
        {
            position += 2
        }
        guard position < tokens.count, known.contains(tokens[position].text) else { return false }
        return position + 1 >= tokens.count || tokens[position + 1].line > tokens[position].line
            || [",", "else", "}", "{"].contains(tokens[position + 1].text)
    }

    /// `[K: V]`, `Dictionary<…>`, `Set<…>`, with `inout`, `borrowing` and attributes before.
    private static func isUnorderedType(_ tokens: [Token], at start: Int) -> Bool {
        var index = start
        while index < tokens.count, ["inout", "borrowing", "consuming", "sending"].contains(tokens[index].text) {
            index += 1
        }
        guard index + 1 < tokens.count else { return false }
        if ["Dictionary", "Set"].contains(tokens[index].text), tokens[index + 1].isPunctuation("<") { return true }
        guard tokens[index].isPunctuation("["), tokens[index + 1].isType || tokens[index + 1].isPunctuation("[") else {
            return false
        }
        return hasColonInside(tokens, opening: index)
    }

    /// `[K: V]()`, `Set<…>(`, `Set(`, `Dictionary(`. A dictionary literal with values needs no mention: without a type it is
    /// found by its colon, `[key: value]`.
    private static func isUnorderedValue(_ tokens: [Token], at index: Int) -> Bool {
        guard index + 1 < tokens.count else { return false }
        if ["Dictionary", "Set"].contains(tokens[index].text) {
            return tokens[index + 1].isPunctuation("<") || tokens[index + 1].isPunctuation("(")
        }
        return tokens[index].isPunctuation("[") && hasColonInside(tokens, opening: index)
    }

    /// A colon directly inside a bracket, not one of a nested call, closure or ternary.
    private static func hasColonInside(_ tokens: [Token], opening: Int) -> Bool {
        var depth = 0
        var hasQuestion = false
        for index in opening..<tokens.count where tokens[index].kind == .punctuation {
            let text = tokens[index].text
            if "([{".contains(text) { depth += 1 }
            if ")]}".contains(text) {
                depth -= 1
                if depth == 0 { return false }
            }
            if depth == 1, text == "?" { hasQuestion = true }
            if depth == 1, text == ":" { return !hasQuestion }
        }
        return false
    }

    /// The name of a function whose result is unordered.
    private static func resultOfFunction(_ tokens: [Token], at index: Int) -> String? {
        var position = index + 1
        while position < tokens.count, !tokens[position].isPunctuation("{"), !tokens[position].isPunctuation("}") {
            if tokens[position].isPunctuation("->") {
                return isUnorderedType(tokens, at: position + 1) ? tokens[index + 1].text : nil
            }
            if position > index + 1, tokens[position].isIdentifier("func") { return nil }
            position += 1
        }
        return nil
    }
}
