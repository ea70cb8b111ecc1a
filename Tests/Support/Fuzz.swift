internal import Glibc

/// Runs a parser over many mutations of a corpus. Short by default; the environment makes it longer or replays:
///
/// - `RAP_FUZZ_ITERATIONS`: how many inputs for each call (default: the call's own number), divided by the call's `cost`;
/// - `RAP_FUZZ_SEED`: another seed than the call's, so that nightly runs see other inputs;
/// - `RAP_FUZZ_LAST`: a file that gets each input before it is tried, so that a crash leaves its cause there.
public enum Fuzz {
    /// Calls `body` with each member of the corpus, then with mutations of its members and now and then with noise.
    /// A thrown error ends the run and is wrapped, so that it names the iteration and the input. `words` are put into the
    /// inputs, see `Mutator`; `cost` says how many times as long as a usual parser's one input takes.
    public static func run(
        corpus: [[UInt8]], words: [[UInt8]] = [], cost: Int = 1, seed: UInt64, iterations: Int,
        _ body: ([UInt8]) throws -> Void
    ) throws(FuzzFailure) {
        precondition(!corpus.isEmpty, "a fuzz run starts from a corpus")
        let seed = number("RAP_FUZZ_SEED").map(UInt64.init) ?? seed
        let total = number("RAP_FUZZ_ITERATIONS").map { max(1, $0 / cost) } ?? iterations
        let mutator = Mutator(seed: seed)
        for (index, input) in corpus.enumerated() {
            try attempt(input, seed: seed, iteration: index - corpus.count, body)
        }
        for iteration in 0..<total {
            let input =
                mutator.below(32) == 0
                ? mutator.noise(maximumCount: 512)
                : mutator.mutate(corpus[mutator.below(corpus.count)], corpus: corpus, words: words)
            try attempt(input, seed: seed, iteration: iteration, body)
        }
    }

    private static func attempt(
        _ input: [UInt8], seed: UInt64, iteration: Int, _ body: ([UInt8]) throws -> Void
    ) throws(FuzzFailure) {
        if let path = text("RAP_FUZZ_LAST") { keep(input, at: path) }
        do {
            try body(input)
        } catch {
            throw FuzzFailure(seed: seed, iteration: iteration, input: input, cause: "\(error)")
        }
    }

    private static func keep(_ input: [UInt8], at path: String) {
        guard let file = fopen(path, "w") else { return }
        fwrite(input, 1, input.count, file)
        fclose(file)
    }

    private static func text(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

    private static func number(_ name: String) -> Int? {
        guard let text = text(name) else { return nil }
        guard let value = Int(text), value >= 0 else { preconditionFailure("\(name) must be a number, not “\(text)”") }
        return value
    }
}

/// An input for which a fuzz run's body threw. Iterations below zero are members of the corpus, unchanged.
public struct FuzzFailure: Error, CustomStringConvertible {
    public var seed: UInt64
    public var iteration: Int
    public var input: [UInt8]
    public var cause: String

    public var description: String {
        let hex = input.prefix(256).map { byte in
            let digits = String(byte, radix: 16)
            return digits.count == 1 ? "0" + digits : digits
        }
        let more = input.count > 256 ? "… (\(input.count) bytes)" : ""
        return "\(cause); seed \(seed), iteration \(iteration), input \(hex.joined())\(more)"
    }
}
