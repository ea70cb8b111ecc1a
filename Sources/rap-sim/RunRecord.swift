internal import FabricCore
internal import FabricDocument
internal import FabricScenario
internal import Foundation
internal import Simulator

/// What the report of a child's run says, as far as a search needs it.
struct RunRecord {
    struct Broken {
        var name: String
        var why: String?
        var decidedAt: Duration?
        var isRule: Bool
    }

    var traceHash: String
    var events: Int64
    var coverage: [String]
    /// In the report's order.
    var broken: [Broken]
    var expectations: [String]

    /// Nil when the output is no report.
    init?(_ output: [UInt8]) {
        guard let node = try? JSON.parse(output, limits: DocumentLimits(maximumBytes: ChildPool.maximumOutput)),
            let hash = node["traceHash"]?.string, let results = node["expectations"]?.array
        else { return nil }
        traceHash = hash
        events = node["events"]?.integer ?? 0
        coverage = node["coverage"]?.array?.compactMap(\.string) ?? []
        expectations = results.compactMap { $0["name"]?.string }
        broken = results.compactMap { result in
            guard let name = result["name"]?.string, let outcome = result["outcome"]?.string else { return nil }
            guard result["required"]?.bool ?? true, outcome == "broken" || outcome == "not reached" else { return nil }
            return Broken(
                name: name, why: result["why"]?.string,
                decidedAt: result["decidedAtSeconds"].flatMap { RunRecord.seconds($0) },
                isRule: result["kind"]?.string == "rule")
        }
    }

    /// The rule that a result of this name tells of: `rule NAME: what holds`.
    static func ruleName(_ name: String) -> String? {
        guard name.hasPrefix("rule ") else { return nil }
        return name.dropFirst("rule ".count).split(separator: ":").first.map(String.init)
    }

    private static func seconds(_ node: DocumentNode) -> Duration? {
        switch node.value {
        case .integer(let number): .seconds(number)
        case .number(let number): .milliseconds(Int64((number * 1000).rounded(.up)))
        default: nil
        }
    }

    /// How a child's run came out, and for what did not hold each failure once.
    static func outcome(_ result: ChildResult, _ record: RunRecord?) -> (SwarmResult.Outcome, failures: [String]) {
        let last = result.errors.split(separator: "\n").last.map { ": \($0.prefix(300))" } ?? ""
        switch result.ending {
        case .overran: return (.overran, ["it took longer than a run may"])
        case .wroteTooMuch:
            return (.noResult, ["its report has more than \(ChildPool.maximumOutput >> 20) MiB"])
        case .signalled(let number):
            let name = "signal \(number) (\(String(cString: strsignal(number))))"
            if traps.contains(number) { return (.trapped, [name + last]) }
            let cause = number == SIGKILL ? "; was the memory used up? Then take fewer --jobs" : ""
            return (.noResult, ["it was ended from outside by \(name)\(cause)"])
        case .exited(0) where record != nil: return (.held, [])
        case .exited(1):
            guard let record else { return (.noResult, ["it ended with status 1 and no report\(last)"]) }
            return (.broken, record.broken.isEmpty ? ["status 1" + last] : record.broken.map(\.name))
        // What is drawn from a file that is right is right.
        case .exited(2): return (.broken, ["what was drawn is refused" + last])
        case .exited(let status): return (.noResult, ["it ended with status \(status) and no report\(last)"])
        }
    }

    /// What a process does to itself; whatever else ends it comes from outside.
    private static let traps = [SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS]
}
