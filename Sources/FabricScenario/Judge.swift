internal import FabricCore

/// Decides from observations whether a plan's expectations hold. Both hosts use it, so both judge alike.
///
/// A host calls `observe` after each thing that may matter or at a fixed pace, and always at `nextMoment`. Windows that
/// are not open cost nothing; a condition that fails is looked at first where it failed last.
///
/// Between two observations nothing is assumed. The first observation at or after a window's end counts as made at the
/// end: a host that can't observe at that very moment (the live one) is not judged by its polling.
public struct Judge: Sendable {
    private let plan: Plan
    private var states: [State]
    /// Indices of expectations that are not settled, in the plan's order.
    private var open: [Int]
    private var evaluator: ConditionEvaluator
    /// The latest observation.
    public private(set) var lastObservation: Duration?

    private struct State: Sendable {
        var outcome = Outcome.pending
        var firstHeld: Duration?
        /// Since when the condition has held without a break.
        var heldSince: Duration?
        var observed = false
        var why: String?
        var decidedAt: Duration?
    }

    private enum Outcome { case pending, held, broken, missed }

    public init(plan: Plan) {
        self.plan = plan
        states = [State](repeating: State(), count: plan.expectations.count)
        open = Array(plan.expectations.indices)
        evaluator = ConditionEvaluator(plan: plan)
    }

    /// Every expectation has been decided; further observations change nothing.
    public var isSettled: Bool { open.isEmpty }

    public var heldCount: Int { states.count { $0.outcome == .held } }
    /// Of those that break the run.
    public var brokenCount: Int {
        zip(states, plan.expectations).count { $0.outcome == .broken && $1.isRequired }
    }

    /// The next time after `time` at which an observation decides something: a window opens or ends.
    public func nextMoment(after time: Duration) -> Duration? {
        var next: Duration?
        func consider(_ moment: Duration) { if moment > time, next.map({ moment < $0 }) ?? true { next = moment } }
        for index in open {
            switch plan.expectations[index].window {
            case .always(let from, let until), .never(let from, let until), .within(let from, let until, _),
                .sometimes(let from, let until, _):
                consider(from)
                consider(until)
            case .at(let moment): consider(moment)
            }
            // What must stay so for a while is decided when the while is over.
            if case .within(_, _, let stays) = plan.expectations[index].window, let since = states[index].heldSince {
                consider(since + stays)
            }
        }
        return next
    }

    /// Times don't go back from one call to the next.
    public mutating func observe(_ view: some WorldView, at time: Duration) {
        precondition(lastObservation.map { $0 <= time } ?? true, "observations go forward")
        lastObservation = time
        var stillOpen: [Int] = []
        stillOpen.reserveCapacity(open.count)
        for index in open {
            judge(index, view, time)
            if states[index].outcome == .pending { stillOpen.append(index) }
        }
        open = stillOpen
    }

    private mutating func judge(_ index: Int, _ view: some WorldView, _ time: Duration) {
        let expectation = plan.expectations[index]
        if time >= expectation.window.start { evaluator.look(view, at: time, core: expectation.core) }
        switch expectation.window {
        case .at(let moment):
            guard time >= moment else { return }
            if evaluator.holds(expectation.condition, view) { hold(index, time) } else { fail(index, view, time) }
        case .always(let from, let until):
            guard time >= from else { return }
            // A run that jumped over the whole window has seen nothing of it, so its end is judged in its place.
            if time > until, states[index].observed { return settle(index, time) }
            states[index].observed = true
            if !evaluator.holds(expectation.condition, view) { return fail(index, view, time) }
            if states[index].firstHeld == nil { states[index].firstHeld = time }
            if time >= until { settle(index, time) }
        case .never(let from, let until):
            guard time >= from else { return }
            if time > until, states[index].observed { return settle(index, time) }
            states[index].observed = true
            if evaluator.coreIsEmpty { return fail(index, view, time) }
            if evaluator.holds(expectation.condition, view) {
                return fail(index, view, time, "this holds: " + PlanText(plan).condition(expectation.condition))
            }
            if states[index].firstHeld == nil { states[index].firstHeld = time }
            if time >= until { settle(index, time) }
        case .sometimes(let from, let until, let required):
            guard time >= from else { return }
            if time > until, states[index].observed { return miss(index, required, view, time) }
            states[index].observed = true
            if evaluator.holds(expectation.condition, view) { return hold(index, time) }
            if time >= until { miss(index, required, view, time) }
        case .within(let from, let until, let stays):
            guard time >= from else { return }
            guard evaluator.holds(expectation.condition, view) else {
                states[index].heldSince = nil
                if time >= until { fail(index, view, time) }
                return
            }
            let since = states[index].heldSince ?? time
            states[index].heldSince = since
            if time - since >= stays {
                hold(index, since)
                states[index].decidedAt = time
            } else if time >= until {
                fail(index, view, time, "it held since \(Span(since)) only, not for \(Span(stays))")
            }
        }
    }

    private mutating func hold(_ index: Int, _ first: Duration) {
        states[index].outcome = .held
        states[index].firstHeld = first
        states[index].decidedAt = first
    }

    /// A rare state that the run did not reach.
    private mutating func miss(_ index: Int, _ required: Bool, _ view: some WorldView, _ time: Duration) {
        if required { return fail(index, view, time) }
        states[index].outcome = .missed
        states[index].decidedAt = time
    }

    private mutating func settle(_ index: Int, _ time: Duration) {
        states[index].outcome = .held
        states[index].decidedAt = time
    }

    private mutating func fail(_ index: Int, _ view: some WorldView, _ time: Duration, _ why: String? = nil) {
        states[index].outcome = .broken
        states[index].decidedAt = time
        states[index].why = why ?? evaluator.reason(plan.expectations[index].condition, view)
    }

    /// What is decided so far. Call it after the last observation, at the plan's end.
    public func verdict() -> Verdict {
        let text = PlanText(plan)
        return Verdict(
            expectations: plan.expectations.indices.map { index in
                let expectation = plan.expectations[index]
                let state = states[index]
                let outcome: ExpectationResult.Outcome =
                    switch state.outcome {
                    case .held: .held
                    case .broken: .broken
                    case .pending, .missed: .notReached
                    }
                var result = ExpectationResult(
                    name: expectation.name, condition: text.expectation(expectation), line: expectation.line,
                    outcome: outcome, firstHeld: state.firstHeld, decidedAt: state.decidedAt,
                    why: state.outcome == .pending ? "the run ended before it was decided" : state.why)
                result.kind = expectation.window.kind
                result.isRequired = expectation.isRequired
                return result
            })
    }
}

extension PlannedExpectation.Window {
    /// Before it nothing is judged.
    var start: Duration {
        switch self {
        case .always(let from, _), .never(let from, _), .sometimes(let from, _, _), .within(let from, _, _): from
        case .at(let time): time
        }
    }

    public var kind: ExpectationKind {
        switch self {
        case .always: .always
        case .never: .never
        case .sometimes: .sometimes
        case .within: .within
        case .at: .at
        }
    }
}
