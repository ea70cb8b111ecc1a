// What the simulator costs with everything in it: agents, control plane, real cryptography, real SQL. Run it in release:
//
//     scripts/bench SimulatorBenchmark
//
// A generated scenario (`SteadyFabric`) enrols N nodes in five places within a minute; each then has tunnels to four
// peers, probes them every 5 s, renews keys every two minutes, sends a heartbeat every 10 s, and renews its record every
// five minutes. The judge asks all the time whether everyone reaches whom policy says. The steady stretch is the last five
// of ten virtual minutes. All times are CPU time (user and system) of one thread, so that the machine's other load counts
// little; every case is a process of its own.
//
// The exit status is 1 when a goal is missed: 100 nodes at 400 times real time, 1,000 at 40, ten virtual minutes of 10,000
// (enrolment included) within ten minutes, 256 KiB per node.
//
//     SimulatorBenchmark NODES PEERS [metered]      one case, as lines of names and numbers
//     SimulatorBenchmark long                       with 3,000 and 10,000 nodes too

import FabricCommand
import FabricScenario
import Glibc

func fixed(_ value: Double, _ digits: Int) -> String {
    var text = [CChar](repeating: 0, count: 64)
    withVaList([Int32(digits), value]) { _ = vsnprintf(&text, 64, "%.*f", $0) }
    return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

func padded(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.count)) + text
}

func line(_ cells: [String]) {
    show(cells.enumerated().map { padded($1, $0 == 0 ? 8 : 13) }.joined())
}

/// As the parent reads it.
func report(_ figures: Figures) {
    print("held \(figures.held)")
    print("before \(figures.beforeSeconds)")
    print("steady \(figures.steadySeconds)")
    print("pace \(figures.pace)")
    print("events \(figures.steadyEvents)")
    print("handshakes \(figures.handshakes)")
    print("resident \(figures.resident - figures.residentBefore)")
    print("peak \(figures.peakResident)")
    for row in figures.rows { print("row \(row.count) \(row.nanoseconds) \(row.name)") }
}

