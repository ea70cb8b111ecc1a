import FabricCore
import Testing

@testable import FabricScenario

/// `base` with these lines in its world.
private func world(_ lines: String, steps: String = "") -> String {
    with(steps).replacing(
        "timeline:\n", with: lines.split(separator: "\n").map { "  \($0)\n" }.joined() + "timeline:\n")
}

@Suite struct NetworkFaultTests {
    private func lines(_ source: String, _ prefix: String) throws -> [String] {
        try plan(source).explanation.split(separator: "\n").map { $0.drop { $0 == " " } }
            .filter { $0.hasPrefix(prefix) }.map(String.init)
    }

    // MARK: Links

    @Test func `every property of a link is explained`() throws {
        let link =
            "delay: 20ms, jitter: 5ms, shape: tail, loss: 1%, bursts: { share: 5%, mean: 300ms, loss: 80% }, "
            + "duplicate: 2%, reorder: 3%, reorder-by: 40ms, corrupt: 0.5%, rate: 20Mbit/s, queue: 64KiB, mtu: 1400B, "
            + "black-hole: 1200B"
        #expect(
            try lines(world("link: { \(link) }"), "link:") == [
                "link: {delay: 20ms, jitter: 5ms, loss: 1%, duplicate: 2%, reorder: 3%, corrupt: 0.5%, rate: 20Mbit/s, "
                    + "queue: 64KiB, mtu: 1400B, shape: tail, reorder-by: 40ms, "
                    + "bursts: {share: 5%, mean: 300ms, loss: 80%}, black-hole: 1200B}"
            ])
    }

    @Test(arguments: [
        "delay: 7ms", "jitter: 9ms", "jitter: 9ms, shape: bell", "loss: 7%", "bursts: { share: 7%, mean: 70ms }",
        "duplicate: 7%", "reorder: 7%", "reorder: 7%, reorder-by: 70ms", "corrupt: 7%", "rate: 7Mbit/s",
        "rate: 7Mbit/s, queue: 7KiB", "mtu: 700B", "black-hole: 700B",
    ])
    func `each property of a link can be changed on the timeline, for a while`(_ change: String) throws {
        let plan = try plan(with("- at: 5s\n  link: { between: [north, south], \(change), for: 5s }"))
        guard case .setLinks(let during) = plan.steps[plan.steps.count - 2].action,
            case .setLinks(let after) = plan.steps[plan.steps.count - 1].action
        else {
            Issue.record("no change")
            return
        }
        #expect(during[0].link != .defaultBetween)
        #expect(after[0].link == .defaultBetween)
        let said = PlanText(plan).properties(during[0].link, over: .defaultBetween)
        // The last of the properties named shows in the text.
        let last = change.split(separator: ", ").last!.replacing("{ ", with: "{").replacing(" }", with: "}")
        #expect(said.contains(last), "\(said)")
        #expect(plan.hosts == (change.hasPrefix("corrupt") ? [.simulator] : [.simulator, .live]))
    }

    @Test func `what a link has can be taken away`() throws {
        let plan = try plan(
            world(
                "link: { delay: 1ms, rate: 1Mbit/s, black-hole: 900B, bursts: { share: 1%, mean: 1s } }",
                steps: "- at: 5s\n  link: { rate: none, black-hole: none, bursts: none }"))
        guard case .setLinks(let links)? = plan.steps.last?.action else {
            Issue.record("no change")
            return
        }
        #expect(links[0].link == LinkProperties(delay: .milliseconds(1), jitter: .zero))
    }

    @Test(arguments: [
        ("shape: bell", "“shape” says how jitter is spread; give a jitter"),
        ("jitter: 1ms, shape: round", "there is no shape “round”"),
        ("bursts: { share: 5% }", "the key “mean” is missing"),
        ("bursts: { share: 0%, mean: 1s }", "bursts take more than 0% and at most 99% of the time"),
        ("bursts: { share: 100%, mean: 1s }", "bursts take more than 0% and at most 99% of the time"),
        ("bursts: { share: 5%, mean: 1ms }", "a burst lasts 10ms to 10m on average"),
        ("bursts: { share: 5%, mean: 1s, loss: 0% }", "bursts that lose nothing are none"),
        ("bursts: { share: 5%, mean: 1s, length: 4 }", "unknown key “length”"),
        ("bursts: off", "expected an object"),
        ("reorder-by: 5ms", "“reorder-by” needs “reorder”"),
        ("reorder: 1%, reorder-by: 2m", "packets are held back by 1us to 1m"),
        ("black-hole: 1500B", "a black hole at 1500B means nothing with an MTU of 1500B"),
        ("black-hole: 1200B, mtu: 1000B", "a black hole at 1200B means nothing with an MTU of 1000B"),
        ("black-hole: 20B", "a black hole lets at least 128B through"),
        ("black-hole: never", "“never” is not a size"),
        ("rate: none, queue: 1KiB", "a queue needs a rate"),
    ])
    func `a wrong link is refused`(_ link: String, _ expected: String) {
        let refusal = refusal(world("link: { delay: 1ms, \(link) }"))
        #expect(refusal.contains(expected), "\(refusal)")
        #expect(refusal.hasPrefix("f.yaml:"))
    }

    // MARK: NATs

    @Test func `NATs are dealt out, nested and explained`() throws {
        let source = world(
            """
            nats:
              - { nat: carrier, mapping: address-dependent, ports: random, hairpin: false, expiry: 30s }
              - { nat: router, nodes: "edge[1..2]", per: node, behind: carrier, inbound-refresh: true, table: 100 }
              - { nat: site, nodes: "edge[3..4]", per: place, filtering: endpoint-independent, tcp-expiry: 10m }
            """)
        let plan = try plan(source)
        #expect(plan.nats.map(\.name) == ["carrier", "router/edge-1", "router/edge-2", "site/north", "site/south"])
        #expect(plan.nats.map(\.nodes) == [[], [0], [1], [2], [3]])
        #expect(plan.nats.map(\.behind) == [nil, 0, 0, nil, nil])
        #expect(plan.hosts == [.simulator] && plan.liveObstacles.count == 1)
        #expect(
            try lines(source, "- {nat: carrier") == [
                "- {nat: carrier, mapping: address-dependent, filtering: address-and-port-dependent, ports: random, "
                    + "hairpin: false, expiry: 30s, inbound-refresh: false, tcp-expiry: 2h4m, table: 16384}"
            ])
        #expect(
            try lines(source, "- {nat: router") == [
                "- {nat: router, nodes: \"edge[1..2]\", per: node, behind: carrier, mapping: endpoint-independent, "
                    + "filtering: address-and-port-dependent, ports: preserving, hairpin: true, expiry: 5m, "
                    + "inbound-refresh: true, tcp-expiry: 2h4m, table: 100}"
            ])
    }

    @Test(arguments: [
        ("{ nat: n, place: north }", "the control plane stands in “north” and can't be behind a NAT"),
        ("{ nat: n, nodes: control }", "the control plane can't be behind a NAT"),
        ("{ nat: n, place: west }", "there is no place “west”"),
        ("{ nat: n, nodes: egde }", "there is no group, place or node “egde”; did you mean “edge”?"),
        ("{ nat: n, nodes: hub, place: south }", "“nodes” or a “place”, not both"),
        ("{ nat: n }", "nothing is behind the NAT “n”"),
        ("{ nat: N, nodes: hub }", "“N” is no name for a NAT"),
        ("{ nat: n, nodes: hub }\n  - { nat: n, nodes: edge }", "the NAT “n” stands twice"),
        ("{ nat: n, nodes: hub }\n  - { nat: m, nodes: all }", "“hub” is behind “n” already; nest NATs by “behind: n”"),
        ("{ nat: n, nodes: hub, behind: n }", "there is no NAT “n” above"),
        ("{ nat: n, nodes: hub, behind: m }\n  - { nat: m }", "there is no NAT “m” above"),
        ("{ nat: n, nodes: edge, per: node }\n  - { nat: m, nodes: hub, behind: n }", "“n” is several NATs"),
        ("{ nat: n, per: node }", "“per” deals out NATs among nodes"),
        ("{ nat: n, nodes: hub, mapping: symmetric }", "there is no NAT behaviour “symmetric”"),
        ("{ nat: n, nodes: hub, filtering: full-cone }", "there is no NAT behaviour “full-cone”"),
        ("{ nat: n, nodes: hub, ports: overloading }", "there is no port assignment “overloading”"),
        ("{ nat: n, nodes: hub, expiry: 10ms }", "a mapping ends after 1s to 24h without packets"),
        ("{ nat: n, nodes: hub, tcp-expiry: 48h }", "a mapping ends after 1s to 24h without packets"),
        ("{ nat: n, nodes: hub, table: 0 }", "a NAT's table has room for 1 to 60000 mappings"),
        ("{ nat: n, nodes: hub, table: 60001 }", "a NAT's table has room for 1 to 60000 mappings"),
        ("{ nat: n, nodes: hub, hairpin: maybe }", "hairpin: expected"),
        (
            (1...8).map { "{ nat: n\($0), \($0 == 1 ? "nodes: hub" : "behind: n\($0 - 1)") }" }
                .joined(separator: "\n  - ") + "\n  - { nat: n9, nodes: edge, behind: n8 }",
            "NATs are nested 8 deep at most"
        ),
    ])
    func `a wrong NAT is refused`(_ nat: String, _ expected: String) {
        let refusal = refusal(world("nats:\n  - \(nat)"))
        #expect(refusal.contains(expected), "\(refusal)")
        #expect(refusal.hasPrefix("f.yaml:"))
    }

    // MARK: Steps

    private func steps(_ source: String) throws -> [String] {
        let plan = try plan(source)
        return plan.steps.dropFirst(2).map { "\(Span($0.time)) \(PlanText(plan).action($0.action))" }
    }

    @Test func `a swizzle says its halves, and its label ends with it`() throws {
        #expect(
            try steps(
                with(
                    "- at: 5s\n  label: s\n  swizzle: { nodes: edge, for: 20s }\n"
                        + "- at: 30s\n  swizzle: { places: [south, north], for: 20s, cutting: 4s }\n"
                        + "- at: 40s\n  heal: { step: s }",
                    expect: "- within: 5s\n  after: s.end\n  that: { enrolled: all }")) == [
                    "5s swizzle: {nodes: edge, for: 20s, cutting: 10s, healing: 10s}",
                    "30s swizzle: {places: [north, south], for: 20s, cutting: 4s, healing: 16s}",
                    "40s heal: {step: 0}",
                ])
        let window = try plan(
            with(
                "- at: 5s\n  label: s\n  swizzle: { nodes: edge, for: 20s }",
                expect: "- within: 5s\n  after: s.end\n  that: { enrolled: all }")
        ).expectations[1].window
        #expect(window == .within(from: .seconds(25), until: .seconds(30), stays: .zero))
    }

    @Test func `a block is a cut of one protocol`() throws {
        let source = with(
            "- at: 5s\n  block: { protocol: udp, place: south, for: 5s }\n"
                + "- at: 20s\n  block: { protocol: tcp, nodes: hub }\n"
                + "- at: 30s\n  partition: { between: [hub, edge], only: udp }")
        #expect(
            try steps(source) == [
                "5s partition: {between: [\"place:south\", [\"place:north\", control]], only: udp}",
                "10s heal: {step: 0}", "20s partition: {between: [hub, [all, control]], only: tcp}",
                "30s partition: {between: [hub, edge], only: udp}",
            ])
        // Nothing of it is beyond the live host.
        #expect(try plan(source).hosts == [.simulator, .live])
    }

    @Test func `addresses change at once or one by one, told or untold`() throws {
        #expect(
            try steps(
                with(
                    "- at: 5s\n  readdress: { nodes: hub, told: false }\n"
                        + "- at: 10s\n  over: 4s\n  readdress: { nodes: \"edge[1..2]\" }")) == [
                    "5s readdress: {nodes: hub, told: false}", "10s readdress: {nodes: edge-1, told: true}",
                    "12s readdress: {nodes: edge-2, told: true}",
                ])
    }

    @Test func `a rebinding names all NATs of a name, or those before some nodes`() throws {
        let nats = "nats:\n  - { nat: n, nodes: edge, per: node }"
        #expect(
            try steps(
                world(
                    nats,
                    steps: "- at: 5s\n  rebind: { nat: n }\n- at: 6s\n  rebind: { nat: n, nodes: edge-2, address: new }"
                )) == [
                    "5s rebind: {nat: n, address: same}", "6s rebind: {nat: n, nodes: edge-2, address: new}",
                ])
    }

    @Test(arguments: [
        ("swizzle: { for: 5s }", "a swizzle says one of: nodes: SELECTOR; places: [A, B]"),
        ("swizzle: { nodes: edge, places: [north], for: 5s }", "a swizzle says one of"),
        ("swizzle: { nodes: edge }", "the key “for” is missing"),
        ("swizzle: { nodes: nobody, for: 5s }", "there is no group, place or node “nobody”"),
        ("swizzle: { places: [], for: 5s }", "“places” is empty"),
        ("swizzle: { places: [north, north], for: 5s }", "a place is named twice"),
        ("swizzle: { places: [west], for: 5s }", "there is no place “west”"),
        ("swizzle: { nodes: edge, for: 5s, cutting: 6s }", "“cutting” and “healing” are parts of “for”, together 5s"),
        ("swizzle: { nodes: edge, for: 5s, cutting: 3s, healing: 3s }", "together 5s at most"),
        ("swizzle: { nodes: edge, for: 5s, cutting: -1s }", "together 5s at most"),
        ("swizzle: { nodes: edge, for: 2m }", "past the scenario's end"),
        ("swizzle: { nodes: edge, for: 0s }", "“for” is a positive duration"),
        ("block: { nodes: edge }", "the key “protocol” is missing"),
        ("block: { protocol: icmp, nodes: edge }", "there is no protocol “icmp”"),
        ("block: { protocol: udp }", "a block stands before “nodes” or around a “place”"),
        ("block: { protocol: udp, nodes: edge, place: north }", "a block stands before “nodes” or around a “place”"),
        ("block: { protocol: udp, nodes: edge-7 }", "there is no node “edge-7”; the group “edge” has 4 nodes"),
        ("block: { protocol: udp, place: west }", "there is no place “west”"),
        ("partition: { place: north, only: quic }", "there is no protocol “quic”"),
        ("readdress: {}", "the key “nodes” is missing"),
        ("readdress: { nodes: west }", "there is no group, place or node “west”"),
        ("readdress: { nodes: hub, told: yes }", "told: expected"),
        ("rebind: { nat: n }", "there is no NAT “n”"),
    ])
    func `a wrong step is refused`(_ step: String, _ expected: String) {
        let refusal = refusal(with("- at: 5s\n  \(step)"))
        #expect(refusal.contains(expected), "\(refusal)")
        #expect(refusal.hasPrefix("f.yaml:"))
    }

    @Test func `a rebinding of NATs that stand before others is refused`() {
        let source = world(
            "nats:\n  - { nat: n, nodes: edge }",
            steps: "- at: 5s\n  rebind: { nat: n, nodes: hub }\n- at: 6s\n  rebind: { nat: m }")
        #expect(refusal(source).contains("none of these is behind “n”"))
        #expect(refusal(source).contains("there is no NAT “m”"))
    }

    @Test func `more partitions in force than a run can hold are refused, healed ones don't count`() {
        let many = with("- every: 10ms\n  at: 5s\n  until: 20s\n  partition: { between: [north, south] }")
        #expect(refusal(many).contains("more than 1000 partitions are in force at 15s"))
        let healed = with("- every: 10ms\n  at: 5s\n  until: 20s\n  partition: { between: [north, south], for: 5ms }")
        #expect(refusal(healed) == "")
    }

    @Test func `what only the simulator does is refused when the file names the live host`() {
        for step in [
            "swizzle: { nodes: all, for: 5s }", "readdress: { nodes: hub }", "link: { corrupt: 1% }",
        ] {
            let source = with("- at: 5s\n  \(step)").replacing("scenario: test", with: "scenario: test\nhosts: [live]")
            #expect(refusal(source).contains("the live host can't run this"), "\(step)")
        }
        let nat = world("nats:\n  - { nat: n, nodes: hub }", steps: "- at: 5s\n  rebind: { nat: n }")
        #expect(
            refusal(nat.replacing("scenario: test", with: "scenario: test\nhosts: [live]")).contains("there are NATs"))
    }

    // MARK: The canonical form, and faults

    @Test(arguments: [
        "- at: 5s\n  swizzle: { nodes: all, for: 9s }\n- at: 8s\n  heal: { step: all }",
        "- at: 5s\n  label: s\n  swizzle: { places: [south, north], for: 9s, cutting: 1s, healing: 2.5s }\n"
            + "- at: 3s\n  partition: { place: north, only: tcp }\n- at: 8s\n  heal: { step: s }",
        "- at: 5s\n  block: { protocol: udp, nodes: [hub, edge-2], for: 4s }",
        "- at: 5s\n  block: { protocol: tcp, place: north, for: 4s }",
        "- at: 5s\n  block: { protocol: tcp, nodes: control }",
        "- at: 5s\n  over: 3s\n  readdress: { nodes: edge, told: false }",
        "- at: 5s\n  rebind: { nat: a }\n- at: 6s\n  rebind: { nat: b, nodes: [edge-1, edge-3], address: new }",
        "- at: 5s\n  link: { rate: none, bursts: none, black-hole: none }",
        "- at: 5s\n  link: { delay: 3ms }\n- at: 6s\n  link: { jitter: 3ms, shape: uniform }",
        "- at: 5s\n  link: { reorder: 0% }\n- at: 6s\n  link: { reorder-by: 5ms, mtu: 1300B, for: 2s }",
        "- at: 5s\n  link: { in: south, jitter: 3ms, shape: bell, bursts: { share: 1%, mean: 1s, loss: 1% }, for: 2s }",
    ])
    func `every network fault is written so that it reads back`(_ steps: String) throws {
        let lines = """
            link: { delay: 9ms, jitter: 2ms, shape: tail, rate: 9Mbit/s, queue: 9kB, bursts: { share: 2%, mean: 70ms }, black-hole: 900B, reorder: 1%, reorder-by: 70ms }
            nats:
              - { nat: c, ports: random }
              - { nat: a, nodes: "edge[2..4]", per: place, behind: c, mapping: address-dependent, hairpin: false }
              - { nat: b, nodes: [edge-1, hub], per: node, expiry: 1s, tcp-expiry: 1h, inbound-refresh: true, table: 5 }
            """
        try expectRoundTrip(plan(world(lines, steps: steps)), steps)
    }

    @Test func `whom a swizzle may cut off is in a fault until it ends or is healed`() throws {
        let plan = try plan(
            with(
                "- at: 5s\n  label: s\n  swizzle: { nodes: edge, for: 10s }\n- at: 20s\n  heal: { step: s }\n"
                    + "- at: 30s\n  label: t\n  swizzle: { places: [south], for: 10s }\n"
                    + "- at: 33s\n  heal: { step: t }\n"
                    + "- at: 50s\n  swizzle: { places: [north], for: 5s }"))
        let windows = FaultWindows(plan)
        func inFault(_ seconds: Int64) -> [Int] { (0..<5).filter { windows.isInFault($0, at: .seconds(seconds)) } }
        #expect(inFault(4) == [])
        #expect(inFault(6) == [0, 1, 2, 3] && inFault(14) == [0, 1, 2, 3])
        #expect(inFault(16) == [])
        #expect(inFault(31) == [1, 3])
        #expect(inFault(34) == [])
        // The control plane stands in the north.
        #expect(inFault(52) == [0, 1, 2, 3, 4])
        #expect(inFault(56) == [])
    }
}
