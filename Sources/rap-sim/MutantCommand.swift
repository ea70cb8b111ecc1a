internal import ArgumentParser
internal import FabricCore
internal import FabricDocument
internal import Simulator

/// `--mutant NAME`, in builds that carry planted bugs. Release builds have no such option.
struct PlantedMutant: ParsableArguments {
    #if DEBUG || RAP_MUTANTS
        @Option(help: "Switch on a planted bug; `rap-sim mutants` lists them.") var mutant: String?

        func validate() throws {
            guard let mutant else { return }
            guard let found = MutantCatalogue.named(mutant) else {
                throw ValidationError("there is no planted bug “\(mutant)”; `rap-sim mutants` lists them")
            }
            Mutant.plant(found)
        }

        /// Its name, or nil when none is switched on.
        var name: String? { mutant }
    #else
        var name: String? { nil }
    #endif

    /// For a child process that is to have the same bug.
    var arguments: [String] { name.map { ["--mutant", $0] } ?? [] }
}

#if DEBUG || RAP_MUTANTS
    struct Mutants: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lists the planted bugs that this build carries.",
            discussion: "Release builds carry none; `make mutants` tells which are found, and by what.")

        @Flag(help: "Print JSON.") var json = false

        private struct Line: Encodable {
            var name: String
            var sentence: String
        }

        func run() throws {
            if json {
                return try printJSON(
                    MutantCatalogue.all.map { Line(name: $0.name, sentence: $0.sentence) })
            }
            for entry in MutantCatalogue.all { print("\(entry.name)\n    \(entry.sentence)") }
        }
    }
#endif
