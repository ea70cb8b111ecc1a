internal import FabricCore

/// Says parts of a plan in words: for expectations without a name, for the reasons of a verdict. What is written in the
/// file's own form is in `PlanText+Canonical.swift`.
public struct PlanText: Sendable {
    /// More nodes than this are counted, not named.
    public static let maximumNames = 10

    let plan: Plan

    public init(_ plan: Plan) { self.plan = plan }

    /// `all`, a group, a place, or names (at most `maximumNames`, then “and N more”).
    public func nodes(_ nodes: [Int]) -> String {
        if nodes.count == plan.nodes.count, nodes.count > 1 { return "all" }
        if nodes.count > 1 {
            if let group = plan.groups.first(where: { $0.nodes.elementsEqual(nodes) }) { return group.name }
            for (index, place) in plan.places.enumerated()
            where nodes.elementsEqual(plan.nodes.indices.filter { plan.nodes[$0].place == index }) {
                return "place:\(place.name)"
            }
        }
        let names = nodes.prefix(PlanText.maximumNames).map { plan.nodes[$0].name }
        if names.count == 1, nodes.count == 1 { return names[0] }
        let more = nodes.count > names.count ? ", and \(nodes.count - names.count) more" : ""
        return "[" + names.joined(separator: ", ") + more + "]"
    }

    // MARK: Expectations

    public func expectation(_ expectation: PlannedExpectation) -> String {
        let core = expectation.core.map { ", of \(nodes($0)) those in no fault" } ?? ""
        return "\(window(expectation.window))\(core): \(condition(expectation.condition))"
    }

    public func window(_ window: PlannedExpectation.Window) -> String {
        switch window {
        case .always(let from, let until): return "always from \(Span(from)) to \(Span(until))"
        case .never(let from, let until): return "never from \(Span(from)) to \(Span(until))"
        case .sometimes(let from, let until, let required):
            return "sometimes from \(Span(from)) to \(Span(until))\(required ? ", required" : "")"
        case .within(let from, let until, let stays):
            let held = stays > .zero ? " for \(Span(stays))" : ""
            return from == .zero ? "by \(Span(until))\(held)" : "from \(Span(from)) to \(Span(until))\(held)"
        case .at(let time): return "at \(Span(time))"
        }
    }

    public func condition(_ condition: PlannedCondition) -> String {
        switch condition {
        case .nodes(let condition): return self.condition(condition)
        case .count(let condition, let range): return "\(range) of: \(self.condition(condition))"
        case .reachable(let condition, let least, let most):
            let shares =
                (least > 0 ? ["at least \(Ratio(partsPerMillion: least))"] : [])
                + (most < 1_000_000 ? ["at most \(Ratio(partsPerMillion: most))"] : [])
            return "\(shares.joined(separator: " and ")) of the pairs of: \(self.condition(condition))"
        case .controlUp(let up): return "control plane \(up ? "up" : "down")"
        case .audit(let event, let range): return "audit “\(plan.auditEvents[event])” \(range) times"
        case .flow(let index, let share):
            return "flow \(plan.flows[index].name) delivered at least \(Ratio(partsPerMillion: share))"
        case .all(let parts): return parts.map { self.condition($0) }.joined(separator: " and ")
        case .any(let parts): return "(" + parts.map { self.condition($0) }.joined(separator: " or ") + ")"
        case .not(let part): return "not (\(self.condition(part)))"
        }
    }

    private func condition(_ condition: NodeCondition) -> String {
        let who = nodes(condition.nodes)
        switch condition.test {
        case .enrolled: return "\(who) enrolled"
        case .tunnels(let count): return "\(who) with \(count) tunnels or more"
        case .reaches(let to): return "\(who) reaches \(nodes(to))"
        case .reachesPolicy: return "\(who) reaches whom policy says"
        case .unreachable(let to): return "\(who) can't reach \(nodes(to))"
        case .rekeyed(let range):
            return range.maximum == .max
                ? "\(who) rekeyed \(range.minimum) times or more" : "\(who) rekeyed \(range) times"
        case .phase(let name): return "\(who) \(name.rawValue)"
        case .peers(let range): return "\(who) with \(range) peers"
        case .snapshotAgrees: return "\(who) with the newest snapshot"
        case .snapshotVersion(let range): return "\(who) with snapshot version \(range)"
        case .certificate(let age, let left):
            let parts = [age.map { "at most \(Span($0)) old" }, left.map { "at least \(Span($0)) left" }]
            return "\(who) with a certificate \(parts.compactMap { $0 }.joined(separator: ", "))"
        case .clockOffset(let limit): return "\(who) with clocks off by \(Span(limit)) or less"
        case .sessionAge(let limit): return "\(who) with sessions at most \(Span(limit)) old"
        case .inFault: return "\(who) in a fault"
        case .refused(let reason): return "\(who) refused with \(reason.rawValue)"
        case .online: return "\(who) online"
        case .offline: return "\(who) offline"
        case .requests(let range): return "\(who) with \(range) join requests"
        case .records(let range): return "\(who) with \(range) node records"
        }
    }
}
