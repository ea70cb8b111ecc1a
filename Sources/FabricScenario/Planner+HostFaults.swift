internal import FabricCore
internal import FabricDocument

/// Steps that befall hosts: processes, processors, clocks, disks, the database.
extension Planner {
    /// The steps of one occurrence; gives the time of the last.
    mutating func addHostFault(_ entry: HostFaultEntry, _ step: Located<StepEntry>, _ start: Duration) -> Duration {
        switch entry {
        case .pause(let entry):
            let set = endpoints(entry.nodes)
            return emit(.pause(set), until: entry.duration, then: .resume(set), step, start)
        case .suspend(let entry):
            let set = endpoints(entry.nodes)
            liveCannot("machines sleep", step.position)
            return emit(.suspend(set), until: entry.duration, then: .resume(set), step, start)
        case .resume(let entry):
            // What it ends has said that the live host can't.
            emit(.hostFault(.resume(endpoints(entry.nodes))), at: start, step)
            return start
        case .slowProcessor(let entry): return addSlowProcessor(entry, step, start)
        case .disk(let entry): return addDisk(entry, step, start)
        case .bitRot(let entry): return addBitRot(entry, step, start)
        case .database(let entry): return addDatabase(entry, step, start)
        case .backUp(let entry):
            if !Planner.isName(entry.name.value) {
                refuse(entry.name, "“\(entry.name.value.prefix(40))” is no name for a backup; \(Planner.nameForm)")
            }
            emit(.hostFault(.backUpControl(entry.name.value)), at: start, step)
            liveCannot("the control plane is backed up", step.position)
            return start
        case .restore(let entry):
            emit(.hostFault(.restoreControl(entry.name.value)), at: start, step)
            liveCannot("the control plane is restored", step.position)
            return start
        case .crashAt(let entry): return addCrashAt(entry, step, start)
        case .dnsLies(let entry): return addDNSLies(entry, step, start)
        }
    }

    mutating func emit(
        _ fault: HostFault, until duration: Located<Span>?, then end: HostFault, _ step: Located<StepEntry>,
        _ start: Duration
    ) -> Duration {
        emit(.hostFault(fault), at: start, step)
        guard let time = ending(duration, from: start) else { return start }
        emit(.hostFault(end), at: time, step)
        return time
    }

    mutating func addClock(_ entry: ClockEntry, _ step: Located<StepEntry>, _ start: Duration) -> Duration {
        let set = endpoints(entry.nodes)
        liveCannot("clocks are moved", step.position)
        switch (entry.jump, entry.drift) {
        case (let jump?, nil):
            if jump.value.duration == .zero { refuse(jump, "a jump of nothing does nothing") }
            if let duration = entry.duration { refuse(duration, "a jump is over at once; “for” goes with “drift”") }
            emit(.moveClock(set, by: jump.value.duration), at: start, step)
            return start
        case (nil, let drift?):
            return emit(
                .drift(set, partsPerBillion: drift.partsPerBillion), until: entry.duration,
                then: .drift(set, partsPerBillion: 0), step, start)
        default:
            refuse(step, "a clock has a “jump” or a “drift”: one of the two")
            return start
        }
    }

    private mutating func addSlowProcessor(
        _ entry: SlowProcessorEntry, _ step: Located<StepEntry>, _ start: Duration
    ) -> Duration {
        let cost = ProcessorCost(
            perEvent: entry.perEvent.value.duration, perHandshake: entry.perHandshake?.value.duration ?? .zero,
            perPacket: entry.perPacket?.value.duration ?? .zero)
        if !(Duration.zero...(.seconds(60))).contains(cost.perEvent) {
            refuse(entry.perEvent, "an event takes from nothing to 60s")
        }
        let set = endpoints(entry.nodes)
        for (located, key, what) in [
            (entry.perHandshake, "per-handshake", "a handshake"), (entry.perPacket, "per-packet", "a packet"),
        ] {
            guard let located else { continue }
            if !(Duration.zero...(.seconds(1))).contains(located.value.duration) {
                refuse(located, "\(what) takes from nothing to 1s")
            }
            if set.control { refuse(located, "the control plane has no tunnels: “\(key)” is for nodes") }
        }
        if cost == .none, let duration = entry.duration {
            refuse(duration, "a processor without a fault has no end of it")
        }
        liveCannot("processors are slow", step.position)
        return emit(
            .slowProcessor(set, cost), until: entry.duration, then: .slowProcessor(set, .none), step, start)
    }

    private mutating func addDisk(_ entry: DiskEntry, _ step: Located<StepEntry>, _ start: Duration) -> Duration {
        let settings = entry.settings
        if settings.isEmpty {
            refuse(step, "this disk has no fault; give it one, such as “room: 0B” or “sync-errors: 1%”")
        }
        if let located = entry.syncTime, let time = located.value.value?.duration,
            !(Duration.zero...(.seconds(60))).contains(time)
        {
            refuse(located, "a sync takes from nothing to 60s")
        }
        let set = endpoints(entry.nodes)
        liveCannot("disks fail", step.position)
        return emit(
            .disk(set, settings), until: entry.duration, then: .disk(set, settings.map(\.mended)), step, start)
    }

