internal import FabricCore
internal import FabricLinux
internal import FabricNode
public import FabricScenario
internal import Glibc

/// What a person may ask of a run.
public struct LiveOptions: Sendable {
    /// States and logs are copied there at the end.
    public var keep: String?
    /// Captures are copied there at the end.
    public var pcap: String?

    public init(keep: String? = nil, pcap: String? = nil) {
        self.keep = keep
        self.pcap = pcap
    }
}

/// One run of a plan on this machine: namespaces and links, the real programs, the plan's steps at their times, the
/// judge, and at the end the captures' verdict. What it made is removed however it ends.
///
/// One thread does the steps that must come in time, looks at the agents and shows the judge; the operator's calls have
/// threads of their own.
public final class LiveRun {
    static let observationInterval = Duration.milliseconds(250)
    /// The control plane gets this long to start.
    static let controlStart = Duration.seconds(30)

    public let plan: Plan
    let programs: Programs
    let work: WorkFolder
    let network: LiveNetwork
    let desk: OperatorDesk
    private let operatorProgram: OperatorProgram
    private let options: LiveOptions
    private let progress: (String) -> Void
    private(set) var agents: [LiveAgent] = []
    private(set) var view: LiveView
    private var judge: Judge
    private var controlProcess: ChildProcess?
    private var troubles: [String] = []
    private var steps: ArraySlice<PlannedStep>
    private var stepsDone = 0
    private var waitingForToken: [(node: Int, token: Int)] = []
    private var start = Instant.zero
    private let canary = CanaryProbe()
    private let flows: LiveFlows

    /// Checks that this machine can run the plan; makes the first namespaces and a folder in /tmp.
    ///
    /// `progress` gets lines for a person.
    public init(plan: Plan, options: LiveOptions, progress: @escaping (String) -> Void) throws {
        self.plan = plan
        self.options = options
        self.progress = progress
        guard geteuid() == 0 else {
            throw LiveFailure("a live run makes network namespaces and TUN devices, which needs root")
        }
        guard access("/dev/net/tun", R_OK | W_OK) == 0 else {
            throw LiveFailure("there is no usable /dev/net/tun on this machine")
        }
        programs = try Programs()
        judge = Judge(plan: plan)
        steps = plan.steps[...]
        work = try WorkFolder()
        do {
            flows = try LiveFlows(plan, canary: canary.canary)
            network = try LiveNetwork(plan)
        } catch {
            try? work.remove()
            throw error
        }
        operatorProgram = OperatorProgram(
            program: programs.person, namespace: network.controlNamespace, contextFile: work.secrets + "/operator.json",
            cluster: plan.cluster.name)
        desk = OperatorDesk(plan: plan, program: operatorProgram)
        view = LiveView(plan, desk.records)
        agents = plan.nodes.enumerated().map { LiveAgent(index: $0, name: $1.name, folder: work.states) }
    }

    /// Runs to the end. Throws `Interrupted` after a signal, `LiveFailure` when the run could not be carried out; in
    /// either case everything has been removed.
    public func run() throws -> LiveReport {
        let began = LinuxClock.now().monotonic
        let result = Result { try carryOut(began) }
        let leftovers = cleanUp().map { "not removed: \($0)" }
        for leftover in leftovers { progress(leftover) }
        var report = try result.get()
        report.add(troubles: leftovers)
        return report
    }

    private func carryOut(_ began: Instant) throws -> LiveReport {
        progress("\(plan.name): \(plan.nodes.count) nodes in \(plan.places.count) places, on this machine")
        try network.build(plan, captures: work.captures)
        try prepareControl()
        desk.start()
        flows.start()
        start = LinuxClock.now().monotonic
        try observeToTheEnd()
        canary.finish()
        let verdict = judge.verdict()
        let ended = elapsed
        progress("judging the captures")
        let links = try network.stopCaptures()
        troubles += network.stopLinks()
        troubles += flows.stop()
        let capture = try CaptureSummary.judge(
            links, control: network.controlEndpoint, canary: canary.canary, canary: canary.summary,
            tunnelWasUp: canary.tunnelWasUp,
            processesDie: plan.steps.contains { if case .hostFault(.kill) = $0.action { true } else { false } })
        return LiveReport(
            plan: plan, verdict: verdict, capture: capture, flows: flows.counts, troubles: troubles + desk.troubles,
            steps: stepsDone, elapsed: ended, wall: LinuxClock.now().monotonic - began)
    }

    // MARK: The control plane

