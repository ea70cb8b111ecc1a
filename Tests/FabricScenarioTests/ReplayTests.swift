import FabricScenario
import Testing

@Suite struct ReplayTests {
    @Test func `a replay names everything that chose the run`() {
        #expect(Replay(file: "f.yaml", seed: 5).command("run") == "rap sim run f.yaml --seed 5")
        let drawn = Replay(file: "f.yaml", swarmSeed: 17, mutant: "roaming-ignored")
        #expect(drawn.command("check", program: "x") == "x check f.yaml --swarm-seed 17 --mutant roaming-ignored")
        #expect(drawn.options == ["--swarm-seed", "17", "--mutant", "roaming-ignored"])
        #expect(drawn.name == "swarm seed 17 with roaming-ignored")
        #expect(Replay(file: "f.yaml").arguments == "f.yaml")
    }

    @Test(arguments: [
        ("a/b-c_1.yaml", "a/b-c_1.yaml"), ("my file.yaml", "'my file.yaml'"), ("it's", "'it'\\''s'"), ("", "''"),
        ("$(x)", "'$(x)'"), ("~/f", "'~/f'"), ("é", "'é'"),
    ])
    func `a shell takes a file's name as one word, whatever is in it`(_ name: String, _ word: String) {
        #expect(Replay.shellWord(name) == word)
    }
}