    private mutating func addBitRot(_ entry: BitRotEntry, _ step: Located<StepEntry>, _ start: Duration) -> Duration {
        let bits = entry.bits?.value ?? 1
        if let located = entry.bits, !(1...10_000).contains(bits) { refuse(located, "1 to 10000 bits flip") }
        let set = endpoints(entry.nodes)
        if let file = entry.file {
            let ofNodes = Planner.nodeFiles
            let ofControl = Planner.controlFiles
            let known = (set.nodes.isEmpty ? [] : ofNodes) + (set.control ? ofControl : [])
            if !known.contains(file.value) {
                let mend = NearestName.mend(file.value, among: known, noun: "file")
                refuse(file, "there is no file “\(file.value.prefix(40))” there; \(mend)")
            }
        }
        emit(.hostFault(.bitRot(set, file: entry.file?.value, bits: bits)), at: start, step)
        liveCannot("files rot", step.position)
        return start
    }

    /// What a node keeps. A test holds it together with the agent's list.
    static let nodeFiles = ["identity.json", "membership.json", "snapshot.json", "floors.json", "control.json"]
    static let controlFiles = ["control.db", "control.db-wal"]

    private mutating func addDatabase(_ entry: DatabaseEntry, _ step: Located<StepEntry>, _ start: Duration) -> Duration
    {
        let settings = entry.settings
        if settings.isEmpty {
            refuse(step, "this database has no fault; give it one, such as “failures: 100%” or “unknown-commits: 10%”")
        }
        if let time = entry.transactionTime, !(Duration.zero...(.seconds(60))).contains(time.value.duration) {
            refuse(time, "a transaction takes from nothing to 60s")
        }
        liveCannot("the database fails", step.position)
        return emit(
            .database(settings), until: entry.duration, then: .database(settings.map(\.mended)), step, start)
    }

    private mutating func addCrashAt(_ entry: CrashAtEntry, _ step: Located<StepEntry>, _ start: Duration) -> Duration {
        let set = endpoints(entry.nodes)
        let boundary = entry.boundary?.value ?? .any
        if let located = entry.boundary {
            if set.control, !boundary.isOfControl {
                refuse(
                    located,
                    "the control plane has no boundary “\(boundary)”: it has request, write, sync, commit, answer")
            }
            if !set.nodes.isEmpty, !boundary.isOfNodes {
                refuse(
                    located, "nodes have no boundary “\(boundary)”: they have persist, persisted, send, reply, transmit"
                )
            }
        }
        let nth = entry.nth?.value ?? 1
        if let located = entry.nth, !(1...1_000_000_000).contains(nth) { refuse(located, "“nth” counts from 1") }
        let down = entry.duration?.value.duration ?? .seconds(1)
        if let located = entry.duration, !(Duration.zero...(.hours(24))).contains(down) {
            refuse(located, "“for” is from nothing to a day: how long the host is down")
        }
        if let within = entry.within {
            if within.value.duration <= .zero { refuse(within, "“within” is a positive duration") }
            let end = start + within.value.duration
            if end > plan.duration { refuse(within, pastTheEnd(end)) }
        }
        let point = CrashPoint(
            boundary: boundary, nth: nth, powerFails: entry.kind != .process, downFor: down,
            within: entry.within?.value.duration)
        emit(.hostFault(.crashAt(set, point)), at: start, step)
        liveCannot("hosts crash between two actions", step.position)
        return start
    }
}

/// What has become of hosts along the timeline, as far as pauses and backups go.
struct HostOrder {
    enum State { case goes, paused, asleep }

    private var nodes: [State]
    private var control = State.goes
    private var backups: [String] = []
    private let names: [String]

    init(_ plan: Plan) {
        nodes = plan.nodes.map { _ in .goes }
        names = plan.nodes.map(\.name)
    }

    /// A host that goes down is no longer paused.
    mutating func wentDown(_ stopped: [Int]) { for node in stopped { nodes[node] = .goes } }
    mutating func controlWentDown() { control = .goes }

