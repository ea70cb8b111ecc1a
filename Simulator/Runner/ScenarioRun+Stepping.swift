internal import FabricCore
internal import FabricScenario

extension ScenarioRun {
    /// Runs on to a time, or until `enough` says so, which is asked after each event and each observation, or to the end
    /// (`isOver`). `progress` is called at each observation. Neither may act on the world.
    public func advance(
        to limit: Duration? = nil, until enough: ((ScenarioRun) -> Bool)? = nil,
        progress: (ScenarioRun) -> Void = { _ in }
    ) {
        let former = world.afterEvent
        if let enough {
            world.afterEvent = { [unowned self] world in
                former?(world)
                if enough(self) { world.stop() }
            }
        }
        defer { world.afterEvent = former }
        while !isOver {
            let target = nextObservation ?? .zero
            switch world.run(until: start + min(target, limit ?? target)) {
            case .reached: if let limit, limit < target { return }
            case .stopped: return
            case .stuck(let host):
                world.note(host, "time does not advance")
                let time = Span(.milliseconds(elapsed.nanoseconds / 1_000_000))
                let last = host.map { world.name(of: $0) } ?? "the world"
                standstill =
                    "time stands still at \(time): more than \(world.eventsPerInstantLimit) events at one instant, the "
                    + "last for \(last); what was to come after did not take place"
                isOver = true
                return
            }
            observe()
            progress(self)
            if let enough, enough(self) { return }
        }
    }

    /// Shows the judge the moment that has come, and says when the next one is.
    private func observe() {
        let time = nextObservation ?? .zero
        judge.observe(view, at: time)
        sweepSafety(at: time)
        if notesCoverage { notePhases() }
        if time >= plan.duration || stopsWhenSettled && judge.isSettled
            || stopsWhenBroken.map({ services.checks.isBroken($0) }) ?? false
        {
            isOver = true
            return
        }
        let interval = max(Self.shortestObservationInterval, plan.duration / Self.mostObservations)
        var next = time + interval
        if let moment = judge.nextMoment(after: time) { next = min(next, moment) }
        nextObservation = min(next, plan.duration)
    }
}
