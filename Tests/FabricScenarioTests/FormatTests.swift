import FabricScenario
import Testing

@Suite struct FormatTests {
    @Test func `the base of these tests is a valid file`() { #expect(refusal(base) == "") }

    @Test(arguments: [
        ("duration: 60s", "durration: 60s", "f.yaml:2:1: unknown key “durration”; did you mean “duration”?"),
        (
            "duration: 60s", "duration: 60",
            "f.yaml:2:11: duration: 60 has no unit; write a duration such as 80ms, 30s, 1m30s or 2h, perhaps 60s"
        ),
        (
            "duration: 60s", "duration: 60 parsecs",
            "f.yaml:2:11: duration: “60 parsecs” is not a duration such as 80ms, 30s, 1m30s or 2h"
        ),
        ("duration: 60s", "duration: -5s", "duration: a scenario lasts longer than nothing"),
        ("duration: 60s", "duration: 90d", "a scenario lasts 30 days at most"),
        ("duration: 60s\n", "", "the key “duration” is missing"),
        ("scenario: test", "scenario: Test", "“Test” is no scenario name"),
        ("scenario: test", "scenario: 5", "scenario: expected text, found the integer 5"),
        ("scenario: test", "scenario: test\nseed: -1", "a seed is 0 or more"),
        (
            "scenario: test", "scenario: test\nhosts: [simulatr]",
            "there is no host “simulatr”; did you mean “simulator”?"
        ),
        ("scenario: test", "scenario: test\nhosts: []", "“hosts” is empty"),
        ("places: [north, south]", "places: []", "a world has at least one place"),
        ("places: [north, south]", "places: [north, north]", "the name “north” is that of a place already"),
        ("places: [north, south]", "places: {north: {delay: 5}, south: {}}", "world.places.north.delay: 5 has no unit"),
        ("places: [north, south]", "places: [north, all]", "“all” has a meaning of its own"),
        ("group: hub", "group: north", "the name “north” is that of a place already"),
        ("group: hub", "group: edge", "the name “edge” is that of a group already"),
        ("group: hub", "group: edge-1", "the name “edge-1” is that of a node already"),
        ("place: north }", "place: norht }", "there is no place “norht”; did you mean “north”?"),
        ("place: north }", "place: north, places: [south] }", "“place” or “places”, not both"),
        (", place: north }", " }", "the group has no place"),
        ("count: 4", "count: 0", "a group has at least one node"),
        ("count: 4", "count: 10001", "a world has 10000 nodes at most"),
        ("count: 4", "count: four", "expected an integer, found the text “four”"),
        ("count: 4", "count: 4, colour: red", "unknown key “colour”"),
        ("count: 4", "count: 4, clock: { skew: 10 }", "10 has no unit"),
        (
            "  nodes:\n", "  link: { loss: 0.01 }\n  nodes:\n",
            "expected a share such as 1% or 0.05%, found the number 0.01"
        ),
        ("  nodes:\n", "  link: { rate: 20 Mb }\n  nodes:\n", "“20 Mb” is not a rate such as"),
        ("  nodes:\n", "  link: { queue: 64KiB }\n  nodes:\n", "a queue needs a rate"),
        ("  nodes:\n", "  link: { delay: -1ms }\n  nodes:\n", "a delay is not negative"),
        ("  nodes:\n", "  link: { mtu: 100B }\n  nodes:\n", "an MTU is from 576B"),
        (
            "  nodes:\n", "  links: [{ between: [north, sauth], loss: 1% }]\n  nodes:\n",
            "there is no place “sauth”; did you mean “south”?"
        ),
        ("  nodes:\n", "  links: [{ between: [north], loss: 1% }]\n  nodes:\n", "“between” takes two places"),
        ("  nodes:\n", "  links: [{ between: [north, north], loss: 1% }]\n  nodes:\n", "between two different places"),
        ("  nodes:\n", "  cluster: { peers: 0 }\n  nodes:\n", "a node has an even number of peers, from 2 to 64"),
        ("  nodes:\n", "  cluster: { peers: 3 }\n  nodes:\n", "a node has an even number of peers, from 2 to 64"),
        ("  nodes:\n", "  cluster: { probe: 1ms }\n  nodes:\n", "1ms is out of range; from 100ms to 5m"),
        ("  nodes:\n", "  control: { place: west }\n  nodes:\n", "there is no place “west”"),
    ])
    func `a wrong header or world is refused`(_ part: String, _ wrong: String, _ expected: String) {
        #expect(base.contains(part))
        let refusal = refusal(base.replacing(part, with: wrong))
        #expect(refusal.contains(expected), "\(refusal)")
        #expect(refusal.hasPrefix("f.yaml:"))
    }

    @Test(arguments: [
        ("- at: 5s", "this step says nothing; it needs one of: token"),
        (
            "- at: 5s\n  enroll: { nodes: all, token: t }",
            "f.yaml:14:5: timeline[2]: unknown key “enroll”; did you mean “enrol”?"
        ),
        (
            "- at: 5s\n  approve: { nodes: all }\n  reject: { nodes: all }",
            "one step has one meaning, but “approve” and “reject” stand here; split it"
        ),
        ("- approve: { nodes: all }", "the step has no time; add “at: 10s”, or “every: 1s”"),
        ("- at: 2m\n  approve: { nodes: all }", "2m is past the scenario's end at 1m"),
        ("- at: -1s\n  approve: { nodes: all }", "times count from the start and are not negative"),
        ("- at: 5\n  approve: { nodes: all }", "5 has no unit"),
        ("- at: 5s\n  until: 9s\n  approve: { nodes: all }", "“until” goes with “every”"),
        ("- at: 5s\n  every: 1s\n  until: 4s\n  approve: { nodes: all }", "“until” is before the first time, 5s"),
        ("- every: 1us\n  approve: { nodes: all }", "“every” is at least 1ms"),
        ("- every: 0s\n  approve: { nodes: all }", "“every” is at least 1ms"),
        ("- at: 5s\n  over: 5s\n  approve: { nodes: all }", "“over” spreads nodes"),
        ("- at: 55s\n  over: 10s\n  enrol: { nodes: all, token: t }", "1m5s is past the scenario's end"),
        ("- at: 5s\n  approve: { nodes: egde }", "there is no group, place or node “egde”; did you mean “edge”?"),
        ("- at: 5s\n  approve: { nodes: edge-5 }", "there is no node “edge-5”; the group “edge” has 4 nodes"),
        ("- at: 5s\n  approve: { nodes: \"edge[2..9]\" }", "2..9 is out of range; the group “edge” has 4 nodes"),
        ("- at: 5s\n  approve: { nodes: \"edge[0..2]\" }", "0..2 is out of range"),
        ("- at: 5s\n  approve: { nodes: \"edge[3..2]\" }", "3..2 is out of range"),
        ("- at: 5s\n  approve: { nodes: \"edge[x]\" }", "“[x]” is not a range; write edge[1..5]"),
        ("- at: 5s\n  approve: { nodes: \"place:west\" }", "there is no place “west”"),
        ("- at: 5s\n  approve: { nodes: [] }", "an empty list selects no node"),
        ("- at: 5s\n  approve: { nodes: { nodes: all, except: all } }", "this selects no node"),
        ("- at: 5s\n  approve: { nodes: { nodes: hub, in: south } }", "this selects no node"),
        ("- at: 5s\n  approve: { nodes: { node: hub } }", "unknown key “node”; did you mean “nodes”?"),
        ("- at: 5s\n  enrol: { nodes: hub, token: u }", "there is no token “u” in the steps before"),
        ("- at: 5s\n  token: { name: t }", "the token “t” is created twice"),
        (
            "- at: 5s\n  token: { name: v }\n- at: 4s\n  enrol: { nodes: hub, token: v }",
            "f.yaml:15:5: the token “v” is used at 4s, before it is created"
        ),
        ("- at: 5s\n  token: { name: v, uses: 0 }", "a token has 1 to 100000 uses"),
        ("- at: 5s\n  token: { name: v, uses: 100001 }", "a token has 1 to 100000 uses"),
        ("- at: 5s\n  token: { name: v, lifetime: 1ms }", "a token lives from 1s to 168h"),
        ("- at: 5s\n  token: { name: v, lifetime: 169h }", "a token lives from 1s to 168h"),
        ("- at: 5s\n  revoke-token: { name: x }", "there is no token “x”"),
        ("- at: 5s\n  heal: { step: cut }", "there is no step labelled “cut” before"),
        ("- at: 5s\n  heal: { step: all }", "there is no partition in the steps before"),
        (
            "- at: 5s\n  label: a\n  approve: { nodes: all }\n- at: 5s\n  label: a\n  approve: { nodes: all }",
            "the label “a” stands twice"
        ),
        (
            "- at: 5s\n  label: a\n  approve: { nodes: all }\n- at: 6s\n  heal: { step: a }",
            "the step “a” makes no partition"
        ),
        ("- at: 5s\n  partition: {}", "a partition says one of"),
        ("- at: 5s\n  partition: { place: north, between: [north, south] }", "a partition says one of"),
        ("- at: 5s\n  partition: { place: west }", "there is no place “west”"),
        ("- at: 5s\n  partition: { between: [north, edge] }", "the two sides of a partition have members in common"),
        ("- at: 5s\n  partition: { between: [north] }", "“between” takes two sides"),
        ("- at: 5s\n  partition: { from: north }", "a one-way partition needs “from” and “to”"),
        ("- at: 50s\n  partition: { place: north, for: 20s }", "1m10s is past the scenario's end"),
        ("- at: 5s\n  partition: { place: north, for: 0s }", "“for” is a positive duration"),
        ("- at: 0s\n  crash: { nodes: hub }", "“hub” does not run at 0s, so it can't crash"),
        ("- at: 5s\n  restart: { nodes: hub }", "“hub” is not crashed at 5s"),
        ("- at: 5s\n  stop-control: {}\n- at: 6s\n  stop-control: {}", "the control plane is stopped already at 6s"),
        ("- at: 5s\n  start-control: {}", "the control plane runs already at 5s"),
        ("- at: 5s\n  start-control: { now: true }", "nothing may stand here; write {}"),
        ("- at: 5s\n  lose-answers: { request: joyn }", "there is no kind of request “joyn”; did you mean “join”?"),
        ("- at: 5s\n  lose-answers: { request: join, count: 0 }", "the count is 1 or more"),
        ("- at: 5s\n  clock: { nodes: hub, jump: 0s }", "a jump of nothing does nothing"),
        ("- at: 5s\n  clock: { nodes: hub, jump: 1s, for: 3s }", "a jump is over at once; “for” goes with “drift”"),
        ("- at: 5s\n  clock: { nodes: hub, jump: 1s, drift: 5ppm }", "a clock has a “jump” or a “drift”"),
        ("- at: 5s\n  clock: { nodes: hub }", "a clock has a “jump” or a “drift”"),
        ("- at: 5s\n  clock: { nodes: hub, drift: 5% }", "“5%” is not a drift such as 50ppm or -200ppm"),
        ("- at: 5s\n  clock: { nodes: hub, drift: 100001ppm }", "is not a drift such as"),
        (
            "- at: 5s\n  crash: { nodes: hub, kind: proces }",
            "there is no kind of crash “proces”; did you mean “process”?"
        ),
        ("- at: 0s\n  pause: { nodes: hub }", "“hub” does not run at 0s, so it can't be paused"),
        ("- at: 0s\n  suspend: { nodes: hub }", "“hub” does not run at 0s, so it can't go to sleep"),
        ("- at: 5s\n  pause: { nodes: hug }", "there is no group, place or node “hug”; did you mean “hub”?"),
        ("- at: 5s\n  pause: { nodes: hub }\n- at: 6s\n  suspend: { nodes: all }", "“hub” is paused already at 6s"),
        ("- at: 5s\n  resume: { nodes: hub }", "“hub” is neither paused nor asleep at 5s, so it can't be resumed"),
        ("- at: 5s\n  resume: { nodes: control }", "the control plane is neither paused nor asleep at 5s"),
        (
            "- at: 5s\n  stop-control: {}\n- at: 6s\n  pause: { nodes: control }",
            "the control plane does not run at 6s, so it can't be paused"
        ),
        (
            "- at: 5s\n  pause: { nodes: hub, for: 5s }\n- at: 6s\n  crash: { nodes: hub }",
            "“hub” is neither paused nor asleep at 10s"
        ),
        (
            "- at: 5s\n  crash: { nodes: hub, kind: process }\n- at: 6s\n  pause: { nodes: hub }",
            "“hub” does not run at 6s"
        ),
        ("- at: 5s\n  slow-cpu: { nodes: hub }", "the key “per-event” is missing"),
        ("- at: 5s\n  slow-cpu: { nodes: hub, per-event: 61s }", "an event takes from nothing to 60s"),
        (
            "- at: 5s\n  slow-cpu: { nodes: hub, per-event: 0s, for: 3s }",
            "a processor without a fault has no end of it"
        ),
        (
            "- at: 5s\n  slow-cpu: { nodes: hub, per-event: 0s, per-handshake: 2s }",
            "a handshake takes from nothing to 1s"
        ),
        (
            "- at: 5s\n  slow-cpu: { nodes: control, per-event: 0s, per-handshake: 2ms }",
            "the control plane has no tunnels: “per-handshake” is for nodes"
        ),
        ("- at: 5s\n  slow-cpu: { nodes: hub, per-event: 0s, per-packet: 2s }", "a packet takes from nothing to 1s"),
        (
            "- at: 5s\n  slow-cpu: { nodes: control, per-event: 0s, per-packet: 1ms }",
            "the control plane has no tunnels: “per-packet” is for nodes"
        ),
        ("- at: 5s\n  disk: { nodes: hub, for: 3s }", "this disk has no fault"),
        ("- at: 5s\n  disk: { nodes: edge-9, room: 0B }", "there is no node “edge-9”; the group “edge” has 4 nodes"),
        ("- at: 5s\n  disk: { nodes: hub, room: 1 }", "1 has no unit"),
        ("- at: 5s\n  disk: { nodes: hub, room: lots }", "“lots” is not a size such as"),
        ("- at: 5s\n  disk: { nodes: hub, sync-time: 2m }", "a sync takes from nothing to 60s"),
        ("- at: 5s\n  disk: { nodes: hub, sync-errors: 101% }", "is not a share such as"),
        ("- at: 5s\n  disk: { nodes: hub, synk-errors: 1% }", "unknown key “synk-errors”; did you mean “sync-errors”?"),
        ("- at: 5s\n  disk: { nodes: hub, room: 0B, for: 2m }", "is past the scenario's end"),
        (
            "- at: 5s\n  bit-rot: { nodes: hub, file: floor.json }",
            "there is no file “floor.json” there; did you mean “floors.json”?"
        ),
        ("- at: 5s\n  bit-rot: { nodes: control, file: floors.json }", "there is no file “floors.json” there"),
        ("- at: 5s\n  bit-rot: { nodes: hub, bits: 0 }", "1 to 10000 bits flip"),
        ("- at: 5s\n  database: {}", "this database has no fault"),
        ("- at: 5s\n  database: { transaction-time: 2m }", "a transaction takes from nothing to 60s"),
        ("- at: 5s\n  backup-control: { name: B }", "“B” is no name for a backup"),
        (
            "- at: 5s\n  backup-control: { name: b }\n- at: 6s\n  backup-control: { name: b }",
            "the backup “b” is made twice"
        ),
        (
            "- at: 5s\n  restore-control: { name: early }\n- at: 6s\n  backup-control: { name: early }",
            "f.yaml:13:5: there is no backup “early” at 5s"
        ),
        ("- at: 5s\n  crash-at: { nodes: hub, boundary: commit }", "nodes have no boundary “commit”"),
        ("- at: 5s\n  crash-at: { nodes: control, boundary: persist }", "the control plane has no boundary “persist”"),
        ("- at: 5s\n  crash-at: { nodes: hub, boundary: sometimes }", "there is no boundary “sometimes”"),
        ("- at: 5s\n  crash-at: { nodes: hub, nth: 0 }", "“nth” counts from 1"),
        ("- at: 5s\n  crash-at: { nodes: hub, within: 0s }", "“within” is a positive duration"),
        ("- at: 5s\n  crash-at: { nodes: hub, within: 20h }", "past the scenario's end"),
        ("- at: 5s\n  crash-at: { nodes: hub, for: 25h }", "“for” is from nothing to a day"),
        ("- at: 5s\n  link: { between: [north, south] }", "this change says nothing"),
        (
            "- at: 5s\n  link: { between: [north, south], in: north, loss: 1% }",
            "“between” places or “in” one, not both"
        ),
        (
            "- at: 5s\n  flow: { name: f, from: hub, to: hub, rate: 1Mbit/s, for: 5s }",
            "the flow has no two different ends"
        ),
        ("- at: 5s\n  flow: { name: f, from: hub, to: edge, rate: 1Mbit/s }", "the key “for” is missing"),
        (
            "- at: 5s\n  flow: { name: f, from: hub, to: edge, rate: 1Mbit/s, packet: 9000B, for: 5s }",
            "a packet has 64B to 1420B"
        ),
    ])
    func `a wrong step is refused`(_ step: String, _ expected: String) {
        let refusal = refusal(with(step))
        #expect(refusal.contains(expected), "\(refusal)")
        #expect(refusal.hasPrefix("f.yaml:"))
    }

    @Test(arguments: [
        ("- by: 30s", "“by” needs “that”, the condition to judge"),
        ("- that: { enrolled: all }", "this expectation says nothing; it needs one of: always"),
        ("- allways: { enrolled: all }", "unknown key “allways”; did you mean “always”?"),
        ("- always: { enroled: all }", "unknown key “enroled”; did you mean “enrolled”?"),
        ("- always: {}", "this condition says nothing"),
        (
            "- always: { enrolled: all, nodes-online: all }",
            "one condition has one meaning, but “enrolled” and “nodes-online” stand here"
        ),
        ("- always: { enrolled: all }\n  that: { enrolled: all }", "leave “that” out"),
        ("- always: { enrolled: all }\n  after: 5s", "“after” goes with “within” only"),
        (
            "- by: 5s\n  from: 1s\n  that: { enrolled: all }",
            "“from” and “until” go with “always”, “never” and “sometimes” only"
        ),
        ("- at: 5s\n  for: 1s\n  that: { enrolled: all }", "“for” goes with “within” and “by” only"),
        ("- by: 5s\n  for: 6s\n  that: { enrolled: all }", "6s does not fit the window of 5s"),
        ("- always: { enrolled: all }\n  from: 9s\n  until: 5s", "“until” is before “from”"),
        ("- by: 2m\n  that: { enrolled: all }", "2m is past the scenario's end"),
        ("- within: 20s\n  after: 50s\n  that: { enrolled: all }", "20s after 50s is past the scenario's end"),
        ("- within: 20s\n  after: heal\n  that: { enrolled: all }", "“heal” is neither a time nor a step's label"),
        ("- at: 5s\n  that: { enrolled: edgy }", "there is no group, place or node “edgy”; did you mean “edge”?"),
        (
            "- at: 5s\n  that: { tunnels: { nodes: all, at-least: 5 } }",
            "5 tunnels are more than a node of this world can have (4)"
        ),
        (
            "- at: 5s\n  that: { tunnels: { nodes: all, atleast: 2 } }",
            "unknown key “atleast”; did you mean “at-least”?"
        ),
        ("- at: 5s\n  that: { reaches: { from: hub, to: hub } }", "a node that reaches itself says nothing"),
        (
            "- at: 5s\n  that: { refused: { nodes: hub, reason: token-used } }",
            "there is no reason “token-used”; did you mean “token-used-up”?"
        ),
        ("- at: 5s\n  that: { audit: { event: x } }", "how many?"),
        ("- at: 5s\n  that: { audit: { event: x, count: 1, at-most: 3 } }", "not both"),
        (
            "- at: 5s\n  that: { requests: { nodes: all, at-least: 3, at-most: 1 } }",
            "“at-least” 3 is more than “at-most” 1"
        ),
        ("- at: 5s\n  that: { requests: { nodes: all, count: -1 } }", "a count is 0 or more"),
        ("- at: 5s\n  that: { flow: { name: f, delivered: 99% } }", "there is no flow “f”"),
        ("- at: 5s\n  that: { all: [] }", "an empty “all” or “any” says nothing"),
    ])
    func `a wrong expectation is refused`(_ expectation: String, _ expected: String) {
        let refusal = refusal(with(expect: expectation))
        #expect(refusal.contains(expected), "\(refusal)")
        #expect(refusal.hasPrefix("f.yaml:"))
    }

    @Test func `all problems are reported at once, in the file's order`() {
        let source = with("- at: 2m\n  approve: { nodes: egde }", expect: "- by: 3m\n  that: { enrolled: nobody }")
        let lines = refusal(source).split(separator: "\n")
        #expect(lines.count == 4)
        #expect(lines.allSatisfy { $0.hasPrefix("f.yaml:") })
        #expect(lines[0].hasPrefix("f.yaml:13:"))
    }

    @Test func `what the live host can't do is refused when the file names it`() throws {
        let lossy = base.replacing("  nodes:\n", with: "  link: { loss: 1% }\n  nodes:\n")
        #expect(try plan(lossy).hosts == [.simulator, .live])
        #expect(try plan(base).hosts == [.simulator, .live])
        let jumbo = base.replacing("  nodes:\n", with: "  link: { mtu: 9000B }\n  nodes:\n")
        #expect(try plan(jumbo).hosts == [.simulator])
        let corrupt = base.replacing("  nodes:\n", with: "  link: { corrupt: 1% }\n  nodes:\n")
        #expect(try plan(corrupt).hosts == [.simulator])
        let both = corrupt.replacing("scenario: test", with: "scenario: test\nhosts: [simulator, live]")
        #expect(
            refusal(both).contains(
                "the live host can't run this: packets are corrupted (line 6); leave that out, or “live”")
        )
    }

