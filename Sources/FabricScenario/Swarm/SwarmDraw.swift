internal import FabricCore
internal import FabricDocument

extension ScenarioFile {
    /// More draws than this for one fault find no room, and the fault is left out.
    static let maximumAttempts = 8

    /// The run that a swarm seed stands for, as a file: this file's world and expectations, with the features and faults
    /// that the seed draws. It depends on the file and the seed alone. Seeds are below 2^63.
    ///
    /// First each kind of fault is switched on or off: runs in which everything happens at once hide what needs two things
    /// alone. Then so many faults are drawn from the kinds that are on, each with a random stream of its kind.
    public func drawn(seed: UInt64) throws(ScenarioError) -> ScenarioFile {
        let base = try plan()
        guard base.hosts.contains(.simulator) else {
            let problem = DocumentError(
                "a swarm runs in the simulator alone; add “simulator”, or leave “hosts” out", path: "hosts",
                position: document["hosts"]?.position)
            throw ScenarioError(file: file, problems: [problem])
        }
        // What is drawn no live host need be able to do.
        var root =
            document["hosts"] == nil
            ? document : document.setting("hosts", DocumentNode(.array([.text(ScenarioHost.simulator.rawValue)])))
        if base.swarm.judge == .rules { root = ScenarioFile.withoutDemands(root) }
        root = root.setting("swarm", nil).setting("seed", DocumentNode(.integer(Int64(clamping: seed))))
        root = varied(root, base, seed)
        let entries = ScenarioFile.faults(base, seed)
        if !entries.isEmpty {
            root = root.setting("timeline", DocumentNode(.array((root["timeline"]?.array ?? []) + entries)))
        }
        return try ScenarioFile(document: root, file: "\(file), swarm seed \(seed)")
    }

    /// The file with expectations that break nothing.
    private static func withoutDemands(_ root: DocumentNode) -> DocumentNode {
        let entries = (root["expect"]?.array ?? []).map { $0.setting("required", DocumentNode(.bool(false))) }
        return root.setting("expect", DocumentNode(.array(entries)))
    }

    /// This file with another seed; below 2^63.
    public func with(seed: UInt64) throws(ScenarioError) -> ScenarioFile {
        try ScenarioFile(
            document: document.setting("seed", DocumentNode(.integer(Int64(clamping: seed)))), file: file)
    }

    private static func faults(_ base: Plan, _ seed: UInt64) -> [DocumentNode] {
        let settings = base.swarm
        var draw = FaultDraw(plan: base)
        guard !draw.window.isEmpty else { return [] }
        func stream(_ name: String) -> SeededRandom { SeededRandom(seed: seed, stream: "swarm/\(name)") }
        let mix = stream("mix")
        var on = settings.faults.filter { stream("\($0.rawValue)/on").below(2) == 0 }
        if on.isEmpty { on = [settings.faults[Int(mix.below(UInt64(settings.faults.count)))]] }
        let weights = on.map { FaultCatalogue.entry($0).weight }
        let streams = on.map { stream($0.rawValue) }
        let count = settings.count.lowerBound + Int(mix.below(UInt64(settings.count.count)))
        var entries: [(time: Duration, nodes: [DocumentNode])] = []
        for _ in 0..<count {
            var place = mix.below(weights.reduce(0, +))
            let kind = weights.firstIndex { weight in
                if place < weight { return true }
                place -= weight
                return false
            }!
            draw.random = streams[kind]
            for _ in 0..<maximumAttempts {
                let made = FaultCatalogue.entry(on[kind]).draw(&draw)
                if made.isEmpty { continue }
                entries.append((time(of: made), made))
                break
            }
        }
        entries += attacks(&draw, seed)
        // By time, those of one draw together; a stable order for equal times.
        return entries.enumerated().sorted { ($0.element.time, $0.offset) < ($1.element.time, $1.offset) }
            .flatMap(\.element.nodes)
    }

    /// When the first of these entries happens.
    static func time(of entries: [DocumentNode]) -> Duration {
        entries.first?["at"]?.string.flatMap { Span($0) }?.duration ?? .zero
    }

    // MARK: The world

    /// The world with the features that the seed draws; each is drawn in half of the runs.
    private func varied(_ root: DocumentNode, _ base: Plan, _ seed: UInt64) -> DocumentNode {
        var world = root["world"] ?? DocumentNode(.object([]))
        for feature in base.swarm.vary {
            let random = SeededRandom(seed: seed, stream: "swarm/vary/\(feature.rawValue)")
            guard random.below(2) == 0 else { continue }
            func cluster(_ key: String, _ value: DocumentNode) {
                world = world.setting(
                    "cluster", (world["cluster"] ?? DocumentNode(.object([]))).setting(key, value))
            }
            func seconds(_ choices: [Int64]) -> DocumentNode {
                .text(Span(.milliseconds(choices[Int(random.below(UInt64(choices.count)))])))
            }
            switch feature {
            case .peers: cluster("peers", DocumentNode(.integer(2 + 2 * Int64(random.below(4)))))
            case .heartbeat: cluster("heartbeat", seconds([1_000, 2_000, 5_000, 10_000, 20_000]))
            case .probe: cluster("probe", seconds([500, 1_000, 2_000, 5_000]))
            case .delay:
                var link = world["link"] ?? DocumentNode(.object([]))
                link = link.setting("delay", seconds([0, 1, 10, 40, 150]))
                let slower = world.setting("link", link.setting("jitter", seconds([0, 0, 2, 20])))
                if isAccepted(root.setting("world", slower)) { world = slower }
            case .skew: world = world.setting("nodes", ScenarioFile.skewed(world["nodes"], random))
            }
        }
        return root.setting("world", world)
    }

    /// Whether this is a scenario still. Lines and steps of the file may put jitter of their own on the world's delay, which
    /// heavy flows may not find room for, or give its jitter a shape, so only the whole plan knows.
    private func isAccepted(_ root: DocumentNode) -> Bool {
        do throws(ScenarioError) {
            _ = try ScenarioFile(document: root, file: file).plan()
            return true
        } catch {
            return false
        }
    }

    private static func skewed(_ groups: DocumentNode?, _ random: SeededRandom) -> DocumentNode {
        let entries = (groups?.array ?? []).map { group in
            let minutes = Int64(random.below(11)) - 5
            let skew = DocumentNode.text(Span(.seconds(60 * minutes)))
            return minutes == 0
                ? group : group.setting("clock", DocumentNode(.object([DocumentMember("skew", skew)])))
        }
        return DocumentNode(.array(entries))
    }
}
