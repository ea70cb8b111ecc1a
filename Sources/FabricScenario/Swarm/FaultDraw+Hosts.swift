internal import FabricCore
internal import FabricDocument

/// Faults of processes, processors, clocks, disks and the database, as a swarm draws them. Only such as the fabric must
/// survive: a flipped bit in a node's keys, or a database whose syncs lie, ends what no program can mend.
extension FaultDraw {
    private typealias Times = (start: Duration, length: Duration)

    private func lasting(_ key: String, _ members: [(String, DocumentNode)], _ when: Times) -> DocumentNode {
        step(at: when.start, key, members + [("for", .text(Span(when.length)))])
    }

    private func selector(_ hosts: [Int]) -> DocumentNode {
        hosts == [FaultDraw.control] ? .text("control") : selector(hosts, control: false)
    }

    /// A few nodes, or now and then the control plane, of which the part is free at that time.
    private mutating func hosts(_ when: Times, _ part: (Int) -> FaultRoom.Part) -> [Int] {
        let hosts = settings.control && random.below(5) == 0 ? [FaultDraw.control] : someNodes(atMost: 3)
        return hosts.filter { claim(part($0), when.start, when.start + when.length) }
    }

    // MARK: Processes, processors, clocks

    /// `pause` or `suspend`.
    mutating func hold(_ key: String) -> [DocumentNode] {
        let when = interval()
        let hosts = hosts(when) { .process($0) }
        return hosts.isEmpty ? [] : [lasting(key, [("nodes", selector(hosts))], when)]
    }

    mutating func processCrash() -> [DocumentNode] {
        let when = interval()
        let hosts = hosts(when) { .process($0) }
        if hosts.isEmpty { return [] }
        return [crash(hosts, "process", when)]
    }

    private func crash(_ hosts: [Int], _ kind: String, _ when: Times) -> DocumentNode {
        hosts == [FaultDraw.control]
            ? lasting("stop-control", [("kind", .text(kind))], when)
            : lasting("crash", [("nodes", selector(hosts)), ("kind", .text(kind))], when)
    }

    mutating func slowProcessor() -> [DocumentNode] {
        let cost = rounded(logarithmic(.milliseconds(1), .milliseconds(50)))
        let when = interval()
        // Two of them on one host would end together.
        let hosts = hosts(when) { .process($0) }
        return hosts.isEmpty
            ? [] : [lasting("slow-cpu", [("nodes", selector(hosts)), ("per-event", .text(Span(cost)))], when)]
    }

    mutating func drift() -> [DocumentNode] {
        // A crystal is off by 100 ppm at most; a machine under a hypervisor by much more.
        let size = logarithmic(.nanoseconds(1_000), .nanoseconds(10_000_000)).nanoseconds / 1_000 * 1_000
        let drift = ClockDrift(partsPerBillion: random.below(2) == 0 ? size : -size)
        let isControl = settings.control && random.below(5) == 0
        let who = isControl ? DocumentNode.text("control") : selector(someNodes(atMost: 3), control: false)
        return [lasting("clock", [("nodes", who), ("drift", .text(drift))], interval())]
    }

    mutating func crashAt() -> [DocumentNode] {
        let isControl = settings.control && random.below(3) == 0
        let boundaries = CrashBoundary.allCases.filter { isControl ? $0.isOfControl : $0.isOfNodes }
        let boundary = boundaries[Int(random.below(UInt64(boundaries.count)))]
        let nth = 1 + Int64(random.below(boundary == .write || boundary == .transmit ? 200 : 12))
        let when = interval()
        // The window and the time that it is down lie within the time of faults.
        let down = min(rounded(logarithmic(.milliseconds(200), .seconds(10))), rounded(when.length / 2))
        let within = when.length - down
        guard within > .zero else { return [] }
        let hosts = (isControl ? [FaultDraw.control] : someNodes(atMost: 2)).filter {
            claim($0, when.start, when.start + when.length)
        }
        if hosts.isEmpty { return [] }
        let members: [(String, DocumentNode)] = [
            ("nodes", selector(hosts)), ("boundary", .text(boundary.rawValue)), ("nth", DocumentNode(.integer(nth))),
            ("kind", .text(random.below(3) == 0 ? "process" : "power")), ("within", .text(Span(within))),
            ("for", .text(Span(down))),
        ]
        return [step(at: when.start, "crash-at", members)]
    }

    // MARK: Disks

    private mutating func disk(_ settings: [(String, DocumentNode)]) -> [DocumentNode] {
        let when = interval()
        let hosts = hosts(when) { .disk($0) }
        return hosts.isEmpty ? [] : [lasting("disk", [("nodes", selector(hosts))] + settings, when)]
    }

    mutating func diskFull() -> [DocumentNode] {
        let room = ByteSize(bytes: random.below(2) == 0 ? 0 : 512 << Int(random.below(8)))
        return disk([("room", .text(room))])
    }

    mutating func diskErrors() -> [DocumentNode] {
        let kinds = ["read-errors", "write-errors", "sync-errors"]
        let kind = kinds[Int(random.below(UInt64(kinds.count)))]
        return disk([(kind, .text(share(from: 10_000, to: 1_000_000)))])
    }