    @Test func `a mistake in a repeated step is one problem`() {
        let refusal = refusal(with("- every: 1s\n  approve: { nodes: egde }"))
        #expect(refusal.split(separator: "\n").count == 1)
    }

    @Test func `numbers at their limits are refused, not computed with`() {
        let huge = base.replacing("count: 4", with: "count: 9223372036854775807")
        #expect(refusal(huge).contains("a world has 10000 nodes at most"))
        let wide = with("- every: 1ms\n  approve: { nodes: hub }").replacing("count: 4", with: "count: 9000")
        #expect(refusal(wide).contains("are too many; repeat it less often"))
    }

    @Test func `an endless timeline is refused`() {
        let steps = (0..<3).map { _ in "- every: 1ms\n  approve: { nodes: hub }" }.joined(separator: "\n")
        #expect(refusal(with(steps)).contains("a timeline has 100000 at most"))
        #expect(
            refusal(base.replacing("expect:\n  - by: 30s\n    that: { enrolled: all }", with: "expect: []")).contains(
                "says what must be true"))
    }

    @Test func `a refusal shows no control characters to a terminal`() {
        let refusal = refusal(base.replacing("scenario: test", with: #"scenario: "\e[31mred\u202E\nx""#))
        #expect(refusal.hasPrefix("f.yaml:1:11: scenario: “\u{FFFD}[31mred\u{FFFD}\u{FFFD}x” is no scenario name"))
    }
}