    /// Follows a fault; what is wrong with it comes back.
    mutating func follow(_ fault: HostFault, at time: Duration, isRunning: (Int) -> Bool, controlRuns: Bool) -> String?
    {
        switch fault {
        case .pause(let set), .suspend(let set):
            let isPause = if case .pause = fault { true } else { false }
            let verb = isPause ? "be paused" : "go to sleep"
            for node in set.nodes {
                if !isRunning(node) { return "“\(names[node])” does not run at \(Span(time)), so it can't \(verb)" }
                if nodes[node] != .goes { return stillStopped(names[node], nodes[node], time) }
            }
            if set.control {
                if !controlRuns { return "the control plane does not run at \(Span(time)), so it can't \(verb)" }
                if control != .goes { return stillStopped("control", control, time) }
                control = isPause ? .paused : .asleep
            }
            for node in set.nodes { nodes[node] = isPause ? .paused : .asleep }
        case .resume(let set):
            if let node = set.nodes.first(where: { nodes[$0] == .goes }) {
                return "“\(names[node])” is neither paused nor asleep at \(Span(time)), so it can't be resumed"
            }
            if set.control, control == .goes {
                return "the control plane is neither paused nor asleep at \(Span(time)), so it can't be resumed"
            }
            for node in set.nodes { nodes[node] = .goes }
            if set.control { control = .goes }
        case .backUpControl(let name):
            if backups.contains(name) { return "the backup “\(name)” is made twice" }
            backups.append(name)
        case .restoreControl(let name):
            if !backups.contains(name) {
                let mend = NearestName.mend(name, among: backups, noun: "backup before this step")
                return "there is no backup “\(name.prefix(40))” at \(Span(time)); \(mend)"
            }
            control = .goes
        case .kill, .slowProcessor, .drift, .disk, .bitRot, .database, .crashAt, .dnsAnswers, .moveControl: break
        }
        return nil
    }

    private func stillStopped(_ name: String, _ state: State, _ time: Duration) -> String {
        "“\(name)” is \(state == .paused ? "paused" : "asleep") already at \(Span(time))"
    }
}

extension PlanText {
    func hostFault(_ fault: HostFault) -> String {
        switch fault {
        case .kill(let set):
            return set.control ? "stop-control: {kind: process}" : "crash: {nodes: \(selector(set)), kind: process}"
        case .pause(let set): return "pause: {nodes: \(selector(set))}"
        case .suspend(let set): return "suspend: {nodes: \(selector(set))}"
        case .resume(let set): return "resume: {nodes: \(selector(set))}"
        case .slowProcessor(let set, let cost):
            return "slow-cpu: {nodes: \(selector(set)), per-event: \(Span(cost.perEvent))"
                + (cost.perHandshake > .zero ? ", per-handshake: \(Span(cost.perHandshake))" : "")
                + (cost.perPacket > .zero ? ", per-packet: \(Span(cost.perPacket))}" : "}")
        case .drift(let set, let drift):
            return "clock: {nodes: \(selector(set)), drift: \(ClockDrift(partsPerBillion: drift))}"
        case .disk(let set, let settings):
            return "disk: {nodes: \(selector(set)), \(settings.map(text).joined(separator: ", "))}"
        case .bitRot(let set, let file, let bits):
            return "bit-rot: {nodes: \(selector(set)), \(file.map { "file: \($0), " } ?? "")bits: \(bits)}"
        case .database(let settings): return "database: {\(settings.map(text).joined(separator: ", "))}"
        case .backUpControl(let name): return "backup-control: {name: \(name)}"
        case .restoreControl(let name): return "restore-control: {name: \(name)}"
        case .crashAt(let set, let point):
            return "crash-at: {nodes: \(selector(set)), boundary: \(point.boundary), nth: \(point.nth), "
                + (point.within.map { "within: \(Span($0)), " } ?? "")
                + "kind: \(point.powerFails ? "power" : "process"), for: \(Span(point.downFor))}"
        case .dnsAnswers(let nodes, let answer):
            return "dns-lies: {nodes: \(selector(nodes)), answer: \(answer.rawValue)}"
        case .moveControl: return "readdress: {nodes: control}"
        }
    }

    private func text(_ setting: DiskSetting) -> String {
        func share(_ name: String, _ value: Int64) -> String { "\(name): \(Ratio(partsPerMillion: value))" }
        switch setting {
        case .room(let bytes): return "room: \(bytes.map { "\(ByteSize(bytes: $0))" } ?? "plenty")"
        case .readErrors(let value): return share("read-errors", value)
        case .writeErrors(let value): return share("write-errors", value)
        case .syncErrors(let value): return share("sync-errors", value)
        case .lostSyncs(let value): return share("lost-syncs", value)
        case .tornWrites(let value): return share("torn-writes", value)
        case .bitRot(let value): return share("bit-rot", value)
        case .syncTime(let time): return "sync-time: \(time.map { "\(Span($0))" } ?? "usual")"
        }
    }

    private func text(_ setting: DatabaseSetting) -> String {
        switch setting {
        case .failures(let value): return "failures: \(Ratio(partsPerMillion: value))"
        case .unknownCommits(let value): return "unknown-commits: \(Ratio(partsPerMillion: value))"
        case .transactionTime(let time): return "transaction-time: \(Span(time))"
        }
    }
}