    private func prepareControl() throws {
        let listen = network.controlEndpoint
        let made = try ChildProcess.run(
            [
                programs.control, "init", "--state", work.states + "/control", "--listen", "\(listen)",
                "--operator-file", work.secrets + "/operator.json",
            ])
        guard made.status == 0 else { throw LiveFailure("rap-control init failed: \(made.errors)") }
        try startControl()
        let limit = LinuxClock.now().monotonic + Self.controlStart
        while true {
            try Interruption.check()
            if let status = controlProcess?.poll() {
                throw LiveFailure("rap-control ended with status \(status):\n\(work.tail("control"))")
            }
            do throws(OperatorProgram.Failure) {
                return try operatorProgram.createCluster(peers: plan.cluster.peers)
            } catch {
                guard LinuxClock.now().monotonic < limit else {
                    throw LiveFailure("“rap \(error.command)” failed: \(error.message)\n\(work.tail("control"))")
                }
            }
            pause(.milliseconds(200))
        }
    }

    private func startControl() throws {
        controlProcess = try network.startControl(
            [
                programs.control, "run", "--state", work.states + "/control", "--listen", "\(network.controlEndpoint)",
                "--heartbeat", "\(plan.cluster.heartbeat.components.seconds)s",
            ], log: work.logs + "/control.log")
    }

    // MARK: Observing

    private var elapsed: Duration { LinuxClock.now().monotonic - start }

    private func observeToTheEnd() throws {
        var nextLine = Duration.zero
        while true {
            try Interruption.check()
            try performDueSteps()
            try startThoseWithTokens()
            watchPrograms()
            flows.step(agents, network)
            view.update(agents, desk.records, flows.counts, LinuxClock.now().monotonic)
            canary.step(plan, agents, view, network, now: LinuxClock.now().monotonic)
            let time = elapsed
            judge.observe(view, at: time)
            if time >= nextLine {
                showProgress(time)
                nextLine = time + .seconds(2)
            }
            if time >= plan.duration { return showProgress(time) }
            var next = time + Self.observationInterval
            if let moment = judge.nextMoment(after: time) { next = min(next, moment) }
            if let step = steps.first { next = min(next, step.time) }
            pause(min(next, plan.duration) - elapsed)
        }
    }

    private func watchPrograms() {
        for agent in agents {
            if let status = agent.refresh() {
                troubles.append("the agent of \(agent.name) ended with status \(status)")
                progress(troubles.last! + ":\n" + work.tail("node-\(agent.name)"))
            }
        }
        if let status = controlProcess?.poll() {
            troubles.append("rap-control ended with status \(status)")
            progress(troubles.last! + ":\n" + work.tail("control"))
            controlProcess = nil
        }
    }

    private func showProgress(_ time: Duration) {
        let up = view.peersUp
        let broken = judge.brokenCount > 0 ? "  BROKEN \(judge.brokenCount)" : ""
        progress(
            "\(seconds(time)) s  on \(view.runningCount)  enrolled \(view.enrolledCount)  paths up \(up.up)/\(up.all)  "
                + "canaries \(canary.summary.arrived)  steps \(stepsDone)/\(plan.steps.count)  "
                + "held \(judge.heldCount)/\(plan.expectations.count)\(broken)")
    }

    private func seconds(_ time: Duration) -> String {
        let tenths = time.nanoseconds / 100_000_000
        return "\(tenths / 10).\(tenths % 10)"
    }

    // MARK: Steps

    private func performDueSteps() throws {
        while let step = steps.first, step.time <= elapsed {
            steps.removeFirst()
            try perform(step.action)
            stepsDone += 1
            // Approvals are often repeated; they would hide the rest.
            if case .approve = step.action { continue }
            progress("\(seconds(elapsed)) s  \(PlanText(plan).action(step.action))")
        }
    }

