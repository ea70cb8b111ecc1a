// One run of the steady fabric: what it costs in CPU time and memory. A process measures one case, so that the
// memory of one is not that of another.

import FabricCore
import FabricScenario
import Glibc
import Simulator

/// The generated scenario. Everything is as production has it but the enrolment, which is squeezed into a minute.
struct SteadyFabric {
    var nodes: Int
    var peers: Int

    static let duration = 600
    /// By then all paths are up and the first records and keys have been renewed.
    static let steadyFrom = 300

    var yaml: String {
        """
        scenario: steady
        duration: \(Self.duration)s
        seed: 1
        hosts: [simulator]
        world:
          places: [harbour, mill, castle, station, market]
          link: { delay: 20ms, jitter: 5ms }
          control: { place: castle }
          cluster: { name: steady, peers: \(peers), heartbeat: 10s, probe: 5s }
          nodes:
            - { group: edge, places: [harbour, mill, castle, station, market], count: \(nodes) }
        timeline:
          - at: 0s
            token: { name: opening, uses: \(nodes), lifetime: 1h }
          - at: 1s
            over: 60s
            enrol: { nodes: all, token: opening }
          - every: 1s
            until: 4m
            approve: { nodes: all }
        expect:
          - by: \(Self.steadyFrom)s
            that: { reaches: { from: all, to: policy } }
          - always: { reaches: { from: all, to: policy } }
            from: \(Self.steadyFrom)s
          - by: \(Self.duration)s
            that: { rekeyed: { nodes: all, at-least: 3 } }
        """
    }
}

/// One kind of event at one kind of host.
struct EventRow {
    var name: String
    var count: UInt64
    var nanoseconds: UInt64
}

struct Figures {
    var nodes = 0
    var peers = 0
    var held = false
    /// CPU seconds to the steady stretch, and of the steady stretch.
    var beforeSeconds = 0.0
    var steadySeconds = 0.0
    var steadyVirtual = 0.0
    var steadyEvents: UInt64 = 0
    var handshakes = 0
    /// Resident bytes, before the world and at the end.
    var residentBefore: UInt64 = 0
    var resident: UInt64 = 0
    var peakResident: UInt64 = 0
    var rows: [EventRow] = []
    /// Nanoseconds of one step of the reference, during the steady stretch.
    var pace = 0.0
}

/// User and system time of the process.
func cpuSeconds() -> Double {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
    return seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

func peakResidentBytes() -> UInt64 {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    return UInt64(usage.ru_maxrss) * 1024
}

/// What the process occupies now: field two of `statm`, in pages.
func residentBytes() -> UInt64 {
    guard let file = fopen("/proc/self/statm", "r") else { return 0 }
    defer { fclose(file) }
    var buffer = [CChar](repeating: 0, count: 256)
    guard fgets(&buffer, Int32(buffer.count), file) != nil else { return 0 }
    let text = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let fields = text.split(separator: " ")
    return fields.count > 1 ? (UInt64(fields[1]) ?? 0) * UInt64(sysconf(Int32(_SC_PAGESIZE))) : 0
}

/// Adds up the CPU time between events, which belongs to the event that ends it.
final class Meter {
    private var counts: [String: (count: UInt64, nanoseconds: UInt64)] = [:]
    private var last: UInt64 = 0

    static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    func start() { last = Meter.now() }

    func note(_ kind: String, _ atControl: Bool) {
        let now = Meter.now()
        let name = atControl ? kind + " at the control plane" : kind
        counts[name, default: (0, 0)].count += 1
        counts[name]!.nanoseconds += now - last
        last = Meter.now()
    }

    var rows: [EventRow] {
        counts.map { EventRow(name: $0.key, count: $0.value.count, nanoseconds: $0.value.nanoseconds) }
            .sorted { ($0.nanoseconds, $0.name) > ($1.nanoseconds, $1.name) }
    }
}

/// A fixed piece of work between the events: how fast the machine is now. It shares caches and cores with whatever else
/// runs, so that CPU time alone says too much.
struct Reference {
    private(set) var seconds = 0.0
    private(set) var slices = 0
    private var states: (UInt64, UInt64, UInt64, UInt64) = (1, 2, 3, 4)

    mutating func run() {
        let began = Meter.now()
        // Independent of each other, so that they fill the core: a neighbour on the same core shows.
        for _ in 0..<Reference.steps {
            Reference.step(&states.0)
            Reference.step(&states.1)
            Reference.step(&states.2)
            Reference.step(&states.3)
        }
        precondition(states.0 != 0)
        seconds += Double(Meter.now() - began) / 1e9
        slices += 1
    }

    private static let steps = 100_000

    @inline(__always) private static func step(_ state: inout UInt64) {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
    }

    /// Nanoseconds per step.
    var pace: Double { seconds * 1e9 / Double(max(1, slices)) / Double(Reference.steps) }
}

/// Runs a case to its end. `metered` adds the figures by kind of event, which cost time of their own.
func measure(_ fabric: SteadyFabric, metered: Bool) throws -> Figures {
    var figures = Figures(nodes: fabric.nodes, peers: fabric.peers)
    let plan = try ScenarioFile.plan(yaml: Array(fabric.yaml.utf8), file: "steady.yaml")
    figures.residentBefore = residentBytes()
    let began = cpuSeconds()
    let run = ScenarioRun(plan: plan)
    let meter = Meter()
    let control = run.controlHost
    var steadyBegan: (cpu: Double, events: UInt64, handshakes: Int)?
    var reference = Reference()
    var looks = 0
    let verdict = run.run { run in
        if metered, run.world.afterEventOfKind != nil { meter.note("look of the judge", false) }
        looks += 1
        if steadyBegan != nil, !metered, looks % 40 == 0 { reference.run() }
        guard steadyBegan == nil, run.elapsed >= .seconds(SteadyFabric.steadyFrom) else { return }
        steadyBegan = (cpuSeconds(), run.eventCount, run.handshakes)
        guard metered else { return }
        meter.start()
        run.world.afterEventOfKind = { kind, host in meter.note(kind, host == control) }
    }
    let ended = cpuSeconds()
    guard let steadyBegan else { fatalError("the run ended early") }
    figures.held = verdict.held && run.troubles.isEmpty
    figures.beforeSeconds = steadyBegan.cpu - began
    figures.steadySeconds = ended - steadyBegan.cpu - reference.seconds
    figures.pace = reference.pace
    figures.steadyVirtual = Double(SteadyFabric.duration - SteadyFabric.steadyFrom)
    figures.steadyEvents = run.eventCount - steadyBegan.events
    figures.handshakes = (run.handshakes - steadyBegan.handshakes) / 2
    figures.resident = residentBytes()
    figures.peakResident = peakResidentBytes()
    figures.rows = meter.rows
    return figures
}
