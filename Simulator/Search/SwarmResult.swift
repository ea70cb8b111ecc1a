internal import FabricCrypto
internal import FabricDocument

/// How the run of one swarm seed came out, and what it reached. One line of a swarm's progress file.
public struct SwarmResult: Hashable, Sendable {
    public enum Outcome: String, Hashable, Sendable, CaseIterable {
        case held
        /// An expectation broke, or the scenario could not be carried out.
        case broken
        /// The process ended without a report: a trap, or a signal.
        case trapped
        /// It took longer than a seed may.
        case overran
        /// A second process came to another trace.
        case undetermined
        /// Nothing is known of it: its process was ended from outside (memory was used up, say), or could not write its
        /// report. It is not done; no file tells of it.
        case noResult = "no result"
    }

    public var seed: UInt64
    public var outcome: Outcome
    /// For what did not hold: which expectations, or how the process ended; each once.
    public var failures: [String]
    /// What the run reached, by name (`ScenarioRun.coverage`); each once.
    public var coverage: [String]

    public init(seed: UInt64, outcome: Outcome, failures: [String], coverage: [String]) {
        self.seed = seed
        self.outcome = outcome
        self.failures = failures
        self.coverage = coverage
    }

    /// What makes a seed worth keeping when no seed before had it.
    public var signature: [String] { coverage + failures.map { "failure: \($0)" } }

    /// What this run of a seed, whose trace has this hash, and a second one in another process show together. The second
    /// one's hash is nil when it ended without a report.
    ///
    /// A second run that came to no end says nothing of the trace, and takes nothing from a failure that the first showed.
    public func compared(_ hash: String, with second: SwarmResult, _ secondHash: String?) -> SwarmResult {
        if second.outcome == .noResult || second.outcome == .overran { return outcome == .held ? second : self }
        if secondHash == hash { return self }
        let failure = "not deterministic: \(secondHash ?? second.failures.first ?? "no report"), then \(hash)"
        return SwarmResult(seed: seed, outcome: .undetermined, failures: [failure], coverage: coverage)
    }
}

/// A swarm's file that is not what it should be: which line, why, and the mend.
public struct SwarmFileError: Error, Hashable, Sendable, CustomStringConvertible {
    public var line: Int
    public var problem: String

    public init(line: Int, _ problem: String) {
        self.line = line
        self.problem = problem
    }

    public var description: String { "line \(line): \(problem)" }
}

/// What a progress file belongs to: another scenario's, or another range's, is not taken up.
public struct SwarmIdentity: Hashable, Sendable {
    public var scenario: String
    /// Of the scenario file's bytes, in hexadecimal.
    public var digest: String
    /// Of the program that runs it (`program(_:)`): another build's results say nothing of this one.
    public var program: String
    public var first: UInt64
    public var last: UInt64

    /// A search for a planted bug has a corpus and a progress of its own.
    public init(
        scenario: String, mutant: String? = nil, program: String, file: [UInt8], first: UInt64, last: UInt64
    ) {
        self.program = program
        self.scenario = mutant.map { "\(scenario)+\($0)" } ?? scenario
        digest = Self.digest(file)
        self.first = first
        self.last = last
    }
}

extension SwarmIdentity {
    /// A scenario file by its bytes, in hexadecimal.
    public static func digest(_ file: [UInt8]) -> String {
        file.withUnsafeBytes { bytes in
            let (a, b) = TraceHash.digest(bytes)
            return [a, b].map { word in
                let digits = String(word, radix: 16)
                return String(repeating: "0", count: 16 - digits.count) + digits
            }.joined()
        }
    }