func runCase(_ nodes: Int, _ peers: Int, metered: Bool) -> Figures {
    let command = "exec '\(CommandLine.arguments[0])' \(nodes) \(peers)" + (metered ? " metered" : "")
    guard let pipe = popen(command, "r") else { fatalError("no process for \(command)") }
    var figures = Figures(nodes: nodes, peers: peers)
    figures.steadyVirtual = Double(SteadyFabric.duration - SteadyFabric.steadyFrom)
    var buffer = [CChar](repeating: 0, count: 512)
    while fgets(&buffer, Int32(buffer.count), pipe) != nil {
        let text = String(decoding: buffer.prefix { $0 != 0 && $0 != 10 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let words = text.split(separator: " ", maxSplits: 3).map(String.init)
        guard words.count >= 2 else { continue }
        switch words[0] {
        case "held": figures.held = words[1] == "true"
        case "before": figures.beforeSeconds = Double(words[1]) ?? 0
        case "steady": figures.steadySeconds = Double(words[1]) ?? 0
        case "pace": figures.pace = Double(words[1]) ?? 0
        case "events": figures.steadyEvents = UInt64(words[1]) ?? 0
        case "handshakes": figures.handshakes = Int(words[1]) ?? 0
        case "resident": figures.resident = UInt64(words[1]) ?? 0
        case "peak": figures.peakResident = UInt64(words[1]) ?? 0
        case "row" where words.count == 4:
            figures.rows.append(
                EventRow(name: words[3], count: UInt64(words[1]) ?? 0, nanoseconds: UInt64(words[2]) ?? 0))
        default: break
        }
    }
    let status = pclose(pipe)
    if status != 0 { print("\(nodes) nodes: the process ended with status \(status)") }
    return figures
}

/// Nothing is lost when a later case takes long.
func show(_ text: String) {
    print(text)
    fflush(nil)
}

var missed: [String] = []
@MainActor func goal(_ isMet: Bool, _ words: String) {
    show((isMet ? "met     " : "MISSED  ") + words)
    if !isMet { missed.append(words) }
}

@MainActor func growth(_ sizes: [Int]) -> [Figures] {
    show("Steady state, 4 peers: from \(SteadyFabric.steadyFrom) s to \(SteadyFabric.duration) s of virtual time\n")
    line([
        "nodes", "events/s", "us/event", "us/node s", "x real time", "whole run s", "KiB/node", "peak MiB", "pace ns",
    ])
    return sizes.map { nodes in
        let figures = runCase(nodes, 4, metered: false)
        let events = Double(figures.steadyEvents)
        line([
            "\(nodes)", fixed(events / figures.steadySeconds, 0), fixed(figures.steadySeconds * 1e6 / events, 2),
            fixed(figures.steadySeconds * 1e6 / figures.steadyVirtual / Double(nodes), 2),
            fixed(figures.steadyVirtual / figures.steadySeconds, 1),
            fixed(figures.beforeSeconds + figures.steadySeconds, 1),
            fixed(Double(figures.resident) / 1024 / Double(nodes), 1),
            fixed(Double(figures.peakResident) / 1_048_576, 0), fixed(figures.pace, 2),
        ])
        if !figures.held { goal(false, "the expectations hold at \(nodes) nodes") }
        return figures
    }
}

func kinds(_ nodes: Int) {
    let figures = runCase(nodes, 4, metered: true)
    let total = figures.rows.reduce(0) { $0 + Double($1.nanoseconds) }
    show("\nBy kind of event, \(nodes) nodes (the clock's own cost is among it)\n")
    line(["count", "ns each", "share %", "kind"])
    for row in figures.rows {
        line([
            "\(row.count)", fixed(Double(row.nanoseconds) / Double(row.count), 0),
            fixed(Double(row.nanoseconds) / total * 100, 1), "  " + row.name,
        ])
    }
}

/// Per node and per tunnel, from three runs: bytes = base + nodes * (node + peers * tunnel end).
func memory(_ nodes: Int) -> (perNode: Double, perTunnelEnd: Double) {
    let small = runCase(nodes / 2, 4, metered: false)
    let large = runCase(nodes, 4, metered: false)
    let dense = runCase(nodes, 8, metered: false)
    let perTunnelEnd = (Double(dense.resident) - Double(large.resident)) / Double(nodes) / 4
    let whole = (Double(large.resident) - Double(small.resident)) / Double(nodes - nodes / 2)
    return (whole - 4 * perTunnelEnd, perTunnelEnd)
}

runOnHugePages()
leaveOutExclusivityChecks()
let arguments = CommandLine.arguments.dropFirst()
if let first = arguments.first, let nodes = Int(first), arguments.count >= 2,
    let peers = Int(arguments.dropFirst().first!)
{
    report(try measure(SteadyFabric(nodes: nodes, peers: peers), metered: arguments.last == "metered"))
    exit(0)
}
let isLong = arguments.first == "long"
let rows = growth([100, 300, 1_000] + (isLong ? [3_000, 10_000] : []))
kinds(1_000)
let bytes = memory(1_000)
show(
    "\nMemory, by difference: \(fixed(bytes.perNode / 1024, 1)) KiB per node without tunnels, "
        + "\(fixed(bytes.perTunnelEnd / 1024, 2)) KiB per end of a tunnel\n")
for figures in rows {
    let speed = figures.steadyVirtual / figures.steadySeconds
    switch figures.nodes {
    case 100: goal(speed >= 400, "100 nodes at 400 times real time or more")
    case 1_000: goal(speed >= 40, "1,000 nodes at 40 times real time or more")
    case 10_000:
        goal(
            figures.beforeSeconds + figures.steadySeconds <= Double(SteadyFabric.duration),
            "10,000 nodes: ten virtual minutes in ten minutes of CPU time or less")
    default: break
    }
}
if !isLong { show("not run  3,000 and 10,000 nodes: scripts/bench --long SimulatorBenchmark (half an hour)") }
goal(bytes.perNode <= 256 * 1024, "256 KiB per node or less")
exit(missed.isEmpty ? 0 : 1)