    mutating func slowSync() -> [DocumentNode] {
        disk([("sync-time", .text(Span(rounded(logarithmic(.milliseconds(10), .seconds(2))))))])
    }

    /// Torn writes show when the power fails, which it mostly does before they are over.
    mutating func tornWrites() -> [DocumentNode] {
        let when = interval()
        var hosts = [FaultDraw.control]
        if settings.control, random.below(5) == 0 {
            guard claim(.disk(FaultDraw.control), when.start, when.start + when.length) else { return [] }
        } else {
            hosts = settled(when)
        }
        return untrue("torn-writes", hosts, when)
    }

    /// A cache that says yes to everything, and then the power. Not on the control plane: a database whose syncs lie
    /// forgets what it has answered for.
    mutating func lostSyncs() -> [DocumentNode] {
        let when = interval()
        return untrue("lost-syncs", settled(when), when)
    }

    private mutating func untrue(_ key: String, _ hosts: [Int], _ when: Times) -> [DocumentNode] {
        if hosts.isEmpty { return [] }
        let share = share(from: 100_000, to: 1_000_000)
        let fault = lasting("disk", [("nodes", selector(hosts)), (key, .text(share))], when)
        return [fault] + powerFailure(hosts, in: when)
    }

    /// A few nodes that have had ten seconds of peace since they were switched on, with no drawn fault of their process or
    /// disk: keys that were never whole on a disk are lost for good, and with them the place that they were given.
    private mutating func settled(_ when: Times) -> [Int] {
        let times = switchedOn
        return someNodes(atMost: 3).filter { node in
            guard let on = times[node], on + .seconds(10) <= when.start else { return false }
            let instant = Duration.nanoseconds(1)
            return claim(node, on + instant, when.start) && claim(.disk(node), on, when.start + when.length)
        }
    }

    /// In the last half of that time, for those that run then.
    private mutating func powerFailure(_ hosts: [Int], in when: Times) -> [DocumentNode] {
        guard random.below(4) > 0 else { return [] }
        let start = when.start + rounded(when.length / 2) + .milliseconds(1)
        let length = when.start + when.length - start
        guard length >= .milliseconds(1) else { return [] }
        let down = hosts.filter { claim($0, start, start + length) }
        return down.isEmpty ? [] : [crash(down, "power", (start, length))]
    }

    /// A file that a node can do without; mostly it is read soon, by a process that starts anew.
    mutating func rot() -> [DocumentNode] {
        let files = ["membership.json", "snapshot.json", "floors.json"]
        let file = files[Int(random.below(UInt64(files.count)))]
        let when = interval()
        let hosts = someNodes(atMost: 2)
        let bits = DocumentNode(.integer(1 << Int64(random.below(6))))
        let rot = step(
            at: when.start, "bit-rot", [("nodes", selector(hosts)), ("file", .text(file)), ("bits", bits)])
        guard random.below(4) > 0 else { return [rot] }
        let start = when.start + .milliseconds(1)
        let length = when.length - .milliseconds(1)
        guard length >= .milliseconds(1) else { return [rot] }
        let down = hosts.filter { claim($0, start, start + length) }
        return down.isEmpty ? [rot] : [rot, crash(down, "process", (start, length))]
    }

    // MARK: The database

    mutating func database(_ key: String, _ value: some Quantity) -> [DocumentNode] {
        let when = interval()
        guard settings.control, claim(.database, when.start, when.start + when.length) else { return [] }
        return [lasting("database", [(key, .text(value))], when)]
    }

    /// A copy is made, and later put back. It knows the file's tokens: no node can come back with one that it does not.
    mutating func restoreControl() -> [DocumentNode] {
        let times = [moment(), moment()].sorted()
        guard settings.control, times[0] < times[1] else { return [] }
        var created = Duration.zero
        for planned in plan.steps { if case .createToken = planned.action { created = max(created, planned.time) } }
        guard created + .seconds(5) <= times[0], claim(FaultDraw.control, created, times[0]),
            claim(.database, created, times[0]), claim(.disk(FaultDraw.control), created, times[0]),
            claim(FaultDraw.control, times[1], times[1])
        else { return [] }
        let name = backupName()
        return [
            step(at: times[0], "backup-control", [("name", .text(name))]),
            step(at: times[1], "restore-control", [("name", .text(name))]),
        ]
    }

    private mutating func backupName() -> String {
        while true {
            backups += 1
            let name = "copy-\(backups)"
            let isTaken = plan.steps.contains { step in
                if case .hostFault(.backUpControl(name)) = step.action { true } else { false }
            }
            if !isTaken { return name }
        }
    }

    /// When each node is switched on by the file.
    private var switchedOn: [Duration?] {
        var times = [Duration?](repeating: nil, count: plan.nodes.count)
        for step in plan.steps {
            guard case .enrol(let nodes, _) = step.action else { continue }
            for node in nodes where times[node] == nil { times[node] = step.time }
        }
        return times
    }
}
