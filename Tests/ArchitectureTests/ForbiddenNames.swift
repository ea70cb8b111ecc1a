/// Names that deciding code must not use, each with what to use instead.
struct ForbiddenName: Sendable {
    enum Use: Sendable {
        /// Wherever the identifier stands, but as an argument label or a member of something.
        case anywhere
        /// Where it is called, and not as a member: `sin(x)`, not `wave.sin(x)`.
        case call
        /// Where it is called as a member without `using:`: `.random(in: …)`.
        case memberCallWithoutGenerator
        /// Where a type is declared with it as keyword: `actor Name`.
        case declaration
    }

    var name: String
    var use: Use
    var instead: String
}

enum ForbiddenNames {
    private static let concurrency = "deciding code is synchronous; take an event, return an action"
    private static let clock = "time is an argument: Now or Instant"
    private static let randomness = "randomness is an argument: RandomSource"
    private static let io = "deciding code performs no I/O; return an action, or count"
    private static let libm = "libm's results differ between machines; use integers"
    private static let hashing = "hash values differ between processes; compare or sort instead"

    static let deciding: [ForbiddenName] =
        [
            "async", "await", "Task", "TaskGroup", "AsyncStream", "MainActor", "DispatchQueue", "Thread", "NSLock",
            "Mutex", "Atomic",
        ]
        .map { ForbiddenName(name: $0, use: .anywhere, instead: concurrency) }
        + [ForbiddenName(name: "actor", use: .declaration, instead: concurrency)]
        + ["ContinuousClock", "SuspendingClock", "DispatchTime", "clock_gettime", "gettimeofday"]
        .map { ForbiddenName(name: $0, use: .anywhere, instead: clock) }
        + ["Date", "time", "clock"].map { ForbiddenName(name: $0, use: .call, instead: clock) }
        + ["SystemRandomNumberGenerator", "getrandom", "arc4random"]
        .map { ForbiddenName(name: $0, use: .anywhere, instead: randomness) }
        + [ForbiddenName(name: "UUID", use: .call, instead: randomness)]
        + ["random", "shuffled", "shuffle", "randomElement"]
        .map { ForbiddenName(name: $0, use: .memberCallWithoutGenerator, instead: randomness) }
        + [
            ForbiddenName(name: "hashValue", use: .anywhere, instead: hashing),
            ForbiddenName(name: "Hasher", use: .call, instead: hashing),
            ForbiddenName(name: "ObjectIdentifier", use: .call, instead: "addresses differ between processes"),
        ]
        + ["getenv", "ProcessInfo", "CommandLine", "FileManager", "FileHandle"]
        .map { ForbiddenName(name: $0, use: .anywhere, instead: io) }
        + ["print", "debugPrint", "dump", "readLine", "fopen"].map { ForbiddenName(name: $0, use: .call, instead: io) }
        + ["sin", "cos", "tan", "exp", "exp2", "log", "log2", "log10", "pow"]
        .map { ForbiddenName(name: $0, use: .call, instead: libm) }

    /// Violations in one file. `declared` are the functions of its target: without an import, `time(…)` is one of them.
    static func violations(in file: SourceFile, names: [ForbiddenName], declared: Set<String>) -> [Violation] {
        let tokens = file.source.tokens
        let byName = Dictionary(grouping: names, by: \.name)
        return tokens.indices.flatMap { index -> [Violation] in
            guard tokens[index].kind == .identifier, let rules = byName[tokens[index].text] else { return [] }
            return rules.filter { rule in
                applies(rule.use, to: tokens, at: index) && !(rule.use == .call && declared.contains(rule.name))
            }.map {
                Violation(path: file.path, line: tokens[index].line, what: "`\($0.name)`: \($0.instead)")
            }
        }
    }

    /// The functions that the files declare.
    static func declaredFunctions(in files: [SourceFile]) -> Set<String> {
        Set(
            files.flatMap { file in zip(file.source.tokens, file.source.tokens.dropFirst()) }
                .filter { $0.0.isIdentifier("func") }.map { $0.1.text })
    }

    private static func applies(_ use: ForbiddenName.Use, to tokens: [Token], at index: Int) -> Bool {
        let next = index + 1 < tokens.count ? tokens[index + 1] : nil
        let previous = index > 0 ? tokens[index - 1] : nil
        let isMember =
            previous?.isPunctuation(".") == true
            && !(index > 1 && ["Swift", "Foundation", "Glibc"].contains(tokens[index - 2].text))
        let isLabel = next?.isPunctuation(":") == true
        let isDeclared = ["func", "let", "var", "case"].contains(previous?.text ?? "")
        let isCalled = next?.isPunctuation("(") == true || (next?.isPunctuation(".") == true && tokens[index].isType)
        switch use {
        case .anywhere: return !isMember && !isLabel && !isDeclared
        case .call: return !isMember && !isDeclared && isCalled
        case .memberCallWithoutGenerator:
            guard previous?.isPunctuation(".") == true, next?.isPunctuation("(") == true else { return false }
            // The library's forms are `random(in:)` and calls without arguments; `random(of: host)` is a method of ours.
            let labels = argumentLabels(tokens, opening: index + 1)
            return labels.isEmpty
                ? tokens[index + 2].isPunctuation(")") : labels.contains("in") && !labels.contains("using")
        case .declaration:
            return !isMember && !isDeclared && next?.kind == .identifier && next?.isType == true
        }
    }

    /// The labels of a call's own arguments.
    private static func argumentLabels(_ tokens: [Token], opening: Int) -> [String] {
        var labels: [String] = []
        var depth = 0
        for index in opening..<tokens.count {
            if tokens[index].kind == .punctuation {
                if "([{".contains(tokens[index].text) { depth += 1 }
                if ")]}".contains(tokens[index].text) {
                    depth -= 1
                    if depth == 0 { break }
                }
            }
            if depth == 1, tokens[index].kind == .identifier, tokens[index + 1].isPunctuation(":") {
                labels.append(tokens[index].text)
            }
        }
        return labels
    }
}

extension Token {
    /// An identifier that names a type by the language's convention.
    var isType: Bool { kind == .identifier && text.first?.isUppercase == true }
}
