internal import ArgumentParser
internal import FabricScenario

/// Which run of a scenario file: its own, one with another seed, or the one that a swarm's seed draws; with a planted bug or
/// none. Every command that runs a file has these options, so that what replays with one replays with all.
struct WhichRun: ParsableArguments {
    @Option(help: "Another seed than the file's.") var seed: UInt64?
    @Option(help: "The run that this seed of a swarm draws.") var swarmSeed: UInt64?
    @OptionGroup var planted: PlantedMutant

    func validate() throws {
        if seed != nil, swarmSeed != nil {
            throw ValidationError("a swarm seed is the run's seed too; give --seed or --swarm-seed, not both")
        }
        for seed in [seed, swarmSeed].compactMap({ $0 }) where seed >= 1 << 63 {
            throw ValidationError("the seed \(seed) is too large; give one below 2^63")
        }
    }

    /// The file's plan; what is wrong with it is printed, with exit status 2.
    func plan(of file: String, digest: String? = nil) throws -> Plan {
        try loadPlan(file, seed: seed, swarmSeed: swarmSeed, digest: digest)
    }

    func replay(_ file: String) -> Replay {
        Replay(file: file, seed: seed, swarmSeed: swarmSeed, mutant: planted.name)
    }

    /// The same with the file's seed written out, so that it stands when the file changes.
    func replay(_ file: String, _ plan: Plan) -> Replay {
        Replay(file: file, seed: swarmSeed == nil ? plan.seed : nil, swarmSeed: swarmSeed, mutant: planted.name)
    }

    /// In words.
    func name(_ plan: Plan) -> String { replay("", plan).name }
}
