internal import FabricCore
public import FabricScenario

/// A crash at each boundary that one component passes in a scenario: what a run with the crash came to.
public enum Sweep {
    /// A boundary that the component passed in the run without a crash.
    public struct Point: Sendable, Hashable, Codable {
        /// Counted from 1, among those that the sweep's boundary covers.
        public var number: Int
        public var boundary: String
        /// Since the scenario's start; negative before it.
        public var seconds: Double
        public var detail: String
    }

    public struct Outcome: Sendable, Hashable, Codable {
        public var number: Int
        public var held: Bool
        /// The expectations that broke, and what could not be carried out.
        public var broken: [String]
    }

    /// The component: a node's index, or the control plane.
    public enum Component: Sendable, Hashable {
        case control
        case node(Int)

        var set: EndpointSet {
            switch self {
            case .control: EndpointSet(nodes: [], control: true)
            case .node(let node): EndpointSet(nodes: [node], control: false)
            }
        }
    }

    /// Runs the plan as it is, and lists the boundaries that the component passes.
    public static func points(_ plan: Plan, of component: Component, _ boundary: CrashBoundary) -> (
        points: [Point], outcome: Outcome
    ) {
        let run = ScenarioRun(plan: plan)
        let host = run.hosts(component.set)[0]
        run.world.recordBoundaries(of: host)
        let verdict = run.run { _ in }
        var points: [Point] = []
        for passed in run.world.passedBoundaries(of: host) where boundary.covers(passed.boundary) {
            points.append(
                Point(
                    number: points.count + 1, boundary: passed.boundary.rawValue,
                    seconds: Double((passed.time - run.startOfScenario).nanoseconds) / 1e9, detail: passed.detail))
        }
        return (points, outcome(0, verdict, run))
    }

    /// Runs the plan with a crash at the n-th boundary.
    public static func run(_ plan: Plan, crashing component: Component, at point: CrashPoint) -> Outcome {
        let (outcome, _) = runWithVerdict(plan, crashing: component, at: point)
        return outcome
    }

    /// The same, with the verdict for people.
    public static func runWithVerdict(
        _ plan: Plan, crashing component: Component, at point: CrashPoint
    ) -> (Outcome, Verdict) {
        let run = ScenarioRun(plan: plan)
        // From the very start, as the boundaries were counted.
        run.world.armCrash(run.hosts(component.set)[0], point, ofTimeline: false)
        let verdict = run.run { _ in }
        return (outcome(point.nth, verdict, run), verdict)
    }

    private static func outcome(_ number: Int, _ verdict: Verdict, _ run: ScenarioRun) -> Outcome {
        let broken = verdict.expectations.filter { !$0.isGood }.map { result in
            result.name + (result.why.map { " — \($0)" } ?? "")
        }
        return Outcome(number: number, held: verdict.held && run.troubles.isEmpty, broken: broken + run.troubles)
    }
}