    /// A program by its file's bytes: the first 12 digits that sha256sum(1) prints of it.
    public static func program(_ executable: [UInt8]) -> String {
        SystemCryptography().sha256(executable).prefix(6).map { byte in
            (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }.joined()
    }
}

/// What a progress file holds.
public struct SwarmProgress: Hashable, Sendable {
    public var results: [SwarmResult]
    /// They are of another build of the program, which may fail where this one holds, and hold where it fails.
    public var isOfAnotherProgram: Bool
    /// Those that need not be run again. What overran a limit says nothing of another limit, or of a quieter machine.
    public var settled: [SwarmResult] { results.filter { $0.outcome != .overran } }
}

/// A seed of a corpus.
public struct SwarmCorpusEntry: Hashable, Sendable {
    public var seed: UInt64
    /// What it reached or broke that none before it did.
    public var adds: [String]
    /// The program that found so; nil where an old file does not say.
    public var program: String?
}

/// The lines of the two files that a swarm keeps. Each is one JSON object; both files are only ever appended to.
///
/// ```
/// NAME.progress   {"swarm":1,"scenario":"mixed","digest":"…","program":"…","first":1,"last":1000}
///                 {"seed":1,"outcome":"held","failures":[],"coverage":["phase: active",…]}     a line for each seed
/// NAME.corpus     {"corpus":1,"scenario":"mixed"}
///                 {"seed":17,"adds":["sometimes: a node is refused"],"program":"…"}           a line for each seed kept
/// ```
public enum SwarmFiles {
    public static let version: Int64 = 1
    /// Lines longer than this, or more lines than this, are refused.
    public static let maximumLineBytes = 1 << 18
    public static let maximumLines = 1 + maximumSeeds + maximumCorpus
    /// Bytes of a file: a longer one is refused, and none is written.
    public static let maximumBytes = 1 << 30
    /// Seeds of one swarm. A line for each, and for each of the corpus, is no more than is read.
    public static let maximumSeeds = 1_000_000
    /// Seeds that a corpus keeps; those after it are not added.
    public static let maximumCorpus = 10_000

    // MARK: Writing

    public static func header(_ identity: SwarmIdentity) -> String {
        line([
            ("swarm", .integer(version)), ("scenario", .string(identity.scenario)),
            ("digest", .string(identity.digest)), ("program", .string(identity.program)),
            ("first", .integer(Int64(identity.first))), ("last", .integer(Int64(identity.last))),
        ])
    }

    public static func line(_ result: SwarmResult) -> String {
        line([
            ("seed", .integer(Int64(result.seed))), ("outcome", .string(result.outcome.rawValue)),
            ("failures", texts(result.failures)), ("coverage", texts(result.coverage)),
        ])
    }

    public static func corpusHeader(scenario: String) -> String {
        line([("corpus", .integer(version)), ("scenario", .string(scenario))])
    }

    public static func corpusLine(seed: UInt64, adds: [String], program: String) -> String {
        line([("seed", .integer(Int64(seed))), ("adds", texts(adds)), ("program", .string(program))])
    }

    private static func texts(_ list: [String]) -> DocumentNode.Value { .array(list.map { DocumentNode(.string($0)) }) }

    private static func line(_ members: [(String, DocumentNode.Value)]) -> String {
        let node = DocumentNode(.object(members.map { DocumentMember($0.0, DocumentNode($0.1)) }))
        do throws(DocumentError) {
            return String(decoding: try JSON.canonical(node), as: UTF8.self) + "\n"
        } catch {
            // The keys are ours, and there are no fractions.
            preconditionFailure("\(error)")
        }
    }

    // MARK: Reading

    /// The results of a progress file of this swarm. A last line without its end was being written when the program was
    /// killed, and is left out.
    public static func progress(_ bytes: [UInt8], of identity: SwarmIdentity) throws(SwarmFileError) -> SwarmProgress {
        let lines = try lines(bytes)
        guard let head = lines.first else { return SwarmProgress(results: [], isOfAnotherProgram: false) }
        try expect(head, "swarm", 1)
        func same(_ key: String, _ value: DocumentNode.Value, _ what: String) throws(SwarmFileError) {
            if head[key]?.value != value {
                throw SwarmFileError(line: 1, "it is of \(what); leave --resume out to begin anew")
            }
        }
        try same("scenario", .string(identity.scenario), "another scenario")
        try same("digest", .string(identity.digest), "another text of this scenario file")
        try same("first", .integer(Int64(identity.first)), "another range of seeds")
        try same("last", .integer(Int64(identity.last)), "another range of seeds")
        var results: [SwarmResult] = []
        for (index, node) in lines.enumerated().dropFirst() {
            let number = index + 1
            guard let outcome = node["outcome"]?.string.flatMap({ SwarmResult.Outcome(rawValue: $0) }),
                outcome != .noResult
            else {
                throw SwarmFileError(line: number, "its outcome is none that exists; \(mend)")
            }
            results.append(
                SwarmResult(
                    seed: try seed(node, number), outcome: outcome, failures: try list(node, "failures", number),
                    coverage: try list(node, "coverage", number)))
        }
        return SwarmProgress(results: results, isOfAnotherProgram: head["program"]?.string != identity.program)
    }

