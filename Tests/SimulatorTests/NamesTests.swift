import FabricCore
import FabricScenario
import Testing

@testable import Simulator

struct NamesTests {
    private let name = HostName("control.example")!
    private let host = HostID(index: 3)

    private func told(_ resolver: VirtualResolver, _ host: HostID) -> VirtualResolver.Outcome {
        resolver.ask(name, for: host, timeout: .seconds(5)).1
    }

    @Test func `a resolver tells the newest address, and to whom it lies what the lie says`() {
        let resolver = VirtualResolver(random: SeededRandom(seed: 1, stream: "resolver"))
        #expect(told(resolver, host) == .failure(.noSuchName))
        let (first, second) = (IPAddress(v4: 1), IPAddress(v4: 2))
        resolver.set(name, first, lifetime: .seconds(60))
        resolver.tell(host, .stale)
        #expect(told(resolver, host) == .success(.init(addresses: [first], lifetime: .seconds(60))))
        resolver.set(name, second, lifetime: .seconds(60))
        #expect(told(resolver, host) == .success(.init(addresses: [first], lifetime: .seconds(60))))
        #expect(told(resolver, HostID(index: 4)) == .success(.init(addresses: [second], lifetime: .seconds(60))))
        resolver.tell(host, .address(IPAddress(v4: 9)))
        #expect(told(resolver, host) == .success(.init(addresses: [IPAddress(v4: 9)], lifetime: .seconds(60))))
        resolver.tell(host, .silence)
        let (after, outcome) = resolver.ask(name, for: host, timeout: .seconds(5))
        #expect(after == .seconds(5) && outcome == .failure(.timedOut))
        resolver.tell(host, nil)
        #expect(told(resolver, host) == .success(.init(addresses: [second], lifetime: .seconds(60))))
    }

    @Test func `an impostor is visited and told nothing, and the truth is enough`() throws {
        let source = """
            scenario: liar
            duration: 60s
            world:
              places: [north]
              control: { name: control.example }
              nodes: [ { group: edge, count: 2 } ]
            timeline:
              - at: 0s
                token: { name: t, uses: 2 }
              - at: 0s
                dns-lies: { nodes: edge-1, answer: impostor, for: 20s }
              - at: 1s
                enrol: { nodes: all, token: t }
              - every: 1s
                approve: { nodes: all }
            expect:
              - at: 19s
                that: { all: [ { enrolled: edge-2 }, { phase: { nodes: edge-1, is: joining } } ] }
              - by: 35s
                that: { enrolled: all }
            """
        let plan = try ScenarioFile.plan(yaml: Array(source.utf8), file: "liar.yaml")
        let run = ScenarioRun(plan: plan)
        let verdict = run.run { _ in }
        #expect(verdict.held, "\(verdict)")
        #expect(run.world.streams.counters.refusedHandshakes > 3 && run.services.checks.violationCount == 0)
    }
}
