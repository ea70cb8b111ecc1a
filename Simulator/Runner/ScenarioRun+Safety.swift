internal import FabricCore
public import FabricScenario

/// The safety rules that every run is under, beside what its file expects.
extension ScenarioRun {
    /// What grows slowly is looked at this often; in long runs more seldom.
    static let shortestSweepInterval = Duration.seconds(10)
    static let mostSweeps = 200

    /// What the judge says, and for each broken rule an expectation that did not hold.
    func verdict() -> Verdict {
        sweep(isLast: true)
        var verdict = judge.verdict()
        verdict.expectations += brokenRules
        return verdict
    }

    func sweepSafety(at time: Duration) {
        guard time >= nextSweep else { return }
        nextSweep = time + max(Self.shortestSweepInterval, plan.duration / Self.mostSweeps)
        sweep(isLast: false)
    }

    private func sweep(isLast: Bool) {
        services.checks.sweep(agents)
        control.sweep()
        if isLast { control.scanDisk() }
    }

    /// Each rule with how often it was checked and broken, in the order of `SafetyRule`.
    public var safety: [RuleReport] {
        zip(SafetyRule.allCases, services.checks.outcomes).map { rule, outcome in
            RuleReport(rule: rule.name, checks: outcome.checks, violations: outcome.violations)
        }
    }

    private var brokenRules: [ExpectationResult] {
        zip(SafetyRule.allCases, services.checks.outcomes).compactMap { rule, outcome in
            guard let first = outcome.kept.first else { return nil }
            func said(_ violation: SafetyChecks.Violation) -> String {
                let time = Span(.milliseconds(max(.zero, violation.time - start).nanoseconds / 1_000_000))
                return "\(violation.host ?? "the world") at \(time): \(violation.message)"
            }
            let more = outcome.violations > 1 ? " (and \(outcome.violations - 1) more)" : ""
            var result = ExpectationResult(
                name: "rule \(rule.name): \(rule.sentence)", condition: rule.sentence, line: 0, outcome: .broken,
                firstHeld: nil, decidedAt: max(.zero, first.time - start), why: said(first) + more)
            result.kind = .rule
            return result
        }
    }
}
