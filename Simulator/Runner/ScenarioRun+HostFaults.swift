internal import FabricCore
internal import FabricScenario

/// Processes, processors, clocks, disks and the database of a run.
extension ScenarioRun {
    func perform(_ fault: HostFault) {
        switch fault {
        case .kill(let set): for host in hosts(set) { bringDown(host, .process) }
        case .pause(let set): for host in hosts(set) { world.pause(host) }
        case .suspend(let set): for host in hosts(set) { world.suspend(host) }
        case .resume(let set): for host in hosts(set) { world.resume(host) }
        case .slowProcessor(let set, let cost):
            for host in hosts(set) { world.setEventCost(host, cost.perEvent) }
            for node in set.nodes { agents[node].processorCost = cost }
        case .drift(let set, let drift):
            for host in hosts(set) {
                world.setClockDrift(host, partsPerBillion: drift)
                services.paths.forget(host)
            }
        case .disk(let set, let settings):
            for host in hosts(set) {
                world.diskConditions(of: host).apply(settings)
                if settings.contains(where: { $0.breaksItsWord }) { services.checks.distrust(host) }
            }
        case .bitRot(let set, let file, let bits): for host in hosts(set) { rot(host, file, bits) }
        case .database(let settings): control.databaseConditions.apply(settings)
        case .backUpControl(let name): control.backUp(name)
        case .restoreControl(let name): control.restore(name)
        case .dnsAnswers(let nodes, let answer): tell(nodes, answer)
        case .moveControl: moveControl()
        case .crashAt(let set, let point): for host in hosts(set) { world.armCrash(host, point, ofTimeline: true) }
        }
    }

    /// Until a step starts it; also when a crash at a boundary keeps it down just now.
    func bringDown(_ host: HostID, _ kind: CrashKind) {
        world.callOffComeback(host)
        world.crash(host, kind)
    }

    func hosts(_ set: EndpointSet) -> [HostID] {
        set.nodes.map { agents[$0].host } + (set.control ? [control.host] : [])
    }

    private func rot(_ host: HostID, _ file: String?, _ bits: Int) {
        services.checks.distrust(host)
        let store = world.store(of: host)
        let disk = world.disk(of: host)
        for name in store.loadAll().map(\.name) where file == nil || file == name {
            store.damage(name, .flippedBits(bits))
        }
        for name in disk.names where file == nil || file == name { disk.damage(name, .flippedBits(bits)) }
    }
}

extension DiskSetting {
    /// What was told to be durable may be gone, or changed: then nothing can be asked of what rests on it.
    var breaksItsWord: Bool {
        switch self {
        case .lostSyncs(let share), .tornWrites(let share), .bitRot(let share): share > 0
        case .room, .readErrors, .writeErrors, .syncErrors, .syncTime: false
        }
    }
}

extension Probability {
    init(_ partsPerMillion: Int64) { self.init(partsPerMillion: UInt32(clamping: partsPerMillion)) }
}

extension DiskConditions {
    func apply(_ settings: [DiskSetting]) {
        for setting in settings {
            switch setting {
            case .room(let bytes): capacity = bytes.map { usedBytes + Int64($0) } ?? DiskConditions.usualCapacity
            case .readErrors(let share): readErrors = Probability(share)
            case .writeErrors(let share): writeErrors = Probability(share)
            case .syncErrors(let share): syncErrors = Probability(share)
            case .lostSyncs(let share): lostSyncs = Probability(share)
            case .tornWrites(let share): tornWrites = Probability(share)
            case .bitRot(let share): bitRot = Probability(share)
            case .syncTime(let time):
                syncLatency = time.map { DelayDistribution($0) } ?? DiskConditions.usualSyncLatency
            }
        }
    }
}

extension DatabaseConditions {
    func apply(_ settings: [DatabaseSetting]) {
        for setting in settings {
            switch setting {
            case .failures(let share): failures = Probability(share)
            case .unknownCommits(let share): unknownCommits = Probability(share)
            case .transactionTime(let time): transactionTime = time
            }
        }
    }
}
