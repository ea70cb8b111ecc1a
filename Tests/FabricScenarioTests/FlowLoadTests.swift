import FabricCore
import FabricDocument
import Testing

@testable import FabricScenario

@Suite struct FlowLoadTests {
    private func flow(_ name: String, _ rate: String, at: Int = 5, _ more: String = "") -> String {
        "- at: \(at)s\n  flow: { name: \(name), from: hub, to: edge-1, rate: \(rate), packet: 1000B\(more), for: 5s }\n"
    }

    @Test func `a flow that no run could carry is refused with its line`() throws {
        let said = refusal(with(flow("f", "1000Gbit/s")))
        #expect(said.contains("f.yaml:13:"), "\(said)")
        #expect(said.contains("125000000 packets a second; 500000 at most: lower the rate"), "\(said)")
        // Exactly the most, and one more.
        #expect(refusal(with(flow("f", "4Gbit/s"))) == "")
        #expect(refusal(with(flow("f", "4000000001bit/s"))).contains("500001 packets a second"))
        #expect(refusal(with(flow("f", "4Gbit/s").replacing("edge-1", with: "edge"))).contains("2000000 packets"))
    }

    @Test func `flows count together while they run at once`() throws {
        #expect(refusal(with(flow("a", "3Gbit/s") + flow("b", "2Gbit/s", at: 10))) == "")
        let said = refusal(with(flow("a", "3Gbit/s") + flow("b", "2Gbit/s", at: 9)))
        #expect(said.contains("at 9s the flows send 625000 packets"), "\(said)")
        #expect(said.contains("f.yaml:15:"), "\(said)")
    }

    @Test(arguments: [
        "- at: 1s\n  link: { delay: 2s }\n", "- at: 1s\n  link: { delay: 0ms, jitter: 2s }\n",
        "- at: 1s\n  link: { reorder: 1%, reorder-by: 2s }\n", "- at: 50s\n  link: { in: north, delay: 2s, for: 1s }\n",
    ])
    func `what would be under way at once on a slow line is refused`(_ link: String) throws {
        let said = refusal(with(link + flow("f", "800Mbit/s")))
        #expect(said.contains("200000 could be under way at once; 100000 at most"), "\(said)")
        #expect(refusal(with(link + flow("f", "400Mbit/s"))) == "")
    }

    @Test(arguments: [
        "", "  link: { delay: 1ms, jitter: 190ms }\n", "  links: [{ between: [north, south], jitter: 150ms }]\n",
        "  link: { delay: 10ms, jitter: 5ms, shape: bell }\n",
    ])
    func `no drawn delay makes a file impossible that was possible`(_ link: String) throws {
        let swarm = "swarm: { faults: [delay, reorder], vary: [delay], count: { at-least: 8 } }\n"
        for step in ["", "- at: 50s\n  link: { jitter: 100ms, for: 1s }\n"] {
            let source = with(step + flow("f", "4Gbit/s")).replacing("  nodes:\n", with: link + "  nodes:\n") + swarm
            let file = try ScenarioFile(yaml: bytes(source), file: "f.yaml")
            for seed in 0..<100 as Range<UInt64> {
                #expect(throws: Never.self) { try file.drawn(seed: seed).plan() }
            }
        }
    }

    @Test func `a drawn delay without jitter takes that of the line away`() throws {
        let link = "  link: { delay: 1ms, jitter: 190ms }\n  nodes:\n"
        let source = with().replacing("  nodes:\n", with: link) + "swarm: { faults: [delay], count: { at-least: 8 } }\n"
        let file = try ScenarioFile(yaml: bytes(source), file: "f.yaml")
        var withoutJitter = 0
        for seed in 0..<20 as Range<UInt64> {
            for step in try file.drawn(seed: seed).plan().steps {
                guard case .setLinks(let links) = step.action else { continue }
                withoutJitter += links.count { $0.link.delay > .milliseconds(1) && $0.link.jitter == .zero }
            }
        }
        #expect(withoutJitter > 0)
    }
}