    private func perform(_ action: PlannedStep.Action) throws {
        switch action {
        case .createToken(let index): desk.add(.createToken(index))
        case .revokeToken(let index): desk.add(.revokeToken(index))
        case .enrol(let nodes, let token):
            for node in nodes where !agents[node].wasStarted && !waitingForToken.contains(where: { $0.node == node }) {
                waitingForToken.append((node, token))
            }
            try startThoseWithTokens()
        case .approve(let nodes): desk.add(.approve(nodes.map { plan.nodes[$0].name }))
        case .reject(let nodes): desk.add(.reject(nodes.map { plan.nodes[$0].name }))
        case .setMembership(let nodes, let active):
            desk.add(.setMembership(nodes.map { plan.nodes[$0].name }, active: active))
        case .cut(let partition): try network.cut(partition)
        case .heal(let identifiers): try network.heal(identifiers)
        case .setLinks(let links): try network.setLinks(links)
        case .crash(let nodes):
            let running = nodes.filter { agents[$0].isRunning }
            try network.setSilent(running, true)
            for node in running { agents[node].crash() }
        case .restart(let nodes):
            let crashed = nodes.filter { agents[$0].isCrashed }
            try network.setSilent(crashed, false)
            for node in crashed { try startAgent(node, agents[node].arguments) }
        case .stopControl:
            try network.setControlSilent(true)
            killControl()
        case .startControl:
            guard controlProcess == nil else { return }
            try network.setControlSilent(false)
            try startControl()
            desk.setControlRuns(true)
        case .startFlow(let flow):
            // Before, so that no news of an earlier agent end what begins now; after, so that it begins at once.
            flows.step(agents, network)
            flows.begin(flow, agents, now: LinuxClock.now().monotonic)
            flows.step(agents, network)
        case .hostFault(let fault): try perform(fault)
        case .moveClock, .loseAnswers, .swizzle, .readdress, .rebind, .attack:
            preconditionFailure("LivePlan.refusals lets no such step through")
        }
    }

    /// The faults of processes; the kernel lives, and answers for them what kernels answer.
    private func perform(_ fault: HostFault) throws {
        switch fault {
        case .kill(let set):
            for node in set.nodes where agents[node].isRunning { agents[node].crash() }
            if set.control { killControl() }
        case .pause(let set):
            for node in set.nodes { agents[node].pause(LinuxClock.now().monotonic) }
            if set.control { pauseControl(true) }
        case .resume(let set):
            for node in set.nodes { agents[node].resume() }
            if set.control { pauseControl(false) }
        case .suspend, .slowProcessor, .drift, .disk, .bitRot, .database, .backUpControl, .restoreControl, .crashAt,
            .dnsAnswers, .moveControl:
            preconditionFailure("LivePlan.refusals lets no such step through")
        }
    }

    private func killControl() {
        guard let controlProcess else { return }
        desk.setControlRuns(false)
        controlProcess.signal(SIGKILL)
        controlProcess.wait()
        self.controlProcess = nil
    }

    /// The operator waits meanwhile.
    private func pauseControl(_ isPaused: Bool) {
        guard let controlProcess else { return }
        desk.setControlRuns(!isPaused)
        controlProcess.signal(isPaused ? SIGSTOP : SIGCONT)
    }

    /// Nodes that were switched on before their token existed start when it does.
    private func startThoseWithTokens() throws {
        for (node, token) in waitingForToken {
            guard let text = desk.token(token) else { continue }
            let file = "\(work.secrets)/token-\(token)"
            try SecretText.write(text, to: file)
            try startAgent(node, agentArguments(node, tokenFile: file))
        }
        waitingForToken.removeAll { agents[$0.node].wasStarted }
    }

    private func agentArguments(_ node: Int, tokenFile: String) -> [String] {
        let planned = plan.nodes[node]
        let milliseconds = plan.cluster.probe.nanoseconds / 1_000_000
        var arguments = [
            programs.agent, "--state", agents[node].statePath, "--control", "\(network.controlEndpoint)",
            "--token", "@\(tokenFile)", "--name", planned.name, "--listen", "\(network.tunnelEndpoint(node))",
            "--interface", "rap%d", "--probe-interval", "\(Double(milliseconds) / 1000)",
        ]
        for domain in planned.domains where domain != .fabric { arguments += ["--domain", domain.text] }
        return arguments
    }

    private func startAgent(_ node: Int, _ arguments: [String]) throws {
        let log = "\(work.logs)/node-\(plan.nodes[node].name).log"
        agents[node].started(try network.start(node, arguments, log: log), arguments)
    }

    // MARK: The end

    /// Removes everything; returns what could not be removed.
    private func cleanUp() -> [String] {
        desk.stop()
        _ = flows.stop()
        var leftovers = network.tearDown().map { "\($0)" }
        desk.waitForEnd()
        do {
            if let keep = options.keep {
                try work.copy(work.states, to: keep + "/states")
                try work.copy(work.logs, to: keep + "/logs")
            }
            if let pcap = options.pcap { try work.copy(work.captures, to: pcap) }
        } catch { progress("files could not be kept: \(error)") }
        do { try work.remove() } catch { leftovers.append("\(work.path): \(error)") }
        return leftovers
    }
}
