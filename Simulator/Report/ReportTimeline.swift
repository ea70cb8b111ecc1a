internal import FabricCore
internal import FabricScenario

/// The steps of a plan as a reader sees them: one bar or row of ticks per entry of the file, whatever the steps are.
struct ReportTimeline {
    struct Bar: Encodable {
        var line: Int
        var label: String?
        var text: String
        /// The step's word: `partition`, `crash`, `enrol` …
        var word: String
        /// Something that operators do, not something that goes wrong.
        var isOperation: Bool
        /// Begin and end of each span, in seconds; equal for a moment.
        var spans: [[Double]]
    }

    struct Cut: Encodable {
        var from: [Int]
        var to: [Int]
        var fromControl: Bool
        var toControl: Bool
        var both: Bool
        var begin: Double
        var end: Double
        var line: Int
    }

    /// Steps by these words are somebody's work; every other word is a fault.
    private static let operations: Set<String> = [
        "token", "revoke-token", "enrol", "approve", "reject", "flow",
    ]
    /// More ticks of one entry than this are drawn as one band.
    static let maximumSpans = 400

    private(set) var bars: [Bar] = []
    private(set) var cuts: [Cut] = []

    init(_ plan: Plan) {
        let text = PlanText(plan)
        var lines: [Int] = []
        for step in plan.steps where !lines.contains(step.line) { lines.append(step.line) }
        for line in lines {
            bars.append(Self.bar(plan.steps.filter { $0.line == line }, plan, text))
        }
        for step in plan.steps {
            guard case .cut(let cut) = step.action else { continue }
            let end = Self.end(of: cut.id, plan)
            cuts.append(
                Cut(
                    from: cut.from.nodes, to: cut.to.nodes, fromControl: cut.from.control, toControl: cut.to.control,
                    both: cut.isSymmetric, begin: Self.seconds(step.time), end: Self.seconds(end), line: step.line))
        }
    }

    static func seconds(_ duration: Duration) -> Double { Double(duration.nanoseconds / 1000) / 1e6 }

    private static func word(_ action: String) -> String { String(action.prefix { $0 != ":" }) }

    private static func bar(_ steps: [PlannedStep], _ plan: Plan, _ text: PlanText) -> Bar {
        let first = text.action(steps[0].action)
        let word = word(first)
        let isOperation = operations.contains(word)
        var spans: [[Double]] = []
        var open: Duration?
        // Two moments of one word, such as a line that changes and goes back: begin and end.
        let isPair =
            steps.first!.time != steps.last!.time
            && steps.allSatisfy { $0.time == steps.first!.time || $0.time == steps.last!.time }
        for step in steps {
            let stepWord = Self.word(text.action(step.action))
            if case .startFlow(let flow) = step.action {
                spans.append([seconds(step.time), seconds(min(plan.duration, step.time + plan.flows[flow].duration))])
            } else if case .swizzle(let swizzle) = step.action {
                spans.append([seconds(step.time), seconds(min(plan.duration, step.time + swizzle.duration))])
            } else if isOperation {
                spans.append([seconds(step.time), seconds(step.time)])
            } else if open == step.time {
                continue
            } else if stepWord == word, open == nil || !isPair {
                if let open { spans.append([seconds(open), seconds(open)]) }
                open = step.time
            } else if let begin = open {
                spans.append([seconds(begin), seconds(step.time)])
                open = nil
            }
        }
        if let open { spans.append([seconds(open), seconds(lasting(steps.last!, plan) ?? open)]) }
        if spans.count > maximumSpans { spans = [[spans[0][0], spans.last![1]]] }
        return Bar(
            line: steps[0].line, label: steps[0].label,
            text: steps.count > 1 && isOperation ? word + several(steps, text) : first,
            word: word, isOperation: isOperation, spans: spans)
    }

    private static func several(_ steps: [PlannedStep], _ text: PlanText) -> String {
        let first = text.action(steps[0].action)
        let same = steps.allSatisfy { $0.action == steps[0].action }
        return (same ? first.dropFirst(word(first).count) : "") + ", \(steps.count) times"
    }

    /// When what a step without an end of its own began is over: a later step ends it, or the run.
    private static func lasting(_ step: PlannedStep, _ plan: Plan) -> Duration? {
        switch step.action {
        case .cut(let cut): return end(of: cut.id, plan)
        case .crash(let nodes):
            let restart = plan.steps.first { later in
                if case .restart(let up) = later.action {
                    later.time > step.time && up.contains { nodes.contains($0) }
                } else {
                    false
                }
            }
            return restart?.time ?? plan.duration
        case .stopControl:
            return plan.steps.first { $0.action == .startControl && $0.time > step.time }?.time ?? plan.duration
        case .setLinks: return plan.duration
        default: return nil
        }
    }

    private static func end(of cut: Int, _ plan: Plan) -> Duration {
        plan.steps.first { step in
            if case .heal(let ids) = step.action { ids.contains(cut) } else { false }
        }?.time ?? plan.duration
    }
}