    /// The seeds of a corpus, in the order in which they were found. One that a later program kept again stands there
    /// several times.
    public static func corpus(_ bytes: [UInt8], scenario: String) throws(SwarmFileError) -> [SwarmCorpusEntry] {
        let lines = try lines(bytes)
        guard let head = lines.first else { return [] }
        try expect(head, "corpus", 1)
        guard head["scenario"]?.string == scenario else {
            throw SwarmFileError(
                line: 1, "it is the corpus of another scenario; move it away, or name another --corpus")
        }
        var seeds: [SwarmCorpusEntry] = []
        for (index, node) in lines.enumerated().dropFirst() {
            seeds.append(
                SwarmCorpusEntry(
                    seed: try seed(node, index + 1), adds: try list(node, "adds", index + 1),
                    program: node["program"]?.string))
        }
        return seeds
    }

    private static let mend = "remove the line, or the file to begin anew"

    private static func lines(_ bytes: [UInt8]) throws(SwarmFileError) -> [DocumentNode] {
        var nodes: [DocumentNode] = []
        var rest = bytes[...]
        if !bytes.isEmpty, !bytes.contains(0x0A) {
            throw SwarmFileError(line: 1, "the first line is not whole; remove the file to begin anew")
        }
        while let end = rest.firstIndex(of: 0x0A) {
            let line = Array(rest[..<end])
            rest = rest[(end + 1)...]
            let number = nodes.count + 1
            guard number <= maximumLines else {
                throw SwarmFileError(line: number, "more than \(maximumLines) lines; move the file away")
            }
            guard line.count <= maximumLineBytes else {
                throw SwarmFileError(line: number, "more than \(maximumLineBytes) bytes in a line; \(mend)")
            }
            do throws(DocumentError) {
                let node = try JSON.parse(line)
                guard node.object != nil else { throw DocumentError("not an object") }
                nodes.append(node)
            } catch {
                throw SwarmFileError(line: number, "not a line of such a file (\(error.message)); \(mend)")
            }
        }
        return nodes
    }

    private static func expect(_ head: DocumentNode, _ key: String, _ line: Int) throws(SwarmFileError) {
        guard let number = head[key]?.integer else {
            throw SwarmFileError(line: line, "this does not begin as a file of a swarm; move it away")
        }
        guard number == version else {
            throw SwarmFileError(line: line, "version \(number), this program writes \(version); move the file away")
        }
    }

    private static func seed(_ node: DocumentNode, _ line: Int) throws(SwarmFileError) -> UInt64 {
        guard let seed = node["seed"]?.integer, seed >= 0 else {
            throw SwarmFileError(line: line, "it has no seed from 0 to 2^63 - 1; \(mend)")
        }
        return UInt64(seed)
    }

    private static func list(_ node: DocumentNode, _ key: String, _ line: Int) throws(SwarmFileError) -> [String] {
        guard let elements = node[key]?.array else { throw SwarmFileError(line: line, "“\(key)” is no list; \(mend)") }
        var texts: [String] = []
        for element in elements {
            guard let text = element.string else {
                throw SwarmFileError(line: line, "“\(key)” holds something else than texts; \(mend)")
            }
            texts.append(text)
        }
        return texts
    }
}
