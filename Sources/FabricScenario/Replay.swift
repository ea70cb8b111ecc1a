/// Which run of a scenario file: what a command must be told to make it again, event by event.
public struct Replay: Hashable, Sendable {
    public var file: String
    /// Of the run's randomness; nil for the file's own.
    public var seed: UInt64?
    /// The seed of a swarm that draws the run; then there is no other.
    public var swarmSeed: UInt64?
    /// The planted bug that is switched on.
    public var mutant: String?

    public init(file: String, seed: UInt64? = nil, swarmSeed: UInt64? = nil, mutant: String? = nil) {
        self.file = file
        self.seed = seed
        self.swarmSeed = swarmSeed
        self.mutant = mutant
    }

    /// The options that choose the run, a word each: every command that runs a file takes them.
    public var options: [String] {
        (seed.map { ["--seed", "\($0)"] } ?? []) + (swarmSeed.map { ["--swarm-seed", "\($0)"] } ?? [])
            + (mutant.map { ["--mutant", $0] } ?? [])
    }

    /// In words: `seed 5`, `swarm seed 17 with roaming-ignored`.
    public var name: String {
        let which = swarmSeed.map { "swarm seed \($0)" } ?? seed.map { "seed \($0)" } ?? "the file's own seed"
        return which + (mutant.map { " with \($0)" } ?? "")
    }

    /// File and options as a shell takes them.
    public var arguments: String { ([file] + options).map(Replay.shellWord).joined(separator: " ") }

    /// The whole command, such as `rap sim run FILE --swarm-seed 17`.
    public func command(_ verb: String, program: String = "rap sim") -> String { "\(program) \(verb) \(arguments)" }

    /// The text as one word of a shell: quoted where something in it means more than itself.
    public static func shellWord(_ text: String) -> String {
        let isPlain = text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: "-_./+:,@%=".utf8.contains(byte)
            }
        }
        if isPlain, !text.isEmpty { return text }
        return "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
    }
}
