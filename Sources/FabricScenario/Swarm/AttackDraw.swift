internal import FabricCore
internal import FabricDocument

/// The kinds of attack that a swarm draws. Unlike faults they are drawn only where a file names them.
public enum AttackKind: String, NamedChoice {
    case replay, flood
    case captureControl = "capture-control"
    case impostor
    public static let noun = "kind of attack"
}

extension ScenarioFile {
    /// So many attacks of a kind that is on, at most.
    static let maximumAttacks: UInt64 = 2

    /// What is drawn of attacks after the faults, each kind from a stream of its own: what a seed draws of faults stays the
    /// same. Each kind is off in half of the runs.
    static func attacks(_ draw: inout FaultDraw, _ seed: UInt64) -> [(time: Duration, nodes: [DocumentNode])] {
        var entries: [(time: Duration, nodes: [DocumentNode])] = []
        for kind in draw.settings.attacks {
            draw.random = SeededRandom(seed: seed, stream: "swarm/attack/\(kind.rawValue)")
            guard draw.random.below(2) == 0 else { continue }
            for _ in 0...draw.random.below(maximumAttacks) {
                for _ in 0..<maximumAttempts {
                    let made = draw.attack(kind)
                    if made.isEmpty { continue }
                    entries.append((time(of: made), made))
                    break
                }
            }
        }
        return entries
    }
}

extension FaultDraw {
    fileprivate mutating func attack(_ kind: AttackKind) -> [DocumentNode] {
        switch kind {
        case .replay: replay()
        case .flood: flood()
        case .captureControl: captureControl()
        case .impostor: impostor()
        }
    }

    /// Copies leave later than any line takes, mostly, and all of them within the time of faults.
    private mutating func replay() -> [DocumentNode] {
        let when = interval()
        let after = rounded(logarithmic(.seconds(5), .seconds(60)))
        let from = random.below(2) == 0 ? Array(plan.nodes.indices) : someNodes()
        let to = someNodes()
        let members: [(String, DocumentNode)] = [
            ("from", selector(from, control: false)), ("to", selector(to, control: false)),
            ("what", choice(ReplayedMessages.self)), ("after", .text(Span(after))),
            ("source", choice(AttackSource.self)),
            ("flip", DocumentNode(.integer(random.below(3) == 0 ? 1 + Int64(random.below(8)) : 0))),
            ("share", .text(share(from: 10_000, to: 1_000_000))), ("for", .text(Span(when.length))),
        ]
        guard when.start + when.length + after <= window.upperBound, from.count > 1 || from != to else { return [] }
        return [step(at: when.start, "replay", members)]
    }

    /// A few thousand messages, which cost a run little.
    private mutating func flood() -> [DocumentNode] {
        let (start, length) = interval()
        let time = min(length, .seconds(20))
        let interval = rounded(logarithmic(.milliseconds(5), .milliseconds(500)))
        let nodes = selector(someNodes(atMost: 2), control: false)
        return [
            step(
                at: start, "flood",
                [
                    ("to", nodes), ("interval", .text(Span(interval))), ("source", choice(AttackSource.self)),
                    ("for", .text(Span(time))),
                ])
        ]
    }

    /// Whether there is something to send depends on what the run has come to.
    private mutating func captureControl() -> [DocumentNode] {
        let when = interval()
        let nodes = selector(someNodes(), control: false)
        let sends = choice(CapturedAnswer.self)
        guard settings.control else { return [] }
        return [
            step(
                at: when.start, "capture-control",
                [
                    ("nodes", nodes), ("sends", sends), ("required", DocumentNode(.bool(false))),
                    ("for", .text(Span(when.length))),
                ])
        ]
    }

    /// By a node that the file never switches on, with the keys of one that runs, and a token of which a use is left.
    private mutating func impostor() -> [DocumentNode] {
        let time = moment()
        let (nodes, tokens) = spares(at: time)
        guard !nodes.isEmpty, !tokens.isEmpty else { return [] }
        let node = nodes[Int(random.below(UInt64(nodes.count)))]
        let token = tokens[Int(random.below(UInt64(tokens.count)))]
        let victims = someNodes(atMost: 1)
        // It must have keys by then: it is up, and nothing befalls it.
        guard victims[0] != node, claim(victims[0], time, time) else { return [] }
        impostors.append((node, token))
        return [
            step(
                at: time, "impostor",
                [
                    ("node", .text(plan.nodes[node].name)), ("keys-of", .text(plan.nodes[victims[0]].name)),
                    ("token", .text(plan.tokens[token].name)),
                ])
        ]
    }

    private func spares(at time: Duration) -> (nodes: [Int], tokens: [Int]) {
        var isUsed = [Bool](repeating: false, count: plan.nodes.count)
        var left = plan.tokens.map(\.uses)
        var created = [Bool](repeating: false, count: plan.tokens.count)
        for step in plan.steps {
            switch step.action {
            case .createToken(let token): created[token] = step.time < time
            case .enrol(let nodes, let token):
                for node in nodes where !isUsed[node] {
                    isUsed[node] = true
                    left[token] -= 1
                }
            case .attack(.impostor(let planned)):
                isUsed[planned.node] = true
                left[planned.token] -= 1
            default: break
            }
        }
        for (node, token) in impostors {
            isUsed[node] = true
            left[token] -= 1
        }
        let may = settings.nodes.isEmpty ? Array(plan.nodes.indices) : settings.nodes
        return (may.filter { !isUsed[$0] }, left.indices.filter { created[$0] && left[$0] > 0 })
    }

    private mutating func choice<Choice: NamedChoice>(_: Choice.Type) -> DocumentNode {
        let all = Array(Choice.allCases)
        return .text(all[Int(random.below(UInt64(all.count)))].rawValue)
    }
}
