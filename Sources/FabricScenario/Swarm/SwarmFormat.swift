internal import FabricCore
internal import FabricDocument

/// The file's `swarm`: what may be drawn on top of it, and when.
struct SwarmSection: Decodable, Sendable {
    var judge: SwarmJudgement?
    var faults: Located<[FaultKind]>?
    var attacks: Located<[AttackKind]>?
    var vary: Located<[WorldFeature]>?
    var from: Located<Span>?
    var quiet: Located<Span>?
    var count: Located<SwarmCount>?
    var lasting: Located<SwarmLasting>?
    var nodes: Selector?
    var control: Bool?

    enum CodingKeys: String, CodingKey, CaseIterable {
        case judge, faults, attacks, vary, from, quiet, count, lasting, nodes, control
    }
}

struct SwarmCount: Decodable, Sendable {
    var atLeast: Int?
    var atMost: Int?

    enum CodingKeys: String, CodingKey, CaseIterable {
        case atLeast = "at-least"
        case atMost = "at-most"
    }
}

struct SwarmLasting: Decodable, Sendable {
    var atLeast: Span?
    var atMost: Span?

    enum CodingKeys: String, CodingKey, CaseIterable {
        case atLeast = "at-least"
        case atMost = "at-most"
    }
}

/// What a run that a swarm draws is judged by, beside whether it comes to its end.
public enum SwarmJudgement: String, NamedChoice {
    /// The file's expectations, and the safety rules.
    case expectations
    /// The safety rules alone: the file's expectations are told, and break nothing.
    case rules
    public static let noun = "judgement"
}

/// Properties of the world that a swarm may draw anew for each seed.
public enum WorldFeature: String, NamedChoice {
    /// How many peers policy gives a node.
    case peers
    case heartbeat
    case probe
    /// Delay and jitter between places.
    case delay
    /// Wall clocks of whole groups are off.
    case skew
    public static let noun = "feature of the world"
}

/// What a swarm may draw. The defaults are those of a file without `swarm`.
public struct SwarmSettings: Sendable, Hashable {
    /// A file without `swarm` does not say that its expectations hold whatever is drawn.
    public var judge = SwarmJudgement.rules
    /// Kinds that may be drawn, in the catalogue's order.
    public var faults: [FaultKind] = FaultKind.allCases
    /// Kinds of attack that may be drawn, in the order of the declaration.
    public var attacks: [AttackKind] = []
    /// In the order of the declaration.
    public var vary: [WorldFeature] = []
    /// No fault begins before this.
    public var from: Duration = .zero
    /// The faults are over so long before the end; nil for a quarter of the duration.
    public var quiet: Duration?
    public var count = 1...8
    /// How long a fault lasts.
    public var lasting: ClosedRange<Duration> = .seconds(1)...(.seconds(60))
    /// The nodes that faults may hit; empty for all.
    public var nodes: [Int] = []
    /// Whether faults may hit the control plane.
    public var control = true

    public static let maximumFaults = 1_000

    public init() {}

    /// Where faults may lie in a run of this length; empty when there is no room.
    public func window(_ duration: Duration) -> Range<Duration> {
        let end = duration - (quiet ?? duration / 4)
        return from..<max(from, end)
    }
}

extension Planner {
    mutating func readSwarm() {
        guard let located = header.swarm else { return }
        let section = located.value
        var settings = SwarmSettings()
        settings.judge = section.judge ?? .expectations
        selections.removeAll(keepingCapacity: true)
        if let faults = section.faults {
            if faults.value.isEmpty { refuse(faults, "“faults” is empty; leave it out for every kind") }
            settings.faults = FaultKind.allCases.filter { faults.value.contains($0) }
            if settings.faults.count != faults.value.count { refuse(faults, "a kind of fault is named twice") }
        }
        if let attacks = section.attacks {
            settings.attacks = AttackKind.allCases.filter { attacks.value.contains($0) }
            if settings.attacks.count != attacks.value.count { refuse(attacks, "a kind of attack is named twice") }
        }
        if let vary = section.vary { settings.vary = WorldFeature.allCases.filter { vary.value.contains($0) } }
        if let from = section.from { settings.from = time(from) }
        if let quiet = section.quiet { settings.quiet = time(quiet) }
        if settings.window(plan.duration).isEmpty {
            refuse(located, "there is no room for faults between “from” and the quiet time before the end")
        }
        if let count = section.count {
            let low = count.value.atLeast ?? min(1, count.value.atMost ?? 1)
            let high = count.value.atMost ?? max(8, low)
            if low < 0 || high < max(1, low) || high > SwarmSettings.maximumFaults {
                refuse(count, "a run has 0 to \(SwarmSettings.maximumFaults) faults, and “at-least” is not the greater")
            } else {
                settings.count = low...high
            }
        }
        if let lasting = section.lasting {
            let low = lasting.value.atLeast?.duration ?? min(.seconds(1), lasting.value.atMost?.duration ?? .seconds(1))
            let high = lasting.value.atMost?.duration ?? max(.seconds(60), low)
            if low < .milliseconds(10) || high < low {
                refuse(lasting, "a fault lasts 10ms or more, and “at-least” is not the greater")
            } else {
                settings.lasting = low...high
            }
        }
        if let nodes = section.nodes {
            let selected = select(nodes)
            settings.nodes = selected.count == plan.nodes.count ? [] : selected
        }
        settings.control = section.control ?? true
        plan.swarm = settings
    }
}

extension PlanText {
    /// The members of `swarm`.
    func written(_ settings: SwarmSettings) -> String {
        var parts = [
            "judge: \(settings.judge.rawValue)", "faults: [\(settings.faults.map(\.rawValue).joined(separator: ", "))]",
        ]
        if !settings.attacks.isEmpty {
            parts.append("attacks: [\(settings.attacks.map(\.rawValue).joined(separator: ", "))]")
        }
        if !settings.vary.isEmpty { parts.append("vary: [\(settings.vary.map(\.rawValue).joined(separator: ", "))]") }
        parts.append("from: \(Span(settings.from))")
        if let quiet = settings.quiet { parts.append("quiet: \(Span(quiet))") }
        parts.append("count: {at-least: \(settings.count.lowerBound), at-most: \(settings.count.upperBound)}")
        parts.append(
            "lasting: {at-least: \(Span(settings.lasting.lowerBound)), at-most: \(Span(settings.lasting.upperBound))}")
        if !settings.nodes.isEmpty { parts.append("nodes: \(selector(settings.nodes))") }
        if !settings.control { parts.append("control: false") }
        return parts.joined(separator: ", ")
    }
}
